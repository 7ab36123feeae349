use crate::logs::source::hindrances::Hindrances;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What rotation did for a source since the duty started, and what hinders it.
#[derive(Debug, Default)]
pub struct Rotation {
    rotated: AtomicU64,
    compressed: AtomicU64,
    deleted: AtomicU64,
    deleted_bytes: AtomicU64,
    forced: AtomicU64,
    forced_bytes: AtomicU64,
    /// For each log: rotated files that are not known to have been shipped, and stay.
    unknown: Mutex<BTreeMap<PathBuf, usize>>,
    hindrances: Hindrances,
}

impl Rotation {
    pub(super) fn rotated(&self, source: &str, log: &Path, target: &Path) {
        self.rotated.fetch_add(1, Ordering::Relaxed);
        log::info!(source; "logs: rotated {} to {}", log.display(), target.display());
    }

    pub(super) fn compressed(&self, source: &str, result: io::Result<PathBuf>) {
        match result {
            Ok(path) => {
                self.compressed.fetch_add(1, Ordering::Relaxed);
                self.hindrances.remove("compress", source);
                log::info!(source; "logs: compressed {}", path.display());
            }
            Err(error) => self.hindrances.add("compress", source, error.to_string()),
        }
    }

    /// A rotated file that every output has was deleted.
    pub(super) fn deleted(&self, source: &str, path: &Path, bytes: u64) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
        self.deleted_bytes.fetch_add(bytes, Ordering::Relaxed);
        log::info!(source; "logs: deleted {}, which is kept no longer and was shipped", path.display());
    }

    /// A rotated file was deleted of which an output lacks so many bytes.
    pub(super) fn forced(&self, source: &str, path: &Path, lacking: u64) {
        self.forced.fetch_add(1, Ordering::Relaxed);
        self.forced_bytes.fetch_add(lacking, Ordering::Relaxed);
        log::error!(
            source;
            "logs: deleted {} because of force_bytes, although {lacking} bytes of it were not shipped: they are lost",
            path.display()
        );
    }

    pub(super) fn unknown(&self, log: &Path, count: usize) {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(log.to_owned(), count);
    }

    pub(super) fn hindered(&self, source: &str, log: &Path, doing: &str, error: &io::Error) {
        self.hindrances.add(&about(log, doing), source, format!("cannot {doing} {}: {error}", log.display()));
    }

    pub(super) fn cleared(&self, source: &str, log: &Path, doing: &str) {
        self.hindrances.remove(&about(log, doing), source);
    }

    /// What hinders it, as sentences.
    pub fn problems(&self, source: &str) -> Vec<String> {
        self.hindrances.problems(source)
    }

    pub fn to_json(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let unknown: usize = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).values().sum();
        json!({
            "rotated": of(&self.rotated),
            "compressed": of(&self.compressed),
            "deleted": of(&self.deleted),
            "deleted_bytes": of(&self.deleted_bytes),
            "forced": of(&self.forced),
            "forced_bytes": of(&self.forced_bytes),
            "unknown": unknown,
        })
    }
}

fn about(log: &Path, doing: &str) -> String {
    format!("{doing} {}", log.display())
}
