//! What waits for a receiver: records in the order in which they were sampled.
//!
//! In: records. Out: the same, in order. They lie in segments in the receiver's folder; a segment goes when all of it was
//! acknowledged, or as the oldest one when the buffer is full, which is counted. What survives a restart: every record
//! that was appended (after a power cut: those that waited for a receiver that was away), and how far they were
//! acknowledged. While the disk takes nothing, the newest are kept in memory.

/// How far the receiver has acknowledged, on the disk.
mod position;
/// One sample of everything, as it is kept.
mod record;
/// Files of records.
mod segments;

pub use record::Record;

use position::{Position, PositionFile};
use segments::{Segments, Spot};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

/// How many records are kept in memory while the disk takes none.
const MOST_IN_MEMORY: usize = 64;

/// Records that are not on the way yet.
#[derive(Debug)]
pub struct Queue {
    segments: Segments,
    position: PositionFile,
    /// The oldest first.
    entries: VecDeque<Entry>,
    flight: Flight,
    /// The most bytes on the disk.
    limit: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    samples: usize,
    /// How many of the samples were taken already.
    taken: usize,
}

#[derive(Debug)]
enum Place {
    Disk(Spot),
    Memory(Vec<u8>),
}

/// What is on the way, as far as it lies on the disk.
#[derive(Debug, Default)]
struct Flight {
    /// Its first segment.
    segment: Option<u64>,
    /// Where it ends.
    end: Option<Position>,
}

/// What was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub records: usize,
    pub samples: usize,
}

/// Records to be sent.
#[derive(Debug)]
pub struct Taken {
    /// One or more whole ones, or a part of a single one.
    pub records: Vec<Record>,
    /// Which samples of a single one.
    pub part: Range<usize>,
}

impl Entry {
    fn rest(&self) -> usize {
        self.samples - self.taken
    }

    fn segment(&self) -> Option<u64> {
        match &self.place {
            Place::Disk(spot) => Some(spot.segment),
            Place::Memory(_) => None,
        }
    }
}

impl Flight {
    fn extend(&mut self, entry: &Entry) {
        let Place::Disk(Spot { segment, offset, length }) = entry.place else { return };
        self.segment.get_or_insert(segment);
        self.end = Some(match entry.rest() {
            0 => Position { segment, offset: offset + length, done: 0 },
            _ => Position { segment, offset, done: entry.taken as u64 },
        });
    }
}

impl Lost {
    fn add(&mut self, entry: &Entry) {
        self.records += 1;
        self.samples += entry.rest();
    }
}

impl Queue {
    /// Goes on where an earlier run ended.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let (segments, found) = Segments::open(folder, limit)?;
        let position = PositionFile::open(folder)?;
        let start = position.last();
        let mut entries = VecDeque::new();
        for (spot, samples) in found {
            let at = (spot.segment, spot.offset);
            if at < (start.segment, start.offset) {
                continue;
            }
            let is_first = at == (start.segment, start.offset);
            let taken = if is_first { usize::try_from(start.done).unwrap_or(samples).min(samples) } else { 0 };
            entries.push_back(Entry { place: Place::Disk(spot), samples, taken });
        }
        let mut queue = Self { segments, position, entries, flight: Flight::default(), limit };
        queue.forget_segments();
        Ok(queue)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Samples that wait.
    pub fn samples(&self) -> usize {
        self.entries.iter().map(Entry::rest).sum()
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// Appends a record. Returns what had to go for it, and why it is in memory alone if it is.
    pub fn append(&mut self, record: &Record) -> (Lost, Option<io::Error>) {
        let packed = record.pack();
        let mut lost = self.make_room(packed.len() as u64);
        let (place, error) = match self.segments.append(&packed) {
            Ok(spot) => (Place::Disk(spot), None),
            Err(error) => (Place::Memory(packed), Some(error)),
        };
        self.entries.push_back(Entry { place, samples: record.samples, taken: 0 });
        let mut in_memory = self.entries.iter().enumerate().filter(|(_, entry)| entry.segment().is_none());
        let oldest = in_memory.next().map(|(index, _)| index);
        if in_memory.count() >= MOST_IN_MEMORY
            && let Some(gone) = oldest.and_then(|index| self.entries.remove(index))
        {
            lost.add(&gone);
        }
        (lost, error)
    }

    /// Puts what was appended onto the disk, which nobody needs while the receiver takes everything at once.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&mut self) -> io::Result<()> {
        self.segments.sync()
    }

    /// Takes the oldest records with up to so many samples; of one that has more, the next part. What cannot be read
    /// is lost. What was taken before must be acknowledged.
    pub fn take(&mut self, most: usize) -> (Option<Taken>, Lost) {
        let (mut taken, mut lost) = (Taken { records: Vec::new(), part: 0..0 }, Lost::default());
        let (mut samples, mut flight) = (0, Flight::default());
        while let Some(entry) = self.entries.front_mut() {
            let begins = taken.records.is_empty();
            if !begins && (samples + entry.rest() > most || taken.part.start > 0) {
                break;
            }
            let record = match &entry.place {
                Place::Disk(spot) => self.segments.read(spot),
                Place::Memory(packed) => Record::unpack(packed),
            };
            let Ok(record) = record else {
                lost.add(entry);
                self.entries.pop_front();
                continue;
            };
            taken.records.push(record);
            samples += entry.rest();
            taken.part = entry.taken..entry.samples.min(entry.taken + most);
            entry.taken = taken.part.end;
            flight.extend(entry);
            if entry.rest() > 0 {
                break;
            }
            self.entries.pop_front();
        }
        if taken.records.is_empty() {
            return (None, lost);
        }
        self.flight = flight;
        (Some(taken), lost)
    }

    /// Forgets what was taken, on the disk too: the receiver has it.
    ///
    /// # Errors
    /// The disk's; after a restart it would be sent again.
    pub fn acknowledge(&mut self) -> io::Result<()> {
        let end = std::mem::take(&mut self.flight).end;
        let stored = end.map_or(Ok(()), |end| self.position.store(end));
        self.forget_segments();
        stored
    }

    /// Gives up the oldest segments until there is room. What is on the way is not lost by it.
    fn make_room(&mut self, length: u64) -> Lost {
        let mut lost = Lost::default();
        while self.segments.bytes() + length > self.limit {
            let Some(gone) = self.segments.give_up_oldest() else { break };
            self.entries.retain(|entry| {
                let goes = entry.segment() == Some(gone);
                if goes {
                    lost.add(entry);
                }
                !goes
            });
        }
        lost
    }

    /// Deletes segments of which nothing waits.
    fn forget_segments(&mut self) {
        let first = self.flight.segment.or_else(|| self.entries.iter().find_map(Entry::segment));
        self.segments.forget_before(first);
    }
}

/// Queues over restarts, outages, damage and full disks.
#[cfg(test)]
mod tests;
