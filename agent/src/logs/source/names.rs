use super::identity::Key;
use super::links;
use super::watcher::{arrived, read};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::sleep;

/// Between two looks at what files are called. What rotates by size under load, and keeps one generation, may overwrite it
/// 20 ms after its log was made.
const REST: Duration = Duration::from_millis(2);
/// So many files are open at once that nobody has asked for yet.
pub const MOST: usize = 256;
/// ... for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a file of this path may be one to follow.
pub type Asks = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// Tells which folders have files that came, went or were renamed, and opens what comes at once, while the search for files
/// is at work elsewhere: the next rename may overwrite it. What is written goes another way, for that is told by the
/// thousand, and may wait.
pub struct Names {
    inotify: Option<Inotify>,
    asks: Asks,
    told: Mutex<Told>,
    has_told: Notify,
}

#[derive(Debug, Default)]
struct Told {
    /// A folder that is known by several paths has one descriptor.
    folders: HashMap<WatchDescriptor, Vec<Arc<Path>>>,
    news: News,
}

/// What was told since it was last asked for.
#[derive(Debug, Default)]
pub struct News {
    pub stirred: HashSet<Arc<Path>>,
    /// Folders that are watched no more.
    pub ended: Vec<Arc<Path>>,
    /// More happened than the kernel could tell.
    pub everything: bool,
    /// In the order in which they were made.
    pub opened: Vec<OpenedEarly>,
}

/// A file that was opened when it got its name.
#[derive(Debug)]
pub struct OpenedEarly {
    pub folder: Arc<Path>,
    pub name: OsString,
    pub file: File,
    key: Key,
    pub at: Instant,
}

impl OpenedEarly {
    /// None for what is not a file, or is gone already.
    fn of(folder: &Arc<Path>, name: &OsString) -> Option<Self> {
        let path = folder.join(name);
        // To open a pipe would wait for its writer.
        path.symlink_metadata().ok().filter(|metadata| metadata.is_file())?;
        let file = links::open(&path).ok()?;
        let key = Key::of(&file.metadata().ok()?);
        Some(Self { folder: folder.clone(), name: name.clone(), file, key, at: Instant::now() })
    }

    /// Whether a look at its folder has to have found it.
    pub fn is_old(&self) -> bool {
        self.at.elapsed() >= PATIENCE
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Names").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Names {
    pub fn new(asks: Asks) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        Self { inotify, asks, told: Mutex::default(), has_told: Notify::new() }
    }

    /// # Errors
    /// The kernel refuses.
    pub fn watch(&self, folder: &Arc<Path>) -> nix::Result<WatchDescriptor> {
        let what = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        // Nothing is told before it is noted whose it is.
        let mut told = self.told();
        let inotify = self.inotify.as_ref().ok_or(nix::errno::Errno::EMFILE)?;
        let descriptor = inotify.add_watch(&**folder, what)?;
        told.folders.entry(descriptor).or_default().push(folder.clone());
        Ok(descriptor)
    }

    pub fn forget(&self, folder: &Arc<Path>, descriptor: WatchDescriptor) {
        let mut told = self.told();
        let Some(paths) = told.folders.get_mut(&descriptor) else { return };
        paths.retain(|path| path != folder);
        if paths.is_empty() {
            told.folders.remove(&descriptor);
            if let Some(inotify) = &self.inotify {
                // A folder that was deleted took its watch along.
                let _ = inotify.rm_watch(descriptor);
            }
        }
    }

    /// Listens without end.
    pub async fn listen(self: Arc<Self>) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        loop {
            arrived(inotify).await;
            if self.hear() {
                self.has_told.notify_one();
            }
            sleep(REST).await;
        }
    }

    /// Waits until there is news. Cancel-safe.
    pub async fn told_any(&self) {
        self.has_told.notified().await;
    }

    pub fn take(&self) -> News {
        self.hear();
        mem::take(&mut self.told().news)
    }

    /// What was opened, and nothing else of the news.
    pub fn take_opened(&self) -> Vec<OpenedEarly> {
        self.hear();
        mem::take(&mut self.told().news.opened)
    }

    /// Whether there was anything to hear.
    fn hear(&self) -> bool {
        let mut told = self.told();
        let mut named = Vec::new();
        let mut is_any = false;
        // An error is that nothing is there any more.
        while let Some(Ok(events)) = self.inotify.as_ref().map(read) {
            is_any |= !events.is_empty();
            for event in events {
                told.note(event, &mut named);
            }
        }
        for (folder, name) in named {
            told.news.open(&folder, &name, &self.asks);
        }
        is_any
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// `named` are the names that came up, each once.
    fn note(&mut self, event: InotifyEvent, named: &mut Vec<(Arc<Path>, OsString)>) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.news.everything = true;
            return;
        }
        let Some(paths) = self.folders.get(&event.wd) else { return };
        self.news.stirred.extend(paths.iter().cloned());
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.news.ended.extend(self.folders.remove(&event.wd).unwrap_or_default());
            return;
        }
        let comes = event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        let named_so = paths.first().zip(event.name.filter(|_| comes && named.len() < MOST));
        if let Some((folder, name)) = named_so
            && !named.iter().any(|(known, other)| *other == name && known == folder)
        {
            named.push((folder.clone(), name));
        }
    }
}

impl News {
    fn open(&mut self, folder: &Arc<Path>, name: &OsString, asks: &Asks) {
        if self.opened.len() >= MOST || !asks(&folder.join(name)) {
            return;
        }
        let opened = OpenedEarly::of(folder, name);
        self.opened.extend(opened.filter(|new| self.opened.iter().all(|known| known.key != new.key)));
    }
}
