use super::Origin;
use super::dead_letters::Letter;
use super::encode::{Encode, encoder};
use super::flight::Mark;
use super::outgoing::{Outgoing, Refused};
use super::request::batch::Item;
use super::resend::Resent;
use super::since::first_since;
use crate::logs::positions::Position;
use crate::logs::record::{Facts, Making, Scratch, Tally, Window, with_record, with_text};
use crate::logs::source::Source;
use crate::logs::source::bridge::{Bridge, Next};
use crate::logs::source::cursor::{Cursor, Step};
use crate::logs::source::heritage::{Heritage, Inherited};
use crate::logs::source::identity::Content;
use crate::logs::source::lines::Line;
use crate::logs::status::counters::Counters;
use hostwright_core::config::logs::output::Platform;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// After so many encoders were made, those that are not in use are let go: one is made in a microsecond, and thousands of
/// them take megabytes.
const MOST_SHAPES: usize = 1000;
/// An event may go over so many generations.
const MOST_CROSSED: usize = 64;

/// A file with the output's way through it.
#[derive(Debug)]
pub struct Lane {
    pub cursor: Cursor,
    /// Made when a line is read: most of many files have none for a long time.
    shape: Option<Shape>,
    /// Counts for limits of rate.
    windows: Vec<Window>,
    /// Dead letters up to here were written already.
    refused_to: (u64, u64),
    /// The sequence number of the file that is to be read to its end before this one: the generation before it.
    after: Option<u64>,
    /// Nothing is read until another file has taken over from it.
    is_held: bool,
    /// What its last events, from an offset on, have in the files behind it.
    borrowed: Option<(u64, Vec<u8>)>,
}

/// How the records of a file look to the platform.
#[derive(Debug)]
struct Shape {
    encoder: Box<dyn Encode>,
    facts: Arc<Facts>,
}

/// All files of an output, read in turns so that a busy one does not hold back the others.
#[derive(Debug)]
pub struct Lanes {
    platform: Platform,
    origin: Arc<Origin>,
    /// In order of their sequence numbers.
    lanes: Vec<Lane>,
    /// By source, the newest file of each family, by its sequence number.
    newest: HashMap<String, HashMap<Arc<Path>, u64>>,
    next: usize,
    /// How many shapes were made since they were last let go.
    shapes_made: usize,
    buffer: Vec<u8>,
    scratch: Scratch,
    /// An event may be held at the end of some file.
    holds_event: bool,
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
    pub fn new(platform: Platform, origin: Arc<Origin>) -> Self {
        Self {
            platform,
            origin,
            lanes: Vec::new(),
            newest: HashMap::new(),
            next: 0,
            shapes_made: 0,
            buffer: Vec::new(),
            scratch: Scratch::default(),
            holds_event: false,
        }
    }

    pub fn add(&mut self, mut cursor: Cursor) {
        let file = &cursor.file;
        let newest = self.newest.get(&file.source.name);
        let known = newest.and_then(|newest| newest.get(&file.family)).and_then(|sequence| self.find(*sequence).ok());
        if let Some(known) = known.filter(|known| file.is_older_than(&self.lanes[*known].cursor.file)) {
            let after = self.lanes[known].after.replace(file.sequence);
            cursor.drain_again();
            return self.push(cursor, after);
        }
        let newest = self.newest.entry(file.source.name.clone()).or_default();
        let after = newest.insert(file.family.clone(), file.sequence);
        if let Some(before) = after.and_then(|sequence| self.cursor(sequence)) {
            before.drain_again();
        }
        self.push(cursor, after);
    }

    fn push(&mut self, cursor: Cursor, after: Option<u64>) {
        self.lanes.push(Lane {
            cursor,
            shape: None,
            windows: Vec::new(),
            refused_to: (0, 0),
            after,
            is_held: false,
            borrowed: None,
        });
    }

    /// Takes out the lanes whose file is no longer followed.
    pub fn remove_unless(&mut self, followed: impl Fn(u64) -> bool) -> Vec<Cursor> {
        self.next = 0;
        self.newest.values_mut().for_each(|newest| newest.retain(|_, sequence| followed(*sequence)));
        let gone: Vec<Lane> = self.lanes.extract_if(.., |lane| !followed(lane.cursor.file.sequence)).collect();
        // Who came after one that is gone comes after the one before it.
        for lane in &mut self.lanes {
            lane.cursor.borrowed.retain(|one| followed(one.by));
            while let Some(one) = gone.iter().find(|one| lane.after == Some(one.cursor.file.sequence)) {
                lane.after = one.after;
            }
        }
        gone.into_iter().map(|lane| lane.cursor).collect()
    }

    pub fn has(&self, sequence: u64) -> bool {
        self.find(sequence).is_ok()
    }

    /// Whether something of a file was sent and is neither acknowledged nor taken back.
    pub fn is_in_flight(&self, sequence: u64) -> bool {
        self.find(sequence).is_ok_and(|index| {
            let cursor = &self.lanes[index].cursor;
            cursor.sent != cursor.acknowledged
        })
    }

    /// Reads nothing of a file, so that what is on its way settles and another can take over.
    pub fn hold(&mut self, sequence: u64) {
        if let Ok(index) = self.find(sequence) {
            self.lanes[index].is_held = true;
        }
    }

    /// Reads all files on.
    pub fn release(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.is_held = false);
    }

    /// What an output has of a file that took another's place. Where that is all, it is read from there on.
    pub fn hand_on(&mut self, heritage: &Heritage) -> (Inherited, Option<Position>) {
        let Some(cursor) = self.cursor(heritage.of) else { return (Inherited::Nothing, None) };
        let inherited = heritage.inherited(cursor.acknowledged.offset);
        let position = (inherited == Inherited::All).then(|| {
            let position = Position::of(cursor);
            cursor.hand_on(heritage.rest);
            position
        });
        (inherited, position)
    }

    pub fn cursors(&self) -> impl Iterator<Item = &Cursor> + Clone {
        self.lanes.iter().map(|lane| &lane.cursor)
    }

    pub fn cursor(&mut self, sequence: u64) -> Option<&mut Cursor> {
        self.find(sequence).ok().map(|index| &mut self.lanes[index].cursor)
    }

    /// Goes back to what was written since a time, in files of one source or all.
    pub fn go_back_to(&mut self, since: i64, source: Option<&str>) -> Resent {
        let mut resent = Resent::default();
        for Lane { cursor, .. } in &mut self.lanes {
            let is_meant = source.is_none_or(|name| name == cursor.file.source.name);
            if !is_meant || cursor.file.modified() < since {
                continue;
            }
            let Ok(point) = first_since(cursor, since, &mut self.buffer) else { continue };
            if point.offset < cursor.acknowledged.offset {
                resent.files += 1;
                resent.bytes += cursor.acknowledged.offset - point.offset;
                cursor.resend_from(point);
            }
        }
        resent
    }

    /// The text of a record that was sent: its line as it stands in the file, as long as that is there.
    pub fn text(&self, file: &Facts, item: &Item) -> Option<String> {
        let lane = self
            .lanes
            .iter()
            .find(|lane| lane.cursor.content == item.content && lane.cursor.file.source.name == file.source)?;
        let cursor = &lane.cursor;
        // Twice as long in UTF-16.
        let mut bytes = vec![0; usize::try_from(item.length).ok()?.min(2 * (cursor.file.source.line_limit + 2))];
        let length = cursor.file.file.fill_at(&mut bytes, item.offset).ok()?;
        bytes.truncate(length);
        if let Some((_, text)) = lane.borrowed.as_ref().filter(|(from, _)| item.offset >= *from) {
            bytes.extend_from_slice(text);
        }
        Some(cursor.decode(&bytes).trim_ascii_end().to_owned())
    }

    /// The cursors of a family.
    pub fn family<'a>(&'a self, source: &'a str, family: &'a Path) -> impl Iterator<Item = &'a Cursor> + Clone {
        self.cursors().filter(move |cursor| *cursor.file.family == *family && cursor.file.source.name == source)
    }

    /// Whether a file may have something to read.
    pub fn any_ready(&self) -> bool {
        (0..self.lanes.len()).any(|index| self.is_ready(index))
    }

    /// When an event at the end of a file is complete if nothing follows.
    pub fn held_until(&mut self) -> Option<Instant> {
        // Looking through thousands of files at each wait costs more than the rest of it.
        if !self.holds_event {
            return None;
        }
        let until = self.cursors().filter_map(Cursor::held_until).min();
        self.holds_event = until.is_some();
        until
    }

    /// The next file that may have something to read, if there is one within one round.
    pub fn next_ready(&mut self) -> Option<usize> {
        let count = self.lanes.len();
        let index = (self.next..count).chain(0..self.next.min(count)).find(|index| self.is_ready(*index))?;
        self.next = (index + 1) % count;
        Some(index)
    }

    /// Whether more is known of the beginning of a file now, of which nothing was sent yet.
    pub fn take_head(&mut self, index: usize) -> bool {
        self.lanes[index].cursor.take_head()
    }

    /// Reads one piece of a file and appends its records to `out`.
    pub fn read(&mut self, index: usize, now: &str, out: &mut Outgoing) -> Read {
        if self.lanes[index].shape.is_none() {
            self.let_go_of_shapes();
        }
        let mut bridge = self.bridge(index);
        let Lane { cursor, shape, windows, refused_to, .. } = &mut self.lanes[index];
        let Shape { encoder, facts } = shape.get_or_insert_with(|| {
            let facts = cursor.file.facts();
            Shape { encoder: encoder(&self.platform, &self.origin, &facts), facts: Arc::new(facts) }
        });
        let (from, encoded_before) = (cursor.sent, out.bytes.len());
        let content = cursor.content;
        let source = cursor.file.source.clone();
        let mut making = Making { recipe: &source.recipe, now, content, scratch: &mut self.scratch, windows };
        let mut given = 0;
        let mut tally = Tally::default();
        let step = cursor.read(&mut self.buffer, bridge.as_mut(), |line| {
            given += line.length as u64;
            let mut refused = None;
            with_record(line, &mut making, &mut tally, |record| {
                let start = out.bytes.len();
                match encoder.encode(record, &mut out.bytes) {
                    Ok(()) => out.took(&line, record, facts, now),
                    Err(why) => {
                        out.bytes.truncate(start);
                        let (text, _) = source.recipe.decode(line.bytes);
                        refused = Some(Refused::of(&line, record, facts, (text, why)));
                    }
                }
            });
            if let Some(refused) = refused {
                tally.dead(line.length as u64);
                // What is read a second time is among the dead letters already.
                if refused_to.0 != content || refused_to.1 <= line.offset {
                    *refused_to = (content, line.offset + 1);
                    out.refused.push(refused);
                }
            }
        });
        self.holds_event |= cursor.held_until().is_some();
        if let Some(bridge) = bridge {
            self.crossed(index, bridge);
        }
        let cursor = &mut self.lanes[index].cursor;
        if let Ok(Step::Advanced(bytes)) = step {
            // What was read and belongs to no line was cut away.
            tally.skipped_bytes += bytes.saturating_sub(given);
        }
        match step {
            Ok(Step::Advanced(_)) if cursor.sent != from => Read::Piece(Mark {
                file: cursor.file.sequence,
                epoch: cursor.epoch,
                content,
                from,
                to: cursor.sent,
                tally,
                encoded: (out.bytes.len() - encoded_before) as u64,
            }),
            Ok(Step::Advanced(_) | Step::Drained) => Read::Nothing,
            Ok(Step::Replaced(replaced)) => {
                counters(cursor).replaced();
                Read::Replaced(Box::new(Position::of(cursor).with(replaced)))
            }
            Err(error) => {
                cursor.pause();
                Read::Failed(cursor.file.origin.to_path_buf(), error)
            }
        }
    }

    /// The generations behind a file whose last event may go on in them: as many as are complete, and one more.
    fn bridge(&self, index: usize) -> Option<Bridge> {
        let cursor = &self.lanes[index].cursor;
        if !cursor.may_be_parted() {
            return None;
        }
        let from = cursor.file.sequence;
        let mut bridge = Bridge { from, nexts: Vec::new(), text: None };
        let mut before = from;
        while let Some(Lane { cursor, .. }) = self.lanes.iter().find(|lane| lane.after == Some(before)) {
            let (file, borrowed) = (cursor.file.clone(), cursor.borrowed.clone());
            before = file.sequence;
            let is_last = !file.is_rotated() || bridge.nexts.len() >= MOST_CROSSED;
            bridge.nexts.push(Next { file, borrowed, is_unread: cursor.sent.offset == 0 });
            if is_last {
                break;
            }
        }
        (!bridge.nexts.is_empty()).then_some(bridge)
    }

    /// What was borrowed is not given again where it stands.
    fn crossed(&mut self, index: usize, bridge: Bridge) {
        for Next { file, borrowed, .. } in bridge.nexts {
            if let Some(cursor) = self.cursor(file.sequence) {
                cursor.borrowed = borrowed;
            }
        }
        if bridge.text.is_some() {
            self.lanes[index].borrowed = bridge.text;
        }
    }

    /// Encodes a dead letter anew, as its source says now; without a source it stays one.
    pub fn read_letter(&mut self, letter: Letter, source: Option<&Source>, now: &str, out: &mut Outgoing) {
        let Letter { facts, content, offset, length, why, line, .. } = letter;
        let facts = Arc::new(facts);
        let refused = |why, text| Refused { facts: facts.clone(), content, offset, length, why, text };
        let (Some(source), Some(text)) = (source, &line) else { return out.refused.push(refused(why, line)) };
        let mut encoder = encoder(&self.platform, &self.origin, &facts);
        let mut windows = Vec::new();
        let (recipe, scratch, windows) = (&source.recipe, &mut self.scratch, &mut windows);
        let mut making = Making { recipe, now, content, scratch, windows };
        let line = Line { bytes: text.as_bytes(), cut: false, offset, length: usize::try_from(length).unwrap_or(0) };
        with_text(
            (text.into(), false),
            line,
            &mut making,
            (&mut Tally::default(), |record| {
                let start = out.bytes.len();
                match encoder.encode(record, &mut out.bytes) {
                    Ok(()) => out.took(&line, record, &facts, now),
                    Err(why) => {
                        out.bytes.truncate(start);
                        out.refused.push(refused(why, Some(text.clone())));
                    }
                }
            }),
        );
    }

    /// Moves the position behind an acknowledged piece; whether it is still in the file that it was read from.
    pub fn acknowledge(&mut self, mark: &Mark) -> bool {
        let Ok(index) = self.find(mark.file) else { return false };
        let Lane { cursor, borrowed, .. } = &mut self.lanes[index];
        counters(cursor).shipped(&mark.tally, mark.bytes());
        borrowed.take_if(|(from, _)| *from < mark.to.offset);
        if cursor.epoch != mark.epoch {
            return false;
        }
        cursor.acknowledge(mark.to);
        cursor.ledger.add(&mark.tally);
        true
    }

    /// Goes back to the beginning of a piece that is to be sent again; whether all who have its content did. Of one that
    /// is not in its file any more copies may come up later, and go on from its position: that goes back too.
    pub fn take_back(&mut self, mark: &Mark, was_acknowledged: bool) -> bool {
        let back = |cursor: &mut Cursor| {
            if mark.from.offset < cursor.sent.offset {
                if was_acknowledged {
                    cursor.ledger.subtract(&mark.tally);
                }
                cursor.go_to(mark.from);
            }
        };
        if let Some(cursor) = self.cursor(mark.file) {
            counters(cursor).taken_back(was_acknowledged.then_some((&mark.tally, mark.bytes())), mark.tally.lines);
            if cursor.epoch == mark.epoch && !cursor.file.is_replaced() {
                back(cursor);
                return true;
            }
        }
        // Copies have the same bytes at the same offsets.
        self.lanes.iter_mut().map(|lane| &mut lane.cursor).filter(|c| c.content == mark.content).for_each(back);
        false
    }

    /// Files that were gone back in are to be read before those that follow them, and may need the decoders of those.
    pub fn give_up_decoders(&mut self) {
        for index in 0..self.lanes.len() {
            let Lane { cursor, after, .. } = &self.lanes[index];
            if cursor.has_decoder() && !self.is_passed(*after) {
                self.lanes[index].cursor.give_up_decoder();
            }
        }
    }

    /// Before another one is made.
    fn let_go_of_shapes(&mut self) {
        self.shapes_made += 1;
        if self.shapes_made > MOST_SHAPES {
            self.shapes_made = 1;
            let shapes = self.lanes.iter_mut().map(|lane| &mut lane.shape);
            shapes.for_each(|shape| drop(shape.take_if(|shape| !shape.encoder.remembers())));
        }
    }

    fn is_ready(&self, index: usize) -> bool {
        let Lane { cursor, after, is_held, .. } = &self.lanes[index];
        cursor.is_ready() && !is_held && self.is_passed(*after)
    }

    /// Whether a generation, and those before it, were read to their ends, or are in no file any more.
    fn is_passed(&self, mut sequence: Option<u64>) -> bool {
        while let Some(Ok(index)) = sequence.map(|sequence| self.find(sequence)) {
            let Lane { cursor, after, .. } = &self.lanes[index];
            if !cursor.file.is_replaced() {
                return cursor.was_drained;
            }
            sequence = *after;
        }
        true
    }

    fn find(&self, sequence: u64) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&sequence, |lane| lane.cursor.file.sequence)
    }
}

/// What the output has shipped of the source.
fn counters(cursor: &Cursor) -> &Counters {
    &cursor.file.source.counters[cursor.slot]
}
