use super::bridge::Bridge;
use super::compressed::Reader;
use super::entry::QUIET;
use super::followed::{FollowedFile, Opened};
use super::identity::{self, Content, Digest, HEAD, Point, WINDOW};
use super::ledger::Ledger;
use super::lines::{self, Borrowed, Following, HOLE, Line, Piece};
use super::wide::{self, Order};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How much is read at once, unless a line is longer. Enough to make system calls cheap, little enough to be fair
/// among files.
pub const PIECE: usize = 128 << 10;

/// One output's way through one file.
#[derive(Debug)]
pub struct Cursor {
    pub file: Arc<FollowedFile>,
    /// The output's index among the outputs of the source.
    pub slot: usize,
    /// Up to where lines were sent.
    pub sent: Point,
    /// Up to where they were acknowledged.
    pub acknowledged: Point,
    /// What became of the acknowledged bytes.
    pub ledger: Ledger,
    /// Counts contents: what was sent of an earlier one moves no position.
    pub epoch: u32,
    /// The fingerprint of the file's beginning, as far as it has one.
    pub head: Digest,
    /// What the content is called in the ids of its records. Another content in the same file gets another.
    pub content: u64,
    /// The file's version at the last read, or 0: to be read again.
    seen: u64,
    /// The last read left nothing but an unfinished line.
    drained: bool,
    /// It was read to its end since the next file of the family came up: that one may follow.
    pub was_drained: bool,
    /// There is a next file of the family.
    has_next: bool,
    /// How much to read at once: more than a piece when a line did not fit into one.
    want: usize,
    /// The last read left an event that may go on.
    held: Option<Held>,
    /// The way through a compressed file.
    reader: Option<Box<Reader>>,
    /// Where the content of a compressed file ends, once it was read to there.
    end: Option<u64>,
    /// Whether its text is UTF-16, once that is known.
    order: Option<Option<Order>>,
    /// Another file has what was acknowledged of this one.
    pub is_handed_on: bool,
    /// Lines that the generation before has given, in order of their places.
    pub borrowed: Vec<Borrowed>,
}

/// An event at the end of a file that is complete if nothing follows.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Where the file ended.
    end: u64,
    until: Instant,
}

/// Whether a file's text is UTF-16: its first bytes say so, which are in its first piece.
fn order(known: &mut Option<Option<Order>>, file: &FollowedFile, piece: Piece<'_>) -> io::Result<Option<Order>> {
    if known.is_none() && !piece.bytes.is_empty() {
        let encoding = file.source.recipe.encoding;
        *known = match piece {
            Piece { offset: 0, bytes: [_], .. } => None,
            Piece { offset: 0, bytes, .. } => Some(Order::of(encoding, bytes)),
            _ => Some(Order::of_file(encoding, &file.file)?),
        };
    }
    Ok(known.flatten())
}

/// A name for a content that was not seen before.
pub fn new_content() -> u64 {
    fastrand::u64(1..)
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are done with.
    Advanced(u64),
    /// Nothing complete follows.
    Drained,
    /// The content is not the one that was read (truncated, or truncated and refilled), which is told once. Nothing more
    /// is read: the discovery follows the new content, and a copy of the former one, as files of their own.
    Replaced(Replaced),
}

/// What is known of a content that is no longer in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// How it began.
    pub head: Digest,
    /// What it is called.
    pub content: u64,
    /// Up to where it was acknowledged.
    pub acknowledged: Point,
}

impl Cursor {
    /// Goes on from `start`.
    pub fn new(file: Arc<FollowedFile>, slot: usize, start: Point, head: Digest, content: u64) -> Self {
        file.set_acknowledged(slot, start);
        Self {
            file,
            slot,
            sent: start,
            acknowledged: start,
            ledger: Ledger::default(),
            epoch: 0,
            head,
            content,
            seen: 0,
            // Makes the first read check the head.
            drained: true,
            was_drained: false,
            has_next: false,
            want: PIECE,
            held: None,
            reader: None,
            end: None,
            order: None,
            is_handed_on: false,
            borrowed: Vec::new(),
        }
    }

    /// Whether there may be something to read.
    pub fn is_ready(&self) -> bool {
        let is_held_enough = || self.held.is_some_and(|held| held.until <= Instant::now());
        (!self.drained || self.seen != self.file.version() || is_held_enough()) && !self.file.is_replaced()
    }

    /// When an event at the end is complete if nothing follows.
    pub fn held_until(&self) -> Option<Instant> {
        self.held.filter(|_| !self.file.is_replaced()).map(|held| held.until)
    }

    /// Whether its last event may go on in the next generation.
    pub fn may_be_parted(&self) -> bool {
        self.has_next && self.file.source.joining.timeout().is_some()
    }

    /// Reads the next piece into `buffer` and gives its lines to `each`. The last event takes what it has beyond the
    /// `bridge`, if there is one.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        bridge: Option<&mut Bridge>,
        each: impl FnMut(Line<'_>),
    ) -> io::Result<Step> {
        // Before the read: what is written during it makes the file ready again.
        self.seen = self.file.version();
        if self.drained && !self.check_head()? {
            return Ok(self.replaced());
        }
        if self.end.is_some_and(|end| self.sent.offset >= end) {
            (self.drained, self.was_drained) = (true, true);
            return Ok(Step::Drained);
        }
        let before = self.sent.window.length();
        if buffer.len() < WINDOW + self.want {
            buffer.resize(WINDOW + self.want, 0);
        }
        let room = &mut buffer[..before + self.want];
        let Some(length) = self.fill(room, before)? else { return Ok(Step::Drained) };
        // After the read: half of a line may have come since the file was found quiet.
        let last = self.file.has_ended() && self.is_still_quiet()?;
        let Some((window, content)) = room[..length].split_at_checked(before) else { return Ok(self.missed()) };
        if !self.sent.window.matches(window) {
            return Ok(self.replaced());
        }
        let written = self.written(content)?;
        let at_end = length < room.len() || written < content.len();
        let content = &content[..written];
        let limit = self.file.source.line_limit;
        let mut inside_cut_line = self.sent.inside_cut_line;
        let end = self.sent.offset + content.len() as u64;
        let following = match at_end {
            true if last => Following::Nothing,
            true if self.waited_long_enough(end)? => Following::NotSoon,
            _ => Following::Perhaps,
        };
        let joining = &self.file.source.joining;
        let piece = Piece { bytes: content, offset: self.sent.offset, limit, following, borrowed: &self.borrowed };
        let order = order(&mut self.order, &self.file, piece)?;
        let split = match order {
            None => match bridge.filter(|_| following != Following::Perhaps) {
                Some(bridge) => bridge.split(piece, joining, &mut inside_cut_line, each),
                None => lines::split(piece, joining, &mut inside_cut_line, each),
            },
            Some(order) => wide::split(piece, order, joining, &mut inside_cut_line, each),
        };
        let done = split.bytes;
        let units = if order.is_some() { 2 } else { 1 };
        let most = (units * joining.longest_piece(limit)).max(PIECE);
        self.want = if done == 0 && !at_end { (self.want * 4).min(most) } else { PIECE };
        self.hold(end, at_end && split.holds_event);
        self.drained = at_end;
        self.was_drained |= at_end && (done == content.len() || !(self.has_next || self.file.is_rotated()));
        if at_end {
            self.end_decoding(done as u64);
        }
        if done == 0 {
            return Ok(if at_end { Step::Drained } else { Step::Advanced(0) });
        }
        self.sent = Point {
            offset: self.sent.offset + done as u64,
            window: Digest::of(&room[..before + done]),
            inside_cut_line,
        };
        Ok(Step::Advanced(done as u64))
    }

    /// How much of what was read was written. A writer that reserves its file's space has zeros up to the end, and fills
    /// them bit by bit.
    fn written(&self, content: &[u8]) -> io::Result<usize> {
        let zeros = content.iter().rev().take_while(|byte| **byte == 0).count();
        let Opened::Plain(file) = &self.file.file else { return Ok(content.len()) };
        if zeros < HOLE || self.file.has_ended() {
            return Ok(content.len());
        }
        let mut tail = [0; HOLE];
        let length = file.fill_at(&mut tail, file.metadata()?.len().saturating_sub(HOLE as u64))?;
        let is_reserved = tail[..length].iter().all(|byte| *byte == 0);
        // The last unit of UTF-16 may end in a zero.
        let written = (content.len() - zeros).next_multiple_of(2).min(content.len());
        Ok(if is_reserved { written } else { content.len() })
    }

    /// Whether a file that had ended was not written since: half of a line may be there by now.
    fn is_still_quiet(&self) -> io::Result<bool> {
        if self.file.is_compressed() {
            return Ok(true);
        }
        let metadata = self.file.file.metadata()?;
        let is_quiet = match SystemTime::now().duration_since(metadata.modified()?) {
            Ok(ago) => ago >= QUIET,
            // At a time that is yet to come. As the file was when it was found quiet, it is quiet.
            Err(_) => (identity::modified(&metadata), metadata.len()) == (self.file.modified(), self.file.size()),
        };
        if !is_quiet {
            self.file.set_ended(false);
        }
        Ok(is_quiet)
    }

    /// Whether the event that ends the file is complete because nothing came for a time.
    fn waited_long_enough(&self, end: u64) -> io::Result<bool> {
        let Some(timeout) = self.file.source.joining.timeout() else { return Ok(false) };
        if self.held.is_some_and(|held| held.end == end && held.until <= Instant::now()) {
            return Ok(true);
        }
        // What was written long ago waits for nothing. The time that the last scan saw may be an old one.
        let quiet = SystemTime::now().duration_since(self.file.file.metadata()?.modified()?);
        Ok(quiet.unwrap_or(Duration::ZERO) >= timeout)
    }

    fn hold(&mut self, end: u64, holds_event: bool) {
        let timeout = self.file.source.joining.timeout().filter(|_| holds_event);
        self.held = timeout.map(|timeout| match self.held {
            Some(held) if held.end == end => held,
            _ => Held { end, until: Instant::now() + timeout },
        });
    }

    /// The text of some lines of the file.
    pub fn decode(&self, bytes: &[u8]) -> String {
        match self.order.flatten() {
            None => self.file.source.recipe.decode(bytes).0.into_owned(),
            Some(order) => wide::text(bytes, order),
        }
    }

    /// Goes on from another place: back, because a connection took along what was sent since, or over what was sent
    /// while the content was in another file.
    pub fn go_to(&mut self, to: Point) {
        self.sent = to;
        self.acknowledge(to);
        (self.held, self.reader) = (None, None);
        // What follows in the family waits for it once more.
        (self.drained, self.was_drained, self.seen) = (true, false, 0);
    }

    /// A way through the same content from its beginning, for somebody who only looks: it moves no position.
    pub fn from_the_beginning(&self) -> Self {
        Self {
            file: self.file.clone(),
            sent: Point::default(),
            acknowledged: Point::default(),
            ledger: Ledger::default(),
            drained: true,
            want: PIECE,
            held: None,
            reader: None,
            end: None,
            borrowed: Vec::new(),
            ..*self
        }
    }

    /// Goes back to send again from there: what is on its way moves no position any more.
    pub fn resend_from(&mut self, point: Point) {
        self.epoch += 1;
        self.ledger = Ledger::default();
        self.go_to(point);
    }

    /// What is before `rest` is read from another file from now on.
    pub fn hand_on(&mut self, rest: Point) {
        (self.content, self.is_handed_on) = (new_content(), true);
        self.resend_from(rest);
        self.ledger.skipped = rest.offset;
    }

    /// Another file follows in the family: this one is to be read to its end before.
    pub fn drain_again(&mut self) {
        (self.was_drained, self.has_next, self.seen) = (false, true, 0);
    }

    pub fn has_decoder(&self) -> bool {
        self.reader.is_some()
    }

    /// It is read from its beginning again when it is read on.
    pub fn give_up_decoder(&mut self) {
        self.reader = None;
    }

    /// Leaves the file alone until it changes.
    pub fn pause(&mut self) {
        (self.drained, self.held) = (true, None);
    }

    pub fn acknowledge(&mut self, up_to: Point) {
        self.acknowledged = up_to;
        self.file.set_acknowledged(self.slot, up_to);
    }

    /// The file does not reach the position any more.
    fn missed(&mut self) -> Step {
        if !self.file.is_compressed() {
            return self.replaced();
        }
        // Damaged before it.
        self.drained = true;
        self.end_decoding(0);
        Step::Drained
    }

    /// What is in flight of the former content is acknowledged as ever, so that a copy of it is read on from there.
    fn replaced(&mut self) -> Step {
        (self.drained, self.held) = (true, None);
        self.file.set_replaced();
        Step::Replaced(Replaced { head: self.head, content: self.content, acknowledged: self.acknowledged })
    }

    /// Reads what follows the position into the buffer, after so many bytes that are before it. None while all decoders
    /// are in use.
    fn fill(&mut self, room: &mut [u8], before: usize) -> io::Result<Option<usize>> {
        let offset = self.sent.offset - before as u64;
        let file = match &self.file.file {
            Opened::Plain(file) => return self.fill_plain(file, room, offset).map(Some),
            Opened::Compressed(file) => file,
        };
        if self.reader.is_none() {
            self.reader = file.reader(&self.file.source.outputs[self.slot])?.map(Box::new);
        }
        let Some(reader) = &mut self.reader else {
            self.file.wait_for_decoder();
            self.drained = true;
            return Ok(None);
        };
        let length = reader.fill_at(room, offset)?;
        if let Some(why) = reader.failure().filter(|_| length < room.len()) {
            log::error!(
                source = self.file.source.name;
                "logs: {} is damaged ({why}); its lines are shipped up to there, and what follows is lost", self.file.origin.display()
            );
        }
        Ok(Some(length))
    }

    /// The first read is the last where it came to the file's end as that was seen: what is written later is told of, and
    /// of many files each has little to read. Of one that has ended, a last line without its newline counts.
    fn fill_plain(&self, file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = match file.read_at(room, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        let end = offset + length as u64;
        let is_all = length == room.len() || (length > 0 && end >= self.file.size() && !self.file.has_ended());
        if is_all {
            return Ok(length);
        }
        Ok(length + file.fill_at(&mut room[length..], end)?)
    }

    /// A compressed file is complete, and its decoder is of use to others.
    fn end_decoding(&mut self, done: u64) {
        if self.reader.take().is_some() {
            self.end = Some(self.sent.offset + done);
            self.file.set_size(self.sent.offset + done);
        }
    }

    /// Takes as much of the beginning as there is, before anything of it is sent; whether that is more than was known.
    pub fn take_head(&mut self) -> bool {
        let known = self.head.length();
        if self.sent.offset > 0 || known >= HEAD || self.file.size() <= known as u64 {
            return false;
        }
        match identity::head(&self.file.file) {
            Ok(head) if head.length() > known && self.check_head().unwrap_or(false) => {
                self.head = head;
                true
            }
            // Whether it can be read, and is the same, the next read says.
            _ => false,
        }
    }

    /// Whether the beginning is still the same. A beginning that was short and has grown is taken anew.
    fn check_head(&mut self) -> io::Result<bool> {
        if !identity::begins_with(&self.file.file, self.head)? {
            return Ok(false);
        }
        if self.head.length() < HEAD {
            self.head = identity::head(&self.file.file)?;
        }
        Ok(true)
    }
}
