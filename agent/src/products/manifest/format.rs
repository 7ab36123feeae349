use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The one that this program knows.
pub const VERSION: u32 = 1;

/// What a product is made of: its last object, and what notices tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format.
    pub manifest: u32,
    /// The name of the product folder in the configuration.
    pub product: String,
    /// The product's path in that folder.
    pub path: String,
    /// Its key, or what the keys of its files begin with.
    pub key: String,
    pub bucket: String,
    pub host: String,
    pub labels: BTreeMap<String, String>,
    /// When all files were confirmed.
    pub uploaded: Timestamp,
    pub bytes: u64,
    pub files: Vec<ManifestFile>,
    /// What in the folder is neither file nor folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// As whoever ran it describes it: job_id, image, image_digest, started, ended …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Map<String, Value>>,
}

/// One file of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// In the product; the name of a product that is one file.
    pub path: String,
    pub key: String,
    pub size: u64,
    pub sha256: String,
    pub etag: Option<String>,
    pub modified: Option<Timestamp>,
}

/// Something that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub path: String,
    pub why: String,
}

impl Manifest {
    /// Whether another one, of another time, speaks of the same files.
    pub fn same_files(&self, other: &Self) -> bool {
        let facts = |file: &ManifestFile| (file.key.clone(), file.size, file.sha256.clone());
        self.files.iter().map(facts).eq(other.files.iter().map(facts)) && self.key == other.key
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one of a newer program.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest: {error}"))?;
        match manifest.manifest {
            VERSION => Ok(manifest),
            other => Err(format!("it is a manifest of format {other}, and this program knows {VERSION}")),
        }
    }
}
