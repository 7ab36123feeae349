use super::buffer::{Buffer, READ, ROOM_OF_WHOLE, Room};
use super::piece::read_piece;
use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What of this size is kept in memory between its checksums and its way: read once, and many at once are few bytes.
pub(super) const SMALL: u64 = 1 << 18;

/// What of this size is in the kernel's memory is read, and its checksums computed, in less time than a thread that may
/// wait for a disk takes to wake.
pub(super) const AT_HAND: u64 = 1 << 16;

/// Bytes of a file that are in memory. Clones hold the same.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The first one's place in the file.
    from: u64,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// All but the last of [`READ`] bytes.
    pieces: Vec<Bytes>,
    _room: Option<Room>,
}

impl Memory {
    /// A file that is one piece.
    fn of_small(all: Bytes) -> Self {
        Self { from: 0, held: Arc::new(Held { pieces: vec![all], _room: None }) }
    }

    /// Reads a file of up to [`AT_HAND`] without waiting for anything; nothing where the kernel has to fetch some of it, or
    /// cannot tell whether it has, or where there is less of it.
    pub(super) fn at_hand(file: &File, size: u64, each: impl FnOnce(&[u8])) -> Option<Self> {
        let mut bytes = vec![0; usize::try_from(size.min(AT_HAND)).ok()?];
        let read = preadv2(file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT).ok()?;
        if read as u64 != size {
            return None;
        }
        each(&bytes);
        Some(Self::of_small(bytes.into()))
    }

    /// Reads a file that one request carries: a small one in any case, because those who send many see to their number.
    pub(super) fn read_whole(
        file: &File,
        size: u64,
        interrupted: &AtomicBool,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Option<Self>> {
        if size > SMALL {
            let Some(room) = Room::take_of(size, ROOM_OF_WHOLE) else { return Ok(None) };
            return Self::fill(file, 0..size, (interrupted, room), each).map(Some);
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let mut read = 0;
        while read < bytes.len() {
            let left = (bytes.len() - read) as u64;
            read += read_piece(file, &mut bytes[read..], read as u64, left, interrupted)?.len();
        }
        each(&bytes);
        Ok(Some(Self::of_small(bytes.into())))
    }

    /// Reads a range, if there is room for it.
    pub(super) fn read(
        file: &File,
        range: Range<u64>,
        interrupted: &AtomicBool,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Option<Self>> {
        let Some(room) = Room::take(range.end - range.start) else { return Ok(None) };
        Self::fill(file, range, (interrupted, room), &mut each).map(Some)
    }

    fn fill(
        file: &File,
        range: Range<u64>,
        (interrupted, room): (&AtomicBool, Room),
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Self> {
        let mut pieces = Vec::new();
        let mut offset = range.start;
        while offset < range.end {
            let length = usize::try_from(range.end - offset).unwrap_or(READ).min(READ);
            let mut buffer = Buffer::new();
            let mut read = 0;
            while read < length {
                let space = &mut buffer.space()[read..length];
                let (at, left) = (offset + read as u64, (length - read) as u64);
                read += read_piece(file, space, at, left, interrupted)?.len();
            }
            let piece = buffer.into_bytes(length);
            each(&piece);
            pieces.push(piece);
            offset += length as u64;
        }
        Ok(Self { from: range.start, held: Arc::new(Held { pieces, _room: Some(room) }) })
    }

    /// In the order of the file.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.held.pieces
    }

    /// What begins at a place in the file, up to so many bytes; nothing beyond the end.
    pub(super) fn at(&self, offset: u64, most: u64) -> Option<Bytes> {
        let inside = usize::try_from(offset.checked_sub(self.from)?).ok()?;
        let piece = self.held.pieces.get(inside / READ)?;
        let from = inside % READ;
        let to = usize::try_from(most).unwrap_or(READ).saturating_add(from).min(piece.len());
        (from < to).then(|| piece.slice(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_in_memory_is_found_by_its_place_in_the_file() {
        let all: Vec<u8> = (0..3 * READ + 5).map(|number| (number % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&all).expect("written");
        let (from, end, going_on) = (READ as u64 + 7, all.len() as u64, AtomicBool::new(false));
        // Other tests may take all the room for a moment.
        let (seen, memory) = loop {
            let mut seen = Vec::new();
            let read = Memory::read(&file, from..end, &going_on, |piece| seen.extend_from_slice(piece));
            if let Some(memory) = read.expect("read") {
                break (seen, memory);
            }
            std::thread::yield_now();
        };
        assert_eq!(seen, all[READ + 7..]);
        let (mut at, mut again) = (from, Vec::new());
        while let Some(piece) = memory.at(at, 100_000) {
            at += piece.len() as u64;
            again.extend_from_slice(&piece);
        }
        assert_eq!((again, at), (seen, end));
        assert_eq!((memory.at(0, 1), memory.at(end, 1)), (None, None));
        assert_eq!(Memory::of_small(Bytes::new()).at(0, 1), None);
    }

    #[test]
    fn what_the_kernel_has_is_read_at_once_and_nothing_but_all_of_it() {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&[7; 1000]).expect("written");
        let mut seen = 0;
        let memory = Memory::at_hand(&file, 1000, |bytes| seen = bytes.len()).expect("in the page cache");
        assert_eq!((seen, memory.at(0, 2000)), (1000, Some(Bytes::from(vec![7; 1000]))));
        assert!(Memory::at_hand(&file, 1001, |_| panic!("it is shorter")).is_none());
        // It cannot tell whether reading would wait.
        let odd = File::open("/proc/version").expect("opened");
        assert!(Memory::at_hand(&odd, 10, |_| panic!("unknown")).is_none());
    }
}
