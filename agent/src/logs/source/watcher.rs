use super::identity::Key;
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// So many files at once are looked at by a scan: bounds what a busy folder can make us remember.
const MOST: usize = 10_000;

/// What the kernel told since it was last asked.
#[derive(Debug, Default)]
pub struct Hints {
    /// Files that were written.
    pub written: HashSet<PathBuf>,
    /// Files came, went or were renamed, or the kernel's queue overflowed.
    pub rescan: bool,
}

#[derive(Debug, Default)]
struct Mailbox {
    hints: Mutex<Hints>,
    arrived: Notify,
}

/// Watches folders with inotify. It is a hint and never the truth: scans cover what it misses.
#[derive(Debug)]
pub struct Watcher {
    watcher: Option<RecommendedWatcher>,
    mailbox: Arc<Mailbox>,
    watched: HashMap<PathBuf, Key>,
}

impl Watcher {
    pub fn new() -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let filled = mailbox.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| filled.take_in(event))
            .inspect_err(|error| {
                log::warn!(
                    "logs: no inotify ({error}); files are looked at once a second; raise fs.inotify.max_user_instances"
                );
            })
            .ok();
        Self { watcher, mailbox, watched: HashMap::new() }
    }

    /// Watches a folder that exists, and again when another one has taken its place.
    pub fn watch(&mut self, folder: &Path, key: Key) {
        if self.watched.get(folder) == Some(&key) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        // A folder that was replaced leaves a dead watch behind, which is not there to be removed in every case.
        let _ = watcher.unwatch(folder);
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            log::warn!("logs: cannot watch {} ({error}); it is looked at once a second", folder.display());
        }
        self.watched.insert(folder.to_owned(), key);
    }

    /// Waits until the kernel tells something. Cancel-safe: nothing is taken out.
    pub async fn arrived(&self) {
        self.mailbox.arrived.notified().await;
    }

    pub fn take(&self) -> Hints {
        std::mem::take(&mut *self.mailbox.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Mailbox {
    fn take_in(&self, event: notify::Result<Event>) {
        {
            let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) => match event.kind {
                    // Opened and closed, by us among others.
                    EventKind::Access(_) => return,
                    EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) if hints.written.len() < MOST => {
                        hints.written.extend(event.paths);
                    }
                    _ => hints.rescan = true,
                },
                Err(_) => hints.rescan = true,
            }
        }
        self.arrived.notify_one();
    }
}
