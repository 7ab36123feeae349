use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Counter, segment, offset, samples, checksum.
const SLOT: usize = 4 * 8 + 4;

/// Up to where everything was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
    /// So many samples of the record that begins there.
    pub done: u64,
}

/// A file of two slots that are written by turns, so that a write that was cut off leaves the position before it. It is
/// written in place, which costs no more than a block and takes no space of a disk that is full.
#[derive(Debug)]
pub struct PositionFile {
    file: File,
    counter: u64,
    last: Position,
}

impl PositionFile {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("position");
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let slots = [0, 1].map(|slot| {
            let mut bytes = [0; SLOT];
            file.read_exact_at(&mut bytes, (slot * SLOT) as u64).ok().and_then(|()| read(&bytes))
        });
        let (counter, last) = slots.into_iter().flatten().max_by_key(|(counter, _)| *counter).unwrap_or_default();
        Ok(Self { file, counter, last })
    }

    pub fn last(&self) -> Position {
        self.last
    }

    /// Writes the position, which is then on the disk.
    pub fn store(&mut self, position: Position) -> io::Result<()> {
        let counter = self.counter + 1;
        let mut bytes = [0; SLOT];
        for (slot, number) in bytes.chunks_exact_mut(8).zip([counter, position.segment, position.offset, position.done])
        {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..SLOT - 4]);
        bytes[SLOT - 4..].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&bytes, (counter % 2) * SLOT as u64)?;
        (self.counter, self.last) = (counter, position);
        self.file.sync_data()
    }
}

fn read(slot: &[u8; SLOT]) -> Option<(u64, Position)> {
    let (numbers, checksum) = slot.split_at(SLOT - 4);
    if checksum != crc32fast::hash(numbers).to_le_bytes() {
        return None;
    }
    let mut numbers = numbers.chunks_exact(8).map(|bytes| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
    let counter = numbers.next()?;
    Some((counter, Position { segment: numbers.next()?, offset: numbers.next()?, done: numbers.next()? }))
}

#[cfg(test)]
mod tests {
    use super::{Position, PositionFile, SLOT};

    #[test]
    fn a_write_that_was_cut_off_leaves_the_position_before_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut file = PositionFile::open(folder.path()).expect("opened");
        assert_eq!(file.last(), Position::default());
        let at = |offset| Position { segment: 1, offset, done: 7 };
        for offset in [10, 20, 30] {
            file.store(at(offset)).expect("stored");
            assert_eq!(PositionFile::open(folder.path()).expect("opened").last(), at(offset));
        }
        let path = folder.path().join("position");
        let mut bytes = std::fs::read(&path).expect("read");
        // The third one went to the second slot.
        bytes[SLOT + 3] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(PositionFile::open(folder.path()).expect("opened").last(), at(20));
    }
}
