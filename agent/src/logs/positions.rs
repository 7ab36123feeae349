use super::source::cursor::{Cursor, Replaced};
use super::source::followed::FollowedFile;
use super::source::identity::{self, Digest, Point};
use super::source::ledger::Ledger;
use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
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
    pub fn is_in(&self, file: &File) -> bool {
        identity::begins_with(file, self.head).unwrap_or(false)
            && identity::continues_at(file, &self.point).unwrap_or(false)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    files: Vec<Position>,
}

type Storing = JoinHandle<(StateFile<Stored>, Result<(), StateError>)>;

/// The durable positions of one output.
#[derive(Debug)]
pub struct Positions {
    state: Option<StateFile<Stored>>,
    storing: Option<Storing>,
    /// Of files that were not found yet, or whose content was replaced: a copy of it may come up.
    unclaimed: Vec<Position>,
    began: Instant,
}

impl Positions {
    /// Reads what an earlier run left.
    pub fn open(folder: &Path, output: &str) -> Result<Self, StateError> {
        let mut state = StateFile::new(folder.join(format!("positions-{output}.json")), 1);
        let unclaimed = state.load()?.unwrap_or_else(Stored::default).files;
        Ok(Self { state: Some(state), storing: None, unclaimed, began: Instant::now() })
    }

    /// The positions of files that no cursor has taken over.
    pub fn unclaimed(&self) -> &[Position] {
        &self.unclaimed
    }

    /// Where to go on in a file that was found: by its identity, or as the copy of a file that was or is followed.
    pub fn claim(&mut self, file: &FollowedFile, cursors: impl Iterator<Item = Position>) -> Option<Position> {
        let candidates = self.unclaimed.iter().enumerate();
        let mut same: Vec<_> =
            candidates.filter(|(_, p)| p.may_be(&file.source.name, file.key.inode, file.born)).collect();
        // Device numbers may change with a reboot.
        same.sort_by_key(|(_, p)| p.device != file.key.device);
        if let Some((index, _)) = same.into_iter().find(|(_, p)| p.is_in(&file.file)) {
            return Some(self.unclaimed.swap_remove(index));
        }
        let is_rotated_name = file.family != file.origin;
        let is_original = |p: &Position| {
            p.head.length() >= TELLING
                && p.source == file.source.name
                && Path::new(&p.path) == file.family
                && p.is_in(&file.file)
        };
        let candidates = self.unclaimed.iter().cloned().chain(cursors);
        candidates.filter(|p| is_rotated_name && is_original(p)).max_by_key(|p| p.point.offset)
    }

    /// Remembers what was read of a content that was replaced, for the case that a copy of it comes up.
    pub fn remember(&mut self, replaced: Position) {
        self.unclaimed.push(replaced);
    }

    /// Whether it is time to store, as far as time goes.
    pub fn is_late(&self) -> bool {
        self.began.elapsed() >= LATEST
    }

    /// When it will be.
    pub fn late_at(&self) -> Instant {
        self.began + LATEST
    }

    pub fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Begins to store in the background; the end is told by [`Self::stored`].
    pub fn store<'c>(&mut self, cursors: impl Iterator<Item = &'c Cursor>) {
        let Some(mut state) = self.state.take() else { return };
        let now = Timestamp::now().as_second();
        for position in &mut self.unclaimed {
            position.missing_since.get_or_insert(now);
        }
        self.unclaimed.retain(|p| p.missing_since.is_none_or(|since| now - since < MISSING_DAYS * 86400));
        let files = cursors.map(Position::of).chain(self.unclaimed.iter().cloned()).collect();
        self.began = Instant::now();
        self.storing = Some(tokio::task::spawn_blocking(move || {
            let result = state.store(&Stored { files });
            (state, result)
        }));
    }

    /// Waits for the end of the store in progress, for ever if there is none. Cancel-safe.
    pub async fn stored(&mut self) -> anyhow::Result<()> {
        let Some(storing) = &mut self.storing else { return std::future::pending().await };
        let ended = storing.await;
        self.storing = None;
        // A store that panicked took the state with it: the duty starts again and reads it from disk.
        let (state, result) = ended?;
        self.state = Some(state);
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, Stored};
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
    fn positions_survive_being_written() {
        let stored = Stored { files: vec![position(b"content")] };
        let text = serde_json::to_string(&stored).expect("written");
        assert_eq!(serde_json::from_str::<Stored>(&text).expect("read").files, stored.files);
    }
}
