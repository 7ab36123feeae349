use super::buffer::{Buffer, READ};
use super::error::Reason;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

const MIB: u64 = 1 << 20;
/// Up to here one request carries the whole object.
const SINGLE_AT_MOST: u64 = 16 * MIB;
const SMALLEST_PART: u64 = 8 * MIB;
/// OpenStack Swift takes no more parts unless it is told to (`max_upload_part_num`).
const PARTS_AIMED_AT: u64 = 1000;
/// No S3 API takes a larger part; files beyond `PARTS_AIMED_AT` of them need a store that takes 10,000 parts.
const LARGEST_PART: u64 = 5 << 30;
/// How many pieces one digest may be behind the other.
const AHEAD: usize = 4;

/// What of this size is kept in memory between its checksums and its way: read once, and many at once are few bytes.
pub(super) const SMALL: u64 = MIB / 4;

/// Which checksum proves to a store that an object arrived whole, where one request carries it. Parts have MD5s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Every store checks it.
    #[default]
    Md5,
    /// A third of the work; for stores that were found to check it and to tell it back.
    Sha256,
}

/// An open file with its checksums, read once: what is sent is checked against them by the store and by us.
#[derive(Clone, Debug)]
pub struct Content {
    file: Arc<File>,
    /// All of it, where it is small.
    small: Option<Bytes>,
    size: u64,
    part_size: u64,
    sums: Sums,
}

#[derive(Clone, Debug)]
struct Sums {
    /// Of each part; of the whole where one request carries it. None where SHA-256 is the proof.
    md5: Vec<[u8; 16]>,
    sha256: [u8; 32],
    /// In hexadecimal.
    sha256_text: String,
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
        interruptible(move |interrupted| Self::read_now(file, (size, proof), interrupted)).await
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// As [`Self::read`], or it was interrupted.
    pub fn read_now(file: File, (size, proof): (u64, Proof), interrupted: &AtomicBool) -> io::Result<Self> {
        let part_size = part_size(size);
        let proof = if size > part_size { Proof::Md5 } else { proof };
        if size > SMALL {
            let sums = checksums(&file, size, (part_size, proof), interrupted)?;
            return Ok(Self { file: Arc::new(file), small: None, size, part_size, sums });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let mut read = 0;
        while read < bytes.len() {
            let left = (bytes.len() - read) as u64;
            read += read_piece(&file, &mut bytes[read..], read as u64, left, interrupted)?.len();
        }
        let md5 = if proof == Proof::Md5 { vec![Md5::digest(&bytes).into()] } else { Vec::new() };
        let sums = Sums::new(md5, Sha256::digest(&bytes).into());
        Ok(Self { file: Arc::new(file), small: Some(bytes.into()), size, part_size, sums })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the whole, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sums.sha256_text
    }

    /// The same as bytes.
    pub(super) fn sha256_bytes(&self) -> &[u8; 32] {
        &self.sums.sha256
    }

    /// In how many requests it is sent.
    pub fn parts(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.part_size)).unwrap_or(usize::MAX).max(1)
    }

    /// Whether it is held in memory.
    pub fn is_small(&self) -> bool {
        self.small.is_some()
    }

    /// Which checksum proves that it arrived whole.
    pub(super) fn proof(&self) -> Proof {
        if self.sums.md5.is_empty() { Proof::Sha256 } else { Proof::Md5 }
    }

    /// Whether a part of the file still is what it was when its checksum was computed.
    pub(super) async fn part_is_unchanged(&self, index: usize) -> Result<(), Reason> {
        // What was read into memory is what was sent.
        if self.is_small() {
            return Ok(());
        }
        let (offset, length) = self.part(index);
        let (file, proof) = (self.file.clone(), self.proof());
        let now = interruptible(move |interrupted| {
            let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
            let mut buffer = vec![0; READ];
            let (mut at, end) = (offset, offset + length);
            while at < end {
                let piece = read_piece(&file, &mut buffer, at, end - at, interrupted)?;
                match proof {
                    Proof::Md5 => md5.update(piece),
                    Proof::Sha256 => sha256.update(piece),
                }
                at += piece.len() as u64;
            }
            Ok((<[u8; 16]>::from(md5.finalize()), <[u8; 32]>::from(sha256.finalize())))
        });
        match now.await {
            Ok((md5, _)) if self.sums.md5.get(index) == Some(&md5) => Ok(()),
            Ok((_, sha256)) if self.proof() == Proof::Sha256 && sha256 == self.sums.sha256 => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(Reason::Local(error)),
            _ => Err(Reason::Changed),
        }
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn small(&self) -> Option<&Bytes> {
        self.small.as_ref()
    }

    /// Offset and length of a part, counted from 0.
    pub(super) fn part(&self, index: usize) -> (u64, u64) {
        let offset = index as u64 * self.part_size;
        (offset, self.part_size.min(self.size.saturating_sub(offset)))
    }

    /// The MD5 of a part.
    ///
    /// # Errors
    /// It was read for a store that wants none.
    pub(super) fn md5(&self, index: usize) -> Result<[u8; 16], Reason> {
        let md5 = self.sums.md5.get(index).copied();
        md5.ok_or_else(|| Reason::Local(io::Error::other("its MD5 was not computed when it was read")))
    }

    /// The ETag that S3 APIs give: the MD5, and for an object in parts the MD5 of the parts' MD5s and their number.
    pub(super) fn etag(&self) -> Option<String> {
        match &self.sums.md5[..] {
            [] => None,
            [md5] => Some(hex(md5)),
            parts => Some(format!("{}-{}", hex(&Md5::digest(parts.concat())), parts.len())),
        }
    }
}

impl Sums {
    fn new(md5: Vec<[u8; 16]>, sha256: [u8; 32]) -> Self {
        Self { md5, sha256, sha256_text: hex(&sha256) }
    }
}

/// The sizes of parts of a content: a function of its size alone, so that a later process finds the same.
pub(super) fn part_size(size: u64) -> u64 {
    if size <= SINGLE_AT_MOST {
        return SINGLE_AT_MOST;
    }
    let part = size.div_ceil(PARTS_AIMED_AT).next_multiple_of(MIB);
    part.clamp(SMALLEST_PART, LARGEST_PART)
}

/// The sizes of parts that other tools use, and the one that divides a content evenly.
pub(super) fn part_sizes_of_others(size: u64, number: u64) -> impl Iterator<Item = u64> {
    let usual = [5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512, 1024].into_iter().map(|size| size * MIB);
    let even = size.div_ceil(number.max(1)).max(1);
    usual.chain([even.next_multiple_of(MIB), even])
}

fn checksums(file: &File, size: u64, (part_size, proof): (u64, Proof), interrupted: &AtomicBool) -> io::Result<Sums> {
    if size > part_size {
        return checksums_of_parts(file, size, part_size, interrupted);
    }
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    read_through(file, 0..size, interrupted, |piece| {
        sha256.update(&piece);
        if proof == Proof::Md5 {
            md5.update(&piece);
        }
        Ok(())
    })?;
    let md5 = if proof == Proof::Md5 { vec![md5.finalize().into()] } else { Vec::new() };
    Ok(Sums::new(md5, sha256.finalize().into()))
}

/// Two digests of a large file take two cores, and a third less time; of what is read once.
fn checksums_of_parts(file: &File, size: u64, part_size: u64, interrupted: &AtomicBool) -> io::Result<Sums> {
    std::thread::scope(|scope| {
        let (give, take) = sync_channel::<Bytes>(AHEAD);
        let whole = scope.spawn(move || {
            let digest = take.iter().fold(Sha256::new(), |digest, piece| digest.chain_update(&piece));
            <[u8; 32]>::from(digest.finalize())
        });
        let mut md5 = Vec::new();
        let mut offset = 0;
        while offset < size {
            let end = (offset + part_size).min(size);
            let mut part = Md5::new();
            read_through(file, offset..end, interrupted, |piece| {
                part.update(&piece);
                give.send(piece).map_err(io::Error::other)
            })?;
            md5.push(part.finalize().into());
            offset = end;
        }
        drop(give);
        let sha256 = whole.join().map_err(|_| io::Error::other("a checksum could not be computed"))?;
        Ok(Sums::new(md5, sha256))
    })
}

/// Reads a range of a file, a piece at a time.
fn read_through(
    file: &File,
    range: Range<u64>,
    interrupted: &AtomicBool,
    mut each: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let mut buffer = Buffer::new();
        let read = read_piece(file, buffer.space(), offset, range.end - offset, interrupted)?.len();
        offset += read as u64;
        each(buffer.into_bytes(read))?;
    }
    Ok(())
}

/// The SHA-256 of a whole file, whatever its size.
pub(super) fn sha256_of(file: &File, interrupted: &AtomicBool) -> io::Result<String> {
    let size = file.metadata()?.len();
    Ok(checksums(file, size, (u64::MAX / 2, Proof::Sha256), interrupted)?.sha256_text)
}

/// Reads at most a buffer full, and at least one byte.
pub(super) fn read_piece<'b>(
    file: &File,
    buffer: &'b mut [u8],
    offset: u64,
    left: u64,
    interrupted: &AtomicBool,
) -> io::Result<&'b [u8]> {
    if interrupted.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    match file.read_at(&mut buffer[..most], offset)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read")),
        read => Ok(&buffer[..read]),
    }
}

/// As [`read_piece`], for a body that is sent.
pub(super) fn read_bytes(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let going_on = AtomicBool::new(false);
    // A whole buffer is too much for what a limit lets through.
    if left < READ as u64 / 4 {
        let mut few = vec![0; usize::try_from(left).unwrap_or(READ)];
        let read = read_piece(file, &mut few, offset, left, &going_on)?.len();
        few.truncate(read);
        return Ok(few.into());
    }
    let mut buffer = Buffer::new();
    let read = read_piece(file, buffer.space(), offset, left, &going_on)?.len();
    Ok(buffer.into_bytes(read))
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

/// Lowercase hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

#[cfg(test)]
mod tests {
    use super::{Content, MIB, PARTS_AIMED_AT, Proof, part_size};
    use std::io::Write;

    #[test]
    fn parts_are_so_large_that_a_thousand_suffice() {
        assert_eq!(part_size(16 * MIB + 1), 8 * MIB);
        for size in [8_000 * MIB, 8_000 * MIB + 1, 123_456_789_012, 4 << 40] {
            let part = part_size(size);
            assert!(size.div_ceil(part) <= PARTS_AIMED_AT && part.is_multiple_of(MIB), "{size}: {part}");
        }
        // 5 TiB, S3's largest object for long: more than a thousand of the largest part.
        assert_eq!((5_u64 << 40).div_ceil(part_size(5 << 40)), 1024);
    }

    async fn content(size: usize) -> Content {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&vec![7; size]).expect("written");
        Content::read(file, size as u64).await.expect("read")
    }

    #[tokio::test]
    async fn checksums_are_those_of_md5sum_and_sha256sum() {
        let empty = content(0).await;
        assert_eq!(empty.etag().as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
        assert_eq!(empty.sha256(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let large = content(20 << 20).await;
        assert_eq!((large.parts(), large.part(2).1), (3, 4 * MIB));
        assert!(large.etag().is_some_and(|etag| etag.ends_with("-3")), "{large:?}");
        for (size, small) in [(1 << 18, true), ((1 << 18) + 1, false)] {
            let (with, file) = (content(size).await, tempfile::tempfile().expect("temporary file"));
            (&file).write_all(&vec![7; size]).expect("written");
            let without = Content::read_for(file, size as u64, Proof::Sha256).await.expect("read");
            assert_eq!((with.sha256(), without.etag(), without.is_small()), (without.sha256(), None, small));
            without.part_is_unchanged(0).await.expect("unchanged");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_told_is_an_error() {
        let error = Content::read(tempfile::tempfile().expect("temporary file"), 1).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
