use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;
use std::time::Duration;

/// How a producer says that a product is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing of it has changed for so long.
    Quiet(Duration),
    /// It is renamed into place; until then it has another name or lies elsewhere.
    Renamed,
    /// It is closed after it was written.
    Closed,
    /// A file says so.
    Marker(Marker),
    /// The job whose outputs it is has ended: the file `.hostwright-job.json` says so.
    Job,
    /// Somebody says so: `hostwright-agent products push`.
    Push,
}

/// A file that says that products are finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `*.ready`, beside the product: what stands for the product's name, before and behind it.
    Beside(String, String),
    /// `_SUCCESS`, in the product's folder or in one above it.
    Inside(String),
}

/// The two forms: a word, or a mapping of one key.
enum Word {
    Renamed,
    Closed,
    Job,
    Push,
}

impl FromNode for Word {
    const EXPECTED: &'static str = "renamed, closed, job, push, {quiet: 2s} or {marker: NAME}";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("renamed") => Ok(Self::Renamed),
            Some("closed") => Ok(Self::Closed),
            Some("job") => Ok(Self::Job),
            Some("push") => Ok(Self::Push),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Marker {
    const EXPECTED: &'static str = "a file's name such as _SUCCESS, or '*.ready' for one beside each product";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        if text.contains('/') || text == "*" || text == "." || text == ".." {
            return Err(format!("{text:?} is no name of a file; expected {}", Self::EXPECTED));
        }
        match text.split_once('*') {
            Some((_, after)) if after.contains('*') => Err(format!("{text:?} has more than one '*'")),
            Some((before, after)) => Ok(Self::Beside(before.to_owned(), after.to_owned())),
            None => Ok(Self::Inside(text.to_owned())),
        }
    }
}

impl Finished {
    /// Unchanged for this long unless something else is said: longer than a writer pauses between two pieces.
    const QUIET: Duration = Duration::from_secs(2);

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        section.at_most_one(&["quiet", "finished"]);
        let quiet = Self::Quiet(section.or("quiet", Self::QUIET));
        let Some(node) = section.node("finished") else { return quiet };
        if node.mapping().is_none() {
            return match section.value("finished", node) {
                Some(Word::Renamed) => Self::Renamed,
                Some(Word::Closed) => Self::Closed,
                Some(Word::Job) => Self::Job,
                Some(Word::Push) => Self::Push,
                None => quiet,
            };
        }
        let read = section.section("finished", |mut below| {
            below.exactly_one(&["quiet", "marker"]);
            let quiet = below.optional("quiet").map(Self::Quiet);
            let marker = below.optional("marker").map(Self::Marker);
            below.finish();
            quiet.or(marker)
        });
        read.unwrap_or(quiet)
    }
}
