use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `netclass`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netclass {
    /// Which network devices are taken.
    pub devices: Filter,
    /// Whether a speed that the driver does not know is left out.
    pub ignore_invalid_speed: bool,
}

impl Netclass {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read_exclude(section, "ignored_devices");
        self.ignore_invalid_speed = section.or("ignore_invalid_speed", self.ignore_invalid_speed);
    }
}
