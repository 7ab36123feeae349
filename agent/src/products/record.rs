use super::folder::Fingerprint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A content that the bucket has confirmed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) key: Arc<str>,
    /// The key that the template gave, where that was another's or is of the moment.
    pub(super) asked: Option<Arc<str>>,
    /// The bucket.
    pub(super) place: Arc<str>,
    pub(super) sha256: String,
    pub(super) time: Timestamp,
}

/// An upload that was begun, so that another process can go on with it, or clear its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The file's path in the watched folder.
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) fingerprint: Fingerprint,
    /// The bucket.
    pub(super) place: String,
    /// The store's id of an upload in parts.
    pub(super) upload: String,
    /// Empty where the file is read while it is sent.
    pub(super) sha256: String,
}

/// A product that is being uploaded under a key that its template would not give again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) digest: u64,
    pub(super) key: String,
}

/// Objects of a folder that is not whole in the bucket: without its manifest nobody else knows whose they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Strewn {
    /// The product's path.
    pub(super) path: String,
    /// The bucket.
    pub(super) place: String,
    pub(super) keys: BTreeSet<String>,
    /// Whether some are of a content that was whole before.
    pub(super) of_earlier: bool,
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// Uploads confirmed in all.
    #[serde(rename = "u")]
    Uploaded(u64),
    /// A product is confirmed.
    #[serde(rename = "p")]
    Confirmed { p: String, d: u64, k: String, a: Option<String>, b: String, t: i64 },
    /// Nothing of a product is left here or elsewhere that needs to be known.
    #[serde(rename = "f")]
    Forgotten(String),
    /// An upload was begun, by its key.
    #[serde(rename = "b")]
    Begun(String, Begun),
    /// And ended.
    #[serde(rename = "e")]
    Ended(String),
    /// By the product's path.
    #[serde(rename = "i")]
    Intent(String, Intent),
    /// An object of a folder that is not whole, by the folder's key; `o` where it is of an earlier content.
    #[serde(rename = "s")]
    Strewn { f: String, p: String, b: String, k: String, o: bool },
    /// A folder is whole, or nothing of it is left.
    #[serde(rename = "g")]
    Gathered(String),
}
