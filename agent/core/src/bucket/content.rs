use super::Object;
use super::check::{Check, Checking, Proof, joined};
use super::error::Reason;
use super::memory::{AT_HAND, Memory, SMALL};
use super::part_size::{FEWEST_PARTS, part_size};
use super::piece::read_through;
use super::sums::{Sums, checksums};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// An open file with its checksums, read once: what is sent is checked against them by the store and by us.
///
/// They are computed before it is sent ([`Self::read`]), or, of what is large, while it is ([`Self::open`]).
#[derive(Clone, Debug)]
pub struct Content {
    file: Arc<File>,
    /// All of it, where there was room for it.
    memory: Option<Memory>,
    size: u64,
    part_size: u64,
    proof: Proof,
    opened: Version,
    sums: Arc<OnceLock<Sums>>,
}

/// What became of a file that is not where it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It has another name, and the same content.
    To(PathBuf),
    /// It is deleted, and was not changed before.
    Deleted,
    /// Somebody wrote to it, or nobody knows.
    Changed,
}

/// What tells whether somebody wrote to a file. Nobody can set back the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let now = file.metadata()?;
        let (mtime, ctime) = ((now.mtime(), now.mtime_nsec()), (now.ctime(), now.ctime_nsec()));
        Ok(Self { size: now.len(), mtime, ctime })
    }
}

impl Content {
    /// Reads `size` bytes of a file and computes their checksums.
    ///
    /// # Errors
    /// The file cannot be read or has fewer bytes.
    pub async fn read(file: File, size: u64) -> io::Result<Self> {
        Self::read_for(file, size, Proof::Md5).await
    }

    /// As [`Self::read`], for a bucket that wants this proof ([`super::Bucket::proof`]).
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_for(file: File, size: u64, proof: Proof) -> io::Result<Self> {
        let mut content = Self::open_for(file, size, (proof, FEWEST_PARTS))?;
        if content.is_at_hand() {
            return Ok(content);
        }
        interruptible(move |interrupted| {
            let sums = match content.parts() {
                1 => content.read_whole(interrupted)?,
                _ => checksums(&content.file, size, (content.part_size, content.proof), interrupted)?,
            };
            content.sums = Arc::new(OnceLock::from(sums));
            Ok(content)
        })
        .await
    }

    /// Reads a small file that need not be waited for, as those that were written a moment ago. Tells whether it was one.
    fn is_at_hand(&mut self) -> bool {
        if self.size > AT_HAND {
            return false;
        }
        let (mut check, mut sha256) = (Checking::new(self.proof), Sha256::new());
        self.memory = Memory::at_hand(&self.file, self.size, |bytes| {
            check.update(bytes);
            sha256.update(bytes);
        });
        if self.memory.is_some() {
            let sums = Sums::new(check.finish().into_iter().collect(), sha256.finalize().into());
            self.sums = Arc::new(OnceLock::from(sums));
        }
        self.memory.is_some()
    }

    /// What one request carries is kept in memory for it, if there is room.
    fn read_whole(&mut self, interrupted: &AtomicBool) -> io::Result<Sums> {
        let (mut check, mut sha256) = (Checking::new(self.proof), Sha256::new());
        self.memory = Memory::read_whole(&self.file, self.size, interrupted, |piece| {
            check.update(piece);
            sha256.update(piece);
        })?;
        match self.memory {
            Some(_) => Ok(Sums::new(check.finish().into_iter().collect(), sha256.finalize().into())),
            None => checksums(&self.file, self.size, (self.part_size, self.proof), interrupted),
        }
    }

    /// A file that is to be read while it is sent: its checksums are known when that has gone well.
    ///
    /// # Errors
    /// Nothing can be known of it.
    pub fn open(file: File, size: u64) -> io::Result<Self> {
        Self::open_for(file, size, (Proof::Md5, FEWEST_PARTS))
    }

    /// The same for a store that wants this proof and takes so many parts.
    pub(super) fn open_for(file: File, size: u64, (proof, most_parts): (Proof, u32)) -> io::Result<Self> {
        let (opened, sums) = (Version::of(&file)?, Arc::new(OnceLock::new()));
        let part_size = part_size(size, most_parts);
        let proof = match proof {
            // Nobody takes the SHA-256 of a part for a proof of the whole.
            Proof::Sha256 if part_size < size => Proof::Md5,
            proof => proof,
        };
        Ok(Self { file: Arc::new(file), memory: None, size, part_size, proof, opened, sums })
    }

    /// Reads it for its checksums, unless they are known.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn learn(&self) -> io::Result<()> {
        if self.sums.get().is_none() {
            let sums = self.computed(self.proof).await?;
            self.sums.get_or_init(|| sums);
        }
        Ok(())
    }

    async fn computed(&self, proof: Proof) -> io::Result<Sums> {
        let (file, size, part_size) = (self.file.clone(), self.size, self.part_size);
        interruptible(move |interrupted| checksums(&file, size, (part_size, proof), interrupted)).await
    }

    /// What was read while it was sent, if it is what it was when it was opened.
    pub(super) fn settle(&self, sums: Sums) -> Result<(), Reason> {
        let is_same = match self.sums.get() {
            Some(before) => before.sha256 == sums.sha256,
            None => Version::of(&self.file).map_err(Reason::Local)? == self.opened,
        };
        if !is_same {
            return Err(Reason::Changed);
        }
        self.sums.get_or_init(|| sums);
        Ok(())
    }

    /// What became of the file, whatever it was called when it was opened.
    pub fn moved_to(&self) -> Moved {
        let Ok(now) = self.file.metadata() else { return Moved::Changed };
        let Version { size, mtime, .. } = self.opened;
        match fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())) {
            _ if now.len() != size || (now.mtime(), now.mtime_nsec()) != mtime => Moved::Changed,
            _ if now.nlink() == 0 => Moved::Deleted,
            Ok(path) => Moved::To(path),
            Err(_) => Moved::Changed,
        }
    }

    /// Whether an object has this content, by the checksum that the bucket tells of it. Where it may have, and only
    /// there, the file is read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn is_that_of(&self, object: &Object) -> io::Result<bool> {
        let etag = object.etag.as_deref().unwrap_or_default();
        let may_be = object.sha256.is_some() || self.parts() > 1 && etag.ends_with(&format!("-{}", self.parts()));
        if object.size != self.size || !may_be {
            return Ok(false);
        }
        self.learn().await?;
        let sums = self.sums.get().ok_or_else(|| io::Error::other("its checksums are not known"))?;
        Ok(match &object.sha256 {
            Some(told) => *told == sums.sha256_text,
            None if self.proof == Proof::Md5 => sums.etag().as_deref() == Some(etag),
            None => self.computed(Proof::Md5).await?.etag().as_deref() == Some(etag),
        })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the whole, in hexadecimal, once it was read.
    pub fn sha256(&self) -> Option<&str> {
        self.sums.get().map(|sums| sums.sha256_text.as_str())
    }

    /// The same as bytes.
    ///
    /// # Errors
    /// It was not read.
    pub(super) fn sha256_bytes(&self) -> Result<&[u8; 32], Reason> {
        let sums = self.sums.get().ok_or_else(|| Reason::Local(io::Error::other("its SHA-256 was not computed")))?;
        Ok(&sums.sha256)
    }

    /// In how many requests it is sent.
    pub fn parts(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.part_size)).unwrap_or(usize::MAX).max(1)
    }

    /// Whether it is so small that a request for it costs more than it does.
    pub fn is_small(&self) -> bool {
        self.size <= SMALL && self.memory.is_some()
    }

    /// Which checksum proves that it arrived whole.
    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// Whether what one request carries still is what it was when it was read.
    pub(super) async fn is_unchanged(&self) -> Result<(), Reason> {
        // What was read into memory is what was sent.
        if self.memory.is_some() {
            return Ok(());
        }
        let file = self.file.clone();
        let now = interruptible(move |interrupted| sha256_of(&file, interrupted)).await;
        let same = now.map_err(Reason::of_reading)?.as_str() == self.sha256().unwrap_or_default();
        if same { Ok(()) } else { Err(Reason::Changed) }
    }

    /// Whether a part of the file has this checksum.
    pub(super) async fn still_has(&self, index: usize, check: Check) -> Result<(), Reason> {
        let proof = match check {
            Check::Md5(_) => Proof::Md5,
            Check::Crc64(_) => Proof::Crc64,
        };
        if self.check_now(index, proof).await? == Some(check) { Ok(()) } else { Err(Reason::Changed) }
    }

    /// Reads a part for a checksum of it.
    pub(super) async fn check_now(&self, index: usize, proof: Proof) -> Result<Option<Check>, Reason> {
        let (file, (offset, length)) = (self.file.clone(), self.part(index));
        let now = interruptible(move |interrupted| {
            let mut now = Checking::new(proof);
            read_through(&file, offset..offset + length, interrupted, |piece| {
                now.update(&piece);
                Ok(())
            })?;
            Ok(now.finish())
        });
        now.await.map_err(Reason::of_reading)
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Offset and length of a part, counted from 0.
    pub(super) fn part(&self, index: usize) -> (u64, u64) {
        let offset = index as u64 * self.part_size;
        (offset, self.part_size.min(self.size.saturating_sub(offset)))
    }

    /// The checksum of a part.
    ///
    /// # Errors
    /// It was not read yet, or for a store that wants none.
    pub(super) fn check(&self, index: usize) -> Result<Check, Reason> {
        let check = self.sums.get().and_then(|sums| sums.checks.get(index).copied());
        check.ok_or_else(|| Reason::Local(io::Error::other("its checksum was not computed when it was read")))
    }

    /// The CRC64NVME of the whole, once it was read for it.
    pub(super) fn crc64(&self) -> Option<u64> {
        let mut whole = None;
        for (index, check) in self.sums.get()?.checks.iter().enumerate() {
            let Check::Crc64(part) = *check else { return None };
            whole = Some(whole.map_or(part, |before| joined(before, (part, self.part(index).1))));
        }
        whole
    }

    /// The ETag that S3 APIs give it, once it was read.
    pub(super) fn etag(&self) -> Option<String> {
        self.sums.get().and_then(Sums::etag)
    }
}

/// The SHA-256 of a whole file, whatever its size.
pub(super) fn sha256_of(file: &File, interrupted: &AtomicBool) -> io::Result<String> {
    let size = file.metadata()?.len();
    Ok(checksums(file, size, (u64::MAX / 2, Proof::Sha256), interrupted)?.sha256_text)
}

/// Runs work that blocks on a thread for such; when the future is dropped, the work is told to end.
pub(super) async fn interruptible<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    struct Interrupt(Arc<AtomicBool>);
    impl Drop for Interrupt {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let guard = Interrupt(Arc::new(AtomicBool::new(false)));
    let interrupted = guard.0.clone();
    tokio::task::spawn_blocking(move || work(&interrupted)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::{Content, Proof};
    use std::io::Write;

    async fn content(size: usize) -> Content {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&vec![7; size]).expect("written");
        Content::read(file, size as u64).await.expect("read")
    }

    #[tokio::test]
    async fn checksums_are_those_of_md5sum_and_sha256sum() {
        let empty = content(0).await;
        assert_eq!(empty.etag().as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
        assert_eq!(empty.sha256(), Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        let large = content(20 << 20).await;
        assert_eq!((large.parts(), large.part(3).1), (4, 2 << 20));
        assert!(large.etag().is_some_and(|etag| etag.ends_with("-4")), "{large:?}");
        for (size, small) in [(1 << 16, true), (1 << 18, true), ((1 << 18) + 1, false)] {
            let (with, file) = (content(size).await, tempfile::tempfile().expect("temporary file"));
            (&file).write_all(&vec![7; size]).expect("written");
            let without = Content::read_for(file, size as u64, Proof::Sha256).await.expect("read");
            assert_eq!((with.sha256(), without.etag(), without.is_small()), (without.sha256(), None, small));
            without.is_unchanged().await.expect("unchanged");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_told_is_an_error() {
        let error = Content::read(tempfile::tempfile().expect("temporary file"), 1).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
