use super::request::batch::{Group, Item};
use crate::logs::record::{Facts, Record, Time};
use crate::logs::source::lines::Line;
use std::borrow::Cow;
use std::sync::Arc;

/// Records that were read and encoded, and are to go out.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The records, one behind the other.
    pub bytes: Vec<u8>,
    /// Each of them, where the platform answers for each.
    pub items: Vec<Item>,
    /// The files that the items come from.
    pub groups: Vec<Group>,
    /// Whether items are kept.
    pub itemised: bool,
    /// Records that the platform would refuse.
    pub refused: Vec<Refused>,
}

/// A record that a platform does not take, or would not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub facts: Arc<Facts>,
    /// What the file's content is called, and where the line begins in it.
    pub content: u64,
    pub offset: u64,
    pub length: u64,
    /// A sentence.
    pub why: String,
    /// The line, if it is at hand.
    pub text: Option<String>,
}

impl Refused {
    /// `text` is the line as its source reads it.
    pub fn of(line: &Line<'_>, record: &Record<'_>, facts: &Arc<Facts>, (text, why): (Cow<'_, str>, String)) -> Self {
        Self {
            facts: facts.clone(),
            content: record.id.content,
            offset: line.offset,
            length: line.length as u64,
            why,
            text: Some(text.into_owned()),
        }
    }
}

impl Outgoing {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.groups.clear();
    }

    /// Notes that the last bytes are a record of the line; `now` is the time of lines that say none.
    pub fn took(&mut self, line: &Line<'_>, record: &Record<'_>, facts: &Arc<Facts>, now: &str) {
        if !self.itemised {
            return;
        }
        self.items.push(Item {
            end: self.bytes.len(),
            time: record.time.nanoseconds(),
            is_dated: record.time != Time::Text(now),
            content: record.id.content,
            offset: line.offset,
            length: line.length as u64,
        });
        let end = self.items.len();
        match self.groups.last_mut() {
            Some(group) if Arc::ptr_eq(&group.facts, facts) => group.items.end = end,
            _ => self.groups.push(Group { facts: facts.clone(), items: end - 1..end }),
        }
    }
}
