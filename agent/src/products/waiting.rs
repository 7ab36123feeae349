use super::folder::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What waits beyond this is found again by a walk.
const MOST: usize = 20_000;

/// How soon a product that somebody has open is looked at again; its closing is usually told by the kernel.
pub(super) const STILL_OPEN: Duration = Duration::from_secs(1);

/// Products that are not finished, and when each is looked at again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: BTreeMap<Arc<str>, One>,
    due: BTreeSet<(Instant, Arc<str>)>,
    in_use: BTreeMap<Arc<str>, String>,
}

#[derive(Debug)]
struct One {
    /// None: something happened to it, it was not looked at since.
    stamp: Option<Stamp>,
    /// Since when it is so.
    since: Instant,
    due: Instant,
    /// Whether its producer has said that it is finished, although somebody has it open.
    said: bool,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those that somebody has open, and who.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (&Arc<str>, &String)> {
        self.in_use.iter()
    }

    /// Since when a product has been as it is now.
    pub(super) fn unchanged_since(&self, path: &str, stamp: &Stamp, now: Instant, wall: SystemTime) -> Instant {
        match self.all.get(path) {
            Some(One { stamp: Some(before), since, .. }) if before == stamp => *since,
            Some(One { stamp: Some(_), .. }) => now,
            // Never seen before: the kernel remembers since when it is so.
            _ => now.checked_sub(stamp.age(wall)).unwrap_or(now),
        }
    }

    /// Whether its producer has said before that it is finished.
    pub(super) fn was_said(&self, path: &str) -> bool {
        self.all.get(path).is_some_and(|one| one.said)
    }

    /// Notes when a product is looked at again. Tells whether there was room.
    pub(super) fn put(&mut self, path: &Arc<str>, stamp: Stamp, [since, due]: [Instant; 2], said: bool) -> bool {
        self.remove(path);
        self.insert(path, One { stamp: Some(stamp), since, due, said })
    }

    /// Something happened to a product: it is not looked at before it can have been quiet.
    pub(super) fn postpone(&mut self, path: &Arc<str>, now: Instant, quiet: Duration) -> bool {
        let said = self.was_said(path);
        self.remove(path);
        self.insert(path, One { stamp: None, since: now, due: now + quiet, said })
    }

    fn insert(&mut self, path: &Arc<str>, one: One) -> bool {
        if self.all.len() >= MOST {
            return false;
        }
        self.due.insert((one.due, path.clone()));
        self.all.insert(path.clone(), one);
        true
    }

    /// Notes who has it open.
    pub(super) fn used_by(&mut self, path: &Arc<str>, who: String) {
        self.in_use.insert(path.clone(), who);
    }

    /// A product that is finished, or gone.
    pub(super) fn remove(&mut self, path: &str) {
        self.in_use.remove(path);
        if let Some((path, one)) = self.all.remove_entry(path) {
            self.due.remove(&(one.due, path));
        }
    }

    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Those whose time has come; they stay until they are put again or removed.
    pub(super) fn take_due(&mut self, now: Instant, at_most: usize) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while due.len() < at_most && self.next().is_some_and(|next| next <= now) {
            due.extend(self.due.pop_first().map(|(_, path)| path));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::Waiting;
    use crate::products::folder::{Fingerprint, Stamp};
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    fn stamp(size: u64) -> Stamp {
        Stamp { fingerprint: Fingerprint { size, mtime: (0, 0), inode: 1 }, device: 1, ctime: (0, 0) }
    }

    #[test]
    fn a_product_is_unchanged_since_it_was_seen_so_or_since_the_kernel_says() {
        let (mut waiting, now, wall) = (Waiting::default(), Instant::now(), SystemTime::now());
        let path: Arc<str> = "f".into();
        assert!(waiting.unchanged_since("f", &stamp(1), now, wall) <= now, "a file of 1970");
        let later = now + Duration::from_secs(10);
        assert!(waiting.put(&path, stamp(1), [now, later], false));
        assert_eq!(waiting.unchanged_since("f", &stamp(1), later, wall), now);
        assert_eq!(waiting.unchanged_since("f", &stamp(2), later, wall), later, "it changed");
        assert!(waiting.take_due(now, 9).is_empty());
        assert_eq!((waiting.next(), waiting.take_due(later, 9)), (Some(later), vec![path.clone()]));
        assert_eq!(waiting.unchanged_since("f", &stamp(1), later, wall), now, "still known");
        assert!(waiting.postpone(&path, now, Duration::from_secs(1)));
        assert!(waiting.unchanged_since("f", &stamp(2), later, wall) < later, "the kernel says");
        waiting.remove("f");
        assert_eq!((waiting.len(), waiting.next()), (0, None));
    }
}
