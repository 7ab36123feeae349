use hostwright_core::config::buckets::fetch::{Fetch, What};
use hostwright_core::fetch::Synced;
use hostwright_duty::supervisor::Reporter;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::watch::Sender;

/// How many failures are named.
const NAMED: usize = 5;

/// How all entries are, by bucket and target.
#[derive(Clone, Debug, Default)]
pub(super) struct Overview(BTreeMap<String, Entry>);

/// How an entry is.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Entry {
    bucket: String,
    what: String,
    to: String,
    /// Files that are as the bucket has them.
    files: usize,
    /// Fetched since the start.
    fetched: usize,
    /// When the bucket was last asked and answered.
    synced: Option<Timestamp>,
    /// Why not all is as it should be.
    failed: Vec<String>,
    #[serde(skip)]
    rounds: u64,
    #[serde(skip)]
    under_way: bool,
}

impl Overview {
    /// The rounds that begin from now on: one that is under way may have asked the bucket already.
    pub(super) fn next_rounds(&self) -> BTreeMap<String, u64> {
        let next = |entry: &Entry| entry.rounds + 1 + u64::from(entry.under_way);
        self.0.iter().map(|(name, entry)| (name.clone(), next(entry))).collect()
    }

    pub(super) fn has_reached(&self, wanted: &BTreeMap<String, u64>) -> bool {
        wanted.iter().all(|(name, round)| self.0.get(name).is_none_or(|entry| entry.rounds >= *round))
    }

    pub(super) fn details(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    pub(super) fn publish(&self, status: &Reporter) {
        let failed: Vec<_> = self.0.values().flat_map(|entry| entry.failed.first()).cloned().collect();
        let files: usize = self.0.values().map(|entry| entry.files).sum();
        status.details(self.details());
        if !failed.is_empty() {
            status.degraded(failed.join("; "));
        } else if self.0.values().all(|entry| entry.synced.is_some()) {
            status.ok(format!("{files} files are as their buckets have them"));
        }
    }
}

/// One entry's row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    name: String,
    all: Sender<Overview>,
}

impl Row {
    pub(super) fn new(all: &Sender<Overview>, bucket: &str, fetch: &Fetch) -> Self {
        let what = match &fetch.what {
            What::Key(key) => key.clone(),
            What::Prefix(prefix) => format!("{prefix}*"),
        };
        let name = format!("{bucket}/{what} {}", fetch.to.display());
        let to = fetch.to.display().to_string();
        let entry = Entry { bucket: bucket.to_owned(), what, to, ..Entry::default() };
        all.send_modify(|overview| drop(overview.0.insert(name.clone(), entry)));
        Self { name, all: all.clone() }
    }

    pub(super) fn begun(&self) {
        self.all.send_modify(|overview| {
            if let Some(entry) = overview.0.get_mut(&self.name) {
                entry.under_way = true;
            }
        });
    }

    pub(super) fn synced(&self, synced: Synced) {
        self.update(|entry| {
            entry.files = synced.files;
            entry.fetched += synced.fetched.len();
            entry.synced = Some(Timestamp::now());
            entry.failed = synced.failed.into_iter().take(NAMED).collect();
        });
    }

    pub(super) fn failed(&self, why: String) {
        self.update(|entry| entry.failed = vec![why]);
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        self.all.send_modify(|overview| {
            if let Some(entry) = overview.0.get_mut(&self.name) {
                change(entry);
                entry.rounds += 1;
                entry.under_way = false;
            }
        });
    }
}
