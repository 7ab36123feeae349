use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `tapestats`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tapestats {
    /// Which tape drives are taken.
    pub devices: Filter,
}

impl Tapestats {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read_exclude(section, "ignored_devices");
    }
}
