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
        match regex::Regex::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            // The last line of the crate's message is the reason; those before draw the place.
            Err(error) => {
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("{text:?} is no valid regular expression: {reason}"))
            }
        }
    }
}
