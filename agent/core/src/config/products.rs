use super::Known;
use super::buckets::Bucket;
use super::section::Section;
use super::values::{AbsolutePath, FromNode, Labels, mismatch};
use crate::yaml::Node;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A watched folder whose finished files go to a bucket.
///
/// A file is finished when it has been unchanged for `quiet` and nobody has it open for writing. Files and folders whose
/// names begin with a dot or end in `.tmp`, `.part`, `.partial` or `~` are not products; symbolic links are not followed.
/// A file that changes after its upload is uploaded again, under the key of the same path; one whose key another file
/// has is refused and shown in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The folder; folders inside it are watched too.
    pub watch: PathBuf,
    /// The name of a bucket.
    pub bucket: String,
    /// The object's key. Dates are of the file's last modification, in UTC.
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
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let watch = section.required::<AbsolutePath>("watch");
        let bucket = section.required::<String>("bucket");
        section.references("bucket", "bucket", known.bucket_names);
        let key = section.or("key", KeyTemplate(vec![KeyPart::Path]));
        if let Some(problem) = missing_label(&key, known.labels) {
            section.problem_with("key", &problem);
        }
        if let (Some(watch), Some(Bucket::Folder(folder))) =
            (&watch, bucket.as_ref().and_then(|bucket| known.buckets.get(bucket)))
            && let Some(problem) = feeds_itself(&watch.0, folder)
        {
            section.problem_with("watch", &problem);
        }
        let quiet = section.or("quiet", Duration::from_secs(2));
        let afterwards = section.or("afterwards", Afterwards::Keep);
        section.finish();
        Some(Self { watch: watch?.0, bucket: bucket?, key, quiet, afterwards })
    }
}

/// A label that the key needs and the host has not, or has without a value.
fn missing_label(key: &KeyTemplate, labels: &Labels) -> Option<String> {
    let needed = key.0.iter().filter_map(|part| match part {
        KeyPart::Label(label) => Some(label),
        _ => None,
    });
    let missing = needed.into_iter().find(|label| labels.0.get(*label).is_none_or(String::is_empty))?;
    Some(format!("{{label:{missing}}} needs a value; add it under host.labels: {{{missing}: …}}"))
}

/// A bucket in the folder whose files it takes would take its own objects for new products, without end.
fn feeds_itself(watch: &Path, bucket: &Path) -> Option<String> {
    bucket.starts_with(watch).then(|| {
        format!("the bucket's folder {} lies in it, so that every upload would be a new product", bucket.display())
    })
}

#[cfg(test)]
mod tests {
    use super::{KeyPart, KeyTemplate};
    use crate::config::Config;

    fn problems(products: &str) -> String {
        let text = format!(
            "host: {{labels: {{role: backend}}}}\nbuckets: {{b: file:///srv/out}}\nproducts:\n  p: {products}\n"
        );
        Config::parse(&text, "agent.yaml").map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn a_label_that_the_key_needs_must_be_there() {
        assert_eq!(problems("{watch: /srv/in, bucket: b, key: '{label:role}/{path}'}"), "");
        let message = problems("{watch: /srv/in, bucket: b, key: '{label:rule}/{path}'}");
        assert!(message.contains("4:39: products.p.key: {label:rule} needs a value"), "{message}");
    }

    #[test]
    fn a_bucket_in_the_folder_that_feeds_it_is_refused() {
        let message = problems("{watch: /srv, bucket: b}");
        assert!(message.contains("products.p.watch: the bucket's folder /srv/out lies in it"), "{message}");
        assert_eq!(problems("{watch: /srv/outer, bucket: b}"), "");
    }

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
