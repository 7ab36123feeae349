use super::folder::Stamp;
use super::found::{Body, Found};
use jiff::Timestamp;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

const VERSION: u32 = 1;
/// In the folder that a product is.
const IN_FOLDER: &str = "/_manifest.json";
/// Behind the key of a file.
const BEHIND_FILE: &str = ".manifest.json";
/// A manifest of a hundred thousand files has some 40 MB.
pub(super) const LARGEST: u64 = 256 << 20;

/// What a product is made of: its last object, and what notices tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The format.
    pub(super) manifest: u32,
    /// The name of the product folder in the configuration.
    pub(super) product: String,
    /// The product's path in that folder.
    pub(super) path: String,
    /// Its key, or what the keys of its files begin with.
    pub(super) key: String,
    pub(super) bucket: String,
    pub(super) host: String,
    pub(super) labels: BTreeMap<String, String>,
    /// When all files were confirmed.
    pub(super) uploaded: Timestamp,
    pub(super) bytes: u64,
    pub(super) files: Vec<ManifestFile>,
    /// What in the folder is neither file nor folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<LeftOut>,
    /// As whoever ran it describes it: job_id, image, image_digest, started, ended …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<Map<String, Value>>,
}

/// One file of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    /// In the product; the name of a product that is one file.
    pub(super) path: String,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<Timestamp>,
}

/// Something that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) path: String,
    pub(super) why: String,
}

/// What is the same in all manifests of a product folder.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) product: Arc<str>,
    pub(super) bucket: Arc<str>,
    pub(super) host: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// The key of the manifest of a product.
pub(super) fn key_of(found: &Found, key: &str) -> String {
    match found.body {
        Body::File => format!("{key}{BEHIND_FILE}"),
        Body::Folder(_) => format!("{key}{IN_FOLDER}"),
    }
}

/// Whether a key is that of a manifest.
pub(super) fn is_key(key: &str) -> bool {
    key.ends_with(IN_FOLDER) || key.ends_with(BEHIND_FILE) || key == &IN_FOLDER[1..]
}

/// When a file was modified.
pub(super) fn modified(stamp: &Stamp) -> Option<Timestamp> {
    let (seconds, nanoseconds) = stamp.fingerprint.mtime;
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

impl Manifest {
    /// Of a product whose files are confirmed.
    pub(super) fn new(origin: &Origin, found: &Found, key: &str, files: Vec<ManifestFile>) -> Self {
        let left_out = match &found.body {
            Body::File => Vec::new(),
            Body::Folder(contents) => contents.left_out.clone(),
        };
        Self {
            manifest: VERSION,
            product: origin.product.to_string(),
            path: found.path.to_string(),
            key: key.to_owned(),
            bucket: origin.bucket.to_string(),
            host: origin.host.clone(),
            labels: origin.labels.clone(),
            uploaded: Timestamp::now(),
            bytes: files.iter().map(|file| file.size).sum(),
            files,
            left_out: left_out.into_iter().map(|(path, why)| LeftOut { path, why }).collect(),
            job: found.job.as_deref().cloned(),
        }
    }

    /// Whether another one, of another time, speaks of the same files.
    pub(super) fn same_files(&self, other: &Self) -> bool {
        let facts = |file: &ManifestFile| (file.key.clone(), file.size, file.sha256.clone());
        self.files.iter().map(facts).eq(other.files.iter().map(facts)) && self.key == other.key
    }

    /// As it is stored, in a file without a name.
    pub(super) fn file(&self) -> io::Result<(File, u64)> {
        let text = serde_json::to_vec_pretty(self)?;
        let mut file = File::from(memfd_create(c"manifest", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&text)?;
        Ok((file, text.len() as u64))
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one of a newer program.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest: {error}"))?;
        match manifest.manifest {
            VERSION => Ok(manifest),
            other => Err(format!("it is a manifest of format {other}, and this program knows {VERSION}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, ManifestFile, Origin, is_key, key_of};
    use crate::products::folder::{Fingerprint, Stamp};
    use crate::products::found::{Contents, Found};
    use std::io::{Read as _, Seek as _};

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_one_of_another_time_has_the_same_files() {
        let stamp = Stamp { fingerprint: Fingerprint { size: 1, mtime: (2, 3), inode: 4 }, device: 1, ctime: (0, 0) };
        let contents = Contents { left_out: vec![("l".into(), "a link".into())], ..Contents::default() };
        let found = Found::folder("f".into(), stamp, contents);
        let origin = Origin { product: "p".into(), bucket: "b".into(), host: "h".into(), labels: [].into() };
        let file = ManifestFile {
            path: "a".into(),
            key: "k/a".into(),
            size: 7,
            sha256: "s".into(),
            etag: None,
            modified: super::modified(&stamp),
        };
        let manifest = Manifest::new(&origin, &found, "k", vec![file.clone()]);
        let (mut stored, size) = manifest.file().expect("made");
        let mut bytes = Vec::new();
        stored.rewind().expect("rewound");
        stored.read_to_end(&mut bytes).expect("read");
        assert_eq!((bytes.len() as u64, Manifest::parse(&bytes)), (size, Ok(manifest.clone())));
        let mut later = Manifest::new(&origin, &found, "k", vec![file]);
        assert!(later.same_files(&manifest) && later.bytes == 7);
        later.files[0].sha256.push('x');
        assert!(!later.same_files(&manifest));
        assert!(is_key(&key_of(&found, "k")) && is_key(&key_of(&Found::file("f".into(), stamp), "k")) && !is_key("k"));
        assert!(Manifest::parse(b"{}").is_err());
    }
}
