use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `ethtool`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ethtool {
    /// Which network devices are taken.
    pub devices: Filter,
    /// Which of a driver's counters are taken.
    pub metrics: Filter,
}

impl Ethtool {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read_both(section, "device_include", "device_exclude");
        self.metrics.read_include(section, "metrics_include");
    }
}
