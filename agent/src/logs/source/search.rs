use super::Source;
use super::family::{family, plain_name};
use super::known::Known;
use super::names::OpenedEarly;
use super::watcher::Watcher;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::Notify;

/// Clocks of file systems tick every few milliseconds.
const TICK: i64 = 1_000_000_000;

/// What the searches for the files of all sources share.
#[derive(Debug)]
pub struct Search {
    pub watcher: Watcher,
    /// Positions of earlier runs.
    pub known: Known,
    /// Files that outputs write.
    pub excluded: HashSet<PathBuf>,
    /// Sources that are followed for the first time ever, from the ends of their files.
    pub from_end: HashSet<String>,
    /// What was never looked at: no file that is found now came up while we looked.
    pub is_first: bool,
    /// When we began to look, in nanoseconds since 1970.
    pub started: i64,
    pub attention: Arc<Attention>,
    pub next_sequence: u64,
    /// Files that were opened when they got their names, and that no source has taken yet.
    pub opened: Vec<OpenedEarly>,
    /// What keeps files from being followed, by folder or file.
    pub problems: BTreeMap<PathBuf, String>,
}

impl Search {
    pub fn new(sources: &[Arc<Source>], known: Known, excluded: HashSet<PathBuf>) -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let sources = sources.to_vec();
        let asks = move |path: &Path| sources.iter().any(|source| source.may_ask_for(path));
        Self {
            watcher: Watcher::new(Box::new(asks)),
            known,
            excluded,
            from_end: HashSet::new(),
            is_first: true,
            started: i64::try_from(started).unwrap_or(i64::MAX),
            attention: Arc::default(),
            next_sequence: 0,
            opened: Vec::new(),
            problems: BTreeMap::new(),
        }
    }
}

impl Search {
    /// Whether a file of this time was written since we look, in nanoseconds since 1970.
    pub fn came_after_start(&self, modified: i64) -> bool {
        modified >= self.started - TICK
    }

    pub fn problem(&mut self, about: &Path, what: String) {
        // Some stand for all, for one reason may concern thousands.
        if self.problems.len() < 100 {
            self.problems.insert(about.to_owned(), what);
        }
    }

    /// Whether an output writes this file, or wrote it before it was rotated: to follow it would feed it to itself.
    pub fn is_of_an_output(&self, folder: &Path, name: &str) -> bool {
        if self.excluded.is_empty() {
            return false;
        }
        let base = family(plain_name(name));
        self.excluded.iter().any(|path| {
            let is_named_so = path.file_name().is_some_and(|own| own == name || *own == *base);
            is_named_so && path.parent().is_some_and(|own| is_one_folder(own, folder))
        })
    }

    /// The folder is looked at again.
    pub fn forget_problems(&mut self, folder: &Path) {
        self.problems.retain(|about, _| about != folder && about.parent() != Some(folder));
    }
}

/// One may lead to the other by a link.
fn is_one_folder(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// By it, who reads a file tells that its content was replaced.
#[derive(Debug, Default)]
pub struct Attention {
    files: Mutex<Vec<u64>>,
    called: Notify,
}

impl Attention {
    pub fn call(&self, file: u64) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        self.called.notify_one();
    }

    /// Cancel-safe: nothing is taken.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
