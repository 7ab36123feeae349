use super::source::cursor::{Cursor, Replaced};
use super::source::followed::FollowedFile;
use super::source::identity::{self, Content, Digest, Point};
use super::source::ledger::Ledger;
use hostwright_core::journal::Journal;
use hostwright_core::state::StateError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How far positions may be behind the acknowledgement in time. (In bytes, the output's batch is the bound.)
const LATEST: Duration = Duration::from_secs(1);
/// How long the position in a file that is not found is kept: its file system may come back.
const MISSING_DAYS: i64 = 7;
/// A shorter beginning says too little to take a file for a copy of another.
const TELLING: usize = 64;

/// Up to where one output has acknowledged one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub source: String,
    /// The path while it was written; a file is never recognised by it alone.
    pub path: String,
    pub device: u64,
    pub inode: u64,
    /// When the file was created, in nanoseconds since 1970, if its file system told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<i64>,
    pub head: Digest,
    /// What the content is called in the ids of its records; 0 if it has no name yet.
    #[serde(default)]
    pub content: u64,
    #[serde(flatten)]
    pub point: Point,
    #[serde(flatten)]
    pub ledger: Ledger,
    /// When the file was last written, in nanoseconds since 1970.
    pub modified: i64,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing_since: Option<i64>,
}

impl Position {
    pub fn of(cursor: &Cursor) -> Self {
        let file = &cursor.file;
        Self {
            source: file.source.name.clone(),
            path: file.origin.to_string_lossy().into_owned(),
            device: file.key.device,
            inode: file.key.inode,
            born: file.born,
            head: cursor.head,
            content: cursor.content,
            point: cursor.acknowledged,
            ledger: cursor.ledger,
            modified: file.modified(),
            missing_since: None,
        }
    }

    /// The same of another content that the file had.
    pub fn with(self, replaced: Replaced) -> Self {
        Self { head: replaced.head, content: replaced.content, point: replaced.acknowledged, ..self }
    }

    /// Whether a file of the source may be the one that this position is about, as far as its file system tells. (A
    /// device's number may change with a reboot.)
    pub fn may_be(&self, source: &str, inode: u64, born: Option<i64>) -> bool {
        self.inode == inode && self.source == source && self.born.is_none_or(|known| born.is_none_or(|b| b == known))
    }

    /// Whether an open file has the content that this position is about.
    pub fn is_in(&self, file: &impl Content) -> bool {
        self.begins(file) && identity::continues_at(file, &self.point).unwrap_or(false)
    }

    /// Whether a file begins as the content did, and the beginning is long enough to tell.
    pub fn begins(&self, file: &impl Content) -> bool {
        identity::begins_with(file, self.head).unwrap_or(false)
    }
}

/// What the journal holds. The numbers are names of positions in it.
#[derive(Serialize, Deserialize)]
enum Entry {
    File(u32, Position),
    /// Moved on in the same file.
    At(u32, At),
    Gone(u32),
}

#[derive(Serialize, Deserialize)]
struct At {
    #[serde(flatten)]
    point: Point,
    #[serde(flatten)]
    ledger: Ledger,
    modified: i64,
}

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
    head_length: usize,
    offset: u64,
    ledger: Ledger,
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

    /// The positions of files that no cursor has taken over.
    pub fn unclaimed(&self) -> impl Iterator<Item = &Position> {
        self.unclaimed.positions.values()
    }

    /// Where to go on in a file that was found: by its identity, or as the copy of a file that was or is followed, of
    /// which `cursors` gives the positions.
    pub fn claim<I>(&mut self, file: &FollowedFile, cursors: impl FnOnce() -> I) -> Option<Position>
    where
        I: Iterator<Item = Position>,
    {
        if let Some(name) = self.unclaimed.same(file) {
            self.gone.push(name);
            return self.unclaimed.remove(name);
        }
        // The file being written is no copy.
        if file.is_at(&file.family) {
            return None;
        }
        let is_original = |p: &Position| {
            p.head.length() >= TELLING
                && p.source == file.source.name
                && Path::new(&p.path) == &*file.family
                && p.is_in(&file.file)
        };
        let candidates = self.unclaimed.at(&file.family).cloned().chain(cursors());
        candidates.filter(is_original).max_by_key(|p| p.point.offset)
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
            let same = |b: Stored| (b.content, b.head_length) == (now.content, now.head_length);
            entries.push(match before {
                Some(before) if same(before) => entry(&Entry::At(now.name, At::of(cursor))),
                _ => entry(&Entry::File(now.name, Position::of(cursor))),
            });
            self.next_name += u32::from(before.is_none());
        }
        self.expire();
        let fresh = std::mem::take(&mut self.unclaimed.fresh);
        let fresh = fresh.into_iter().filter_map(|name| Some((name, self.unclaimed.positions.get(&name)?)));
        entries.extend(fresh.map(|(name, position)| entry(&Entry::File(name, position.clone()))));
        // Last: until a claimed position stands under its new name, it stands under the old one.
        entries.extend(self.gone.drain(..).map(|name| entry(&Entry::Gone(name))));
        entries
    }

    fn all<'c>(&self, cursors: impl Iterator<Item = &'c Cursor>) -> Vec<Vec<u8>> {
        let name = |cursor: &Cursor| self.stored.get(&cursor.file.sequence).map(|stored| stored.name);
        let of_cursors = cursors.filter_map(|cursor| Some(entry(&Entry::File(name(cursor)?, Position::of(cursor)))));
        let unclaimed = self.unclaimed.positions.iter();
        of_cursors.chain(unclaimed.map(|(name, position)| entry(&Entry::File(*name, position.clone())))).collect()
    }

    /// Notes since when files are missing, and forgets those that are for long.
    fn expire(&mut self) {
        let now = Timestamp::now().as_second();
        let is_over = |p: &Position| p.missing_since.is_some_and(|since| now - since >= MISSING_DAYS * 86400);
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
            head_length: cursor.head.length(),
            offset: cursor.acknowledged.offset,
            ledger: cursor.ledger,
        }
    }
}

impl At {
    fn of(cursor: &Cursor) -> Self {
        Self { point: cursor.acknowledged, ledger: cursor.ledger, modified: cursor.file.modified() }
    }
}

fn entry(entry: &Entry) -> Vec<u8> {
    // Nothing in it can fail to be written to memory.
    serde_json::to_vec(entry).unwrap_or_default()
}

/// The positions that a journal comes to. A record that does not parse is left out: its checksum is right, so this
/// program has another idea of it, and an older position of the file stands.
fn replay(records: &[Vec<u8>]) -> BTreeMap<u32, Position> {
    let mut positions = BTreeMap::new();
    for record in records {
        match serde_json::from_slice(record) {
            Ok(Entry::File(name, position)) => {
                positions.insert(name, position);
            }
            Ok(Entry::At(name, at)) => {
                if let Some(position) = positions.get_mut(&name) {
                    (position.point, position.ledger, position.modified) = (at.point, at.ledger, at.modified);
                    position.missing_since = None;
                }
            }
            Ok(Entry::Gone(name)) => {
                positions.remove(&name);
            }
            Err(error) => log::warn!("logs: a stored position cannot be read: {error}"),
        }
    }
    positions
}

/// Positions without a cursor, found by what a file may be known by.
#[derive(Debug, Default)]
struct Unclaimed {
    positions: BTreeMap<u32, Position>,
    by_inode: HashMap<u64, Vec<u32>>,
    by_path: HashMap<PathBuf, Vec<u32>>,
    /// Not in the journal as they are now.
    fresh: Vec<u32>,
}

impl Unclaimed {
    fn insert(&mut self, name: u32, position: Position) {
        self.by_inode.entry(position.inode).or_default().push(name);
        self.by_path.entry(PathBuf::from(&position.path)).or_default().push(name);
        self.positions.insert(name, position);
    }

    fn remove(&mut self, name: u32) -> Option<Position> {
        let position = self.positions.remove(&name)?;
        if let Some(names) = self.by_inode.get_mut(&position.inode) {
            names.retain(|other| *other != name);
        }
        if let Some(names) = self.by_path.get_mut(Path::new(&position.path)) {
            names.retain(|other| *other != name);
        }
        Some(position)
    }

    /// Changes the positions in a content, as long as `change` says that it did.
    fn change(&mut self, content: u64, change: impl Fn(&mut Position) -> bool) {
        for (name, position) in &mut self.positions {
            if position.content == content && change(position) {
                self.fresh.push(*name);
            }
        }
    }

    /// The position in this very file.
    fn same(&self, file: &FollowedFile) -> Option<u32> {
        let names = self.by_inode.get(&file.key.inode)?.iter();
        let mut same: Vec<_> = names.filter_map(|name| Some((*name, self.positions.get(name)?))).collect();
        same.retain(|(_, p)| p.may_be(&file.source.name, file.key.inode, file.born));
        // Device numbers may change with a reboot.
        same.sort_by_key(|(_, p)| p.device != file.key.device);
        same.into_iter().find(|(_, p)| p.is_in(&file.file)).map(|(name, _)| name)
    }

    /// The positions of files that were written under this path.
    fn at(&self, path: &Path) -> impl Iterator<Item = &Position> {
        self.by_path.get(path).into_iter().flatten().filter_map(|name| self.positions.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Entry, Position, entry, replay};
    use crate::logs::source::identity::{Digest, Point};
    use crate::logs::source::ledger::Ledger;
    use std::fs::File;

    fn position(content: &[u8]) -> Position {
        Position {
            source: "s".into(),
            path: "/var/log/a".into(),
            device: 1,
            inode: 2,
            born: None,
            head: Digest::of(content),
            content: 7,
            point: Point { offset: content.len() as u64, window: Digest::of(content), inside_cut_line: false },
            ledger: Ledger::default(),
            modified: 3,
            missing_since: None,
        }
    }

    #[test]
    fn a_position_is_in_the_file_that_continues_it_and_in_no_other() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        let is_in = |content: &[u8]| {
            std::fs::write(&path, content).expect("written");
            position(b"one\ntwo\n").is_in(&File::open(&path).expect("opened"))
        };
        assert!(is_in(b"one\ntwo\nthree\n"));
        assert!(!is_in(b"one\n"));
        assert!(!is_in(b"eins\nzwei\ndrei\n"));
    }

    #[test]
    fn a_file_with_another_birth_is_another_even_under_the_same_inode() {
        let known = Position { born: Some(5), ..position(b"x") };
        assert!(known.may_be("s", 2, Some(5)));
        assert!(known.may_be("s", 2, None), "the file system does not tell any more");
        assert!(!known.may_be("s", 2, Some(6)));
        assert!(!known.may_be("other", 2, Some(5)));
    }

    #[test]
    fn positions_move_and_go_as_their_journal_says() {
        let at = |offset| {
            let point = Point { offset, ..Point::default() };
            entry(&Entry::At(1, At { point, ledger: Ledger { skipped: 5, dead: 0 }, modified: 9 }))
        };
        let file = |name| entry(&Entry::File(name, position(b"content")));
        let replayed = replay(&[file(1), file(2), at(20), entry(&Entry::Gone(2)), b"{\"Later\":1}".to_vec()]);
        assert_eq!(replayed.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!((replayed[&1].point.offset, replayed[&1].ledger.skipped, replayed[&1].modified), (20, 5, 9));
        assert_eq!(replayed[&1].head, position(b"content").head);
        assert_eq!(replay(&[file(3)])[&3], position(b"content"));
    }

    #[test]
    fn a_content_that_is_in_no_file_now_goes_back_and_on_with_its_connection() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut positions = super::Positions::open(folder.path(), "o").expect("opened");
        positions.remember(position(b"one\ntwo\n"));
        let at = |offset| Point { offset, ..Point::default() };
        let offset = |positions: &super::Positions| positions.unclaimed().next().map(|p| p.point.offset);
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
