use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};

/// Those that the original knows, which is all that Linux has.
const TYPES: [&[u8]; 10] =
    [b"HI", b"TIMER", b"NET_TX", b"NET_RX", b"BLOCK", b"IRQ_POLL", b"TASKLET", b"SCHED", b"HRTIMER", b"RCU"];

/// `/proc/softirqs`: how often each CPU ran each kind of soft interrupt.
pub struct Softirqs {
    file: KernelFile,
    family: Family,
    /// By kind, for each CPU.
    rows: Rows<Vec<(Labels, u64)>>,
}

impl Softirqs {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("softirqs")),
            family: Family::counter("node_softirqs_functions_total", "Softirq counts per CPU."),
            rows: Rows::default(),
        }
    }
}

impl Collector for Softirqs {
    fn name(&self) -> &'static str {
        "softirqs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for line in text.lines().skip(1) {
            let mut words = words(line);
            let kind = words.next().and_then(|word| word.strip_suffix(b":"));
            let Some(kind) = kind.filter(|kind| TYPES.contains(kind)) else { continue };
            let cpus = self.rows.row("type", kind);
            let mut known = 0;
            for word in words {
                if known == cpus.len() {
                    let cpu = known.to_string();
                    cpus.push((Labels::new(&[("cpu", cpu.as_bytes()), ("type", kind)]), 0));
                }
                cpus[known].1 = number(word).ok_or_else(|| text.malformed("a number for each CPU", line))?;
                known += 1;
            }
            cpus.truncate(known);
        }
        let mut samples = scrape.out.family(&self.family);
        self.rows.iter().flat_map(|row| &row.values).for_each(|(labels, count)| samples.with(labels, *count));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Softirqs;
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn every_kind_is_told_of_every_cpu() {
        let text = "      CPU0  CPU1\n  HI:    3    0\n NET_RX:   68  7\n OTHER:  1 2\n";
        let (_folder, roots) = tree(&[("proc/softirqs", text)]);
        let mut softirqs = Softirqs::new(&roots);
        let want = [
            r#"node_softirqs_functions_total{cpu="0",type="HI"} 3"#,
            r#"node_softirqs_functions_total{cpu="1",type="HI"} 0"#,
            r#"node_softirqs_functions_total{cpu="0",type="NET_RX"} 68"#,
            r#"node_softirqs_functions_total{cpu="1",type="NET_RX"} 7"#,
        ];
        assert_eq!(samples(&mut softirqs, &roots), want);
        std::fs::write(roots.procfs.join("softirqs"), "CPU0\nHI: x\n").expect("written");
        assert!(collect(&mut softirqs, &roots).is_err());
    }
}
