use super::kernel_file::KernelFile;
use super::{CollectError, Collector, Roots, Scrape, number, words};
use crate::encode::Family;

/// `/proc/pressure`: microseconds in which some, or all, processes waited.
pub struct Pressure {
    resources: [Resource; 4],
}

struct Resource {
    file: KernelFile,
    some: Option<Family>,
    full: Option<Family>,
}

impl Pressure {
    pub fn new(roots: &Roots) -> Self {
        let family =
            |name: &str, help: &str| Some(Family::counter(&format!("node_pressure_{name}_seconds_total"), help));
        let resource = |name: &str, some, full| Resource {
            file: KernelFile::new(roots.procfs.join("pressure").join(name)),
            some,
            full,
        };
        let waited = "Total time in seconds that processes have waited";
        let stalled = "Total time in seconds no process could make progress due to";
        Self {
            resources: [
                // Of the whole host, "full" has no meaning for the CPU: the kernel gives 0.
                resource("cpu", family("cpu_waiting", &format!("{waited} for CPU time")), None),
                resource(
                    "io",
                    family("io_waiting", &format!("{waited} due to IO congestion")),
                    family("io_stalled", &format!("{stalled} IO congestion")),
                ),
                resource(
                    "memory",
                    family("memory_waiting", &format!("{waited} for memory")),
                    family("memory_stalled", &format!("{stalled} memory congestion")),
                ),
                resource("irq", None, family("irq_stalled", &format!("{stalled} IRQ congestion"))),
            ],
        }
    }
}

fn total(line: &[u8]) -> Option<f64> {
    let total = words(line).find_map(|word| word.strip_prefix(b"total="))?;
    // In two steps, as the original does it, for the same last digit.
    Some(number(total)? as f64 / 1000.0 / 1000.0)
}

impl Collector for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let mut found = false;
        for Resource { file, some, full } in &mut self.resources {
            let text = match file.read() {
                Ok(text) => text,
                // A kernel without one of them, or booted with psi=0, which answers "not supported".
                Err(CollectError::NoData { .. }) => continue,
                Err(CollectError::Read { source, .. }) if source.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => {
                    continue;
                }
                Err(error) => {
                    scrape.failed = Some(error);
                    continue;
                }
            };
            for (start, family) in [(b"some ", some), (b"full ", full)] {
                // Of a line that is there twice, the last one counts.
                let line = text.lines().filter(|line| line.starts_with(start)).last();
                let Some(family) = family else { continue };
                match line.and_then(total) {
                    Some(total) => scrape.out.family(family).put(total),
                    None => scrape.failed = Some(text.malformed("a line with a total", line.unwrap_or(text.bytes))),
                }
                found = true;
            }
        }
        if found { Ok(()) } else { Err(CollectError::NoData { path: "pressure".into() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::Pressure;
    use crate::sample::testing::{captured, samples, tree};

    #[test]
    fn one_that_is_not_understood_costs_no_other() {
        let (_folder, roots) = tree(&[
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"),
            ("proc/pressure/io", "some avg10=0.00\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"),
        ]);
        let lines = samples(&mut Pressure::new(&roots), &roots);
        let want = ["node_pressure_cpu_waiting_seconds_total 1", "node_pressure_io_stalled_seconds_total 2"];
        assert_eq!(lines, want);
    }

    #[test]
    fn a_line_that_is_there_twice_is_told_once() {
        let (_folder, roots) = tree(&[("proc/pressure/cpu", "some total=1000000\nsome total=3000000\n")]);
        assert_eq!(samples(&mut Pressure::new(&roots), &roots), ["node_pressure_cpu_waiting_seconds_total 3"]);
    }

    #[test]
    fn waiting_and_stalled_times_are_taken_where_they_mean_something() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Pressure::new(&roots), &roots);
        assert_eq!(
            lines,
            [
                "node_pressure_cpu_waiting_seconds_total 62.09591",
                "node_pressure_io_waiting_seconds_total 31.596868999999998",
                "node_pressure_io_stalled_seconds_total 28.762997",
                "node_pressure_memory_waiting_seconds_total 0",
                "node_pressure_memory_stalled_seconds_total 0",
            ]
        );
    }
}
