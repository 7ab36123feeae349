use crate::logs::source::cursor::{Cursor, Replaced};
use crate::logs::source::identity::{self, Content, Digest, Point};
use crate::logs::source::ledger::Ledger;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// How long the file was, where it was longer than the point; else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing_since: Option<i64>,
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
            size: super::size_beyond(cursor),
            missing_since: super::is_gone(cursor).then(|| Timestamp::now().as_second()),
        }
    }

    /// The same of another content that the file had.
    pub fn with(self, replaced: Replaced) -> Self {
        Self { head: replaced.head, content: replaced.content, point: replaced.acknowledged, size: 0, ..self }
    }

    /// Whether a file of the source may be the one that this position is about, as far as its file system tells. (A
    /// device's number may change with a reboot.)
    pub fn may_be(&self, source: &str, inode: u64, born: Option<i64>) -> bool {
        self.inode == inode && self.source == source && self.born.is_none_or(|known| born.is_none_or(|b| b == known))
    }

    /// Whether its file was there until the agent ended.
    pub fn was_there(&self) -> bool {
        self.missing_since.is_none()
    }

    /// Bytes that were in the file and not acknowledged, when that was last stored.
    pub fn pending(&self) -> u64 {
        self.size.saturating_sub(self.point.offset)
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
impl Position {
    /// The position at the end of a content.
    pub fn at_end_of(content: &[u8]) -> Self {
        Self {
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
            size: 0,
            missing_since: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position;
    use std::fs::File;

    #[test]
    fn a_position_is_in_the_file_that_continues_it_and_in_no_other() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        let is_in = |content: &[u8]| {
            std::fs::write(&path, content).expect("written");
            Position::at_end_of(b"one\ntwo\n").is_in(&File::open(&path).expect("opened"))
        };
        assert!(is_in(b"one\ntwo\nthree\n"));
        assert!(!is_in(b"one\n"));
        assert!(!is_in(b"eins\nzwei\ndrei\n"));
    }

    #[test]
    fn a_file_with_another_birth_is_another_even_under_the_same_inode() {
        let known = Position { born: Some(5), ..Position::at_end_of(b"x") };
        assert!(known.may_be("s", 2, Some(5)));
        assert!(known.may_be("s", 2, None), "the file system does not tell any more");
        assert!(!known.may_be("s", 2, Some(6)));
        assert!(!known.may_be("other", 2, Some(5)));
    }
}
