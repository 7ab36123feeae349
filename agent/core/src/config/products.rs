use super::section::Section;
use super::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// A watched folder whose finished files go to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The folder; folders inside it are watched too.
    pub watch: PathBuf,
    /// The name of a bucket.
    pub bucket: String,
    /// The object's key.
    pub key: KeyTemplate,
    /// How long a file must be unchanged, and not open for writing, to be finished.
    pub quiet: Duration,
    /// What happens to the local file after the bucket has confirmed.
    pub afterwards: Afterwards,
}

/// What happens to the local file after the bucket has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
}

/// A key with places to be filled in: `{date}/{path}`. Parsed when the file is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(pub Vec<KeyPart>);

/// A piece of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Text as it stands.
    Literal(String),
    /// `{path}`: the path inside the watched folder.
    Path,
    /// `{name}`: the file's name.
    Name,
    /// `{host}`: the host's name.
    Host,
    /// `{label:NAME}`: a label of the host.
    Label(String),
    /// `{date}`: the file's modification date in UTC, as 2026-11-21.
    Date,
    /// `{year}`: four digits of that date.
    Year,
    /// `{month}`: two digits of that date.
    Month,
    /// `{day}`: two digits of that date.
    Day,
}

impl KeyTemplate {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| format!("{text:?} has a '{{' without its '}}'"))? + open;
            parts.extend(literal(text, &rest[..open])?);
            parts.push(KeyPart::parse(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        parts.extend(literal(text, rest)?);
        if !parts.iter().any(|part| matches!(part, KeyPart::Path | KeyPart::Name)) {
            return Err(format!("{text:?} gives every file the same key; put {{path}} or {{name}} into it"));
        }
        if text.starts_with('/') || text.contains("//") {
            return Err(format!("{text:?} makes keys with empty folder names; leave the extra '/' out"));
        }
        Ok(Self(parts))
    }
}

/// The text between two places, unless it is empty.
fn literal(template: &str, text: &str) -> Result<Option<KeyPart>, String> {
    if text.contains('}') {
        return Err(format!("{template:?} has a '}}' without its '{{'"));
    }
    Ok((!text.is_empty()).then(|| KeyPart::Literal(text.to_owned())))
}

impl KeyPart {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "path" => Self::Path,
            "name" => Self::Name,
            "host" => Self::Host,
            "date" => Self::Date,
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            _ => match name.strip_prefix("label:") {
                Some(label) if !label.is_empty() => Self::Label(label.to_owned()),
                _ => {
                    return Err(format!(
                        "{{{name}}} is not known; use {{path}}, {{name}}, {{host}}, {{label:NAME}}, {{date}}, {{year}}, {{month}} or {{day}}"
                    ));
                }
            },
        })
    }
}

impl FromNode for KeyTemplate {
    const EXPECTED: &'static str = "a key such as {date}/{path}";

    fn from_node(node: &Node) -> Result<Self, String> {
        Self::parse(node.text().ok_or_else(|| mismatch::<Self>(node))?)
    }
}

impl FromNode for Afterwards {
    const EXPECTED: &'static str = "keep or delete";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("keep") => Ok(Self::Keep),
            Some("delete") => Ok(Self::Delete),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Product {
    pub(super) fn read(mut section: Section<'_>, bucket_names: &[String]) -> Option<Self> {
        let watch = section.required::<AbsolutePath>("watch");
        let bucket = section.required("bucket");
        section.references("bucket", "bucket", bucket_names);
        let key = section.or("key", KeyTemplate(vec![KeyPart::Path]));
        let quiet = section.or("quiet", Duration::from_secs(2));
        let afterwards = section.or("afterwards", Afterwards::Keep);
        section.finish();
        Some(Self { watch: watch?.0, bucket: bucket?, key, quiet, afterwards })
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPart, KeyTemplate};

    #[test]
    fn a_template_is_checked_when_it_is_loaded() {
        assert_eq!(
            KeyTemplate::parse("FSC/{year}/{label:role}/{path}"),
            Ok(KeyTemplate(vec![
                KeyPart::Literal("FSC/".into()),
                KeyPart::Year,
                KeyPart::Literal("/".into()),
                KeyPart::Label("role".into()),
                KeyPart::Literal("/".into()),
                KeyPart::Path
            ]))
        );
        for wrong in ["{yaer}/{path}", "{path", "a}{path}", "{date}", "/{path}", "a//{path}"] {
            assert!(KeyTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
