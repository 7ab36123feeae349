use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `powersupplyclass`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Powersupplyclass {
    /// Which batteries and mains are taken.
    pub supplies: Filter,
}

impl Powersupplyclass {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.supplies.read_exclude(section, "ignored_supplies");
    }
}
