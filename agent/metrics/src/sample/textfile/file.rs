use super::text_format::{self, Family, Fault};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed more recently may change again without another time: clocks of file systems tick slowly.
const SETTLED: Duration = Duration::from_secs(2);

/// What a text file held when it was last read.
pub struct Parsed {
    key: Key,
    is_settled: bool,
    /// How large it is.
    pub size: u64,
    /// When it was written, in whole seconds.
    pub modified: i64,
    /// Its families, or why there are none.
    pub content: Result<Vec<Family>, String>,
}

/// While this stays the same, so does the content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([i64; 4], [u64; 3]);

impl Key {
    fn of(metadata: &Metadata) -> Self {
        Self(
            [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()],
            [metadata.dev(), metadata.ino(), metadata.len()],
        )
    }
}

impl Parsed {
    /// Reads a file of at most `limit` bytes.
    pub fn read(path: &Path, limit: u64) -> Self {
        // A FIFO by that name would otherwise wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
        match opened.and_then(|file| Ok((file.metadata()?, file))) {
            Err(error) => Self::refused(Key([0; 4], [0; 3]), format!("cannot be opened: {error}")),
            Ok((metadata, file)) => Self::of(&metadata, file, limit),
        }
    }

    fn of(metadata: &Metadata, file: File, limit: u64) -> Self {
        let refused = |why| Self::refused(Key::of(metadata), why);
        if !metadata.is_file() {
            return refused("is no regular file".into());
        }
        let text = match read(file, limit) {
            Err(error) => return refused(format!("cannot be read: {error}")),
            Ok(None) => return refused(format!("makes the text files larger than {} MiB together", super::MOST >> 20)),
            Ok(Some(text)) => text,
        };
        let changed = metadata.ctime().max(metadata.mtime());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = u64::try_from(changed).ok().map(Duration::from_secs).unwrap_or_default() + SETTLED;
        Self {
            key: Key::of(metadata),
            is_settled: now > until,
            size: text.len() as u64,
            modified: metadata.mtime(),
            content: text_format::parse(&text).map_err(|Fault { line, what }| format!("line {line}: {what}")),
        }
    }

    fn refused(key: Key, why: String) -> Self {
        Self { key, is_settled: false, size: 0, modified: 0, content: Err(why) }
    }

    /// Whether the file is still the one that was read.
    pub fn is_current(&self, path: &Path) -> bool {
        self.is_settled && std::fs::metadata(path).is_ok_and(|metadata| Key::of(&metadata) == self.key)
    }

    #[cfg(test)]
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Whether both come to the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.key == other.key && self.modified == other.modified && self.content == other.content
    }

    /// None where it is not understood.
    pub fn families(&self) -> &[Family] {
        self.content.as_deref().unwrap_or_default()
    }
}

fn read(file: File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut text)?;
    Ok((read as u64 <= limit).then_some(text))
}
