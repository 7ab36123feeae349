use hostwright_core::config::section::Section;
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};

/// True or false, also in quotes, as cloud-init takes it.
pub struct Flag(pub bool);

impl FromNode for Flag {
    const EXPECTED: &'static str = "true or false";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.scalar() {
            Some(Scalar::Bool(value)) => return Ok(Self(value)),
            // What a template leaves where it knows nothing: false, as for cloud-init.
            Some(Scalar::String(text)) if text.trim().is_empty() => return Ok(Self(false)),
            Some(Scalar::String(text)) => match Scalar::resolve(text.trim()) {
                Scalar::Bool(value) => return Ok(Self(value)),
                Scalar::Int(number @ (0 | 1)) => return Ok(Self(number == 1)),
                _ => {}
            },
            Some(Scalar::Int(number @ (0 | 1))) => return Ok(Self(number == 1)),
            _ => {}
        }
        Err(mismatch::<Self>(node))
    }
}

/// A value, of which an empty text says nothing: templates leave that where they know nothing.
pub struct Said<T>(pub Option<T>);

impl<T: FromNode> FromNode for Said<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        if node.text() == Some("") { Ok(Self(None)) } else { T::from_node(node).map(|value| Self(Some(value))) }
    }
}

/// A value under its key, if anything is said there.
pub fn said<T: FromNode>(section: &mut Section<'_>, key: &'static str) -> Option<T> {
    section.optional::<Said<T>>(key).and_then(|said| said.0)
}

/// A text that may be empty.
pub struct Text(pub String);

impl FromNode for Text {
    const EXPECTED: &'static str = "a string";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// Names: a list, or one string with commas between them.
pub struct NameList(pub Vec<String>);

impl FromNode for NameList {
    const EXPECTED: &'static str = "a list of names, or names with commas between them";

    fn from_node(node: &Node) -> Result<Self, String> {
        let split = |text: &str| {
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let names = match (node.sequence(), node.text()) {
            (Some(items), _) => {
                let texts: Option<Vec<_>> = items.iter().map(Node::text).collect();
                texts.ok_or_else(|| mismatch::<Self>(node))?.into_iter().flat_map(split).collect()
            }
            (None, Some(text)) => split(text),
            (None, None) => return Err(mismatch::<Self>(node)),
        };
        if let Some(wrong) = names.iter().find(|name| !is_account_name(name)) {
            return Err(format!("{wrong:?} cannot be the name of a user or group"));
        }
        Ok(Self(names))
    }
}

/// The name of a user or group.
pub struct AccountName(pub String);

impl FromNode for AccountName {
    const EXPECTED: &'static str = "the name of a user or group";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text().filter(|text| is_account_name(text)) {
            Some(name) => Ok(Self(name.to_owned())),
            None => Err(mismatch::<Self>(node)),
        }
    }
}

/// What shadow's tools take with `--badname` at most; it keeps options, paths and fields out of their arguments.
pub fn is_account_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    first && name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-$@".contains(c))
}
