//! Durable records that are appended one by one: for state of which little changes at a time, often.
//!
//! Two files take turns. One holds a snapshot and what was appended since; when it is full, the next snapshot goes into
//! the other one. Both keep their size on disk, so a full disk does not keep state from being written. A record is a
//! line: the CRC-32 (of the generation and the content), a space, the content. What a power cut tore is not read, and
//! neither is what an earlier generation left behind.

use crate::state::StateError;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The least that a file keeps on disk.
const RESERVE: u64 = 256 << 10;
/// The bytes of a record beside its content.
const AROUND: u64 = 10;

/// Durable records.
#[derive(Debug)]
pub struct Journal {
    sides: [Side; 2],
    /// Which of them is appended to.
    current: usize,
    generation: u64,
    version: u32,
    /// Where the next record goes.
    end: u64,
}

#[derive(Debug)]
struct Side {
    path: PathBuf,
    file: File,
    /// How much is kept on disk for it.
    reserved: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    generation: u64,
    /// How many of the records that follow are the snapshot: it is good if all of them are.
    snapshot: usize,
}

/// A generation as it was read.
struct Generation {
    header: Header,
    records: Vec<Vec<u8>>,
}

impl Journal {
    /// Opens or creates the two files, `PATH.0` and `PATH.1`, and reads the newest whole generation. [`Self::rewrite`]
    /// is due before the first [`Self::append`]: a torn end may hide older records behind it.
    ///
    /// # Errors
    /// A file cannot be opened or read, or was written by a newer program.
    pub fn open(path: &Path, version: u32) -> Result<(Self, Vec<Vec<u8>>), StateError> {
        let [first, second] = sides(path);
        let mut sides = [Side::open(first)?, Side::open(second)?];
        let mut newest: Option<(usize, Generation)> = None;
        for (index, side) in sides.iter_mut().enumerate() {
            // At once, while there may be space; without it, the first rewrite says so.
            let _ = side.reserve(RESERVE, 0);
            let Some(generation) = side.read()? else { continue };
            if generation.header.version > version {
                let found = generation.header.version;
                return Err(StateError::TooNew { path: side.path.clone(), found, known: version });
            }
            if newest.as_ref().is_none_or(|(_, other)| other.header.generation < generation.header.generation) {
                newest = Some((index, generation));
            }
        }
        let (current, generation, records) =
            newest.map_or((0, 0, Vec::new()), |(index, found)| (index, found.header.generation, found.records));
        // Nothing fits behind the end before the first rewrite.
        Ok((Self { sides, current, generation, version, end: u64::MAX }, records))
    }

    /// Reads the newest whole generation without touching anything; nothing when there is none.
    ///
    /// # Errors
    /// A file cannot be read, or was written by a newer program.
    pub fn read(path: &Path, version: u32) -> Result<Vec<Vec<u8>>, StateError> {
        let mut newest: Option<Generation> = None;
        for path in sides(path) {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(StateError::Io { doing: "read", path, source }),
            };
            let Some(generation) = parse(&bytes) else { continue };
            if generation.header.version > version {
                return Err(StateError::TooNew { path, found: generation.header.version, known: version });
            }
            if newest.as_ref().is_none_or(|other| other.header.generation < generation.header.generation) {
                newest = Some(generation);
            }
        }
        Ok(newest.map_or_else(Vec::new, |generation| generation.records))
    }

    /// Whether so many records with so many bytes of content fit.
    pub fn has_room(&self, records: usize, bytes: usize) -> bool {
        let need = (bytes as u64).saturating_add(AROUND.saturating_mul(records as u64));
        self.end.saturating_add(need) <= self.sides[self.current].reserved
    }

    /// Appends records, which are durable then. They have no newlines, and there is room for them.
    ///
    /// # Errors
    /// The disk refuses. What is readable then is uncertain until the next [`Self::rewrite`].
    pub fn append(&mut self, records: &[Vec<u8>]) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        for record in records {
            push(&mut bytes, self.generation, record);
        }
        let side = &self.sides[self.current];
        side.write(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Begins a new generation with these records, in place of all there were.
    ///
    /// # Errors
    /// The disk refuses; the earlier generation is intact then.
    pub fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<(), StateError> {
        let next = 1 - self.current;
        let generation = self.generation + 1;
        let header = Header { version: self.version, generation, snapshot: records.len() };
        let side = &mut self.sides[next];
        let header = serde_json::to_vec(&header).map_err(|error| side.error("write", error.into()))?;
        let mut bytes = Vec::new();
        push(&mut bytes, generation, &header);
        for record in records {
            push(&mut bytes, generation, record);
        }
        side.reserve((2 * bytes.len() as u64).max(RESERVE), bytes.len() as u64)?;
        side.write(&bytes, 0)?;
        (self.current, self.generation, self.end) = (next, generation, bytes.len() as u64);
        Ok(())
    }
}

impl Side {
    fn open(path: PathBuf) -> Result<Self, StateError> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|source| StateError::Io { doing: "write", path: path.clone(), source })?;
        let mut side = Self { path, file, reserved: 0 };
        side.reserved = side.file.metadata().map_err(|source| side.error("read", source))?.len();
        crate::atomic_file::sync_parent(&side.path).map_err(|source| side.error("write", source))?;
        Ok(side)
    }

    /// The generation in it, if that is whole.
    fn read(&mut self) -> Result<Option<Generation>, StateError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(|source| self.error("read", source))?;
        let generation = parse(&bytes);
        if generation.is_none() && bytes.first().is_some_and(|byte| *byte != 0) {
            log::warn!("the state in {} is incomplete; the one beside it is used", self.path.display());
        }
        Ok(generation)
    }

    /// Keeps so much on disk, or at least what is needed now.
    fn reserve(&mut self, wanted: u64, needed: u64) -> Result<(), StateError> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        // Written, not allocated: a write to it later changes nothing but the content.
        while self.reserved < wanted {
            let length = (wanted - self.reserved).min(ZEROS.len() as u64);
            let zeros = &ZEROS[..usize::try_from(length).unwrap_or(ZEROS.len())];
            match self.file.write_all_at(zeros, self.reserved) {
                Ok(()) => self.reserved += length,
                Err(_) if self.reserved >= needed => break,
                Err(source) => return Err(self.error("write", source)),
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), StateError> {
        let written = self.file.write_all_at(bytes, at).and_then(|()| self.file.sync_data());
        written.map_err(|source| self.error("write", source))
    }

    fn error(&self, doing: &'static str, source: io::Error) -> StateError {
        StateError::Io { doing, path: self.path.clone(), source }
    }
}

fn sides(path: &Path) -> [PathBuf; 2] {
    [".0", ".1"].map(|name| {
        let mut side = path.as_os_str().to_owned();
        side.push(name);
        side.into()
    })
}

fn push(out: &mut Vec<u8>, generation: u64, record: &[u8]) {
    let checksum = checksum(generation, record);
    out.extend_from_slice(format!("{checksum:08x} ").as_bytes());
    out.extend_from_slice(record);
    out.push(b'\n');
}

fn checksum(generation: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(record);
    hasher.finalize()
}

fn parse(bytes: &[u8]) -> Option<Generation> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let header: Header = serde_json::from_slice(first.get(9..)?).ok()?;
    content(first, header.generation)?;
    let records: Vec<_> = lines.map_while(|line| content(line, header.generation)).map(<[u8]>::to_vec).collect();
    (records.len() >= header.snapshot).then_some(Generation { header, records })
}

/// The content of a line whose checksum is right.
fn content(line: &[u8], generation: u64) -> Option<&[u8]> {
    let (sum, content) = line.split_at_checked(8)?;
    let content = content.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == checksum(generation, content)).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use std::path::Path;

    fn texts(records: Vec<Vec<u8>>) -> Vec<String> {
        records.into_iter().map(|record| String::from_utf8(record).expect("text")).collect()
    }

    fn read(path: &Path) -> Vec<String> {
        texts(Journal::open(path, 1).expect("opened").1)
    }

    fn record(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn what_was_appended_is_read_again_and_a_rewrite_replaces_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("j");
        let (mut journal, records) = Journal::open(&path, 1).expect("opened");
        assert!(records.is_empty() && !journal.has_room(1, 1), "a rewrite comes first");
        journal.rewrite(&[record("a")]).expect("written");
        assert!(journal.has_room(1, 1000));
        journal.append(&[record("b"), record("c")]).expect("written");
        assert_eq!(read(&path), ["a", "b", "c"]);
        journal.rewrite(&[record("d")]).expect("written");
        assert_eq!(read(&path), ["d"]);
        journal.rewrite(&[]).expect("written");
        journal.append(&[record("e")]).expect("written");
        assert_eq!(read(&path), ["e"], "nothing of what the older generation left behind");
    }

    #[test]
    fn after_a_power_cut_at_any_byte_a_prefix_of_what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, 1).expect("opened").0;
        journal.rewrite(&[record("old")]).expect("written");
        let before = std::fs::read(folder.path().join("j.0")).expect("read");
        let older = std::fs::read(folder.path().join("j.1")).expect("read");
        journal.rewrite(&[record("a"), record("b")]).expect("written");
        journal.append(&[record("c")]).expect("written");
        // The first rewrite went to .1, the second to .0.
        let whole = std::fs::read(folder.path().join("j.0")).expect("read");
        let end = whole.iter().position(|byte| *byte == 0).expect("zeros behind it");
        for cut in 0..=end {
            let mut torn = whole[..cut].to_vec();
            torn.extend_from_slice(before.get(cut..).unwrap_or_default());
            std::fs::write(folder.path().join("j.0"), &torn).expect("written");
            std::fs::write(folder.path().join("j.1"), &older).expect("written");
            let found = read(&path);
            let allowed: [&[&str]; 3] = [&["old"], &["a", "b"], &["a", "b", "c"]];
            assert!(allowed.iter().any(|records| *records == found), "cut at {cut}: {found:?}");
        }
        assert_eq!(read(&path), ["a", "b", "c"]);
    }

    #[test]
    fn a_flipped_bit_costs_what_follows_it_and_nothing_before() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, 1).expect("opened").0;
        journal.rewrite(&[record("a")]).expect("written");
        journal.append(&[record("b"), record("c")]).expect("written");
        let file = folder.path().join("j.1");
        let mut bytes = std::fs::read(&file).expect("read");
        let place = bytes.windows(2).position(|pair| pair == b"b\n").expect("there");
        bytes[place] = b'x';
        std::fs::write(&file, &bytes).expect("written");
        assert_eq!(read(&path), ["a"]);
    }

    #[test]
    fn a_newer_programs_journal_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("j");
        Journal::open(&path, 2).expect("opened").0.rewrite(&[]).expect("written");
        let error = Journal::open(&path, 1).expect_err("refused").to_string();
        assert!(error.contains("install the newer version"), "{error}");
    }
}
