use super::section::Section;
use super::values::Labels;

/// Who this host is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The name in logs, keys and status; the system's host name unless given.
    pub name: Option<String>,
    /// On every log line, metric and product.
    pub labels: Labels,
}

impl Host {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let host = Self { name: section.optional("name"), labels: section.or("labels", Labels::default()) };
        section.finish();
        Some(host)
    }
}
