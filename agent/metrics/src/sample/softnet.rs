use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::Family;

/// Column of `/proc/net/softnet_stat` for each family. Older kernels have fewer columns; what is not there is 0.
const COLUMNS: [usize; 7] = [0, 1, 2, 8, 9, 10, 11];
/// The CPU's number; kernels before 5.10 do not tell it.
const CPU: usize = 12;
const FEWEST: usize = 9;

/// Packets of each CPU before they reach a protocol.
pub struct Softnet {
    file: KernelFile,
    families: [Family; COLUMNS.len()],
    rows: Rows<[u64; COLUMNS.len()]>,
}

impl Softnet {
    pub fn new(roots: &Roots) -> Self {
        let counter = |name: &str, help: &str| Family::counter(&format!("node_softnet_{name}_total"), help);
        Self {
            file: KernelFile::new(roots.procfs.join("net/softnet_stat")),
            families: [
                counter("processed", "Number of processed packets"),
                counter("dropped", "Number of dropped packets"),
                counter("times_squeezed", "Number of times processing packets ran out of quota"),
                counter("cpu_collision", "Number of collision occur while obtaining device lock while transmitting"),
                counter("received_rps", "Number of times cpu woken up received_rps"),
                counter("flow_limit_count", "Number of times flow limit has been reached"),
                Family::gauge("node_softnet_backlog_len", "Softnet backlog status"),
            ],
            rows: Rows::default(),
        }
    }
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

impl Collector for Softnet {
    fn name(&self) -> &'static str {
        "softnet"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for (at, line) in text.lines().enumerate() {
            let (mut columns, mut count) = ([0; CPU + 1], 0);
            for (slot, word) in columns.iter_mut().zip(words(line)) {
                *slot = hexadecimal(word).ok_or_else(|| text.malformed("hexadecimal numbers", line))?;
                count += 1;
            }
            if count < FEWEST {
                return Err(text.malformed("at least nine numbers", line));
            }
            // The column before it came with it.
            let cpu = if count > CPU {
                columns[CPU]
            } else {
                columns[CPU - 1] = 0;
                at as u64
            };
            // A number has at most 20 digits, so this stays on the stack.
            let mut name = [0_u8; 20];
            *self.rows.row("cpu", decimal(cpu, &mut name)) = COLUMNS.map(|column| columns[column]);
        }
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

fn decimal(number: u64, space: &mut [u8; 20]) -> &[u8] {
    use std::io::Write as _;
    let mut rest = &mut space[..];
    // Every number fits.
    let _ = write!(rest, "{number}");
    let left = rest.len();
    &space[..20 - left]
}

#[cfg(test)]
mod tests {
    use super::Softnet;
    use crate::sample::testing::{assert_has, captured, samples, tree};

    #[test]
    fn each_cpu_has_its_counters() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Softnet::new(&roots), &roots);
        assert_has(
            &lines,
            &[
                r#"node_softnet_processed_total{cpu="0"} 9497"#,
                r#"node_softnet_processed_total{cpu="1"} 92678"#,
                r#"node_softnet_backlog_len{cpu="1"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 14);
    }

    #[test]
    fn cpus_are_numbered_by_the_kernel_or_else_by_their_lines() {
        let line = |more: &str| format!("0000000a 0 0 0 0 0 0 0 0 0 0{more}\n");
        for (text, cpus, backlog) in [
            (line(" 00000003 00000005 0 0"), ["5", "5"], 3),
            (line(" 00000003"), ["0", "1"], 0),
            (line(""), ["0", "1"], 0),
        ] {
            let (_folder, roots) = tree(&[("proc/net/softnet_stat", &text.repeat(2))]);
            let lines = samples(&mut Softnet::new(&roots), &roots);
            for cpu in cpus {
                assert_has(&lines, &[&format!("node_softnet_backlog_len{{cpu=\"{cpu}\"}} {backlog}")]);
            }
        }
    }
}
