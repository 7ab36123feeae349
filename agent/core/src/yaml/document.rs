use super::node::{Node, Place};

/// What to do with a key that stands twice in one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// An error, as YAML 1.2 wants.
    Refuse,
    /// The last one counts and a warning is given, as cloud-init does.
    LastWins,
}

/// A loaded document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its root; a null scalar for an empty document.
    pub root: Node,
    /// What was odd but taken.
    pub warnings: Vec<Warning>,
}

/// Something odd in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What, as a sentence.
    pub message: String,
}

/// Why a document could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", place.line, place.column)]
pub struct LoadError {
    /// Where.
    pub place: Place,
    /// What, as a sentence.
    pub message: String,
}

pub(super) fn error(place: Place, message: String) -> LoadError {
    LoadError { place, message }
}
