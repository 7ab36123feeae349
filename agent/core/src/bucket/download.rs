use super::content::interruptible;
use super::error::Reason;
use super::limiter::Limiter;
use super::part_size::{own_part_sizes, part_sizes_of_others};
use super::piece::{read_bytes, read_piece};
use super::put::Progress;
use super::{Object, http};
use crate::atomic_file::sync_parent;
use crate::hex::hex;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What is to be brought down, and what becomes of it here.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// The key.
    pub key: &'a str,
    /// The file that it becomes; its folder must be there.
    pub to: &'a Path,
    /// Permission bits, as in chmod(2).
    pub mode: u32,
    /// The ids of owner and group, unless they stay this process'.
    pub owner: Option<(u32, u32)>,
    /// The SHA-256 that it must have, in hexadecimal, where it is known from elsewhere.
    pub sha256: Option<&'a str>,
    /// The customer's key that it is encrypted with, if it is.
    pub encryption: Option<&'a crate::config::buckets::Encryption>,
    /// Is told what has arrived.
    pub progress: Option<&'a Progress>,
}

impl<'a> Download<'a> {
    /// A file that its owner alone can read.
    pub fn new(key: &'a str, to: &'a Path) -> Self {
        Self { key, to, mode: 0o600, owner: None, sha256: None, encryption: None, progress: None }
    }
}

/// By what the content was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The SHA-256 that was asked for or that its uploader noted.
    Sha256,
    /// The store's MD5.
    Md5,
    /// The MD5s of its parts.
    PartMd5s,
    /// The store tells no checksum that can be compared: its size.
    SizeAlone,
}

/// A file that was brought down.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// What the bucket told of it.
    pub object: Object,
    /// By what it was checked.
    pub verified: Verified,
}

/// The content of an object on its way here.
pub(super) struct Incoming {
    /// The byte that it begins with.
    pub(super) from: u64,
    patience: Duration,
    limiter: Option<Arc<Limiter>>,
    source: Source,
}

enum Source {
    S3(ByteStream),
    Http(reqwest::Response),
    File { file: Arc<File>, offset: u64, left: u64 },
}

impl Incoming {
    pub(super) fn of_s3(body: ByteStream, from: u64, patience: Duration, limiter: Option<Arc<Limiter>>) -> Self {
        Self { from, patience, limiter, source: Source::S3(body) }
    }

    pub(super) fn of_http(
        answer: reqwest::Response,
        from: u64,
        patience: Duration,
        limiter: Option<Arc<Limiter>>,
    ) -> Self {
        Self { from, patience, limiter, source: Source::Http(answer) }
    }

    pub(super) fn of_file(file: File, from: u64, size: u64) -> Self {
        let source = Source::File { file: Arc::new(file), offset: from, left: size.saturating_sub(from) };
        Self { from, patience: Duration::from_secs(300), limiter: None, source }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Reason> {
        let next = async {
            match &mut self.source {
                Source::S3(body) => body
                    .next()
                    .await
                    .transpose()
                    .map_err(|error| Reason::Unreachable { cause: http::with_causes(&error) }),
                Source::Http(answer) => answer.chunk().await.map_err(|error| http::no_answer(&error)),
                Source::File { left: 0, .. } => Ok(None),
                Source::File { file, offset, left } => {
                    let (source, from, most) = (file.clone(), *offset, *left);
                    let read = tokio::task::spawn_blocking(move || read_bytes(&source, from, most));
                    let bytes = read.await.map_err(io::Error::other).flatten().map_err(Reason::Folder)?;
                    *offset += bytes.len() as u64;
                    *left -= bytes.len() as u64;
                    Ok(Some(bytes))
                }
            }
        };
        let piece = tokio::time::timeout(self.patience, next).await;
        let piece = piece.map_err(|_| Reason::Stalled { after: self.patience })??;
        if let (Some(limiter), Some(piece)) = (&self.limiter, &piece) {
            limiter.pass(piece.len() as u64).await;
        }
        Ok(piece)
    }

    pub(super) async fn collect(mut self, at_most: u64) -> Result<Vec<u8>, Reason> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if (all.len() + piece.len()) as u64 > at_most {
                return Err(Reason::TooLarge { at_most });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// A file on its way to its name. What a process that was killed has written is gone on with.
pub(super) struct Partial {
    file: Arc<File>,
    path: PathBuf,
    pub(super) length: u64,
}

impl Partial {
    /// Opens what there is of this version of the object, and removes what there is of others.
    pub(super) fn open(to: &Path, object: &Object) -> io::Result<Self> {
        let version = Sha256::digest(format!("{}\n{}\n{:?}", object.key, object.size, object.etag));
        let target = Sha256::digest(to.as_os_str().as_encoded_bytes());
        let prefix = format!(".hostwright-{}-", hex(&target[..6]));
        let name = format!("{prefix}{}.part", hex(&version[..6]));
        let folder = to.parent().unwrap_or(Path::new("/"));
        for entry in fs::read_dir(folder)? {
            let found = entry?.file_name();
            if found != *name && found.as_encoded_bytes().starts_with(prefix.as_bytes()) {
                fs::remove_file(folder.join(found))?;
            }
        }
        let path = folder.join(name);
        // No link is followed: the folder may be writable by others.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW);
        // Somebody else's has a writer that we do not know.
        let is_strange = |found: fs::Metadata| found.uid() != nix::unistd::geteuid().as_raw() || found.nlink() > 1;
        if path.symlink_metadata().is_ok_and(is_strange) {
            fs::remove_file(&path)?;
        }
        let file = options.open(&path)?;
        let mut length = file.metadata()?.len();
        // Without an ETag nobody knows whether it is still the same object.
        if length > object.size || object.etag.is_none() {
            file.set_len(0)?;
            length = 0;
        }
        Ok(Self { file: Arc::new(file), path, length })
    }

    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), Reason> {
        let (file, at, length) = (self.file.clone(), self.length, bytes.len() as u64);
        let written = tokio::task::spawn_blocking(move || file.write_all_at(&bytes, at)).await;
        written.map_err(io::Error::other).flatten().map_err(Reason::Write)?;
        self.length += length;
        Ok(())
    }

    pub(super) fn start_over(&mut self) -> Result<(), Reason> {
        self.length = 0;
        self.file.set_len(0).map_err(Reason::Write)
    }

    /// Gives it its name.
    pub(super) async fn place(self, download: &Download<'_>) -> Result<(), Reason> {
        let (to, mode, owner) = (download.to.to_owned(), download.mode, download.owner);
        interruptible(move |_| {
            if let Some((user, group)) = owner {
                std::os::unix::fs::fchown(&*self.file, Some(user), Some(group))?;
            }
            self.file.set_permissions(Permissions::from_mode(mode))?;
            self.file.sync_all()?;
            fs::rename(&self.path, &to)?;
            sync_parent(&to)
        })
        .await
        .map_err(Reason::Write)
    }

    /// Compares the content with what is known of the object; what differs is thrown away.
    pub(super) async fn verify(&self, object: &Object, wanted: Option<&str>) -> Result<Verified, Reason> {
        let (file, size, path) = (self.file.clone(), object.size, self.path.clone());
        let etag = object.etag.clone().unwrap_or_default();
        let sha256 = wanted.or(object.sha256.as_deref()).map(str::to_ascii_lowercase);
        let compared = interruptible(move |interrupted| {
            let compared = match &sha256 {
                Some(wanted) => Some((digest::<Sha256>(&file, 0, size, interrupted)? == *wanted, Verified::Sha256)),
                None => by_etag(&file, size, &etag, interrupted)?,
            };
            if compared.is_some_and(|(same, _)| !same) {
                fs::remove_file(&path)?;
            }
            Ok(compared)
        });
        match compared.await.map_err(Reason::Write)? {
            Some((true, by)) => Ok(by),
            Some((false, by)) => Err(Reason::Fetched { by: format!("{by:?}") }),
            None => Ok(Verified::SizeAlone),
        }
    }
}

/// O_NOFOLLOW of open(2).
const NO_FOLLOW: i32 = 0o400_000;

fn by_etag(file: &File, size: u64, etag: &str, interrupted: &AtomicBool) -> io::Result<Option<(bool, Verified)>> {
    let is_hex = |text: &str| text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit());
    match etag.split_once('-') {
        None if is_hex(etag) => Ok(Some((digest::<Md5>(file, 0, size, interrupted)? == etag, Verified::Md5))),
        Some((digits, number)) if is_hex(digits) => {
            // How large the parts were is told nowhere: the sizes that tools use are tried.
            let number = number.parse::<u64>().unwrap_or(0);
            let own = own_part_sizes(size);
            let sizes =
                own.into_iter().chain(part_sizes_of_others(size, number)).filter(|&part| size.div_ceil(part) == number);
            for part in sizes {
                if parts_digest(file, size, part, interrupted)? == digits {
                    return Ok(Some((true, Verified::PartMd5s)));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn parts_digest(file: &File, size: u64, part: u64, interrupted: &AtomicBool) -> io::Result<String> {
    let mut whole = Md5::new();
    let mut offset = 0;
    while offset < size {
        let length = part.min(size - offset);
        whole.update(raw_digest::<Md5>(file, offset, length, interrupted)?);
        offset += length;
    }
    Ok(hex(&whole.finalize()))
}

fn digest<D: Digest>(file: &File, offset: u64, length: u64, interrupted: &AtomicBool) -> io::Result<String> {
    Ok(hex(&raw_digest::<D>(file, offset, length, interrupted)?))
}

fn raw_digest<D: Digest>(file: &File, offset: u64, length: u64, interrupted: &AtomicBool) -> io::Result<Vec<u8>> {
    let mut digest = D::new();
    let mut buffer = vec![0; usize::try_from(MIB).unwrap_or(1 << 20)];
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let piece = read_piece(file, &mut buffer, at, end - at, interrupted)?;
        digest.update(piece);
        at += piece.len() as u64;
    }
    Ok(digest.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::{Partial, Verified};
    use bytes::Bytes;

    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// What `abc` is taken for, and whether what had arrived is still there.
    async fn verified(noted: Option<&str>, wanted: Option<&str>, etag: &str) -> (Option<Verified>, bool) {
        let folder = tempfile::tempdir().expect("folder");
        let [etag, sha256] = [Some(etag), noted].map(|text| text.map(str::to_owned));
        let object = Object { key: "k".to_owned(), size: 3, etag, sha256 };
        let mut partial = Partial::open(&folder.path().join("k"), &object).expect("opened");
        partial.append(Bytes::from_static(b"abc")).await.expect("written");
        let verified = partial.verify(&object, wanted).await.ok();
        (verified, partial.path.exists())
    }

    #[tokio::test]
    async fn what_arrived_is_taken_only_if_its_checksum_is_the_one_told() {
        let upper = SHA256.to_uppercase();
        for (noted, wanted, etag, by) in [
            (Some(SHA256), None, OTHER, Verified::Sha256),
            (None, Some(SHA256), MD5, Verified::Sha256),
            (None, Some(upper.as_str()), MD5, Verified::Sha256),
            // What was asked for counts before what the uploader noted.
            (Some(OTHER), Some(SHA256), MD5, Verified::Sha256),
            (None, None, MD5, Verified::Md5),
            (None, None, "unknown", Verified::SizeAlone),
        ] {
            assert_eq!(verified(noted, wanted, etag).await, (Some(by), true), "{noted:?} {wanted:?} {etag}");
        }
        for (noted, wanted, etag) in [
            (Some(OTHER), None, MD5),
            (None, Some(OTHER), MD5),
            (Some(SHA256), Some(OTHER), MD5),
            (None, None, &OTHER[..32]),
        ] {
            assert_eq!(verified(noted, wanted, etag).await, (None, false), "{noted:?} {wanted:?} {etag}");
        }
    }
}
