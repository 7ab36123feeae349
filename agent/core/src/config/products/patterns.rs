use crate::config::values::FromNode;
use crate::config::values::mismatch;
use crate::yaml::Node;

/// Patterns of paths inside the watched folder: `*` and `?` within a name, `**` for any folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<String>);

impl FromNode for Patterns {
    const EXPECTED: &'static str = "patterns of paths such as ['*.tif', 'scenes/**/*.jp2']";

    fn from_node(node: &Node) -> Result<Self, String> {
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        let pattern = |item: &Node| {
            let text = item.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
            if text.starts_with('/') {
                return Err(format!("{text:?} begins with '/'; patterns are of paths inside the watched folder"));
            }
            globset::Glob::new(text).map_err(|error| format!("{text:?} is no valid pattern: {}", error.kind()))?;
            Ok(text.to_owned())
        };
        items.iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }
}
