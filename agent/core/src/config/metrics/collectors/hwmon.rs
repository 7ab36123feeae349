use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `hwmon`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hwmon {
    /// Which chips are taken, by the label `chip`.
    pub chips: Filter,
    /// Which sensors are taken, by their chip, a semicolon and their name: `platform_coretemp_0;temp3`.
    pub sensors: Filter,
}

impl Hwmon {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.chips.read_both(section, "chip_include", "chip_exclude");
        self.sensors.read_both(section, "sensor_include", "sensor_exclude");
    }
}
