use super::found::Found;
use super::offer::Offer;
use hostwright_core::backoff::Backoff;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pace for a file that cannot be uploaded until somebody changes something.
const SLOW: Duration = Duration::from_secs(60);

/// What waits to be uploaded: the smallest first, but one at a time is the one that waits longest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<Arc<str>, Box<Entry>>,
    /// Ready, by size.
    by_size: BTreeSet<(u64, Arc<str>)>,
    /// Ready, by the order of arrival.
    by_age: BTreeSet<(u64, Arc<str>)>,
    /// Failed, by the time of the next attempt.
    retries: BTreeSet<(Instant, Arc<str>)>,
    /// Why the last attempts failed, also of files that are tried again at this moment.
    failures: BTreeMap<Arc<str>, Failure>,
    arrivals: u64,
    /// After so many failed attempts a product is left alone.
    quarantine_after: Option<u32>,
}

/// A file that waits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) found: Found,
    pub(super) key: Arc<str>,
    /// The key that the template gave; another's, where they differ.
    pub(super) asked: Arc<str>,
    /// Whether an object with its content may be in the bucket already: after a restart, after an answer that was lost.
    pub(super) may_be_there: bool,
    arrival: u64,
    retry_at: Option<Instant>,
    /// What it waits for, although it is finished.
    pub(super) held: Option<String>,
}

/// Why the last attempt failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    why: String,
    attempts: u32,
    /// Whether it is in quarantine: tried again when it changes or somebody asks.
    given_up: bool,
    backoff: Backoff,
}

impl Failure {
    /// Why, and how often.
    pub(super) fn sentence(&self) -> String {
        match self.attempts {
            attempts if self.given_up => {
                let again = "in quarantine until it changes or `hostwright-agent products push` asks for it";
                format!("{} ({attempts} attempts; {again})", self.why)
            }
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

    /// Those that wait for nothing but their turn.
    pub(super) fn ready(&self) -> usize {
        self.by_age.len()
    }

    /// Those whose last attempt failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&Arc<str>, &Failure)> {
        self.failures.iter()
    }

    /// An empty one, in which products that failed so often are left alone.
    pub(super) fn new(quarantine_after: Option<u32>) -> Self {
        Self { quarantine_after, ..Self::default() }
    }

    /// Adds a product, unless it waits already as it is and nobody asked for it.
    pub(super) fn offer(&mut self, offer: Offer) {
        let Offer { found, key, asked, may_be_there, at_once } = offer;
        let waits =
            self.entries.get(&found.path).is_some_and(|entry| entry.found.same_content(&found) && entry.key == key);
        if waits && !at_once {
            return;
        }
        self.remove(&found.path);
        self.failures.remove(&found.path);
        self.arrivals += 1;
        self.add_ready(Entry { found, key, asked, may_be_there, arrival: self.arrivals, retry_at: None, held: None });
    }

    /// A file that was taken out needs no further attempt.
    pub(super) fn settled(&mut self, path: &Arc<str>) {
        self.failures.remove(path);
    }

    /// Takes the next product out: the oldest if asked for, else the smallest, and that only up to a size.
    pub(super) fn next(&mut self, oldest: bool, at_most: u64, now: Instant) -> Option<Entry> {
        self.wake(now);
        let path = match oldest {
            true => self.by_age.first().map(|(_, path)| path.clone()),
            false => self.by_size.first().filter(|(size, _)| *size <= at_most).map(|(_, path)| path.clone()),
        };
        self.remove(&path?)
    }

    /// Puts a product back until something else has happened.
    pub(super) fn hold(&mut self, mut entry: Entry, why: String, until: Instant) {
        let path = entry.found.path.clone();
        entry.held = Some(why);
        entry.retry_at = Some(until);
        self.retries.insert((until, path.clone()));
        self.entries.insert(path, Box::new(entry));
    }

    /// Those that wait for something, and for what.
    pub(super) fn held(&self) -> impl Iterator<Item = (&Arc<str>, &String)> {
        self.entries.iter().filter_map(|(path, entry)| Some((path, entry.held.as_ref()?)))
    }

    /// All that wait.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// The key with which a product waits.
    pub(super) fn key_of(&self, path: &str) -> Option<&Arc<str>> {
        self.entries.get(path).map(|entry| &entry.key)
    }

    /// Why the last attempt for a product failed.
    pub(super) fn failure_of(&self, path: &str) -> Option<&Failure> {
        self.failures.get(path)
    }

    /// Puts a file back that was not uploaded through no fault of its own.
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        entry.may_be_there = true;
        self.add_ready(entry);
    }

    /// Puts a file back that failed.
    pub(super) fn retry_later(&mut self, mut entry: Entry, why: String, permanent: bool, now: Instant) {
        let path = entry.found.path.clone();
        let failure = self.failures.entry(path.clone()).or_insert_with(|| Failure {
            why: String::new(),
            attempts: 0,
            given_up: false,
            backoff: Backoff::new(Duration::from_secs(1), SLOW),
        });
        failure.why = why;
        failure.attempts = failure.attempts.saturating_add(1);
        failure.given_up = self.quarantine_after.is_some_and(|limit| failure.attempts >= limit);
        let at = now + if permanent { SLOW } else { failure.backoff.next_delay() };
        entry.may_be_there = true;
        entry.retry_at = (!failure.given_up).then_some(at);
        if !failure.given_up {
            self.retries.insert((at, path.clone()));
        }
        self.entries.insert(path, Box::new(entry));
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
            if let Some(entry) = self.entries.get_mut(&path) {
                entry.held = None;
                self.by_size.insert((entry.found.stamp.fingerprint.size, path.clone()));
                self.by_age.insert((entry.arrival, path));
            }
        }
    }

    fn add_ready(&mut self, entry: Entry) {
        let path = entry.found.path.clone();
        self.by_size.insert((entry.found.stamp.fingerprint.size, path.clone()));
        self.by_age.insert((entry.arrival, path.clone()));
        self.entries.insert(path, Box::new(entry));
    }

    fn remove(&mut self, path: &Arc<str>) -> Option<Entry> {
        let entry = self.entries.remove(path)?;
        self.by_size.remove(&(entry.found.stamp.fingerprint.size, path.clone()));
        self.by_age.remove(&(entry.arrival, path.clone()));
        if let Some(at) = entry.retry_at {
            self.retries.remove(&(at, path.clone()));
        }
        Some(*entry)
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::products::folder::{Fingerprint, Stamp};
    use crate::products::found::Found;
    use crate::products::offer::Offer;
    use std::time::{Duration, Instant};

    fn offer(path: &str, size: u64) -> Offer {
        let fingerprint = Fingerprint { size, mtime: (0, 0), inode: 1 };
        let found = Found::file(path.into(), Stamp { fingerprint, device: 1, ctime: (0, 0) });
        Offer { found, key: path.into(), asked: path.into(), may_be_there: false, at_once: false }
    }

    #[test]
    fn the_smallest_comes_first_and_the_oldest_is_not_starved() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (path, size) in [("large", 100), ("small", 1), ("middle", 10)] {
            queue.offer(offer(path, size));
        }
        let mut next = |oldest, at_most| queue.next(oldest, at_most, now).map(|entry| entry.key);
        assert_eq!(next(false, 0), None, "too large for a quick one");
        assert_eq!((next(false, 9).as_deref(), next(true, 0).as_deref()), (Some("small"), Some("large")));
        assert_eq!((next(true, 0).as_deref(), next(false, 9)), (Some("middle"), None));
    }

    #[test]
    fn a_failed_product_waits_for_its_time_and_lets_others_pass() {
        let (mut queue, now) = (Queue::new(Some(2)), Instant::now());
        queue.offer(offer("sick", 1));
        let entry = queue.next(false, 9, now).expect("there");
        queue.retry_later(entry, "unreadable".into(), true, now);
        queue.offer(offer("well", 9));
        assert_eq!(queue.next(false, 9, now).map(|entry| entry.key).as_deref(), Some("well"));
        assert!(queue.next(false, 9, now).is_none());
        let later = now + Duration::from_secs(61);
        let again = queue.next(false, 9, later).expect("its time has come");
        assert!(again.may_be_there);
        queue.retry_later(again, "unreadable".into(), true, later);
        let sentence = queue.failure_of("sick").expect("failed").sentence();
        assert!(sentence.contains("2 attempts; in quarantine"), "{sentence}");
        queue.offer(offer("sick", 1));
        assert!(queue.next(false, 9, later + Duration::from_secs(9999)).is_none(), "left alone");
        queue.offer(Offer { at_once: true, ..offer("sick", 1) });
        assert!(queue.next(false, 9, later).is_some(), "somebody asked");
    }

    #[test]
    fn a_product_that_is_held_is_looked_at_again_in_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.offer(offer("job", 1));
        let entry = queue.next(false, 9, now).expect("there");
        queue.hold(entry, "waits for its scenes".into(), now + Duration::from_secs(1));
        assert_eq!(queue.held().count(), 1);
        assert!(queue.next(true, 9, now).is_none());
        assert!(queue.next(true, 9, now + Duration::from_secs(1)).is_some());
        assert_eq!((queue.held().count(), queue.len()), (0, 0));
    }
}
