use crate::config::section::Section;

/// Options of the collector `bcache`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bcache {
    /// Whether the shares of a cache that are unused and metadata are told, which costs the kernel a look at each bucket.
    pub priority_stats: bool,
}

impl Bcache {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.priority_stats = section.or("priority_stats", self.priority_stats);
    }
}
