use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use std::collections::BTreeMap;

/// How objects are stored beside their content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// The media type; by the key's ending unless given.
    pub content_type: Option<String>,
    /// Further metadata, `x-amz-meta-NAME`.
    pub metadata: BTreeMap<String, String>,
    /// Tags, where the store has them.
    pub tags: BTreeMap<String, String>,
    /// The storage class, in the store's words; its default unless given.
    pub storage_class: Option<String>,
    /// Who encrypts with which key; what the store does by itself unless given.
    pub encryption: Option<Encryption>,
    /// A canned ACL such as `private` or `public-read`.
    pub acl: Option<String>,
}

/// Encryption by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With the store's own keys (SSE-S3).
    Store,
    /// With a key of a key management service (SSE-KMS); its default key unless named.
    Kms(Option<String>),
    /// With a key that is sent along and that the store forgets (SSE-C): 32 bytes in base64.
    Customer(SecretRef),
}

/// The canned ACLs of S3.
const ACLS: [&str; 7] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];
/// AWS takes no more of all names and values of metadata.
const MOST_METADATA: usize = 2048;
/// AWS takes no more tags.
const MOST_TAGS: usize = 10;

struct Acl(String);

impl FromNode for Acl {
    const EXPECTED: &'static str = "a canned ACL: private, public-read, public-read-write, authenticated-read, aws-exec-read, bucket-owner-read or bucket-owner-full-control";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some(text) if ACLS.contains(&text) => Ok(Self(text.to_owned())),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// A name of metadata goes into a header's name.
struct Metadata(BTreeMap<String, String>);

impl FromNode for Metadata {
    const EXPECTED: &'static str = "metadata such as {project: snow}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let all = texts::<Self>(node)?;
        for (name, value) in &all {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(fits) {
                return Err(format!("{name:?} cannot be a name of metadata: use small letters, digits and '-'"));
            }
            if matches!(name.as_str(), "sha256" | "host") {
                return Err(format!("the metadata {name:?} is written by the agent itself; take another name"));
            }
            if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                return Err(format!("the metadata {name:?} must be visible ASCII: it is sent as a header"));
            }
        }
        let length: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length > MOST_METADATA {
            return Err(format!("{length} bytes of metadata are more than the {MOST_METADATA} that stores take"));
        }
        Ok(Self(all))
    }
}

struct Tags(BTreeMap<String, String>);

impl FromNode for Tags {
    const EXPECTED: &'static str = "tags such as {project: snow}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let all = texts::<Self>(node)?;
        if all.len() > MOST_TAGS {
            return Err(format!("{} tags are more than the {MOST_TAGS} that an object can have", all.len()));
        }
        for (name, value) in &all {
            let length = |text: &str| text.chars().count();
            if name.is_empty() || length(name) > 128 || length(value) > 256 {
                return Err(format!("the tag {name:?} is too long: 128 characters for a name and 256 for a value"));
            }
        }
        Ok(Self(all))
    }
}

fn texts<T: FromNode>(node: &Node) -> Result<BTreeMap<String, String>, String> {
    let mapping = node.mapping().ok_or_else(|| mismatch::<T>(node))?;
    let text = |entry: &crate::yaml::Entry| {
        let value = entry.value.text().filter(|_| !entry.value.is_null());
        let value = value.ok_or_else(|| format!("{:?} takes a string, found {}", entry.key, entry.value.kind()))?;
        Ok((entry.key.clone(), value.to_owned()))
    };
    mapping.entries.iter().map(text).collect()
}

impl FromNode for Encryption {
    const EXPECTED: &'static str = "s3, kms, {kms: KEY-ID} or {customer_key: {file: /path}}";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("s3") => return Ok(Self::Store),
            Some("kms") => return Ok(Self::Kms(None)),
            _ => {}
        }
        let Some([entry]) = node.mapping().map(|mapping| &mapping.entries[..]) else {
            return Err(mismatch::<Self>(node));
        };
        match (entry.key.as_str(), entry.value.text()) {
            ("kms", Some(key)) if !key.is_empty() => Ok(Self::Kms(Some(key.to_owned()))),
            ("customer_key", _) => SecretRef::from_node(&entry.value).map(Self::Customer),
            _ => Err(mismatch::<Self>(node)),
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Self::Customer(key) => vec![key.clone()],
            Self::Store | Self::Kms(_) => Vec::new(),
        }
    }
}

impl ObjectOptions {
    /// Reads the keys `content_type`, `metadata`, `tags`, `storage_class`, `encryption` and `acl`.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let read = Self {
            content_type: section.optional("content_type"),
            metadata: section.optional::<Metadata>("metadata").map(|read| read.0).unwrap_or_default(),
            tags: section.optional::<Tags>("tags").map(|read| read.0).unwrap_or_default(),
            storage_class: section.optional("storage_class"),
            encryption: section.optional("encryption"),
            acl: section.optional::<Acl>("acl").map(|read| read.0),
        };
        section.finish();
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{Encryption, ObjectOptions};
    use crate::config::section::{Problems, Section};
    use crate::secret::SecretRef;
    use crate::yaml::{self, Duplicates};

    fn read(text: &str) -> Result<ObjectOptions, String> {
        let document = yaml::load(text, Duplicates::Refuse).expect("YAML");
        let problems = Problems::default();
        let read = Section::open(&document.root, "object", &problems).and_then(ObjectOptions::read);
        match problems.into_sorted().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(read.expect("read")),
        }
    }

    #[test]
    fn all_keys_are_read() {
        let read = read(
            "content_type: image/tiff\nmetadata: {project: snow}\ntags: {Kind: Product X}\nstorage_class: GLACIER\nencryption: {customer_key: {file: /etc/key}}\nacl: bucket-owner-full-control\n",
        )
        .expect("valid");
        assert_eq!(read.content_type.as_deref(), Some("image/tiff"));
        assert_eq!((read.metadata["project"].as_str(), read.tags["Kind"].as_str()), ("snow", "Product X"));
        assert_eq!(read.encryption, Some(Encryption::Customer(SecretRef::File("/etc/key".into()))));
    }

    #[test]
    fn what_no_store_would_take_is_refused_by_name() {
        for (text, words) in [
            ("metadata: {Project: x}", "small letters"),
            ("metadata: {sha256: x}", "by the agent itself"),
            ("metadata: {a: \"\u{e9}\"}", "visible ASCII"),
            ("tags: {a: [x]}", "takes a string"),
            ("tags: {1: a, 2: a, 3: a, 4: a, 5: a, 6: a, 7: a, 8: a, 9: a, 10: a, 11: a}", "11 tags"),
            ("encryption: aes", "s3, kms"),
            ("encryption: {customer_key: hunter2}", "a reference to a secret"),
            ("acl: public", "canned ACL"),
            ("storageclass: X", "did you mean \"storage_class\"?"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
