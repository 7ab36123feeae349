/// How a manifest is written.
mod format;

pub(in crate::products) use format::{Manifest, ManifestFile};

use crate::products::folder::Stamp;
use crate::products::found::{Body, Found};
use format::{LeftOut, VERSION};
use jiff::Timestamp;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

/// In the folder that a product is.
const IN_FOLDER: &str = "/_manifest.json";
/// Behind the key of a file.
const BEHIND_FILE: &str = ".manifest.json";
/// A manifest of a hundred thousand files has some 40 MB.
pub(in crate::products) const LARGEST: u64 = 256 << 20;

/// What is the same in all manifests of a product folder.
#[derive(Clone, Debug)]
pub(in crate::products) struct Origin {
    pub(in crate::products) product: Arc<str>,
    pub(in crate::products) bucket: Arc<str>,
    pub(in crate::products) host: String,
    pub(in crate::products) labels: BTreeMap<String, String>,
}

/// The key of the manifest of a product.
pub(in crate::products) fn key_of(found: &Found, key: &str) -> String {
    match found.body {
        Body::File => format!("{key}{BEHIND_FILE}"),
        Body::Folder(_) => key_of_folder(key),
    }
}

/// The key of the manifest of a folder.
pub(in crate::products) fn key_of_folder(key: &str) -> String {
    format!("{key}{IN_FOLDER}")
}

/// Whether a key is that of a manifest.
pub(in crate::products) fn is_key(key: &str) -> bool {
    key.ends_with(IN_FOLDER) || key.ends_with(BEHIND_FILE) || key == &IN_FOLDER[1..]
}

/// When a file was modified.
pub(in crate::products) fn modified(stamp: &Stamp) -> Option<Timestamp> {
    let (seconds, nanoseconds) = stamp.fingerprint.mtime;
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

impl Manifest {
    /// Of a product whose files are confirmed.
    pub(in crate::products) fn new(origin: &Origin, found: &Found, key: &str, files: Vec<ManifestFile>) -> Self {
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

    /// As it is stored, in a file without a name.
    pub(in crate::products) fn file(&self) -> io::Result<(File, u64)> {
        let text = serde_json::to_vec_pretty(self)?;
        let mut file = File::from(memfd_create(c"manifest", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&text)?;
        Ok((file, text.len() as u64))
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
