use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

const TAKEN: &str = ".+";
const LEFT_OUT: &str = r".+\.(automount|device|mount|scope|slice)";

/// Options of the collector `systemd`.
#[derive(Clone, Debug, PartialEq)]
pub struct Systemd {
    /// Which units are taken, by their whole name.
    pub units: Filter,
    /// Whether services' tasks are told.
    pub tasks: bool,
    /// Whether restarts of services are told.
    pub restarts: bool,
    /// Whether the time is told since which units are active.
    pub start_times: bool,
}

impl Default for Systemd {
    fn default() -> Self {
        Self { units: Filter::whole(TAKEN, LEFT_OUT), tasks: false, restarts: false, start_times: false }
    }
}

impl Systemd {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.units.read_whole(section, "unit_include", "unit_exclude");
        self.tasks = section.or("enable_task_metrics", self.tasks);
        self.restarts = section.or("enable_restarts_metrics", self.restarts);
        self.start_times = section.or("enable_start_time_metrics", self.start_times);
    }
}

#[cfg(test)]
mod tests {
    use super::Systemd;
    use crate::config::Config;

    fn read(text: &str) -> Result<Systemd, String> {
        let text = format!("metrics: {{collectors: {{systemd: {text}}}}}");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.metrics.expect("present").collectors.options.systemd)
    }

    #[test]
    fn units_are_taken_by_their_whole_name() {
        let units = read("true").expect("valid").units;
        assert!(units.admits(b"ssh.service") && units.admits(b"a.slice.service") && !units.admits(b"a.slice"));
        let units = read("{unit_include: 'ssh|cron.*'}").expect("valid").units;
        assert!(units.admits(b"cron.service") && units.admits(b"ssh") && !units.admits(b"ssh.service"));
        assert!(!units.admits(b"cron.slice"), "each has its own default");
        assert!(read("{unit_exclude: ''}").expect("valid").units.admits(b"a.slice"));
        assert!(read("{unit_include: '('}").is_err_and(|error| error.contains("\"(\" is no valid regular expression")));
    }
}
