use super::claims::Claim;
use super::folder::Fingerprint;
use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const VERSION: u32 = 1;
/// The share of time that may go into writing a ledger of many files: one in eleven. What a crash in between takes is
/// found again in the bucket by size and SHA-256, so that nothing is sent twice.
const PAUSE_PER_COST: u32 = 10;

/// A content that the bucket has confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) fingerprint: Fingerprint,
    #[serde(with = "shared")]
    pub(super) key: Arc<str>,
    /// The bucket.
    #[serde(with = "shared")]
    pub(super) place: Arc<str>,
    pub(super) etag: Option<String>,
    pub(super) sha256: String,
    pub(super) time: Timestamp,
}

/// An upload in parts that was begun, so that its parts can be cleared if this process is killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    #[serde(flatten)]
    pub(super) fingerprint: Fingerprint,
    #[serde(with = "shared")]
    pub(super) key: Arc<str>,
    #[serde(with = "shared")]
    pub(super) place: Arc<str>,
    pub(super) upload: String,
    pub(super) sha256: String,
}

/// Strings that are shared in memory, for there may be many records.
mod shared {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// Uploads confirmed in all, also of files that are gone.
    uploaded: u64,
    records: BTreeMap<String, Record>,
    begun: BTreeMap<String, Begun>,
}

/// What is known of a product's files, durable. Files that are gone are forgotten, which bounds it.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    contents: Contents,
    file: StateFile<Contents>,
    last: Option<(String, Record)>,
    unsaved: bool,
    /// When the next write is worth its cost.
    next_save: Instant,
}

impl Ledger {
    /// Reads it, or begins one, for a product whose bucket is at `place`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(path: PathBuf, place: &Arc<str>) -> Result<Arc<Self>, StateError> {
        let mut file = StateFile::new(path, VERSION);
        let mut contents: Contents = file.load()?.unwrap_or_default();
        for record in contents.records.values_mut().filter(|record| record.place == *place) {
            record.place = place.clone();
        }
        let last = contents.records.iter().max_by_key(|(_, record)| record.time);
        let last = last.map(|(path, record)| (path.clone(), record.clone()));
        Ok(Arc::new(Self(Mutex::new(Inner { contents, file, last, unsaved: false, next_save: Instant::now() }))))
    }

    /// Confirmed uploads in all.
    pub(super) fn uploaded(&self) -> u64 {
        self.lock().contents.uploaded
    }

    /// The latest record.
    pub(super) fn last(&self) -> Option<(String, Record)> {
        self.lock().last.clone()
    }

    /// Whether this content is confirmed under this key.
    pub(super) fn holds(&self, path: &str, fingerprint: &Fingerprint, place: &str, key: &str) -> bool {
        self.lock()
            .contents
            .records
            .get(path)
            .is_some_and(|record| record.fingerprint == *fingerprint && *record.place == *place && *record.key == *key)
    }

    /// Paths with the keys that they have, and in which buckets.
    pub(super) fn claims(&self) -> Vec<(Arc<str>, Claim)> {
        let inner = self.lock();
        let claim = |record: &Record| Claim { place: record.place.clone(), key: record.key.clone() };
        inner.contents.records.iter().map(|(path, record)| (path.as_str().into(), claim(record))).collect()
    }

    /// Notes a confirmed upload; [`Self::save`] makes it durable.
    pub(super) fn record(&self, path: &str, record: Record) {
        let mut inner = self.lock();
        inner.contents.uploaded += 1;
        inner.contents.begun.remove(path);
        inner.last = Some((path.to_owned(), record.clone()));
        inner.contents.records.insert(path.to_owned(), record);
        inner.unsaved = true;
    }

    /// Forgets files that are gone, but the latest `keep` of them.
    pub(super) fn forget_all_but(&self, present: &HashSet<&str>, keep: usize) {
        let mut inner = self.lock();
        let gone = inner.contents.records.iter().filter(|(path, _)| !present.contains(path.as_str()));
        let mut gone: Vec<_> = gone.map(|(path, record)| (record.time, path.clone())).collect();
        if gone.len() <= keep {
            return;
        }
        gone.sort_unstable();
        for (_, path) in &gone[..gone.len() - keep] {
            inner.contents.records.remove(path);
            inner.unsaved = true;
        }
    }

    /// Whether a path has a record.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.lock().contents.records.contains_key(path)
    }

    /// Uploads that an earlier process, or an earlier attempt, did not end.
    pub(super) fn all_begun(&self) -> Vec<(String, Begun)> {
        self.lock().contents.begun.iter().map(|(path, begun)| (path.clone(), begun.clone())).collect()
    }

    /// The upload of a path that did not end.
    pub(super) fn begun(&self, path: &str) -> Option<Begun> {
        self.lock().contents.begun.get(path).cloned()
    }

    /// Notes an upload in parts, durable before the first part is sent.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn begin(self: &Arc<Self>, path: &str, begun: Begun) -> Result<(), StateError> {
        {
            let mut inner = self.lock();
            inner.contents.begun.insert(path.to_owned(), begun);
            inner.unsaved = true;
        }
        self.save(true).await.map(|_| ())
    }

    /// Notes that its parts are cleared.
    pub(super) fn ended(&self, path: &str) {
        let mut inner = self.lock();
        inner.unsaved |= inner.contents.begun.remove(path).is_some();
    }

    /// Writes what is not written yet, if that is worth its cost by now or `now` insists. Tells whether all is durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn save(self: &Arc<Self>, now: bool) -> Result<bool, StateError> {
        {
            let inner = self.lock();
            if !inner.unsaved {
                return Ok(true);
            }
            if !now && Instant::now() < inner.next_save {
                return Ok(false);
            }
        }
        let ledger = self.clone();
        let saved = tokio::task::spawn_blocking(move || ledger.save_now()).await;
        // A panic there is a defect; the next attempt shows whether it lasts.
        saved.unwrap_or(Ok(())).map(|()| true)
    }

    fn save_now(&self) -> Result<(), StateError> {
        let mut inner = self.lock();
        let began = Instant::now();
        let Inner { contents, file, unsaved, next_save, .. } = &mut *inner;
        let stored = file.store(contents);
        *unsaved = stored.is_err();
        *next_save = Instant::now() + began.elapsed().min(Duration::from_secs(1)) * PAUSE_PER_COST;
        stored
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, Ledger, Record};
    use crate::products::folder::Fingerprint;
    use std::collections::HashSet;

    fn record(inode: u64) -> Record {
        Record {
            fingerprint: Fingerprint { size: 1, mtime: (2, 3), inode },
            key: "k".into(),
            place: "p".into(),
            etag: None,
            sha256: "s".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_ledger_survives_and_forgets_files_that_are_gone_but_not_how_many_they_were() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("images.json");
        let ledger = Ledger::open(path.clone(), &"p".into()).expect("opened");
        ledger.record("a", record(1));
        ledger.record("b\n\u{e9}", record(2));
        let Record { fingerprint, key, place, sha256, .. } = record(3);
        let begun = Begun { fingerprint, key, place, upload: "u".into(), sha256 };
        ledger.begin("c", begun.clone()).await.expect("saved");
        let again = Ledger::open(path.clone(), &"p".into()).expect("opened");
        assert!(again.holds("b\n\u{e9}", &record(2).fingerprint, "p", "k"));
        assert!(!again.holds("b\n\u{e9}", &record(1).fingerprint, "p", "k"), "another content");
        assert!(!again.holds("a", &record(1).fingerprint, "p", "other"), "another key");
        assert_eq!(again.all_begun(), [("c".to_owned(), begun)]);
        again.forget_all_but(&HashSet::from(["a"]), 1);
        assert!(again.knows("b\n\u{e9}"), "one is kept");
        again.forget_all_but(&HashSet::from(["a"]), 0);
        assert!(!again.knows("b\n\u{e9}"));
        assert!(again.save(true).await.expect("saved"));
        let third = Ledger::open(path, &"p".into()).expect("opened");
        assert_eq!((third.uploaded(), third.claims().len()), (2, 1));
    }
}
