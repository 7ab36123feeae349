use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::SystemTime;

/// How much of a file's beginning is part of its identity. A shorter file is known by what it has.
pub const HEAD: usize = 1024;
/// How much before a position is remembered with it. Some lines' worth, because tails of lines repeat.
pub const WINDOW: usize = 1024;

/// A shorter beginning says too little to take a file for a copy of another.
pub const TELLING: usize = 64;

/// Who has read so much knows a content by its beginning and by what is behind that.
pub const WELL: u64 = (HEAD + WINDOW) as u64;

/// What the file system calls a file, under whatever path. It is used again after a file is deleted, so it never
/// stands alone: a head and a window are checked with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub device: u64,
    pub inode: u64,
}

impl Key {
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// When the file was created, in nanoseconds since 1970, on file systems that tell. A file that has another file's
/// inode has its own birth.
pub fn born(metadata: &Metadata) -> Option<i64> {
    let since = metadata.created().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// What the file system says of a file, as far as it matters here: there may be thousands.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    pub key: Key,
    pub born: Option<i64>,
    /// Nanoseconds since 1970.
    pub modified: i64,
    pub size: u64,
}

impl Attributes {
    pub fn of(metadata: &Metadata) -> Self {
        Self { key: Key::of(metadata), born: born(metadata), modified: modified(metadata), size: metadata.len() }
    }
}

/// When the file was last written, in nanoseconds since 1970.
pub fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// The fingerprint of a stretch of bytes and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    length: u16,
    hash: [u8; 16],
}

impl Digest {
    /// Takes at most the last `WINDOW` bytes (as many as `HEAD`, which is read no longer than that).
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW)..];
        let mut hash = [0; 16];
        if !bytes.is_empty() {
            hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
        }
        Self { length: u16::try_from(bytes.len()).unwrap_or(u16::MAX), hash }
    }

    pub fn length(self) -> usize {
        self.length.into()
    }

    pub fn matches(self, bytes: &[u8]) -> bool {
        bytes.len() == self.length() && Self::of(bytes) == self
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{:032x}", self.length, u128::from_be_bytes(self.hash)))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once(':').and_then(|(length, hash)| {
            let length = length.parse().ok().filter(|length| usize::from(*length) <= WINDOW)?;
            Some(Self { length, hash: u128::from_str_radix(hash, 16).ok()?.to_be_bytes() })
        });
        parsed.ok_or_else(|| D::Error::custom("expected a digest such as 1024:00112233445566778899aabbccddeeff"))
    }
}

/// A place in a file up to which everything was read, with what is needed to tell later that it is the same file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub offset: u64,
    /// The bytes before the offset.
    pub window: Digest,
    /// The offset is inside a line whose beginning was shipped and whose rest is cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside_cut_line: bool,
}

/// Bytes that can be read at any place.
pub trait Content {
    /// Fills the buffer as far as the content reaches.
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Content for File {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// The fingerprint of a file's beginning as it is now.
pub fn head(file: &impl Content) -> io::Result<Digest> {
    let mut bytes = [0; HEAD];
    let length = file.fill_at(&mut bytes, 0)?;
    // Zeros behind something are space that its writer fills later.
    let written = bytes[..length].iter().rposition(|byte| *byte != 0).map_or(length, |last| last + 1);
    Ok(Digest::of(&bytes[..written]))
}

/// Whether the file still begins with what `known` was taken of: it may have grown since, but not changed.
pub fn begins_with(file: &impl Content, known: Digest) -> io::Result<bool> {
    let mut bytes = [0; HEAD];
    let length = file.fill_at(&mut bytes[..known.length()], 0)?;
    Ok(known.matches(&bytes[..length]))
}

/// Whether the bytes before the point are still those that were read.
pub fn continues_at(file: &impl Content, point: &Point) -> io::Result<bool> {
    let mut bytes = [0; WINDOW];
    let window = point.window.length();
    let Some(start) = point.offset.checked_sub(window as u64) else { return Ok(false) };
    let length = file.fill_at(&mut bytes[..window], start)?;
    Ok(point.window.matches(&bytes[..length]))
}

/// Whether most lines before the point are others than their neighbours: where all are alike, any stretch of them is a
/// window like any other.
pub fn differs(file: &impl Content, point: &Point) -> io::Result<bool> {
    let mut bytes = [0; WINDOW];
    let Some(start) = point.offset.checked_sub(WINDOW as u64) else { return Ok(false) };
    let length = file.fill_at(&mut bytes, start)?;
    let lines: Vec<&[u8]> = bytes[..length].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let different: BTreeSet<&[u8]> = lines.iter().copied().collect();
    Ok(2 * different.len() > lines.len())
}

/// A place in a file as it is now.
pub fn point_at(file: &impl Content, offset: u64) -> io::Result<Point> {
    let mut bytes = [0; WINDOW];
    let window = usize::try_from(offset).unwrap_or(WINDOW).min(WINDOW);
    let length = file.fill_at(&mut bytes[..window], offset - window as u64)?;
    Ok(Point { offset, window: Digest::of(&bytes[..length]), inside_cut_line: false })
}

#[cfg(test)]
mod tests {
    use super::{Digest, Point, begins_with, continues_at, differs, head};
    use std::fs::File;

    fn file(content: &[u8]) -> File {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), content).expect("written");
        file.reopen().expect("opened")
    }

    #[test]
    fn a_file_that_grew_is_the_same_and_one_that_was_refilled_is_not() {
        let known = head(&file(b"first line\n")).expect("read");
        assert!(begins_with(&file(b"first line\nsecond line\n"), known).expect("read"));
        assert!(!begins_with(&file(b"other line\nsecond line\n"), known).expect("read"));
        assert!(!begins_with(&file(b"first"), known).expect("read"));
        assert!(begins_with(&file(b"anything"), Digest::default()).expect("an empty file becomes anything"));
    }

    #[test]
    fn a_position_holds_only_where_the_bytes_before_it_are_unchanged() {
        let content = vec![b'x'; 5000];
        let point = Point { offset: 5000, window: Digest::of(&content), inside_cut_line: false };
        assert!(continues_at(&file(&content), &point).expect("read"));
        assert!(!continues_at(&file(&content[..4999]), &point).expect("read"), "truncated");
        let mut refilled = content;
        refilled[4500] = b'y';
        assert!(!continues_at(&file(&refilled), &point).expect("read"), "refilled");
    }

    #[test]
    fn a_window_of_lines_that_are_all_alike_tells_nothing() {
        let at_end = |content: &str| {
            let point = Point { offset: content.len() as u64, ..Point::default() };
            differs(&file(content.as_bytes()), &point).expect("read")
        };
        assert!(!at_end(&"all is well\n".repeat(200)));
        assert!(at_end(&(0..200).map(|number| format!("line {number}\n")).collect::<String>()));
        assert!(!at_end("too short\n"));
    }

    #[test]
    fn a_digest_survives_being_written_as_text() {
        let digest = Digest::of(b"abc");
        let text = serde_json::to_string(&digest).expect("written");
        assert_eq!(serde_json::from_str::<Digest>(&text).expect("read"), digest);
        assert!(serde_json::from_str::<Digest>("\"9999:00\"").is_err(), "longer than any window");
    }
}
