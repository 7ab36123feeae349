use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `slabinfo`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slabinfo {
    /// Which of the kernel's slabs are taken.
    pub slabs: Filter,
}

impl Slabinfo {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.slabs.read_both(section, "slabs_include", "slabs_exclude");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn slabs_are_taken_that_are_included_and_not_excluded() {
        let text = "metrics: {collectors: {slabinfo: {slabs_include: '^d', slabs_exclude: y$}}}";
        let options = Config::parse(text, "agent.yaml").expect("valid").metrics.expect("present").collectors.options;
        let slabs = options.slabinfo.slabs;
        assert!(slabs.admits(b"dent") && !slabs.admits(b"dentry") && !slabs.admits(b"tw_sock"));
    }
}
