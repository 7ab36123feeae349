use super::{CollectError, Collector, Scrape, number, words};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::stat as options;

/// Soft interrupts in the order of the kernel, after their sum.
const VECTORS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

/// The lines of `/proc/stat` that are not of single CPUs.
pub struct Stat {
    /// By key; what this kernel does not tell is 0.
    fields: [(&'static [u8], Family, u64); 6],
    softirqs: Family,
    /// None where soft interrupts are not told.
    vectors: Option<[Labels; VECTORS.len()]>,
}

impl Stat {
    pub fn new(options: &options::Stat) -> Self {
        let counter = |key: &'static str, name: &str, help: &str| (key.as_bytes(), Family::counter(name, help), 0);
        let gauge = |key: &'static str, name: &str, help: &str| (key.as_bytes(), Family::gauge(name, help), 0);
        let labels = |vector: &str| Labels::new(&[("vector", vector.as_bytes())]);
        Self {
            fields: [
                counter("intr", "node_intr_total", "Total number of interrupts serviced."),
                counter("ctxt", "node_context_switches_total", "Total number of context switches."),
                counter("processes", "node_forks_total", "Total number of forks."),
                gauge("btime", "node_boot_time_seconds", "Node boot time, in unixtime."),
                gauge("procs_running", "node_procs_running", "Number of processes in runnable state."),
                gauge(
                    "procs_blocked",
                    "node_procs_blocked",
                    "Number of processes blocked waiting for I/O to complete.",
                ),
            ],
            softirqs: Family::counter("node_softirqs_total", "Number of softirq calls."),
            vectors: options.softirq.then(|| VECTORS.map(labels)),
        }
    }
}

impl Collector for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = scrape.proc_stat.map_err(Clone::clone)?;
        self.fields.iter_mut().for_each(|(_, _, value)| *value = 0);
        let mut counts = [0; VECTORS.len()];
        for line in text.lines() {
            let Some(end) = memchr::memchr(b' ', line) else { continue };
            let (key, rest) = (&line[..end], &line[end + 1..]);
            if let Some((_, _, value)) = self.fields.iter_mut().find(|(field, ..)| *field == key) {
                // Of interrupts, the first number is their sum and thousands may follow.
                let first = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
                *value = number(first).ok_or_else(|| text.malformed("a number", line))?;
            } else if self.vectors.is_some() && key == b"softirq" {
                let numbers = words(rest).skip(1);
                for (count, word) in counts.iter_mut().zip(numbers) {
                    *count = number(word).ok_or_else(|| text.malformed("numbers", line))?;
                }
            }
        }
        for (_, family, value) in &self.fields {
            scrape.out.family(family).put(*value);
        }
        let mut samples = scrape.out.family(&self.softirqs);
        for (labels, count) in self.vectors.iter().flatten().zip(counts) {
            samples.with(labels, count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Stat, options};
    use crate::sample::testing::{assert_has, captured, samples, tree};

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

    #[test]
    fn soft_interrupts_are_told_by_their_kind_where_wanted_and_what_is_not_there_is_zero() {
        let (_folder, roots) = tree(&[("proc/stat", "softirq 90 1 2 3 4 5 6 7 8 9 10\nctxt 7\n")]);
        let lines = samples(&mut Stat::new(&options::Stat { softirq: true }), &roots);
        assert_has(
            &lines,
            &[
                r#"node_softirqs_total{vector="hi"} 1"#,
                r#"node_softirqs_total{vector="rcu"} 10"#,
                "node_context_switches_total 7",
                "node_intr_total 0",
            ],
        );
        assert_eq!(lines.len(), 6 + 10);
    }
}
