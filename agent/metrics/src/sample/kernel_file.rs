use super::CollectError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Kernel files of a host with thousands of devices have a few megabytes; what goes beyond is not one of them.
const MOST: usize = 64 << 20;
const FIRST: usize = 4096;
/// So much must be free behind what a file holds; most hold a number or a few lines.
const ROOM: usize = 256;

/// A file of procfs or sysfs that is opened once and read again from its start at every scrape, into the same buffer.
#[derive(Debug)]
pub struct KernelFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl KernelFile {
    /// Nothing is opened before the first [`Self::read`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, buffer: Vec::new() }
    }

    /// What it holds now.
    ///
    /// # Errors
    /// [`CollectError::NoData`] where there is no such file, else why it cannot be read.
    pub fn read(&mut self) -> Result<Text<'_>, CollectError> {
        // A file that was opened for a device that is gone fails for ever; a new one by that name is found by opening.
        let length = match self.file.as_ref().map(|file| fill(file, &mut self.buffer)) {
            Some(Ok(length)) => Ok(length),
            _ => self.open_and_fill(),
        };
        match length {
            Ok(length) => {
                tighten(&mut self.buffer, length);
                Ok(Text { path: &self.path, bytes: &self.buffer[..length] })
            }
            Err(source) => Err(CollectError::reading(&self.path, source)),
        }
    }

    fn open_and_fill(&mut self) -> io::Result<usize> {
        self.file = None;
        let file = File::open(&self.path)?;
        let length = fill(&file, &mut self.buffer)?;
        self.file = Some(file);
        Ok(length)
    }
}

/// Reads kernel files that are too many to be kept open, one after the other.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// What the file holds now.
    ///
    /// # Errors
    /// As of [`KernelFile::read`].
    pub fn read<'a>(&'a mut self, path: &'a Path) -> Result<Text<'a>, CollectError> {
        let length = File::open(path).and_then(|file| fill(&file, &mut self.buffer));
        let length = length.map_err(|source| CollectError::reading(path, source))?;
        Ok(Text { path, bytes: &self.buffer[..length] })
    }
}

/// What a kernel file holds.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Where it is from.
    pub path: &'a Path,
    /// All of it.
    pub bytes: &'a [u8],
}

impl<'a> Text<'a> {
    /// Its lines, without their end.
    pub fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        lines(self.bytes)
    }

    /// The error that something in it is not as expected.
    pub fn malformed(self, expected: &str, found: &[u8]) -> CollectError {
        let found = String::from_utf8_lossy(&found[..found.len().min(80)]);
        CollectError::Malformed { path: self.path.to_owned(), what: format!("expected {expected}, found {found:?}") }
    }
}

/// Gives back what a buffer has beyond this length with some space for what changes: there is one for each file.
fn tighten(buffer: &mut Vec<u8>, length: usize) {
    let fits = length + length / 4 + 2 * ROOM;
    if buffer.len() > 2 * fits {
        buffer.truncate(fits);
        buffer.shrink_to_fit();
    }
}

/// Reads to the end; a short read is not yet the end of a kernel file.
fn fill(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if buffer.len() - length < ROOM {
            if buffer.len() >= MOST {
                return Err(io::Error::other(format!("it is larger than {} MiB", MOST >> 20)));
            }
            buffer.resize((buffer.len() * 2).max(FIRST), 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => return Ok(length),
            // Of a setting under /proc/sys there is no second part.
            Ok(read) if length + read == buffer.len() && buffer.len() < FIRST => {
                length = 0;
                buffer.resize(FIRST, 0);
            }
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lines without their end.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// Words between white space.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Whether a word of the kernel can be part of a metric's name.
pub fn is_name(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A whole word that is a number without sign.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A whole word that is any number.
pub fn float(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{KernelFile, lines, number};
    use crate::sample::CollectError;

    #[test]
    fn a_file_is_read_anew_each_time_whatever_its_length() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("stat");
        let mut file = KernelFile::new(&path);
        assert!(matches!(file.read(), Err(CollectError::NoData { .. })));
        for length in [10, 100_000, 0, 5000, 1, 2000, 300, 511, 512, 513, 700] {
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            assert_eq!(file.read().expect("readable").bytes.len(), length);
            assert!(file.buffer.len() <= 3 * length + 1024, "{} bytes are kept for {length}", file.buffer.len());
        }
    }

    #[test]
    fn numbers_beyond_64_bits_and_words_that_are_none_are_refused() {
        assert_eq!((number(b"18446744073709551615"), number(b"18446744073709551616")), (Some(u64::MAX), None));
        assert_eq!((number(b""), number(b"-1"), number(b"1x")), (None, None, None));
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\n").count(), 1);
    }
}
