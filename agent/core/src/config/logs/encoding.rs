use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// How characters are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// With what is not UTF-8 replaced by U+FFFD and counted.
    Utf8,
    /// ISO 8859-1: a byte for a character.
    Latin1,
}

impl FromNode for Encoding {
    const EXPECTED: &'static str = "utf-8 or latin1";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("utf-8") => Ok(Self::Utf8),
            Some("latin1") => Ok(Self::Latin1),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}
