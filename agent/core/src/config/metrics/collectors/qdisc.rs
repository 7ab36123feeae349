use crate::config::metrics::filter::Filter;
use crate::config::section::Section;
use crate::config::values::AbsolutePath;
use std::path::PathBuf;

/// Options of the collector `qdisc`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Qdisc {
    /// Which network devices are taken.
    pub devices: Filter,
    /// A folder that is read in place of asking the kernel.
    pub fixtures: Option<PathBuf>,
}

impl Qdisc {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read(section, "device_include", "device_exclude");
        self.fixtures = section.optional::<AbsolutePath>("fixtures").map(|path| path.0);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn devices_can_be_left_out() {
        let text = "metrics: {collectors: {qdisc: {device_exclude: '^veth'}}}";
        let options = Config::parse(text, "agent.yaml").expect("valid").metrics.expect("present").collectors.options;
        assert!(options.qdisc.devices.admits(b"eth0") && !options.qdisc.devices.admits(b"veth1"));
    }
}
