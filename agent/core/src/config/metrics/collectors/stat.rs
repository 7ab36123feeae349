use crate::config::section::Section;

/// Options of the collector `stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Whether soft interrupts are told by their kind.
    pub softirq: bool,
}

impl Stat {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.softirq = section.or("softirq", self.softirq);
    }
}
