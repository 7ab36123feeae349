use super::folder::Found;
use hostwright_core::backoff::Backoff;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pace for a file that cannot be uploaded until somebody changes something.
const SLOW: Duration = Duration::from_secs(60);

/// What waits to be uploaded: the smallest first, but one at a time is the one that waits longest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<Arc<str>, Entry>,
    /// Ready, by size.
    by_size: BTreeSet<(u64, Arc<str>)>,
    /// Ready, by the order of arrival.
    by_age: BTreeSet<(u64, Arc<str>)>,
    /// Failed, by the time of the next attempt.
    retries: BTreeSet<(Instant, Arc<str>)>,
    /// Why the last attempts failed, also of files that are tried again at this moment.
    failures: BTreeMap<Arc<str>, Failure>,
    arrivals: u64,
}

/// A file that waits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) found: Found,
    pub(super) key: Arc<str>,
    /// Whether an object with its content may be in the bucket already: after a restart, after an answer that was lost.
    pub(super) may_be_there: bool,
    arrival: u64,
    retry_at: Option<Instant>,
}

/// Why the last attempt failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    why: String,
    attempts: u32,
    backoff: Backoff,
}

impl Failure {
    /// Why, and how often.
    pub(super) fn sentence(&self) -> String {
        match self.attempts {
            1 => self.why.clone(),
            attempts => format!("{} ({attempts} attempts)", self.why),
        }
    }
}

impl Queue {
    /// The number of files that wait, also for another attempt.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Those whose last attempt failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&Arc<str>, &Failure)> {
        self.failures.iter()
    }

    /// Adds a file, unless it waits already as it is.
    pub(super) fn offer(&mut self, found: Found, key: Arc<str>, may_be_there: bool) {
        if self.entries.get(&found.path).is_some_and(|entry| entry.found == found && entry.key == key) {
            return;
        }
        self.remove(&found.path);
        self.failures.remove(&found.path);
        self.arrivals += 1;
        self.ready(Entry { found, key, may_be_there, arrival: self.arrivals, retry_at: None });
    }

    /// Removes the files that are not among these.
    pub(super) fn keep_only(&mut self, paths: &HashSet<Arc<str>>) {
        let gone: Vec<_> = self.entries.keys().filter(|path| !paths.contains(*path)).cloned().collect();
        for path in gone {
            self.remove(&path);
            self.failures.remove(&path);
        }
    }

    /// A file that was taken out needs no further attempt.
    pub(super) fn settled(&mut self, path: &Arc<str>) {
        self.failures.remove(path);
    }

    /// Takes the next file out: the oldest if asked for, else the smallest.
    pub(super) fn next(&mut self, oldest: bool, now: Instant) -> Option<Entry> {
        self.wake(now);
        let path = match oldest {
            true => self.by_age.first().map(|(_, path)| path.clone()),
            false => self.by_size.first().map(|(_, path)| path.clone()),
        };
        self.remove(&path?)
    }

    /// Puts a file back that was not uploaded through no fault of its own.
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        entry.may_be_there = true;
        self.ready(entry);
    }

    /// Puts a file back that failed.
    pub(super) fn retry_later(&mut self, mut entry: Entry, why: String, permanent: bool, now: Instant) {
        let path = entry.found.path.clone();
        let failure = self.failures.entry(path.clone()).or_insert_with(|| Failure {
            why: String::new(),
            attempts: 0,
            backoff: Backoff::new(Duration::from_secs(1), SLOW),
        });
        failure.why = why;
        failure.attempts = failure.attempts.saturating_add(1);
        let at = now + if permanent { SLOW } else { failure.backoff.next_delay() };
        entry.may_be_there = true;
        entry.retry_at = Some(at);
        self.retries.insert((at, path.clone()));
        self.entries.insert(path, entry);
    }

    /// When the next failed file is tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    fn wake(&mut self, now: Instant) {
        while let Some((at, path)) = self.retries.first().cloned()
            && at <= now
        {
            self.retries.pop_first();
            if let Some(entry) = self.entries.get(&path) {
                self.by_size.insert((entry.found.stamp.fingerprint.size, path.clone()));
                self.by_age.insert((entry.arrival, path));
            }
        }
    }

    fn ready(&mut self, entry: Entry) {
        let path = entry.found.path.clone();
        self.by_size.insert((entry.found.stamp.fingerprint.size, path.clone()));
        self.by_age.insert((entry.arrival, path.clone()));
        self.entries.insert(path, entry);
    }

    fn remove(&mut self, path: &Arc<str>) -> Option<Entry> {
        let entry = self.entries.remove(path)?;
        self.by_size.remove(&(entry.found.stamp.fingerprint.size, path.clone()));
        self.by_age.remove(&(entry.arrival, path.clone()));
        if let Some(at) = entry.retry_at {
            self.retries.remove(&(at, path.clone()));
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::products::folder::{Fingerprint, Found, Stamp};
    use std::time::{Duration, Instant};

    fn found(path: &str, size: u64) -> Found {
        let fingerprint = Fingerprint { size, mtime: (0, 0), inode: 1 };
        Found { path: path.into(), stamp: Stamp { fingerprint, device: 1, ctime: (0, 0) } }
    }

    #[test]
    fn the_smallest_comes_first_and_the_oldest_is_not_starved() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (path, size) in [("large", 100), ("small", 1), ("middle", 10)] {
            queue.offer(found(path, size), path.into(), false);
        }
        let mut next = |oldest| queue.next(oldest, now).map(|entry| entry.key);
        assert_eq!((next(false).as_deref(), next(true).as_deref()), (Some("small"), Some("large")));
        assert_eq!((next(true).as_deref(), next(false)), (Some("middle"), None));
    }

    #[test]
    fn a_failed_file_waits_for_its_time_and_lets_others_pass() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.offer(found("sick", 1), "k".into(), false);
        let entry = queue.next(false, now).expect("there");
        queue.retry_later(entry, "unreadable".into(), true, now);
        queue.offer(found("well", 9), "w".into(), false);
        assert_eq!(queue.next(false, now).map(|entry| entry.key).as_deref(), Some("w"));
        assert!(queue.next(false, now).is_none());
        assert_eq!(queue.failed().next().map(|(_, failure)| failure.attempts), Some(1));
        let again = queue.next(false, now + Duration::from_secs(61)).expect("its time has come");
        assert!(again.may_be_there);
    }
}
