use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

const TAKEN: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";

/// Options of the collector `vmstat`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vmstat {
    /// Which fields are taken.
    pub fields: Filter,
}

impl Default for Vmstat {
    fn default() -> Self {
        Self { fields: Filter::including(TAKEN) }
    }
}

impl Vmstat {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.fields.read_include(section, "fields");
    }
}
