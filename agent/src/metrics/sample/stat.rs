use super::{CollectError, Collector, Scrape, number};
use crate::metrics::encode::Family;
use hostwright_core::config::metrics::collectors::stat as options;

/// The lines of `/proc/stat` that are not of single CPUs.
pub struct Stat {
    fields: [(&'static [u8], Family); 6],
}

impl Stat {
    pub fn new(_options: &options::Stat) -> Self {
        Self {
            fields: [
                (b"intr", Family::counter("node_intr_total", "Total number of interrupts serviced.")),
                (b"ctxt", Family::counter("node_context_switches_total", "Total number of context switches.")),
                (b"btime", Family::gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
                (b"processes", Family::counter("node_forks_total", "Total number of forks.")),
                (b"procs_running", Family::gauge("node_procs_running", "Number of processes in runnable state.")),
                (
                    b"procs_blocked",
                    Family::gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
                ),
            ],
        }
    }
}

impl Collector for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = scrape.proc_stat.map_err(Clone::clone)?;
        for line in text.lines() {
            let Some(end) = memchr::memchr(b' ', line) else { continue };
            let (key, rest) = (&line[..end], &line[end + 1..]);
            let Some((_, family)) = self.fields.iter().find(|(field, _)| *field == key) else { continue };
            // Of interrupts, the first number is their sum and thousands may follow.
            let value = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
            let value = number(value).ok_or_else(|| text.malformed("a number", line))?;
            scrape.out.family(family).put(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;
    use crate::metrics::sample::testing::{assert_has, captured, samples};

    #[test]
    fn counts_of_the_whole_host_are_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Stat::new(&Default::default()), &roots);
        let want = [
            "node_intr_total 1120158",
            "node_context_switches_total 2311748",
            "node_boot_time_seconds 1795225425",
            "node_forks_total 49453",
            "node_procs_running 5",
            "node_procs_blocked 0",
        ];
        assert_has(&lines, &want);
        assert_eq!(lines.len(), want.len());
    }
}
