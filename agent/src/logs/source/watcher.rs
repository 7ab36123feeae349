use super::identity::Key;
use super::names::{Asks, Names, News, OpenedEarly};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::statfs::statfs;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// So many written files at once are looked at by a scan: bounds what busy folders can make us remember.
const MOST: usize = 10_000;

/// File systems that others write to as well, of which the kernel here tells nothing: NFS, CIFS, SMB2, FUSE, 9P, Ceph,
/// AFS, Coda, OCFS2, GFS2 and Lustre (statfs(2)).
const SHARED: [i64; 11] = [
    0x6969,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
    0x7461_636f,
    0x0116_1970,
    0x0bd0_0bd0,
];

/// Between looks at a queue that the runtime cannot wait for.
const UNHEARD: Duration = Duration::from_millis(250);

/// What the kernel told since it was last asked.
#[derive(Debug, Default)]
pub struct Hints {
    /// Files that were written: folder and name, each once.
    pub written: Vec<(Arc<Path>, OsString)>,
    /// Folders in which files came, went or were renamed.
    pub stirred: HashSet<Arc<Path>>,
    /// More happened than the kernel could tell.
    pub everything: bool,
    /// Files that came up, in the order in which they were made.
    pub opened: Vec<OpenedEarly>,
}

/// Watches folders with inotify. It is a hint and never the truth: scans cover what it misses.
///
/// The kernel's queue is read when hints are taken, and not at each event as event libraries do: it merges a busy
/// writer's thousands of events a second into one as long as they wait in it. Those of many files are not merged, and each
/// of them would wake a thread: the runtime knows the queue only while it is waited for.
#[derive(Debug)]
pub struct Watcher {
    /// Of what is written.
    inotify: Option<Inotify>,
    names: Arc<Names>,
    /// A folder that is known by several paths has one descriptor.
    folders: HashMap<WatchDescriptor, Vec<Arc<Path>>>,
    watched: HashMap<Arc<Path>, Watched>,
    was_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    key: Key,
    /// Of what is written, and of names.
    descriptors: Option<(WatchDescriptor, WatchDescriptor)>,
}

impl Watcher {
    pub fn new(asks: Asks) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).inspect_err(|error| {
            log::warn!(
                "logs: no inotify ({error}); files are looked at once a second; raise fs.inotify.max_user_instances"
            );
        });
        Self {
            inotify: inotify.ok(),
            names: Arc::new(Names::new(asks)),
            folders: HashMap::new(),
            watched: HashMap::new(),
            was_refused: false,
        }
    }

    /// By whom files are opened that come up while nobody looks: to be listened with.
    pub fn names(&self) -> Arc<Names> {
        self.names.clone()
    }

    /// Watches a folder that exists, and again when another one has taken its place. Whether the kernel tells of
    /// everything in it.
    pub fn watch(&mut self, folder: &Arc<Path>, key: Key) -> bool {
        if let Some(watched) = self.watched.get(folder).filter(|watched| watched.key == key) {
            return watched.descriptors.is_some();
        }
        self.forget(folder);
        let descriptors = if is_shared(folder) { None } else { self.add(folder) };
        if let Some((written, _)) = descriptors {
            self.folders.entry(written).or_default().push(folder.clone());
        }
        self.watched.insert(folder.clone(), Watched { key, descriptors });
        descriptors.is_some()
    }

    /// Watches a folder no more.
    pub fn forget(&mut self, folder: &Arc<Path>) {
        let Some((written, names)) = self.watched.remove(folder).and_then(|watched| watched.descriptors) else {
            return;
        };
        self.names.forget(folder, names);
        let Some(paths) = self.folders.get_mut(&written) else { return };
        paths.retain(|path| path != folder);
        if paths.is_empty() {
            self.folders.remove(&written);
            if let Some(inotify) = &self.inotify {
                // A folder that was deleted took its watch along.
                let _ = inotify.rm_watch(written);
            }
        }
    }

    fn add(&mut self, folder: &Arc<Path>) -> Option<(WatchDescriptor, WatchDescriptor)> {
        let inotify = self.inotify.as_ref()?;
        let names = self.names.watch(folder);
        let added = names.and_then(|names| {
            let written = inotify.add_watch(&**folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ONLYDIR);
            let written = written.inspect_err(|_| self.names.forget(folder, names))?;
            Ok((written, names))
        });
        added
            .inspect_err(|error| {
                // One of thousands of folders stands for all.
                if !std::mem::replace(&mut self.was_refused, true) {
                    log::warn!("logs: cannot watch {} ({error}); it is looked at once a second; raise fs.inotify.max_user_watches", folder.display());
                }
            })
            .ok()
    }

    /// Waits until the kernel tells something. Cancel-safe: nothing is taken out.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn arrived(&self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        tokio::select! {
            () = arrived(inotify) => {}
            () = self.names.told_any() => {}
        }
    }

    /// Files that came up since then.
    pub fn take_opened(&self) -> Vec<OpenedEarly> {
        self.names.take_opened()
    }

    pub fn take(&mut self) -> Hints {
        let News { stirred, ended, everything, opened } = self.names.take();
        for folder in &ended {
            self.forget(folder);
        }
        let (mut hints, mut written) = (Hints { stirred, everything, opened, ..Hints::default() }, HashSet::new());
        // An error is that nothing is there any more.
        while let Some(Ok(events)) = self.inotify.as_ref().map(read) {
            for event in events {
                self.note(event, &mut written, &mut hints);
            }
        }
        hints
    }

    /// `written` are the names that were noted already: a path is slower to compare than its descriptor.
    fn note(&self, event: InotifyEvent, written: &mut HashSet<(WatchDescriptor, OsString)>, hints: &mut Hints) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            hints.everything = true;
            return;
        }
        let Some((paths, name)) = self.folders.get(&event.wd).zip(event.name) else { return };
        let named = (event.wd, name);
        if written.contains(&named) {
            return;
        }
        hints.everything |= hints.written.len() >= MOST;
        if !hints.everything {
            hints.written.extend(paths.iter().map(|path| (path.clone(), named.1.clone())));
            written.insert(named);
        }
    }
}

/// Waits for something in a queue.
///
/// # Panics
/// Outside of a tokio runtime.
pub(super) async fn arrived(inotify: &Inotify) {
    match register(inotify.as_fd()) {
        Ok(queue) if queue.readable().await.is_ok() => {}
        // Too many descriptors are waited for on this host (fs.epoll.max_user_watches).
        _ => sleep(UNHEARD).await,
    }
}

#[expect(unsafe_code, reason = "tokio cannot know that a borrowed descriptor stays open for as long")]
fn register(queue: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a borrowed descriptor is always the same, and its owner closes it after it is given back.
    unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }.map_err(|error| error.into_parts().1)
}

pub(super) fn read(inotify: &Inotify) -> nix::Result<Vec<InotifyEvent>> {
    match inotify.read_events() {
        Err(Errno::EINTR) => Ok(Vec::new()),
        other => other,
    }
}

fn is_shared(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| SHARED.contains(&found.filesystem_type().0))
}

#[cfg(test)]
mod tests {
    use super::{Hints, Watcher};
    use crate::logs::source::identity::Key;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::runtime::Handle;

    fn watched(folder: &Path) -> (Watcher, Arc<Path>) {
        let mut watcher = Watcher::new(Box::new(|_| true));
        tokio::spawn(watcher.names().listen());
        let path: Arc<Path> = folder.into();
        assert!(watcher.watch(&path, Key::of(&folder.metadata().expect("there"))));
        (watcher, path)
    }

    async fn hints(watcher: &mut Watcher) -> Hints {
        watcher.arrived().await;
        watcher.take()
    }

    #[tokio::test]
    async fn a_write_names_the_file_and_a_rename_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("log");
        std::fs::write(&file, "a").expect("written");
        let (mut watcher, path) = watched(folder.path());
        std::fs::write(&file, "b").expect("written");
        let seen = hints(&mut watcher).await;
        assert!(seen.written.contains(&(path.clone(), "log".into())) && seen.stirred.is_empty());
        std::fs::rename(&file, folder.path().join("log.1")).expect("renamed");
        assert!(hints(&mut watcher).await.stirred.contains(&path));
        assert!(watcher.take().stirred.is_empty(), "taken once");
    }

    #[tokio::test]
    async fn a_file_that_is_written_between_others_is_named_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (mut watcher, path) = watched(folder.path());
        let files = ["a", "b"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| std::fs::write(file, "").expect("written"));
        watcher.take();
        for file in files.iter().cycle().take(10) {
            std::fs::write(file, "line").expect("written");
        }
        let mut seen = hints(&mut watcher).await.written;
        seen.sort();
        assert_eq!(seen, ["a", "b"].map(|name| (path.clone(), name.into())));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn writes_wake_nobody_until_they_are_waited_for() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (mut watcher, _) = watched(folder.path());
        let files = ["a", "b"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| std::fs::write(file, "").expect("written"));
        watcher.arrived().await;
        let rests = || Handle::current().metrics().worker_park_count(0);
        let before = rests();
        let writing = tokio::task::spawn_blocking(move || {
            for file in files.iter().cycle().take(200) {
                std::fs::write(file, "line").expect("written");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        writing.await.expect("written");
        assert!(rests() - before < 50, "{} times", rests() - before);
        assert_eq!(hints(&mut watcher).await.written.len(), 2);
    }

    #[tokio::test]
    async fn a_folder_that_took_anothers_place_is_watched_too() {
        let above = tempfile::tempdir().expect("temporary folder");
        let folder = above.path().join("logs");
        std::fs::create_dir(&folder).expect("made");
        let (mut watcher, path) = watched(&folder);
        std::fs::rename(&folder, above.path().join("old")).expect("renamed");
        std::fs::create_dir(&folder).expect("made");
        watcher.watch(&path, Key::of(&folder.metadata().expect("there")));
        watcher.take();
        std::fs::write(folder.join("log"), "a").expect("written");
        assert!(hints(&mut watcher).await.stirred.contains(&path));
    }
}
