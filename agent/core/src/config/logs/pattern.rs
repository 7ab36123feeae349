use crate::config::expression::invalid;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// A regular expression (of the Rust crate `regex`) that was found to be a valid one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// As the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of its groups, `(?P<name>…)`.
    pub fn groups(&self) -> Vec<String> {
        let regex = regex::Regex::new(&self.0);
        regex.iter().flat_map(|regex| regex.capture_names().flatten()).map(str::to_owned).collect()
    }
}

impl FromNode for Pattern {
    const EXPECTED: &'static str = "a regular expression such as '^(GET|POST) /health'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        regex::Regex::new(text).map(|_| Self(text.to_owned())).map_err(|error| invalid(text, &error))
    }
}
