use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// Numbers of a CPU before the three that are taken: yields, scheduling and wakeups.
const BEFORE: usize = 6;
const NANOSECONDS: f64 = 1e9;

/// `/proc/schedstat`: how long each CPU ran tasks, how long tasks waited for it, and how often it changed them.
pub struct Schedstat {
    file: KernelFile,
    running: Family,
    waiting: Family,
    timeslices: Family,
    rows: Rows<[u64; 3]>,
}

impl Schedstat {
    pub fn new(roots: &Roots) -> Self {
        let counter = |name: &str, help: &str| Family::counter(&format!("node_schedstat_{name}_total"), help);
        Self {
            file: KernelFile::new(roots.procfs.join("schedstat")),
            running: counter("running_seconds", "Number of seconds CPU spent running a process."),
            waiting: counter("waiting_seconds", "Number of seconds spent by processing waiting for this CPU."),
            timeslices: counter("timeslices", "Number of timeslices executed by CPU."),
            rows: Rows::default(),
        }
    }
}

/// `cpu0 0 0 0 0 0 0 1 2 3` → CPU and its last three numbers; other lines are of domains.
fn parse(line: &[u8]) -> Option<(&[u8], [u64; 3])> {
    let mut words = words(line);
    let cpu = words.next()?.strip_prefix(b"cpu").filter(|cpu| number(cpu).is_some())?;
    let mut words = words.skip(BEFORE).map_while(number);
    Some((cpu, [words.next()?, words.next()?, words.next()?]))
}

impl Collector for Schedstat {
    fn name(&self) -> &'static str {
        "schedstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for (cpu, times) in text.lines().filter_map(parse) {
            *self.rows.row("cpu", cpu) = times;
        }
        for (family, at) in [(&self.running, 0), (&self.waiting, 1)] {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at] as f64 / NANOSECONDS));
        }
        let mut samples = scrape.out.family(&self.timeslices);
        self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[2]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Schedstat;
    use crate::sample::testing::{samples, tree};

    #[test]
    fn times_of_cpus_are_taken_and_lines_of_domains_are_not() {
        let text = "version 15\ntimestamp 4298136302\n\
                    cpu0 0 0 0 0 0 0 2045936778163 343796328169 4767485306\n\
                    domain0 00000000,00000003 0 0 0 0 0 0 0 0 0 0 0 0\n\
                    cpu12 1 2 3 4 5 6 7 8 9\ncpu13 0 0 0 0\n";
        let (_folder, roots) = tree(&[("proc/schedstat", text)]);
        assert_eq!(
            samples(&mut Schedstat::new(&roots), &roots),
            [
                r#"node_schedstat_running_seconds_total{cpu="0"} 2045.936778163"#,
                r#"node_schedstat_running_seconds_total{cpu="12"} 0.000000007"#,
                r#"node_schedstat_waiting_seconds_total{cpu="0"} 343.796328169"#,
                r#"node_schedstat_waiting_seconds_total{cpu="12"} 0.000000008"#,
                r#"node_schedstat_timeslices_total{cpu="0"} 4767485306"#,
                r#"node_schedstat_timeslices_total{cpu="12"} 9"#,
            ]
        );
    }
}
