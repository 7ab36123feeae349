use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// Text.
    Plain,
    /// A JSON object; a line that is none is shipped as text and counted.
    Json,
}

impl FromNode for Parse {
    const EXPECTED: &'static str = "plain or json";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("plain") => Ok(Self::Plain),
            Some("json") => Ok(Self::Json),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}
