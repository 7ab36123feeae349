use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `ethtool`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ethtool {
    /// Which network devices are taken.
    pub devices: Filter,
    /// Which of the drivers' numbers are taken, by their names without what a metric's name must not have.
    pub metrics: Filter,
}

impl Ethtool {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read(section, "device_include", "device_exclude");
        self.metrics.read_include(section, "metrics_include");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn devices_and_numbers_can_be_left_out() {
        let text = "metrics: {collectors: {ethtool: {device_exclude: '^veth', metrics_include: '^rx_'}}}";
        let options = Config::parse(text, "agent.yaml").expect("valid").metrics.expect("present").collectors.options;
        assert!(options.ethtool.devices.admits(b"eth0") && !options.ethtool.devices.admits(b"veth1"));
        assert!(options.ethtool.metrics.admits(b"rx_bytes") && !options.ethtool.metrics.admits(b"tx_bytes"));
    }
}
