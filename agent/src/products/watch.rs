use super::folder::Folder;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// So many events are taken at once: the rest waits in the kernel's queue, which bounds our memory.
const MOST: usize = 4096;

/// The kernel's word on what happened in a folder and the folders in it. Walks find out what it misses.
#[derive(Debug, Default)]
pub(super) struct Watch {
    inotify: Option<AsyncFd<Queue>>,
    /// The paths of the watched folders.
    folders: HashMap<WatchDescriptor, Arc<str>>,
    /// Inode and device of the outermost, which may be replaced by another of its name.
    watched: Option<(u64, u64)>,
    was_refused: bool,
}

/// tokio asks for a raw descriptor.
#[derive(Debug)]
struct Queue(Inotify);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// What happened since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// In the order in which it happened.
    pub(super) events: Vec<(String, What)>,
    /// More happened than the kernel could tell, or to the watched folder itself: everything has to be looked at.
    pub(super) everything: bool,
}

/// What happened at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A file was made, or a link to one.
    Made,
    /// A file was closed after writing.
    Closed,
    /// A file or folder was renamed to it.
    MovedIn,
    /// There is a new folder, with whatever is in it already.
    Folder,
    /// It is not there any more.
    Gone,
}

impl Watch {
    /// Waits until something happened; cancel-safe.
    pub(super) async fn happened(&self) {
        match &self.inotify {
            // An error would come at once and again for ever: the walks are left.
            Some(inotify) => {
                if inotify.readable().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Whether it is this folder that is watched, and not an earlier one of its name.
    pub(super) fn is_of(&self, folder: &Folder) -> bool {
        let present = identity(folder);
        present == self.watched && (present.is_none() || self.inotify.is_some())
    }

    /// Watches the folder and those in it, if it is there and is not watched already. Tells whether it is another folder
    /// than before.
    pub(super) fn renew(&mut self, folder: &Folder) -> bool {
        if self.is_of(folder) {
            return false;
        }
        let present = identity(folder);
        *self = Self { watched: present, was_refused: self.was_refused, ..Self::default() };
        if present.is_none() {
            return true;
        }
        match queue() {
            Ok(inotify) => {
                self.inotify = Some(inotify);
                self.was_refused = false;
                self.add_all(folder, "");
            }
            Err(error) => self.refused(folder, &error),
        }
        true
    }

    /// Takes what happened; new folders are watched from now on.
    pub(super) fn take(&mut self, folder: &Folder) -> Happened {
        let mut happened = Happened::default();
        while happened.events.len() < MOST {
            let Some(events) = self.read() else { break };
            for event in events {
                self.note(folder, &event, &mut happened);
            }
        }
        happened
    }

    /// The next events; nothing when there are none.
    fn read(&self) -> Option<Vec<InotifyEvent>> {
        let read = self.inotify.as_ref()?.try_io(Interest::READABLE, |inotify| match inotify.0.read_events() {
            Err(Errno::EINTR) => Ok(Vec::new()),
            other => other.map_err(io::Error::from),
        });
        read.ok()
    }

    fn note(&mut self, folder: &Folder, event: &InotifyEvent, happened: &mut Happened) {
        let has = |flag| event.mask.contains(flag);
        if has(AddWatchFlags::IN_Q_OVERFLOW) {
            happened.everything = true;
        }
        let Some(above) = self.folders.get(&event.wd).cloned() else { return };
        if has(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
            if above.is_empty() {
                // Its file system was unmounted: what lies below is another folder.
                self.watched = None;
                happened.everything = true;
            }
            return;
        }
        if has(AddWatchFlags::IN_DELETE_SELF) || has(AddWatchFlags::IN_MOVE_SELF) {
            if above.is_empty() {
                // A new one may have the inode of the old.
                self.watched = None;
                happened.everything = true;
            }
            return;
        }
        let Some(name) = event.name.as_ref() else { return };
        let Some(name) = name.to_str() else {
            // What has no path that can be told is found, and refused, by a walk.
            happened.everything = true;
            return;
        };
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        let is_folder = has(AddWatchFlags::IN_ISDIR);
        let what = if has(AddWatchFlags::IN_MOVED_TO) {
            What::MovedIn
        } else if has(AddWatchFlags::IN_CREATE) {
            if is_folder { What::Folder } else { What::Made }
        } else if has(AddWatchFlags::IN_CLOSE_WRITE) {
            What::Closed
        } else {
            What::Gone
        };
        if is_folder && what == What::Gone {
            self.forget_below(&path);
        } else if is_folder {
            self.add_all(folder, &path);
        }
        happened.events.push((path, what));
    }

    /// Watches a folder and all in it.
    fn add_all(&mut self, folder: &Folder, path: &str) {
        let mut above = vec![path.to_owned()];
        while let Some(path) = above.pop() {
            if let Err(error) = self.add(folder, &path) {
                match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => continue,
                    _ => self.refused(folder, &error),
                }
            }
            let Ok(entries) = fs::read_dir(folder.root().join(&path)) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                if let Some(name) = entry.file_name().to_str() {
                    above.push(if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") });
                }
            }
        }
    }

    fn add(&mut self, folder: &Folder, path: &str) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        // Not each single write: a file is looked at when it is closed, is moved, or has become quiet.
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR
            | if path.is_empty() { AddWatchFlags::empty() } else { AddWatchFlags::IN_DONT_FOLLOW };
        let descriptor = inotify.get_ref().0.add_watch(&folder.root().join(path), flags)?;
        self.folders.insert(descriptor, path.into());
        Ok(())
    }

    /// What is moved away is watched under its new path, or by nobody.
    fn forget_below(&mut self, path: &str) {
        let below = |known: &str| known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let gone: Vec<_> = self.folders.iter().filter(|(_, known)| below(known)).map(|(wd, _)| *wd).collect();
        for descriptor in gone {
            self.folders.remove(&descriptor);
            if let Some(inotify) = &self.inotify {
                let _ = inotify.get_ref().0.rm_watch(descriptor);
            }
        }
    }

    fn refused(&mut self, folder: &Folder, error: &io::Error) {
        if !std::mem::replace(&mut self.was_refused, true) {
            log::warn!(
                "the kernel does not watch all of {} ({error}), which is walked every 30 s instead; raise the sysctl \
                 fs.inotify.max_user_watches or fs.inotify.max_user_instances",
                folder.root().display()
            );
        }
    }
}

fn identity(folder: &Folder) -> Option<(u64, u64)> {
    folder.root().metadata().ok().map(|metadata| (metadata.ino(), metadata.dev()))
}

#[expect(unsafe_code, reason = "tokio cannot know that a queue owns its descriptor for as long as it lives")]
fn queue() -> io::Result<AsyncFd<Queue>> {
    let queue = Queue(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
    // SAFETY: the queue owns its descriptor, and is dropped after the registration.
    unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }.map_err(|error| error.into_parts().1)
}

#[cfg(test)]
mod tests {
    use super::{Watch, What};
    use crate::products::folder::Folder;
    use std::fs;
    use std::time::Duration;

    async fn next(watch: &mut Watch, folder: &Folder) -> Vec<(String, What)> {
        tokio::time::timeout(Duration::from_secs(10), watch.happened()).await.expect("something happened");
        watch.take(folder).events
    }

    #[tokio::test]
    async fn files_in_folders_that_are_new_or_were_moved_in_are_told() {
        let outer = tempfile::tempdir().expect("temporary folder");
        let root = outer.path().join("in");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::create_dir_all(outer.path().join("elsewhere/deep")).expect("made");
        let (mut watch, folder) = (Watch::default(), Folder::new(root.clone()));
        assert!(watch.renew(&folder) && !watch.renew(&folder));
        fs::write(root.join("a/b/file"), "x").expect("written");
        let seen = next(&mut watch, &folder).await;
        assert_eq!(seen, [("a/b/file".into(), What::Made), ("a/b/file".into(), What::Closed)]);
        fs::rename(outer.path().join("elsewhere"), root.join("moved")).expect("moved");
        assert_eq!(next(&mut watch, &folder).await, [("moved".into(), What::MovedIn)]);
        fs::rename(root.join("a/b/file"), root.join("moved/deep/file")).expect("moved");
        let seen = next(&mut watch, &folder).await;
        assert_eq!(seen, [("a/b/file".into(), What::Gone), ("moved/deep/file".into(), What::MovedIn)]);
        fs::rename(root.join("moved"), outer.path().join("away")).expect("moved");
        assert_eq!(next(&mut watch, &folder).await, [("moved".into(), What::Gone)]);
        fs::write(outer.path().join("away/deep/unseen"), "x").expect("written");
        fs::create_dir(root.join("new")).expect("made");
        assert_eq!(next(&mut watch, &folder).await, [("new".into(), What::Folder)]);
        fs::write(root.join("new/file"), "x").expect("written");
        assert_eq!(next(&mut watch, &folder).await.first(), Some(&("new/file".into(), What::Made)));
        fs::remove_dir_all(&root).expect("removed");
        fs::create_dir(&root).expect("made");
        while watch.is_of(&folder) {
            next(&mut watch, &folder).await;
        }
        assert!(watch.renew(&folder), "another folder");
    }
}
