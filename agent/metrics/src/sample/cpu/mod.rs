//! Time per CPU and mode; where it is told, what the CPUs are, which ones work, and how often they were throttled.
//!
//! In: `/proc/stat`, `/proc/cpuinfo` if wanted, `/sys/devices/system/cpu`. Which files a CPU has is looked up when CPUs
//! come or go. Nothing survives a restart.

/// What the CPUs are.
mod info;
/// Which CPUs work.
mod online;
/// How often CPUs were throttled.
mod throttles;

use super::kernel_file::Text;
use super::sysfs::Page;
use super::{CollectError, Collector, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::cpu as options;
use info::Info;
use online::Online;
use std::path::{Path, PathBuf};
use throttles::Throttles;

/// In the order of `/proc/stat`; the two times in guests follow.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
const FIELDS: usize = MODES.len() + GUEST_MODES.len();
/// USER_HZ: what the kernel counts in towards user space, on every architecture that Debian has.
pub const TICKS_PER_SECOND: f64 = 100.0;
/// Idle and iowait may step back a little, which is hidden; by three seconds or more it is another CPU by that number.
const HOTPLUG_TICKS: u64 = 300;

/// Time per CPU and mode, isolated CPUs, and thermal throttling where the hardware counts it.
pub struct Cpu {
    cpus: PathBuf,
    seconds: Family,
    guest: Option<Family>,
    isolated: Family,
    isolated_cpus: Vec<Labels>,
    rows: Vec<Row>,
    throttles: Throttles,
    online: Online,
    info: Option<Info>,
    page: Page,
}

struct Row {
    number: u64,
    seen: bool,
    ticks: [u64; FIELDS],
    labels: [Labels; FIELDS],
}

impl Cpu {
    pub fn new(roots: &Roots, options: &options::Cpu) -> Self {
        let cpus = roots.sysfs.join("devices/system/cpu");
        Self {
            seconds: Family::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode."),
            guest: options.guest.then(|| {
                Family::counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.")
            }),
            isolated: Family::gauge(
                "node_cpu_isolated",
                "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
            ),
            isolated_cpus: isolated(&cpus).iter().map(|cpu| Labels::new(&[("cpu", cpu.as_bytes())])).collect(),
            rows: Vec::new(),
            throttles: Throttles::find(&cpus),
            online: Online::find(&cpus),
            info: options.info.then(|| Info::new(roots, options)),
            page: Page::default(),
            cpus,
        }
    }

    /// Takes over the ticks; returns whether other CPUs than before are online.
    fn update(&mut self, text: Text<'_>) -> Result<bool, CollectError> {
        let mut changed = false;
        self.rows.iter_mut().for_each(|row| row.seen = false);
        // The lines of CPUs are the first ones; the long one of interrupts comes after them.
        for line in text.lines().take_while(is_of_a_cpu) {
            let mut words = words(line);
            let name = words.next().unwrap_or_default();
            if name == b"cpu" || name.is_empty() {
                continue;
            }
            let malformed = || text.malformed("a CPU with its times", line);
            let cpu = number(&name[3..]).ok_or_else(malformed)?;
            let mut ticks = [0; FIELDS];
            // Kernels before 2.6.33 have fewer fields.
            for (slot, word) in ticks.iter_mut().zip(words) {
                *slot = number(word).ok_or_else(malformed)?;
            }
            let at = self.rows.iter().position(|row| row.number == cpu).unwrap_or_else(|| {
                changed = true;
                self.rows.push(Row::new(cpu));
                self.rows.len() - 1
            });
            self.rows[at].advance(ticks);
        }
        let before = self.rows.len();
        self.rows.retain(|row| row.seen);
        Ok(changed || before != self.rows.len())
    }
}

impl Row {
    fn new(number: u64) -> Self {
        let name = number.to_string();
        let mode = |at: usize| MODES.iter().chain(&GUEST_MODES).nth(at).copied().unwrap_or_default();
        let label = |at| Labels::new(&[("cpu", name.as_bytes()), ("mode", mode(at).as_bytes())]);
        Self { number, seen: false, ticks: [0; FIELDS], labels: std::array::from_fn(label) }
    }

    fn advance(&mut self, ticks: [u64; FIELDS]) {
        self.seen = true;
        if ticks[IDLE].saturating_add(HOTPLUG_TICKS) <= self.ticks[IDLE] {
            self.ticks = [0; FIELDS];
        }
        for (kept, now) in self.ticks.iter_mut().zip(ticks) {
            *kept = now.max(*kept);
        }
    }
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let stat = scrape.proc_stat.map_err(Clone::clone)?;
        if self.update(stat)? {
            self.throttles = Throttles::find(&self.cpus);
            self.online = Online::find(&self.cpus);
        }
        if let Some(info) = &mut self.info {
            info.collect(scrape)?;
        }
        if let Some(guest) = &self.guest {
            let mut samples = scrape.out.family(guest);
            for row in &self.rows {
                for at in MODES.len()..FIELDS {
                    samples.with(&row.labels[at], row.ticks[at] as f64 / TICKS_PER_SECOND);
                }
            }
        }
        let mut samples = scrape.out.family(&self.seconds);
        for row in &self.rows {
            for at in 0..MODES.len() {
                samples.with(&row.labels[at], row.ticks[at] as f64 / TICKS_PER_SECOND);
            }
        }
        let mut samples = scrape.out.family(&self.isolated);
        self.isolated_cpus.iter().for_each(|labels| samples.with(labels, true));
        self.throttles.collect(scrape, &mut self.page);
        self.online.collect(scrape, &mut self.page);
        Ok(())
    }
}

/// Captured files may have empty lines.
fn is_of_a_cpu(line: &&[u8]) -> bool {
    line.starts_with(b"cpu") || line.is_empty()
}

/// The numbers in a list such as `1,4-6`.
fn isolated(cpus: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(cpus.join("isolated")).unwrap_or_default();
    let mut numbers = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            numbers.extend((first..=last).map(|cpu| cpu.to_string()));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Text};
    use crate::sample::testing::{assert_has, captured, samples};

    #[test]
    fn each_cpu_has_every_mode_and_guests_are_apart() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Cpu::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_cpu_seconds_total{cpu="0",mode="user"} 339.86"#,
                r#"node_cpu_seconds_total{cpu="1",mode="idle"} 1383.87"#,
                r#"node_cpu_guest_seconds_total{cpu="1",mode="nice"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 2 * 10);
    }

    #[test]
    fn small_steps_back_are_hidden_large_ones_are_another_cpu_and_absent_cpus_are_dropped() {
        let roots = captured("procfs-vm");
        let mut cpu = Cpu::new(&roots, &Default::default());
        let mut idle = |bytes: &[u8]| {
            cpu.update(Text { path: std::path::Path::new("stat"), bytes }).expect("understood");
            cpu.rows.iter().map(|row| (row.number, row.ticks[super::IDLE])).collect::<Vec<_>>()
        };
        assert_eq!(idle(b"cpu  1\ncpu0 0 0 0 1000 0\ncpu1 0 0 0 7 0\nintr 1\n"), [(0, 1000), (1, 7)]);
        assert_eq!(idle(b"\ncpu  1\n\ncpu0 0 0 0 990 0\nintr 1\n"), [(0, 1000)]);
        assert_eq!(idle(b"cpu0 0 0 0 5 0\nintr 1\n"), [(0, 5)]);
    }

    #[test]
    fn throttling_is_counted_once_a_core_and_once_a_package() {
        let roots = captured("procfs-bare");
        let lines = samples(&mut Cpu::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_cpu_core_throttles_total{core="0",package="0"} 5"#,
                r#"node_cpu_package_throttles_total{package="0"} 30"#,
                r#"node_cpu_isolated{cpu="1"} 1"#,
            ],
        );
        assert_eq!(lines.iter().filter(|line| line.contains("throttles")).count(), 2);
    }
}
