//! Durable positions: up to where each output has acknowledged each file.
//!
//! In: cursors, and what becomes of their files. Out: where to go on in a file that is found, by its identity or as a
//! copy. What survives a restart is all of it, in a journal of its own for each output.

/// What the journal holds.
mod entries;
/// One position.
mod position;
/// Positions of files that are not followed.
mod unclaimed;

pub use position::Position;

use super::source::Source;
use super::source::cursor::Cursor;
use super::source::followed::{FollowedFile, Opened};
use super::source::identity::{Point, TELLING};
use super::source::ledger::Ledger;
use entries::{At, Entry, replay};
use hostwright_core::journal::Journal;
use hostwright_core::state::StateError;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use unclaimed::Unclaimed;

/// How far positions may be behind the acknowledgement in time. (In bytes, the output's batch is the bound.)
const LATEST: Duration = Duration::from_secs(1);
/// How old may be what is stored of the sizes of files that an output lacks something of.
const OLDEST: Duration = Duration::from_secs(10);
/// How long the position in a file that is not found is kept: its file system may come back.
pub const MISSING_SECONDS: i64 = 7 * 86_400;

type Storing = JoinHandle<(Journal, Result<(), StateError>)>;

/// The durable positions of one output.
#[derive(Debug)]
pub struct Positions {
    journal: Option<Journal>,
    storing: Option<Storing>,
    /// The journal may not hold what `stored` says: the next store writes all.
    is_uncertain: bool,
    /// What the journal holds of the cursors, by their files' sequence numbers.
    stored: HashMap<u64, Stored>,
    /// Of files that were not found yet, or whose content was replaced: a copy of it may come up.
    unclaimed: Unclaimed,
    next_name: u32,
    /// Names in the journal that are to go.
    gone: Vec<u32>,
    began: Instant,
}

/// What the journal holds of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    name: u32,
    content: u64,
    head_length: u16,
    offset: u64,
    ledger: Ledger,
    size: u64,
    /// The file is in no followed folder any more.
    is_gone: bool,
}

impl Positions {
    /// Reads what an earlier run left.
    pub fn open(folder: &Path, output: &str) -> Result<Self, StateError> {
        let (journal, records) = Journal::open(&folder.join(format!("positions-{output}")), 1)?;
        let mut unclaimed = Unclaimed::default();
        for (name, position) in replay(&records) {
            unclaimed.insert(name, position);
        }
        let next_name = unclaimed.positions.keys().max().map_or(0, |last| last + 1);
        Ok(Self {
            journal: Some(journal),
            storing: None,
            is_uncertain: true,
            stored: HashMap::new(),
            unclaimed,
            next_name,
            gone: Vec::new(),
            began: Instant::now(),
        })
    }

    /// Reads what a running or ended agent has stored, for somebody who only looks.
    pub fn read(folder: &Path, output: &str) -> Result<Vec<Position>, StateError> {
        let records = Journal::read(&folder.join(format!("positions-{output}")), 1)?;
        Ok(replay(&records).into_values().collect())
    }

    /// A source that was given another name goes on where it was: files of a source that is not there any more are those of
    /// the one that asks for them now, if it never shipped any.
    pub fn adopt(&mut self, output: &str, sources: &[Arc<Source>]) {
        let shipped: HashSet<String> = self.unclaimed().map(|position| position.source.clone()).collect();
        let new: Vec<_> = sources.iter().filter(|s| !shipped.contains(&s.name) && s.slot(output).is_some()).collect();
        let is_there = |name: &str| sources.iter().any(|source| source.name == name);
        for (name, position) in &mut self.unclaimed.positions {
            let asking: Vec<_> = new.iter().filter(|source| source.asks_for(Path::new(&position.path))).collect();
            if let [source] = asking[..]
                && !is_there(&position.source)
            {
                position.source.clone_from(&source.name);
                self.unclaimed.fresh.push(*name);
            }
        }
    }

    /// The positions of files that no cursor has taken over.
    pub fn unclaimed(&self) -> impl Iterator<Item = &Position> {
        self.unclaimed.positions.values()
    }

    /// Where to go on in a file that was found: by its identity, or as the copy of a file that was or is followed, of
    /// which there are `relatives` with cursors.
    pub fn claim<'c>(
        &mut self,
        file: &FollowedFile,
        relatives: impl Iterator<Item = &'c Cursor> + Clone,
    ) -> Option<Position> {
        if let Some(name) = self.unclaimed.same(file) {
            self.gone.push(name);
            return self.unclaimed.remove(name);
        }
        // A content that is in another file is not in this one too, however alike they begin: records of both would have
        // the same ids.
        let carried: Vec<u64> = relatives.clone().filter(|c| c.file.is_in_place()).map(|c| c.content).collect();
        if file.is_at(&file.origin)
            && !file.is_compressed()
            && let Some(name) = self.unclaimed.replaced(file, &carried)
        {
            self.gone.push(name);
            return self.unclaimed.remove(name);
        }
        // The file being written is no copy.
        if file.is_at(&file.family) {
            return None;
        }
        let may_be_original = |p: &Position| {
            p.head.length() >= TELLING
                && !carried.contains(&p.content)
                && p.source == file.source.name
                && (Path::new(&p.path) == &*file.family || Path::new(&p.path) == &*file.origin)
        };
        // A log with a date in the name under which it was written, compressed by now.
        let is_own = file.is_compressed() && file.origin != file.family;
        let own = self.unclaimed.at(&file.origin).filter(|_| is_own);
        let candidates = self.unclaimed.at(&file.family).chain(own).cloned().chain(relatives.map(Position::of));
        let mut candidates: Vec<_> = candidates.filter(may_be_original).collect();
        candidates.sort_by_key(|p| p.point.offset);
        match &file.file {
            Opened::Plain(plain) => candidates.into_iter().rfind(|p| p.is_in(plain)),
            Opened::Compressed(compressed) => {
                let content = compressed.in_order().ok()?;
                candidates.into_iter().filter(|p| p.is_in(&content)).last()
            }
        }
    }

    /// Remembers what was read of a content that was replaced, or of a file that is gone: a copy of it may come up.
    pub fn remember(&mut self, mut replaced: Position) {
        replaced.missing_since.get_or_insert(Timestamp::now().as_second());
        self.unclaimed.insert(self.next_name, replaced);
        self.unclaimed.fresh.push(self.next_name);
        self.next_name += 1;
    }

    /// A piece of a content that is in no followed file now was acknowledged.
    pub fn acknowledge(&mut self, content: u64, from: &Point, to: &Point) {
        self.unclaimed.change(content, |position| {
            let is_next = position.point.offset == from.offset;
            if is_next {
                position.point = *to;
            }
            is_next
        });
    }

    /// ... or is to be sent again, when a copy of it comes up.
    pub fn go_back(&mut self, content: u64, to: &Point) {
        self.unclaimed.change(content, |position| {
            let is_behind = position.point.offset > to.offset;
            if is_behind {
                (position.point, position.ledger) = (*to, Ledger::default());
            }
            is_behind
        });
    }

    /// A cursor is gone; its position was remembered if it is still of use.
    pub fn forget(&mut self, sequence: u64) {
        self.gone.extend(self.stored.remove(&sequence).map(|stored| stored.name));
    }

    /// Whether it is time to store, as far as time goes.
    pub fn is_late(&self) -> bool {
        self.began.elapsed() >= LATEST
    }

    /// When it will be.
    pub fn late_at(&self) -> Instant {
        self.began + LATEST
    }

    /// Whether it is time to store what outputs lack, though no position moves.
    pub fn is_old(&self) -> bool {
        self.began.elapsed() >= OLDEST
    }

    /// They cannot be stored now; it is time again after a while.
    pub fn postpone(&mut self) {
        self.began = Instant::now();
    }

    pub fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Begins to store in the background; the end is told by [`Self::stored`].
    pub fn store<'c>(&mut self, cursors: impl Iterator<Item = &'c Cursor> + Clone) {
        let Some(mut journal) = self.journal.take() else { return };
        self.began = Instant::now();
        let mut entries = self.changes(cursors.clone());
        let fits = journal.has_room(entries.len(), entries.iter().map(Vec::len).sum());
        let rewrite = self.is_uncertain || !fits;
        if rewrite {
            entries = self.all(cursors);
        }
        self.storing = Some(tokio::task::spawn_blocking(move || {
            let result = match rewrite {
                true => journal.rewrite(&entries),
                false if entries.is_empty() => Ok(()),
                false => journal.append(&entries),
            };
            (journal, result)
        }));
    }

    /// Waits for the end of the store in progress, for ever if there is none. Cancel-safe.
    pub async fn stored(&mut self) -> anyhow::Result<()> {
        let Some(storing) = &mut self.storing else { return std::future::pending().await };
        let ended = storing.await;
        self.storing = None;
        // A store that panicked took the journal with it: the duty starts again and reads it from disk.
        let (journal, result) = ended?;
        self.journal = Some(journal);
        self.is_uncertain = result.is_err();
        Ok(result?)
    }

    /// What the journal lacks.
    fn changes<'c>(&mut self, cursors: impl Iterator<Item = &'c Cursor>) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for cursor in cursors {
            let before = self.stored.get(&cursor.file.sequence).copied();
            let now = Stored::of(cursor, before.map_or(self.next_name, |before| before.name));
            if before == Some(now) {
                continue;
            }
            self.stored.insert(cursor.file.sequence, now);
            let same = |b: Stored| (b.content, b.head_length, b.is_gone) == (now.content, now.head_length, now.is_gone);
            entries.push(match before {
                Some(before) if same(before) => Entry::At(now.name, At::of(cursor)).record(),
                _ => Entry::File(now.name, Position::of(cursor)).record(),
            });
            self.next_name += u32::from(before.is_none());
        }
        self.expire();
        let fresh = std::mem::take(&mut self.unclaimed.fresh);
        let fresh = fresh.into_iter().filter_map(|name| Some((name, self.unclaimed.positions.get(&name)?)));
        entries.extend(fresh.map(|(name, position)| Entry::File(name, position.clone()).record()));
        // Last: until a claimed position stands under its new name, it stands under the old one.
        entries.extend(self.gone.drain(..).map(|name| Entry::Gone(name).record()));
        entries
    }

    fn all<'c>(&self, cursors: impl Iterator<Item = &'c Cursor>) -> Vec<Vec<u8>> {
        let name = |cursor: &Cursor| self.stored.get(&cursor.file.sequence).map(|stored| stored.name);
        let of_cursors = cursors.filter_map(|cursor| Some(Entry::File(name(cursor)?, Position::of(cursor)).record()));
        let unclaimed = self.unclaimed.positions.iter();
        of_cursors.chain(unclaimed.map(|(name, position)| Entry::File(*name, position.clone()).record())).collect()
    }

    /// Notes since when files are missing, and forgets those that are for long.
    fn expire(&mut self) {
        let now = Timestamp::now().as_second();
        let is_over = |p: &Position| p.missing_since.is_some_and(|since| now - since >= MISSING_SECONDS);
        let over: Vec<_> = self.unclaimed.positions.iter().filter(|(_, p)| is_over(p)).map(|(name, _)| *name).collect();
        for name in over {
            self.unclaimed.remove(name);
            self.gone.push(name);
        }
        for (name, position) in &mut self.unclaimed.positions {
            if position.missing_since.is_none() {
                position.missing_since = Some(now);
                self.unclaimed.fresh.push(*name);
            }
        }
    }
}

impl Stored {
    fn of(cursor: &Cursor, name: u32) -> Self {
        Self {
            name,
            content: cursor.content,
            head_length: u16::try_from(cursor.head.length()).unwrap_or(u16::MAX),
            offset: cursor.acknowledged.offset,
            ledger: cursor.ledger,
            size: size_beyond(cursor),
            is_gone: is_gone(cursor),
        }
    }
}

/// How long a file is that an output lacks something of. (That of a compressed one is not known.)
fn size_beyond(cursor: &Cursor) -> u64 {
    let file = &cursor.file;
    let is_own = !file.is_compressed() && !file.is_replaced();
    Some(file.size()).filter(|size| is_own && *size > cursor.acknowledged.offset).unwrap_or(0)
}

/// Whether a file was deleted, or moved away, and read.
fn is_gone(cursor: &Cursor) -> bool {
    cursor.file.path().is_none() && cursor.file.is_done()
}

#[cfg(test)]
mod tests {
    use super::Positions;
    use super::position::Position;
    use crate::logs::source::Source;
    use crate::logs::source::identity::Point;
    use hostwright_core::config::Config;
    use std::sync::Arc;

    #[test]
    fn a_source_of_another_name_goes_on_where_it_was_unless_the_former_one_is_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let text = "logs:\n  sources:\n    new: {files: ['/var/**/a*'], outputs: [o]}\n    other: {files: [/var/log/b], outputs: [o]}\n    s: {files: [/var/log/a], outputs: [p]}\n  outputs:\n    o: {file: {path: /o}}\n    p: {file: {path: /p}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("a config").logs.expect("logs");
        let source =
            |name: &str| Source::new(name, &logs.sources[name], folder.path()).map(Arc::new).expect("a source");
        let adopted = |output: &str, sources: &[&str]| {
            let mut positions = Positions::open(folder.path(), output).expect("opened");
            positions.remember(Position::at_end_of(b"one\n"));
            positions.adopt(output, &sources.iter().map(|name| source(name)).collect::<Vec<_>>());
            positions.unclaimed().map(|position| position.source.clone()).collect::<Vec<_>>()
        };
        assert_eq!(adopted("o", &["new", "other"]), ["new"]);
        assert_eq!(adopted("o", &["new", "other", "s"]), ["s"], "its own");
        assert_eq!(adopted("p", &["new", "other"]), ["s"], "nothing goes there");
    }

    #[test]
    fn a_content_that_is_in_no_file_now_goes_back_and_on_with_its_connection() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut positions = Positions::open(folder.path(), "o").expect("opened");
        positions.remember(Position::at_end_of(b"one\ntwo\n"));
        let at = |offset| Point { offset, ..Point::default() };
        let offset = |positions: &Positions| positions.unclaimed().next().map(|p| p.point.offset);
        positions.acknowledge(7, &at(4), &at(20));
        assert_eq!(offset(&positions), Some(8), "what is not next moves nothing");
        positions.acknowledge(7, &at(8), &at(20));
        assert_eq!(offset(&positions), Some(20));
        positions.go_back(8, &at(0));
        positions.go_back(7, &at(4));
        positions.go_back(7, &at(8));
        assert_eq!(offset(&positions), Some(4), "the oldest has the last word, of this content alone");
    }
}
