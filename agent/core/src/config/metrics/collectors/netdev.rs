use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `netdev`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netdev {
    /// Which network devices are taken.
    pub devices: Filter,
    /// Whether the devices' addresses are told.
    pub address_info: bool,
    /// Whether the counters have the kernel's names in place of those of `/proc/net/dev`.
    pub detailed: bool,
    /// Whether the devices' aliases are a label.
    pub label_ifalias: bool,
}

impl Netdev {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read(section, "device_include", "device_exclude");
        self.address_info = section.or("address_info", self.address_info);
        self.detailed = section.or("enable_detailed_metrics", self.detailed);
        self.label_ifalias = section.or("label_ifalias", self.label_ifalias);
    }
}
