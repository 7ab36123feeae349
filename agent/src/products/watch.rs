use super::folder::Folder;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use tokio::sync::Notify;

/// The kernel's word that something happened in a folder. It only wakes: what happened, a walk finds out, and one from
/// time to time finds what was missed.
#[derive(Debug, Default)]
pub(super) struct Watch {
    happened: Arc<Notify>,
    /// Inode and device of the folder, which may be replaced by another of its name.
    watched: Option<(u64, u64)>,
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Waits until something happened; cancel-safe.
    pub(super) async fn happened(&self) {
        self.happened.notified().await;
    }

    /// Watches the folder, if it is there and is not watched already. May take long: one watch for each folder in it.
    pub(super) fn renew(&mut self, folder: &Folder) {
        let present = folder.root().metadata().ok().map(|metadata| (metadata.ino(), metadata.dev()));
        if present == self.watched {
            return;
        }
        self.watched = present;
        self.watcher = None;
        if present.is_some() {
            match start(folder, self.happened.clone()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => log::warn!(
                    "the kernel does not watch {} ({error}), which is walked every 30 s instead; raising the sysctl \
                     fs.inotify.max_user_watches may help",
                    folder.root().display()
                ),
            }
        }
    }
}

fn start(folder: &Folder, happened: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let tell = move |event: notify::Result<Event>| {
        // An error is an overflow of the kernel's queue or a folder that could not be watched: reasons to look.
        if event.is_ok_and(|event| says_nothing(&event)) {
            return;
        }
        happened.notify_one();
    };
    let mut watcher = RecommendedWatcher::new(tell, Config::default().with_follow_symlinks(false))?;
    watcher.watch(folder.root(), RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Reading, our own too, and each single write: a file is looked at when it is closed or has become quiet.
fn says_nothing(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => !event.need_rescan(),
        _ => false,
    }
}
