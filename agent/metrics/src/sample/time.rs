use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::{Family, Labels};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// So often the time zone is looked at.
const ZONE: Duration = Duration::from_secs(300);

/// The clock, its zone, and the clock sources.
pub struct Time {
    seconds: Family,
    offset: Family,
    offset_labels: Labels,
    available: Family,
    current: Family,
    clocks: Vec<Clock>,
    labels: Labels,
    zone: (TimeZone, Instant),
}

/// `/sys/devices/system/clocksource/clocksource<device>`.
struct Clock {
    device: String,
    available: KernelFile,
    current: KernelFile,
}

impl Time {
    pub fn new(roots: &Roots) -> Self {
        Self {
            seconds: Family::gauge("node_time_seconds", "System time in seconds since epoch (1970)."),
            offset: Family::gauge("node_time_zone_offset_seconds", "System time zone offset in seconds."),
            offset_labels: Labels::default(),
            available: Family::gauge(
                "node_time_clocksource_available_info",
                "Available clocksources read from '/sys/devices/system/clocksource'.",
            ),
            current: Family::gauge(
                "node_time_clocksource_current_info",
                "Current clocksource read from '/sys/devices/system/clocksource'.",
            ),
            clocks: clocks(roots.sysfs.join("devices/system/clocksource")),
            labels: Labels::default(),
            zone: (zone(), Instant::now()),
        }
    }
}

/// The host's. jiff reads the names of all zones to find out its name, which costs 100 kB; its rules are enough here.
fn zone() -> TimeZone {
    if std::env::var_os("TZ").is_some() {
        return TimeZone::system();
    }
    let rules = std::fs::read("/etc/localtime").ok();
    rules.and_then(|rules| TimeZone::tzif("Local", &rules).ok()).unwrap_or(TimeZone::UTC)
}

fn clocks(folder: PathBuf) -> Vec<Clock> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let clock = |path: PathBuf| {
        let device = path.file_name()?.to_str()?.strip_prefix("clocksource")?.to_owned();
        let file = |name| KernelFile::new(path.join(name));
        Some(Clock { device, available: file("available_clocksource"), current: file("current_clocksource") })
    };
    let mut clocks: Vec<Clock> = entries.filter_map(|entry| clock(entry.path())).collect();
    clocks.sort_by(|a, b| a.device.cmp(&b.device));
    clocks
}

impl Collector for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let now = Timestamp::now();
        // As the original does it, for the same last digit.
        scrape.out.family(&self.seconds).put(now.as_nanosecond() as f64 / 1e9);
        if self.zone.1.elapsed() >= ZONE {
            self.zone = (zone(), Instant::now());
        }
        let offset = self.zone.0.to_offset_info(now);
        self.offset_labels.set(&[("time_zone", offset.abbreviation().as_bytes())]);
        scrape.out.family(&self.offset).with(&self.offset_labels, i64::from(offset.offset().seconds()));
        let mut samples = scrape.out.family(&self.available);
        for clock in &mut self.clocks {
            for source in words(clock.available.read()?.bytes) {
                self.labels.set(&[("clocksource", source), ("device", clock.device.as_bytes())]);
                samples.with(&self.labels, true);
            }
        }
        let mut samples = scrape.out.family(&self.current);
        for clock in &mut self.clocks {
            self.labels
                .set(&[("clocksource", clock.current.read()?.bytes.trim_ascii()), ("device", clock.device.as_bytes())]);
            samples.with(&self.labels, true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Time;
    use crate::sample::testing::{assert_has, captured, samples};

    #[test]
    fn available_and_current_clock_sources_are_named() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Time::new(&roots), &roots);
        assert_has(
            &lines,
            &[
                r#"node_time_clocksource_available_info{clocksource="tsc",device="0"} 1"#,
                r#"node_time_clocksource_available_info{clocksource="kvm-clock",device="0"} 1"#,
                r#"node_time_clocksource_current_info{clocksource="tsc",device="0"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 5);
    }
}
