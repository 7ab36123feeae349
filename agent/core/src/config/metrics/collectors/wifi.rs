use crate::config::section::Section;
use crate::config::values::AbsolutePath;
use std::path::PathBuf;

/// Options of the collector `wifi`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wifi {
    /// A folder that is read in place of asking the kernel.
    pub fixtures: Option<PathBuf>,
}

impl Wifi {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.fixtures = section.optional::<AbsolutePath>("fixtures").map(|path| path.0);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn a_folder_can_stand_in_for_the_kernel() {
        let text = "metrics: {collectors: {wifi: {fixtures: /srv/wifi}, qdisc: {fixtures: /srv/qdisc}}}";
        let options = Config::parse(text, "agent.yaml").expect("valid").metrics.expect("present").collectors.options;
        assert_eq!(options.wifi.fixtures.as_deref(), Some(Path::new("/srv/wifi")));
        assert_eq!(options.qdisc.fixtures.as_deref(), Some(Path::new("/srv/qdisc")));
    }
}
