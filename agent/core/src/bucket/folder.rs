use super::content::{interruptible, sha256_of};
use super::download::Incoming;
use super::error::Reason;
use super::piece::read_piece;
use super::sums::Sums;
use super::{Object, Put};
use crate::atomic_file::sync_parent;
use crate::hex::hex;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Names that begin so are ours: files on their way to their name.
const TEMPORARY: &str = ".hostwright-";

/// A folder as a bucket: a key is a path in it, and objects appear by rename.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Creates the folder where it is missing, and sees that it can be written.
    pub(super) async fn check(&self) -> Result<(), Reason> {
        let root = self.root.clone();
        blocking(move |_| {
            create_folders(&root)?;
            let probe = root.join(format!("{TEMPORARY}check-{}", std::process::id()));
            File::create(&probe)?;
            fs::remove_file(&probe)
        })
        .await
    }

    pub(super) async fn put(&self, put: Put<'_>) -> Result<Object, Reason> {
        let options = put.options;
        if !options.tags.is_empty() || options.encryption.is_some() || options.acl.is_some() {
            return Err(Reason::Unsupported { what: "tags, encryption and ACLs: it is a folder".into() });
        }
        let path = self.path(put.key)?;
        let root = self.root.clone();
        let content = put.content.clone();
        let placed = blocking(move |interrupted| {
            let folder = path.parent().unwrap_or(&root);
            create_folders(folder)?;
            stay_inside(&root, folder)?;
            let temporary = temporary_for(&path);
            let placed = copy(content.file(), content.size(), &temporary, interrupted).and_then(|copied| {
                let settled = content.settle(Sums::new(Vec::new(), copied));
                if settled.is_ok() {
                    fs::rename(&temporary, &path).and_then(|()| sync_parent(&path))?;
                }
                Ok(settled)
            });
            if !matches!(placed, Ok(Ok(()))) {
                // The first error counts; a leftover is overwritten by the next attempt.
                let _ = fs::remove_file(&temporary);
            }
            placed
        });
        placed.await??;
        if let Some(progress) = put.progress {
            progress.add(put.content.size());
        }
        let sha256 = put.content.sha256().map(str::to_owned);
        Ok(Object { key: put.key.to_owned(), size: put.content.size(), etag: None, sha256 })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Reason> {
        let path = self.path(key)?;
        let key = key.to_owned();
        let found = blocking(move |interrupted| {
            let file = File::open(&path)?;
            if !file.metadata()?.is_file() {
                return Ok(None);
            }
            let sha256 = Some(sha256_of(&file, interrupted)?);
            Ok(Some(Object { key, size: file.metadata()?.len(), etag: None, sha256 }))
        })
        .await;
        match found {
            Err(Reason::Folder(error)) if is_absent(&error) => Ok(None),
            other => other,
        }
    }

    pub(super) async fn open_object(&self, key: &str, from: u64, size: u64) -> Result<Incoming, Reason> {
        let path = self.path(key)?;
        let file = blocking(move |_| File::open(path)).await?;
        Ok(Incoming::of_file(file, from, size))
    }

    pub(super) async fn get(&self, key: &str, at_most: u64) -> Result<Vec<u8>, Reason> {
        let path = self.path(key)?;
        let read = blocking(move |_| {
            let mut all = Vec::new();
            File::open(path)?.take(at_most.saturating_add(1)).read_to_end(&mut all)?;
            Ok(all)
        })
        .await;
        match read {
            Ok(all) if all.len() as u64 > at_most => Err(Reason::TooLarge { at_most }),
            Err(Reason::Folder(error)) if is_absent(&error) => Err(Reason::NoSuchObject),
            other => other,
        }
    }

    pub(super) async fn list(&self, prefix: &str, at_most: usize) -> Result<Vec<Object>, Reason> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        blocking(move |_| {
            let mut all = Vec::new();
            collect(&root, &root, &prefix, &mut all)?;
            all.sort_by(|a, b| a.key.cmp(&b.key));
            all.truncate(at_most);
            Ok(all)
        })
        .await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Reason> {
        let path = self.path(key)?;
        let deleted = blocking(move |_| fs::remove_file(&path).and_then(|()| sync_parent(&path))).await;
        match deleted {
            Err(Reason::Folder(error)) if is_absent(&error) => Ok(()),
            other => other,
        }
    }

    /// The path of a key, which cannot lead out of the folder.
    fn path(&self, key: &str) -> Result<PathBuf, Reason> {
        let refused = |why| Err(Reason::Key(key.to_owned(), why));
        if key.contains('\0') {
            return refused("a file name cannot hold a NUL");
        }
        for part in key.split('/') {
            match part {
                "" | "." | ".." => return refused("its parts between '/' must be names"),
                _ if part.starts_with(TEMPORARY) => return refused("names that begin with '.hostwright-' are taken"),
                _ if part.len() > 255 => return refused("a file name can have 255 bytes"),
                _ => {}
            }
        }
        Ok(self.root.join(key))
    }
}

/// The error of a folder, told apart by what an operator can do.
fn folder_error(error: io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Reason::Denied { code: error.to_string() }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::Full { code: error.to_string() },
        _ => Reason::Folder(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> io::Result<T> + Send + 'static,
) -> Result<T, Reason> {
    interruptible(work).await.map_err(folder_error)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Creates missing folders, each made durable in the one above it.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_folders(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.and_then(|()| sync_parent(path)),
    }
}

/// A symbolic link in the folder could lead out of it.
fn stay_inside(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.canonicalize()?.starts_with(root.canonicalize()?) {
        return Ok(());
    }
    let why = format!("{} is reached through a link that leads out of the bucket's folder", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// The same for the same key: what a killed process left is overwritten by the next attempt.
fn temporary_for(path: &Path) -> PathBuf {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    path.with_file_name(format!("{TEMPORARY}{}.tmp", hex(&digest[..12])))
}

/// Copies and fsyncs; gives the SHA-256 of what was written.
fn copy(source: &Arc<File>, size: u64, target: &Path, interrupted: &AtomicBool) -> io::Result<[u8; 32]> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // New or not at all, so that no link under this name is followed: the folder may be writable by others.
    let mut file = OpenOptions::new().write(true).create_new(true).open(target)?;
    let mut buffer = vec![0; 1 << 20];
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < size {
        let piece = read_piece(source, &mut buffer, offset, size - offset, interrupted)?;
        file.write_all(piece)?;
        digest.update(piece);
        offset += piece.len() as u64;
    }
    file.sync_all()?;
    Ok(digest.finalize().into())
}

fn collect(root: &Path, folder: &Path, prefix: &str, all: &mut Vec<Object>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        // Names that are not UTF-8 cannot be keys; they are not ours.
        let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        if kind.is_dir() && (key.starts_with(prefix) || prefix.starts_with(key)) {
            collect(root, &path, prefix, all)?;
        } else if kind.is_file() && key.starts_with(prefix) {
            all.push(Object { key: key.to_owned(), size: entry.metadata()?.len(), etag: None, sha256: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Bucket, Content, Put, Reason};
    use crate::config::buckets;
    use std::io::Write as _;
    use std::path::Path;

    async fn content(bytes: &[u8]) -> Content {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(bytes).expect("written");
        Content::read(file, bytes.len() as u64).await.expect("read")
    }

    fn bucket(folder: &Path) -> Bucket {
        Bucket::open("local", &buckets::Bucket::Folder(folder.join("bucket"))).expect("opened")
    }

    async fn put(bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<(), super::super::BucketError> {
        bucket.put(Put::new(key, &content(bytes).await), None).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_folder_holds_whole_objects_and_tells_of_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let bucket = bucket(folder.path());
        bucket.check().await.expect("usable");
        put(&bucket, "2026/a b\n\u{e9}.bin", b"one").await.expect("stored");
        put(&bucket, "2026/a b\n\u{e9}.bin", b"two").await.expect("replaced");
        put(&bucket, "2027/c", b"").await.expect("stored");
        assert_eq!(bucket.get("2026/a b\n\u{e9}.bin", 3).await.expect("read"), b"two");
        let head = bucket.head("2027/c").await.expect("asked").expect("there");
        assert_eq!(head.sha256.as_deref(), content(b"").await.sha256());
        let keys: Vec<_> = bucket.list("2026/", 10).await.expect("listed").into_iter().map(|o| o.key).collect();
        assert_eq!(keys, ["2026/a b\n\u{e9}.bin"]);
        bucket.delete("2027/c").await.expect("deleted");
        bucket.delete("2027/c").await.expect("gone already");
        assert_eq!(bucket.head("2027/c").await.expect("asked"), None);
        assert!(
            matches!(bucket.get("2026/a b\n\u{e9}.bin", 2).await, Err(e) if matches!(e.reason(), Reason::TooLarge { .. }))
        );
    }

    #[tokio::test]
    async fn no_key_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let bucket = bucket(folder.path());
        for key in ["../x", "a/../../x", "/etc/x", "a//b", ".", "", "a\0b", ".hostwright-x"] {
            let error = put(&bucket, key, b"x").await.expect_err(key);
            assert!(error.is_permanent() && matches!(error.reason(), Reason::Key(..)), "{error}");
        }
        bucket.check().await.expect("usable");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("bucket/out")).expect("linked");
        let error = put(&bucket, "out/x", b"x").await.expect_err("refused");
        assert!(error.to_string().contains("leads out"), "{error}");
        assert!(!folder.path().join("x").exists());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_names_itself_and_the_reason() {
        let settings = buckets::Bucket::Folder("/proc/nowhere".into());
        let error = Bucket::open("local", &settings).expect("opened").check().await.expect_err("refused");
        assert!(error.to_string().starts_with("cannot use the bucket \"local\" (file:///proc/nowhere): "), "{error}");
    }
}
