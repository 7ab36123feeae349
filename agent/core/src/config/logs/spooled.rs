use crate::config::section::Section;
use crate::config::values::ByteSize;

/// How lines that come from no file are kept until every output has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// So many bytes on disk, at most.
    pub limit: ByteSize,
}

impl Spooled {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let limit = section.or("spool", ByteSize(256 << 20));
        if limit.0 < 4 << 20 {
            section.problem_with("spool", "at least 4MiB: it is kept in segments, of which one is being written");
        }
        Self { limit }
    }
}
