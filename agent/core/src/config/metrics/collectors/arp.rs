use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `arp`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arp {
    /// Which network devices are taken.
    pub devices: Filter,
}

impl Arp {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read(section, "device_include", "device_exclude");
    }
}
