use crate::config::section::Section;

/// Options of the collector `rapl`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rapl {
    /// Whether a zone's name is a label in place of a part of the family's name.
    pub enable_zone_label: bool,
}

impl Rapl {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.enable_zone_label = section.or("enable_zone_label", self.enable_zone_label);
    }
}
