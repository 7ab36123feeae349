use super::encode::Encode;
use super::flight::Mark;
use crate::logs::positions::Position;
use crate::logs::record::{Making, Tally, with_record};
use crate::logs::source::cursor::{Cursor, Step};
use crate::logs::status::Counters;
use std::io;
use std::path::{Path, PathBuf};

/// A file with the output's way through it.
#[derive(Debug)]
pub struct Lane {
    pub cursor: Cursor,
    encoder: Box<dyn Encode>,
    /// The sequence number of the file that is to be read to its end before this one: the generation before it.
    after: Option<u64>,
}

/// All files of an output, read in turns so that a busy one does not hold back the others.
#[derive(Debug, Default)]
pub struct Lanes {
    /// In order of their sequence numbers.
    lanes: Vec<Lane>,
    next: usize,
    buffer: Vec<u8>,
}

/// What reading one piece came to.
#[derive(Debug)]
pub enum Read {
    /// Records were appended; the mark is what is on its way now.
    Piece(Mark),
    /// Nothing complete follows in this file, or not yet.
    Nothing,
    /// The file was truncated or refilled: it starts over, and this is how far the earlier content was read.
    Replaced(Box<Position>),
    /// The file cannot be read now.
    Failed(PathBuf, io::Error),
}

impl Lanes {
    pub fn add(&mut self, cursor: Cursor, encoder: Box<dyn Encode>) {
        let family = &cursor.file.family;
        let same =
            |lane: &Lane| lane.cursor.file.family == *family && lane.cursor.file.source.name == cursor.file.source.name;
        let before = self.lanes.iter_mut().rev().find(|lane| same(lane));
        let after = before.map(|before| {
            before.cursor.drain_again();
            before.cursor.file.sequence
        });
        self.lanes.push(Lane { cursor, encoder, after });
    }

    /// Takes out the lanes whose file is no longer followed.
    pub fn remove_unless(&mut self, followed: impl Fn(u64) -> bool) -> Vec<Cursor> {
        self.next = 0;
        self.lanes.extract_if(.., |lane| !followed(lane.cursor.file.sequence)).map(|lane| lane.cursor).collect()
    }

    pub fn has(&self, sequence: u64) -> bool {
        self.find(sequence).is_ok()
    }

    pub fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.lanes.iter().map(|lane| &lane.cursor)
    }

    pub fn cursor(&mut self, sequence: u64) -> Option<&mut Cursor> {
        self.find(sequence).ok().map(|index| &mut self.lanes[index].cursor)
    }

    /// The cursors of a family.
    pub fn family<'a>(&'a self, source: &'a str, family: &'a Path) -> impl Iterator<Item = &'a Cursor> {
        self.cursors().filter(move |cursor| cursor.file.family == family && cursor.file.source.name == source)
    }

    /// Whether a file may have something to read.
    pub fn any_ready(&self) -> bool {
        (0..self.lanes.len()).any(|index| self.is_ready(index))
    }

    /// The next file that may have something to read, if there is one within one round.
    pub fn next_ready(&mut self) -> Option<usize> {
        let count = self.lanes.len();
        let index = (self.next..count).chain(0..self.next.min(count)).find(|index| self.is_ready(*index))?;
        self.next = (index + 1) % count;
        Some(index)
    }

    /// Reads one piece of a file and appends its records to `out`.
    pub fn read(&mut self, index: usize, now: &str, out: &mut Vec<u8>) -> Read {
        let Lane { cursor, encoder, .. } = &mut self.lanes[index];
        let (from, encoded_before) = (cursor.sent, out.len());
        let making = Making { parse: cursor.file.source.parse, now, content: cursor.content };
        let mut tally = Tally::default();
        let step = cursor.read(&mut self.buffer, |line| {
            with_record(line, making, &mut tally, |record| {
                let start = out.len();
                if encoder.encode(record, out).is_err() {
                    out.truncate(start);
                }
            });
        });
        match step {
            Ok(Step::Advanced(_)) if cursor.sent != from => Read::Piece(Mark {
                file: cursor.file.sequence,
                epoch: cursor.epoch,
                from,
                to: cursor.sent,
                tally,
                encoded: (out.len() - encoded_before) as u64,
            }),
            Ok(Step::Advanced(_) | Step::Drained) => Read::Nothing,
            Ok(Step::Replaced(replaced)) => {
                counters(cursor).replaced();
                Read::Replaced(Box::new(Position::of(cursor).with(replaced)))
            }
            Err(error) => {
                cursor.pause();
                Read::Failed(cursor.file.origin.clone(), error)
            }
        }
    }

    /// Moves the position behind an acknowledged piece.
    pub fn acknowledge(&mut self, mark: &Mark) {
        let Some(cursor) = self.cursor(mark.file) else { return };
        counters(cursor).shipped(&mark.tally, mark.bytes());
        if cursor.epoch == mark.epoch {
            cursor.acknowledge(mark.to);
        }
    }

    /// Goes back to the beginning of a piece that is to be sent again.
    pub fn take_back(&mut self, mark: &Mark, was_acknowledged: bool) {
        let Some(cursor) = self.cursor(mark.file) else { return };
        counters(cursor).taken_back(was_acknowledged.then_some((&mark.tally, mark.bytes())), mark.tally.lines);
        if cursor.epoch == mark.epoch && mark.from.offset < cursor.sent.offset {
            cursor.go_back(mark.from);
        }
    }

    fn is_ready(&self, index: usize) -> bool {
        let Lane { cursor, after, .. } = &self.lanes[index];
        cursor.is_ready()
            && after.and_then(|before| self.find(before).ok()).is_none_or(|i| self.lanes[i].cursor.was_drained)
    }

    fn find(&self, sequence: u64) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&sequence, |lane| lane.cursor.file.sequence)
    }
}

/// What the output has shipped of the source.
fn counters(cursor: &Cursor) -> &Counters {
    &cursor.file.source.counters[cursor.slot]
}
