use super::record::{self, HEADER, Record};
use hostwright_core::atomic_file::sync_parent;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A segment is closed at this size, or at an eighth of the buffer where that is less.
const SEGMENT: u64 = 4 << 20;
/// What a segment begins with: what it is, and the version of its form.
const MAGIC: &[u8; 8] = b"HWPUSH\0\x01";
const ENDING: &str = "records";

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub segment: u64,
    pub offset: u64,
    pub length: u64,
}

/// The segments of one receiver, of which the newest is written.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    size: u64,
    /// Number and length, the oldest first.
    closed: VecDeque<(u64, u64)>,
    active: Option<Active>,
    /// The number of the next one.
    next: u64,
    /// The one that was read last.
    reading: Option<(u64, File)>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    file: File,
    length: u64,
    is_synced: bool,
}

impl Segments {
    /// The segments in a folder, and the records in them. What an earlier run wrote is closed: its end may be torn.
    pub fn open(folder: &Path, limit: u64) -> io::Result<(Self, Vec<(Spot, usize)>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                numbers.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
            }
        }
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last + 1);
        let size = SEGMENT.min(limit / 8);
        let mut all =
            Self { folder: folder.to_owned(), size, closed: VecDeque::new(), active: None, next, reading: None };
        let mut records = Vec::new();
        for number in numbers {
            let file = File::open(all.path(number))?;
            all.closed.push_back((number, file.metadata()?.len()));
            walk(number, &file, &mut records)?;
        }
        Ok((all, records))
    }

    pub fn bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.length);
        self.closed.iter().map(|(_, length)| length).sum::<u64>() + active
    }

    /// Appends a record as it was packed.
    pub fn append(&mut self, packed: &[u8]) -> io::Result<Spot> {
        let length = packed.len() as u64;
        if self.active.as_ref().is_some_and(|active| active.length + length > self.size) {
            self.close();
        }
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let active = self.start()?;
                self.active.insert(active)
            }
        };
        if let Err(error) = active.file.write_all_at(packed, active.length) {
            // What was written of it is overwritten by the next one, and ends the segment for whoever reads it before.
            let _ = active.file.set_len(active.length);
            return Err(error);
        }
        let spot = Spot { segment: active.number, offset: active.length, length };
        active.length += length;
        active.is_synced = false;
        Ok(spot)
    }

    fn start(&mut self) -> io::Result<Active> {
        let (number, path) = (self.next, self.path(self.next));
        self.next += 1;
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(MAGIC, 0) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Active { number, file, length: MAGIC.len() as u64, is_synced: false })
    }

    /// What was appended is on the disk then.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|active| !active.is_synced) else { return Ok(()) };
        active.file.sync_data()?;
        active.is_synced = true;
        sync_parent(&self.path(self.next))
    }

    pub fn read(&mut self, spot: &Spot) -> io::Result<Record> {
        let mut packed = vec![0; usize::try_from(spot.length).unwrap_or_default()];
        match &self.active {
            Some(active) if active.number == spot.segment => active.file.read_exact_at(&mut packed, spot.offset)?,
            _ => {
                if self.reading.as_ref().is_none_or(|(number, _)| *number != spot.segment) {
                    self.reading = Some((spot.segment, File::open(self.path(spot.segment))?));
                }
                if let Some((_, file)) = &self.reading {
                    file.read_exact_at(&mut packed, spot.offset)?;
                }
            }
        }
        Record::unpack(&packed)
    }

    /// Deletes the oldest segment, whatever is in it. Returns its number.
    pub fn give_up_oldest(&mut self) -> Option<u64> {
        if self.closed.is_empty() {
            self.close();
        }
        let (number, _) = self.closed.pop_front()?;
        self.delete(number);
        Some(number)
    }

    /// Deletes the closed segments before this one, or all of them.
    pub fn forget_before(&mut self, first: Option<u64>) {
        while let Some((number, _)) =
            self.closed.front().copied().filter(|(number, _)| first.is_none_or(|f| *number < f))
        {
            self.closed.pop_front();
            self.delete(number);
        }
    }

    fn close(&mut self) {
        // Those that are needed after a power cut were synced when they were appended.
        if let Some(active) = self.active.take() {
            self.closed.push_back((active.number, active.length));
        }
    }

    fn delete(&mut self, number: u64) {
        self.reading.take_if(|(reading, _)| *reading == number);
        let path = self.path(number);
        if let Err(error) = fs::remove_file(&path) {
            log::warn!("metrics: cannot delete {}: {error}; delete it, nobody needs it", path.display());
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.{ENDING}"))
    }
}

/// The records of a segment, up to where it was cut off.
fn walk(segment: u64, file: &File, records: &mut Vec<(Spot, usize)>) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    if file.read_exact_at(&mut magic, 0).is_err() || magic != *MAGIC {
        log::warn!("metrics: segment {segment} of a remote_write buffer is none of this version; it is left out");
        return Ok(());
    }
    let mut offset = MAGIC.len() as u64;
    let mut header = [0; HEADER];
    while offset + HEADER as u64 <= end && file.read_exact_at(&mut header, offset).is_ok() {
        let (length, samples) = record::lengths(&header);
        let length = (HEADER + length) as u64;
        if header == [0; HEADER] || offset + length > end {
            break;
        }
        records.push((Spot { segment, offset, length }, samples));
        offset += length;
    }
    Ok(())
}
