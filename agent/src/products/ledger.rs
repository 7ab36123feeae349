use super::claims::Claim;
use super::folder::Fingerprint;
use super::record::{Begun, Intent, Line, Record, Strewn};
use super::strewn::Heap;
use hostwright_core::journal::Journal;
use hostwright_core::state::StateError;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const VERSION: u32 = 2;

/// A product that is confirmed, in little memory: there may be very many.
#[derive(Debug)]
struct Held {
    digest: u64,
    key: Arc<str>,
    asked: Option<Arc<str>>,
    place: Arc<str>,
    /// Seconds since 1970.
    time: i64,
    /// The walk that saw it last.
    seen: u32,
}

/// What is known of a product folder's products, durable. Those that are gone are forgotten, which bounds it.
#[derive(Debug)]
pub(super) struct Ledger {
    inner: Mutex<Inner>,
    /// Locked by itself, so that nobody waits for the disk.
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Inner {
    uploaded: u64,
    held: HashMap<Arc<str>, Held>,
    begun: BTreeMap<String, Begun>,
    intents: BTreeMap<String, Intent>,
    strewn: Heap,
    last: Option<(String, Record)>,
    unsaved: Vec<Vec<u8>>,
    unsaved_bytes: usize,
    /// Whether the journal has to be written anew before anything is appended.
    rewrite: bool,
    walk: u32,
}

impl Ledger {
    /// Reads it, or begins one, for a product folder whose bucket is at `place`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(path: &Path, place: &Arc<str>) -> Result<Arc<Self>, StateError> {
        let (journal, lines) = Journal::open(path, VERSION)?;
        let mut inner = Inner {
            uploaded: 0,
            held: HashMap::new(),
            begun: BTreeMap::new(),
            intents: BTreeMap::new(),
            strewn: Heap::default(),
            last: None,
            unsaved: Vec::new(),
            unsaved_bytes: 0,
            rewrite: true,
            walk: 0,
        };
        for line in lines {
            if let Ok(line) = serde_json::from_slice(&line) {
                inner.replay(line, place);
            }
        }
        Ok(Arc::new(Self { inner: Mutex::new(inner), journal: Mutex::new(journal) }))
    }

    /// Confirmed uploads in all.
    pub(super) fn uploaded(&self) -> u64 {
        self.lock().uploaded
    }

    /// The latest record of this process.
    pub(super) fn last(&self) -> Option<(String, Record)> {
        self.lock().last.clone()
    }

    /// Whether this content is confirmed under the key that the template gives; `None`: under whatever key. Notes that
    /// the product was seen, and gives its key and the time of its confirmation.
    pub(super) fn holds(
        &self,
        path: &str,
        fingerprint: &Fingerprint,
        place: &str,
        asked: Option<&str>,
    ) -> Option<(Arc<str>, Timestamp)> {
        let mut inner = self.lock();
        let walk = inner.walk;
        let held = inner.held.get_mut(path)?;
        held.seen = walk;
        let same_key = asked.is_none_or(|asked| held.asked.as_deref().unwrap_or(&held.key) == asked);
        let same = same_key && held.digest == fingerprint.digest() && *held.place == *place;
        same.then(|| (held.key.clone(), Timestamp::from_second(held.time).unwrap_or_default()))
    }

    /// Notes another time for the confirmation of a product, where that was told by a clock that was ahead.
    pub(super) fn count_from(&self, path: &str, time: Timestamp) {
        let mut inner = self.lock();
        let Some(held) = inner.held.get_mut(path) else { return };
        held.time = time.as_second();
        let line = held.line(path);
        inner.note(&[line]);
    }

    /// The key under which a product was confirmed last, whatever its content was.
    pub(super) fn key_of(&self, path: &str) -> Option<Claim> {
        self.lock().held.get(path).map(Held::claim)
    }

    /// Paths with the keys that they have, and in which buckets.
    pub(super) fn claims(&self) -> Vec<(Arc<str>, Claim)> {
        self.lock().held.iter().map(|(path, held)| (path.clone(), held.claim())).collect()
    }

    /// Notes a confirmed upload; [`Self::save`] makes it durable.
    pub(super) fn record(&self, path: &Arc<str>, record: Record) {
        let mut inner = self.lock();
        inner.uploaded += 1;
        let uploaded = inner.uploaded;
        inner.intents.remove(&**path);
        let held = Held {
            digest: record.fingerprint.digest(),
            key: record.key.clone(),
            asked: record.asked.clone(),
            place: record.place.clone(),
            time: record.time.as_second(),
            seen: inner.walk,
        };
        inner.note(&[held.line(path), Line::Uploaded(uploaded)]);
        inner.held.insert(path.clone(), held);
        inner.last = Some((path.to_string(), record));
    }

    /// A walk begins: what it does not see, and is not recorded meanwhile, is gone at its end.
    pub(super) fn begin_walk(&self) {
        let mut inner = self.lock();
        inner.walk = inner.walk.wrapping_add(1);
    }

    /// Notes that a product is there although it is not looked at now.
    pub(super) fn see(&self, path: &str) {
        let mut inner = self.lock();
        let walk = inner.walk;
        if let Some(held) = inner.held.get_mut(path) {
            held.seen = walk;
        }
    }

    /// A walk that saw everything has ended: forgets products that are gone, but the latest `keep` of them. Gives those.
    pub(super) fn end_walk(&self, keep: usize) -> Vec<(Arc<str>, Claim)> {
        let mut inner = self.lock();
        let gone = inner.held.iter().filter(|(_, held)| held.seen != inner.walk);
        let mut gone: Vec<_> = gone.map(|(path, held)| (held.time, path.clone())).collect();
        if gone.len() <= keep {
            return Vec::new();
        }
        gone.sort_unstable();
        gone.truncate(gone.len() - keep);
        let mut forgotten = Vec::new();
        for (_, path) in gone {
            if let Some(held) = inner.held.remove(&path) {
                inner.note(&[Line::Forgotten(path.to_string())]);
                forgotten.push((path, held.claim()));
            }
        }
        forgotten
    }

    /// Uploads that an earlier process, or an earlier attempt, did not end, by their keys.
    pub(super) fn all_begun(&self) -> Vec<(String, Begun)> {
        self.lock().begun.iter().map(|(key, begun)| (key.clone(), begun.clone())).collect()
    }

    /// The upload under a key that did not end.
    pub(super) fn begun(&self, key: &str) -> Option<Begun> {
        self.lock().begun.get(key).cloned()
    }

    /// Notes an upload in parts, durable before the first part is sent.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn begin(self: &Arc<Self>, key: &str, begun: Begun) -> Result<(), StateError> {
        {
            let mut inner = self.lock();
            inner.note(&[Line::Begun(key.to_owned(), begun.clone())]);
            inner.begun.insert(key.to_owned(), begun);
        }
        self.save().await
    }

    /// Notes that it is completed, or that its parts are cleared.
    pub(super) fn ended(&self, key: &str) {
        let mut inner = self.lock();
        if inner.begun.remove(key).is_some() {
            inner.note(&[Line::Ended(key.to_owned())]);
        }
    }

    /// The key that a product was to have at an earlier attempt.
    pub(super) fn intent(&self, path: &str, fingerprint: &Fingerprint) -> Option<String> {
        let inner = self.lock();
        inner.intents.get(path).filter(|intent| intent.digest == fingerprint.digest()).map(|intent| intent.key.clone())
    }

    /// Notes the key that a product is to have, where its template would give another one later.
    pub(super) fn intend(&self, path: &str, fingerprint: &Fingerprint, key: &str) {
        let mut inner = self.lock();
        let intent = Intent { digest: fingerprint.digest(), key: key.to_owned() };
        inner.note(&[Line::Intent(path.to_owned(), intent.clone())]);
        inner.intents.insert(path.to_owned(), intent);
    }

    /// Notes objects of a folder that is not whole yet, durably, before the first of them is sent.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn strew(self: &Arc<Self>, folder: &str, strewn: &Strewn) -> Result<(), StateError> {
        {
            let mut inner = self.lock();
            let lines = inner.strewn.add(folder, strewn);
            if lines.is_empty() {
                return Ok(());
            }
            inner.note(&lines);
        }
        self.save().await
    }

    /// What is known to lie under a folder's key that is not whole.
    pub(super) fn strewn(&self, folder: &str) -> Strewn {
        self.lock().strewn.of(folder).cloned().unwrap_or_default()
    }

    /// All folders that are not whole, by their keys.
    pub(super) fn all_strewn(&self) -> Vec<(String, Strewn)> {
        self.lock().strewn.all()
    }

    /// Notes that a folder is whole, or that nothing of it is left.
    pub(super) fn gathered(&self, folder: &str) {
        let mut inner = self.lock();
        if inner.strewn.remove(folder) {
            inner.note(&[Line::Gathered(folder.to_owned())]);
        }
    }

    /// Whether there is something that [`Self::save`] has to write.
    pub(super) fn is_unsaved(&self) -> bool {
        let inner = self.lock();
        !inner.unsaved.is_empty() || inner.rewrite
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// It cannot be written; it is tried again with the next call.
    pub(super) async fn save(self: &Arc<Self>) -> Result<(), StateError> {
        let ledger = self.clone();
        let saved = tokio::task::spawn_blocking(move || ledger.save_now()).await;
        // A panic there is a defect; the next attempt shows whether it lasts.
        saved.unwrap_or(Ok(()))
    }

    fn save_now(&self) -> Result<(), StateError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, is_snapshot) = {
            let mut inner = self.lock();
            let lines = std::mem::take(&mut inner.unsaved);
            let bytes = std::mem::take(&mut inner.unsaved_bytes);
            if lines.is_empty() && !inner.rewrite {
                return Ok(());
            }
            let rewrite = inner.rewrite || !journal.has_room(lines.len(), bytes);
            // Until this has gone well: what is readable after a failure is uncertain, and the next attempt writes all.
            inner.rewrite = true;
            if rewrite { (inner.snapshot(), true) } else { (lines, false) }
        };
        if is_snapshot {
            journal.rewrite(&lines)?;
        } else {
            journal.append(&lines)?;
        }
        self.lock().rewrite = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn claim(&self) -> Claim {
        Claim { place: self.place.clone(), key: self.key.clone() }
    }

    fn line(&self, path: &str) -> Line {
        Line::Confirmed {
            p: path.to_owned(),
            d: self.digest,
            k: self.key.to_string(),
            a: self.asked.as_ref().map(ToString::to_string),
            b: self.place.to_string(),
            t: self.time,
        }
    }
}

impl Inner {
    fn replay(&mut self, line: Line, here: &Arc<str>) {
        match line {
            Line::Uploaded(number) => self.uploaded = number,
            Line::Confirmed { p, d, k, a, b, t } => {
                self.intents.remove(&p);
                let place = if b == **here { here.clone() } else { b.into() };
                let path: Arc<str> = p.into();
                // Very many have their paths for keys: one text does for both.
                let key: Arc<str> = if k == *path { path.clone() } else { k.into() };
                let held = Held { digest: d, key, asked: a.map(Arc::from), place, time: t, seen: 0 };
                self.held.insert(path, held);
            }
            Line::Forgotten(path) => {
                self.held.remove(path.as_str());
                self.intents.remove(&path);
            }
            Line::Begun(key, begun) => {
                self.begun.insert(key, begun);
            }
            Line::Ended(key) => {
                self.begun.remove(&key);
            }
            Line::Intent(path, intent) => {
                self.intents.insert(path, intent);
            }
            line @ (Line::Strewn { .. } | Line::Gathered(_)) => self.strewn.replay(line),
        }
    }

    fn note(&mut self, lines: &[Line]) {
        for line in lines {
            // These are strings and numbers: they always can be written as JSON.
            let bytes = serde_json::to_vec(line).unwrap_or_default();
            self.unsaved_bytes += bytes.len();
            self.unsaved.push(bytes);
        }
    }

    fn snapshot(&self) -> Vec<Vec<u8>> {
        let held = self.held.iter().map(|(path, held)| held.line(path));
        let begun = self.begun.iter().map(|(key, begun)| Line::Begun(key.clone(), begun.clone()));
        let intents = self.intents.iter().map(|(path, intent)| Line::Intent(path.clone(), intent.clone()));
        let lines = std::iter::once(Line::Uploaded(self.uploaded))
            .chain(held)
            .chain(begun)
            .chain(intents)
            .chain(self.strewn.lines());
        lines.map(|line| serde_json::to_vec(&line).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::products::folder::Fingerprint;
    use crate::products::record::{Begun, Record};
    use jiff::Timestamp;

    fn fingerprint(inode: u64) -> Fingerprint {
        Fingerprint { size: 1, mtime: (2, 3), inode }
    }

    fn record(inode: u64) -> Record {
        Record {
            fingerprint: fingerprint(inode),
            key: "k".into(),
            asked: None,
            place: "p".into(),
            sha256: "s".into(),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_ledger_survives_and_forgets_products_that_are_gone_but_not_how_many_they_were() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("images.ledger");
        let ledger = Ledger::open(&path, &"p".into()).expect("opened");
        ledger.record(&"a".into(), record(1));
        ledger.record(&"b\n\u{e9}".into(), record(2));
        let begun = Begun {
            path: "c".into(),
            fingerprint: fingerprint(3),
            place: "p".into(),
            upload: "u".into(),
            sha256: "s".into(),
        };
        ledger.begin("key of c", begun.clone()).await.expect("saved");
        let again = Ledger::open(&path, &"p".into()).expect("opened");
        assert!(again.holds("b\n\u{e9}", &fingerprint(2), "p", Some("k")).is_some());
        assert!(again.holds("b\n\u{e9}", &fingerprint(1), "p", Some("k")).is_none(), "another content");
        assert!(again.holds("a", &fingerprint(1), "p", Some("other")).is_none(), "another key");
        assert!(again.holds("a", &fingerprint(1), "p", None).is_some(), "whatever key");
        assert_eq!(again.all_begun(), [("key of c".to_owned(), begun)]);
        again.begin_walk();
        again.see("a");
        assert_eq!(again.end_walk(1), [], "one is kept");
        let forgotten = again.end_walk(0);
        assert!(forgotten.len() == 1 && &*forgotten[0].0 == "b\n\u{e9}", "{forgotten:?}");
        again.save().await.expect("saved");
        let third = Ledger::open(&path, &"p".into()).expect("opened");
        assert_eq!((third.uploaded(), third.claims().len()), (2, 1));
        assert_eq!(third.begun("key of c").map(|begun| begun.upload).as_deref(), Some("u"));
        third.ended("key of c");
        assert_eq!(third.begun("key of c"), None);
    }

    #[tokio::test]
    async fn a_key_of_the_moment_is_kept_until_its_product_is_confirmed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("images.ledger");
        let ledger = Ledger::open(&path, &"p".into()).expect("opened");
        ledger.intend("a", &fingerprint(1), "2026/a");
        ledger.save().await.expect("saved");
        let again = Ledger::open(&path, &"p".into()).expect("opened");
        assert_eq!(again.intent("a", &fingerprint(1)).as_deref(), Some("2026/a"));
        assert_eq!(again.intent("a", &fingerprint(2)), None, "another content");
        again.record(&"a".into(), record(1));
        assert_eq!(again.intent("a", &fingerprint(1)), None);
    }
}
