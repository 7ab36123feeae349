//! Lines that come from no file are written into segments, which are then followed like any other files.
//!
//! In: JSON lines of one source. Out: `spool/<source>/<number>.ndjson` in the duty's state folder, one family of files.
//! What survives a restart: every line that was appended; after a power cut, all but those of the last second. A
//! segment goes when a later one has lines and every output has acknowledged it to its end.

/// One message as a JSON line.
pub mod entry;
/// A spool as the tasks that write into it share it.
pub mod feed;

use super::followed::FollowedFile;
use super::identity::{Content, Key};
use hostwright_core::atomic_file::sync_parent;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment is closed at this size, or at a quarter of the spool where that is less.
const SEGMENT: u64 = 8 << 20;
/// How much is read at once on the way back from a segment's end.
const STRIDE: usize = 64 << 10;

/// Where the segments of a source are.
pub fn folder(state: &Path, source: &str) -> PathBuf {
    state.join("spool").join(source)
}

/// The segments of one source, of which the newest is written.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limit: u64,
    number: u64,
    file: Arc<File>,
    /// Whole lines in the newest segment.
    length: u64,
    /// Bytes of the other segments, as they were last listed.
    older: u64,
    is_synced: bool,
}

/// Why lines were not taken.
#[derive(Debug)]
pub enum Refusal {
    /// Until outputs have acknowledged more.
    Full,
    Failed(io::Error),
}

impl Spool {
    /// Goes on where an earlier run ended; a line that it did not finish is removed.
    pub fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let number = segments(&folder)?.last().map_or(1, |(number, _)| *number);
        let file = open_segment(&folder, number)?;
        let length = end_of_lines(&file)?;
        file.set_len(length)?;
        let mut spool = Self { folder, limit, number, file: Arc::new(file), length, older: 0, is_synced: false };
        spool.recount()?;
        Ok(spool)
    }

    /// Appends whole lines; how many bytes of them were taken, and why not all.
    pub fn append(&mut self, lines: &[u8]) -> (usize, Option<Refusal>) {
        match self.make_room(lines.len() as u64) {
            Ok(true) => {}
            Ok(false) => return (0, Some(Refusal::Full)),
            Err(error) => return (0, Some(Refusal::Failed(error))),
        }
        self.is_synced = false;
        let (written, error) = write_at(&self.file, lines, self.length);
        if error.is_none() {
            self.length += written as u64;
            return (written, None);
        }
        // Whole lines stay: an output may have read them by now. The next attempt overwrites the rest.
        let taken = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |newline| newline + 1);
        self.length += taken as u64;
        let _ = self.file.set_len(self.length);
        (taken, error.map(Refusal::Failed))
    }

    /// The segment, if something in it is not on the disk yet; to be synced by the caller.
    pub fn unsynced(&mut self) -> Option<Arc<File>> {
        (!std::mem::replace(&mut self.is_synced, true)).then(|| self.file.clone())
    }

    /// The newest line, without its end.
    pub fn last_line(&self) -> io::Result<Option<Vec<u8>>> {
        for (number, _) in segments(&self.folder)?.into_iter().rev() {
            let file = open_segment(&self.folder, number)?;
            if let Some(line) = last_line_of(&file)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// From now on it is never full.
    pub fn lift_limit(&mut self) {
        self.limit = u64::MAX;
    }

    /// Notes which segments were deleted.
    pub fn refresh(&mut self) {
        if self.older > 0 {
            // What cannot be listed now is counted as before, and told when something is appended.
            let _ = self.recount();
        }
    }

    pub fn bytes(&self) -> u64 {
        self.older + self.length
    }

    /// Closes a full segment, and says whether there is room for so many bytes more.
    fn make_room(&mut self, bytes: u64) -> io::Result<bool> {
        if self.older + self.length + bytes > self.limit {
            self.recount()?;
            if self.older + self.length + bytes > self.limit {
                return Ok(false);
            }
        }
        if self.length > 0 && self.length + bytes > SEGMENT.min(self.limit / 4) {
            self.file.sync_data()?;
            let next = open_segment(&self.folder, self.number + 1)?;
            sync_parent(&self.folder.join("segment"))?;
            self.older += self.length;
            (self.file, self.number, self.length) = (Arc::new(next), self.number + 1, 0);
        }
        Ok(true)
    }

    fn recount(&mut self) -> io::Result<()> {
        let all = segments(&self.folder)?;
        self.older = all.iter().filter(|(number, _)| *number != self.number).map(|(_, length)| length).sum();
        Ok(())
    }
}

/// Deletes the segments that every output has to their end. The newest line stays: it says where to go on.
pub fn remove_acknowledged(files: &[Arc<FollowedFile>]) {
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let of_spool = || files.iter().filter(|file| file.source.intake.is_some());
    for file in of_spool() {
        if let Some(number) = file.path().as_deref().and_then(number_of).filter(|_| file.size() > 0) {
            let newest = newest.entry(&file.source.name).or_default();
            *newest = number.max(*newest);
        }
    }
    for file in of_spool() {
        let is_older = |number| newest.get(file.source.name.as_str()).is_some_and(|newest| number < *newest);
        if file.path().as_deref().and_then(number_of).is_some_and(is_older)
            && let Err(error) = remove(file)
        {
            log::warn!(source = file.source.name; "logs: cannot delete {}, which was shipped: {error}", file.origin.display());
        }
    }
}

fn remove(file: &FollowedFile) -> io::Result<()> {
    let Some(path) = file.path() else { return Ok(()) };
    if file.look()? || !file.is_done() || Key::of(&path.symlink_metadata()?) != file.key {
        return Ok(());
    }
    fs::remove_file(path)
}

/// Numbers and sizes of a spool's segments in their order.
fn segments(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = number_of(&entry.path()) {
            // One that is just being deleted counts no more.
            all.extend(entry.metadata().map(|metadata| (number, metadata.len())));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".ndjson")?.parse().ok()
}

fn open_segment(folder: &Path, number: u64) -> io::Result<File> {
    let path = folder.join(format!("{number:010}.ndjson"));
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(length) => {
                written += length;
                offset += length as u64;
                bytes = &bytes[length..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Behind the last newline.
fn end_of_lines(file: &File) -> io::Result<u64> {
    newline_before(file, file.metadata()?.len()).map(|newline| newline.map_or(0, |at| at + 1))
}

fn last_line_of(file: &File) -> io::Result<Option<Vec<u8>>> {
    let Some(end) = newline_before(file, file.metadata()?.len())? else { return Ok(None) };
    let start = newline_before(file, end)?.map_or(0, |at| at + 1);
    let mut line = vec![0; usize::try_from(end - start).unwrap_or(0)];
    file.fill_at(&mut line, start)?;
    Ok(Some(line))
}

/// Where the last newline before `end` is.
fn newline_before(file: &File, mut end: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; STRIDE];
    while end > 0 {
        let start = end.saturating_sub(STRIDE as u64);
        let room = &mut buffer[..usize::try_from(end - start).unwrap_or(STRIDE)];
        let length = file.fill_at(room, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &room[..length]) {
            return Ok(Some(start + at as u64));
        }
        end = start;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Spool, segments};
    use std::fs;
    use std::path::PathBuf;

    fn spool(limit: u64) -> (tempfile::TempDir, PathBuf, Spool) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("spool/s");
        let spool = Spool::open(path.clone(), limit).expect("opened");
        (folder, path, spool)
    }

    #[test]
    fn lines_go_on_in_the_same_segment_after_a_restart_and_a_torn_one_is_removed() {
        let (_folder, path, mut spool) = spool(4 << 20);
        assert_eq!(spool.last_line().expect("read"), None);
        assert!(matches!(spool.append(b"one\ntwo\n"), (8, None)));
        fs::write(path.join("0000000001.ndjson"), b"one\ntwo\nthr").expect("torn");
        let mut spool = Spool::open(path.clone(), 4 << 20).expect("opened");
        assert_eq!(spool.last_line().expect("read").as_deref(), Some(&b"two"[..]));
        spool.append(b"three\n");
        assert_eq!(fs::read(path.join("0000000001.ndjson")).expect("read"), b"one\ntwo\nthree\n");
    }

    #[test]
    fn segments_follow_one_another_until_the_spool_is_full_and_go_on_when_one_is_deleted() {
        let (_folder, path, mut spool) = spool(4 << 20);
        let line = [vec![b'x'; (512 << 10) - 1], b"\n".to_vec()].concat();
        for _ in 0..8 {
            assert!(matches!(spool.append(&line), (_, None)));
        }
        assert!(matches!(spool.append(&line), (0, Some(Refusal::Full))));
        let sizes: Vec<_> = segments(&path).expect("listed").into_iter().collect();
        assert_eq!(sizes, (1..=4).map(|number| (number, 1 << 20)).collect::<Vec<_>>());
        fs::remove_file(path.join("0000000001.ndjson")).expect("removed");
        assert!(matches!(spool.append(&line), (_, None)));
        assert_eq!(spool.last_line().expect("read").map(|line| line.len()), Some(line.len() - 1));
        assert_eq!(spool.bytes(), (3 << 20) + (512 << 10));
    }

    #[test]
    fn the_last_line_is_found_in_the_segment_before_an_empty_one() {
        let (_folder, path, mut spool) = spool(4 << 20);
        spool.append(b"one\n");
        fs::write(path.join("0000000002.ndjson"), b"").expect("created");
        let spool = Spool::open(path, 4 << 20).expect("opened");
        assert_eq!(spool.last_line().expect("read").as_deref(), Some(&b"one"[..]));
    }
}
