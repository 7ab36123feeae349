use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much is read at a time: large enough that system calls do not count, small enough for many at once.
pub(super) const READ: usize = 256 << 10;
/// So many are kept for the next reader; more at once are taken anew.
const KEPT: usize = 12;
/// All parts of large objects that are in memory at once have so many bytes, whatever is under way.
const ROOM: u64 = 24 << 20;
/// Of them, so many may be of files that one request carries: many at once would take half of a gain in memory away.
pub(super) const ROOM_OF_WHOLE: u64 = 4 << 20;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory of [`READ`] bytes for what is read from a file; it serves again when the last holder has dropped it. Fresh
/// memory for each piece took a third of an upload's CPU time: pages are cleared, entered and taken away again.
pub(super) struct Buffer {
    memory: Vec<u8>,
    length: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { memory: free.unwrap_or_else(|| vec![0; READ]), length: 0 }
    }

    /// All of it, to be filled.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// So many of its first bytes, for whoever wants them, as long as he wants them.
    pub(super) fn into_bytes(mut self, length: usize) -> Bytes {
        self.length = length.min(self.memory.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // While there are parts, each buffer is soon wanted again.
        let parts = if TAKEN.load(Ordering::Relaxed) > 0 { ROOM as usize / READ } else { 0 };
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT + parts {
            free.push(std::mem::take(&mut self.memory));
        }
    }
}

/// Room for a part in memory, as long as it is held.
#[derive(Debug)]
pub(super) struct Room(u64);

impl Room {
    /// None where there is none left: nobody waits for another one's part.
    pub(super) fn take(bytes: u64) -> Option<Self> {
        Self::take_of(bytes, ROOM)
    }

    /// None where more than so many would be taken.
    pub(super) fn take_of(bytes: u64, at_most: u64) -> Option<Self> {
        let with = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= at_most);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).ok().map(|_| Self(bytes))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if TAKEN.fetch_sub(self.0, Ordering::Relaxed) == self.0 {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.truncate(KEPT);
            free.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_see_what_was_filled_in_and_nothing_of_another_one_s() {
        let mut first = Buffer::new();
        first.space()[..6].copy_from_slice(b"secret");
        let held = first.into_bytes(6);
        let mut second = Buffer::new();
        second.space()[..2].copy_from_slice(b"ab");
        assert_eq!((&held[..], &second.into_bytes(2)[..]), (&b"secret"[..], &b"ab"[..]));
        drop(held);
        let buffers: Vec<_> = (0..KEPT + 4).map(|_| Buffer::new().into_bytes(0)).collect();
        assert!(buffers.iter().all(Bytes::is_empty));
        drop(buffers);
        assert!(FREE.lock().expect("not poisoned").len() <= KEPT + ROOM as usize / READ);
    }

    #[test]
    fn parts_find_room_up_to_a_limit_and_it_is_given_back() {
        let too_much = Room::take(ROOM + 1);
        assert!(too_much.is_none());
        let mut taken = Vec::new();
        // Other tests may hold some at this moment.
        while let Some(room) = Room::take(1 << 20) {
            taken.push(room);
        }
        assert!(taken.len() <= 24);
        drop(taken.pop());
        assert!(Room::take(1).is_some());
    }
}
