use super::position::{Position, is_zero};
use crate::logs::source::cursor::Cursor;
use crate::logs::source::identity::Point;
use crate::logs::source::ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the journal holds. The numbers are names of positions in it.
#[derive(Serialize, Deserialize)]
pub enum Entry {
    File(u32, Position),
    /// Moved on in the same file.
    At(u32, At),
    Gone(u32),
}

#[derive(Serialize, Deserialize)]
pub struct At {
    #[serde(flatten)]
    pub point: Point,
    #[serde(flatten)]
    pub ledger: Ledger,
    pub modified: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
}

impl At {
    pub fn of(cursor: &Cursor) -> Self {
        Self {
            point: cursor.acknowledged,
            ledger: cursor.ledger,
            modified: cursor.file.modified(),
            size: super::size_beyond(cursor),
        }
    }
}

impl Entry {
    /// As a record of the journal.
    pub fn record(&self) -> Vec<u8> {
        // Nothing in it can fail to be written to memory.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The positions that a journal comes to. A record that does not parse is left out: its checksum is right, so this
/// program has another idea of it, and an older position of the file stands.
pub fn replay(records: &[Vec<u8>]) -> BTreeMap<u32, Position> {
    let mut positions = BTreeMap::new();
    for record in records {
        match serde_json::from_slice(record) {
            Ok(Entry::File(name, position)) => {
                positions.insert(name, position);
            }
            Ok(Entry::At(name, at)) => {
                if let Some(position) = positions.get_mut(&name) {
                    (position.point, position.ledger, position.modified) = (at.point, at.ledger, at.modified);
                    position.size = at.size;
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

#[cfg(test)]
mod tests {
    use super::super::position::Position;
    use super::{At, Entry, replay};
    use crate::logs::source::identity::Point;
    use crate::logs::source::ledger::Ledger;

    #[test]
    fn positions_move_and_go_as_their_journal_says() {
        let at = |offset| {
            let point = Point { offset, ..Point::default() };
            Entry::At(1, At { point, ledger: Ledger { skipped: 5, dead: 0 }, modified: 9, size: 70 }).record()
        };
        let file = |name| Entry::File(name, Position::at_end_of(b"content")).record();
        let replayed = replay(&[file(1), file(2), at(20), Entry::Gone(2).record(), b"{\"Later\":1}".to_vec()]);
        assert_eq!(replayed.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!((replayed[&1].point.offset, replayed[&1].ledger.skipped, replayed[&1].modified), (20, 5, 9));
        assert_eq!(replayed[&1].pending(), 50);
        assert_eq!(replayed[&1].head, Position::at_end_of(b"content").head);
        assert_eq!(replay(&[file(3)])[&3], Position::at_end_of(b"content"));
    }
}
