use super::Source;
use super::followed::{FollowedFile, Opened};
use super::identity::Attributes;
use super::known::{Identified, Known};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, DirEntry, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Links in the agent's own folder to rotated files of one source that an output lacks: they stay on disk, whoever
/// deletes them elsewhere, and are found by their identity when the agent starts again.
#[derive(Debug)]
pub struct Pins {
    pub folder: Arc<Path>,
    /// The most unread bytes that are kept on disk for us alone.
    limit: u64,
    /// Files that cannot be linked: on another file system, or deleted.
    refused: BTreeSet<u64>,
}

impl Pins {
    /// Pins of a source, below the duty's folder.
    pub fn new(state: &Path, source: &str, limit: u64) -> Self {
        Self { folder: root(state).join(source).into(), limit, refused: BTreeSet::new() }
    }

    /// Links a file that is rotated and unread, and removes the link of one that is read. Whether a link was made.
    pub fn keep(&mut self, file: &FollowedFile) -> bool {
        let is_unread = file.unread() > 0 && !file.is_replaced();
        match (is_unread, file.is_pinned()) {
            (true, false) if file.has_ended() && self.limit > 0 && !self.refused.contains(&file.sequence) => {
                self.link(file)
            }
            (false, true) => {
                self.remove(file);
                false
            }
            _ => false,
        }
    }

    fn link(&mut self, file: &FollowedFile) -> bool {
        match self.make(file) {
            Ok(()) => {
                file.set_pinned(true);
                true
            }
            Err(error) => {
                self.refused.insert(file.sequence);
                // It was deleted before, and is open all the same.
                if error.kind() != io::ErrorKind::NotFound {
                    log::warn!(
                        source = file.source.name;
                        "logs: cannot keep {} on disk until every output has it ({error}): it is lost if somebody deletes it and the agent is then restarted; have the agent's state on the same file system",
                        file.origin.display()
                    );
                }
                false
            }
        }
    }

    fn make(&self, file: &FollowedFile) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // By the descriptor: the name may be another file's by now.
        let open = PathBuf::from(format!("/proc/self/fd/{}", file.file.as_raw_fd()));
        match linkat(AT_FDCWD, &open, AT_FDCWD, &self.path(file), AtFlags::AT_SYMLINK_FOLLOW) {
            Err(Errno::EEXIST) | Ok(()) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn remove(&mut self, file: &FollowedFile) {
        self.refused.remove(&file.sequence);
        file.set_pinned(false);
        if let Err(error) = std::fs::remove_file(self.path(file))
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!(source = file.source.name; "logs: cannot remove {}: {error}", self.path(file).display());
        }
    }

    /// As long as it is open or linked, no other file has its inode.
    fn path(&self, file: &FollowedFile) -> PathBuf {
        self.folder.join(format!("{:x}-{:x}", file.key.device, file.key.inode))
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// A pin of an earlier run that no position is about.
    pub fn remove_stray(path: &Path) {
        log::warn!(
            "logs: {} was kept for an output that has no position in it any more; it is deleted",
            path.display()
        );
        if let Err(error) = std::fs::remove_file(path) {
            log::warn!("logs: cannot remove {}: {error}", path.display());
        }
    }
}

/// Gives the pins of a source that has another name now to the one that goes on with its positions.
pub fn adopt(state: &Path, sources: &[Arc<Source>], known: &Known) {
    let is_there = |entry: &DirEntry| sources.iter().any(|source| *source.name == *entry.file_name());
    for folder in entries(&root(state)).filter(|entry| !is_there(entry)) {
        for pin in entries(&folder.path()) {
            let Some((identity, opened)) = identity(&pin.path()) else { continue };
            let identified = Identified { inode: identity.key.inode, born: identity.born, content: &opened };
            let Some(source) = sources.iter().find(|source| known.recognise(source, &identified).is_some()) else {
                continue;
            };
            let to = root(state).join(&source.name);
            let moved = DirBuilder::new().recursive(true).mode(0o700).create(&to);
            if let Err(error) = moved.and_then(|()| std::fs::rename(pin.path(), to.join(pin.file_name()))) {
                log::warn!(source = source.name; "logs: cannot keep {} for the source's new name: {error}", pin.path().display());
            }
        }
    }
}

fn identity(path: &Path) -> Option<(Attributes, Opened)> {
    let file = File::open(path).ok()?;
    let attributes = Attributes::of(&file.metadata().ok()?);
    Some((attributes, Opened::of(file).ok()?))
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    folder.read_dir().into_iter().flatten().filter_map(Result::ok)
}

/// Removes the pins of sources that are no longer configured.
pub fn sweep(state: &Path, sources: &BTreeSet<&str>) {
    let Ok(entries) = root(state).read_dir() else { return };
    for entry in entries.filter_map(Result::ok) {
        if sources.contains(entry.file_name().to_string_lossy().as_ref()) {
            continue;
        }
        log::info!("logs: {} goes: its source is no longer configured", entry.path().display());
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            log::warn!("logs: cannot remove {}: {error}", entry.path().display());
        }
    }
}

fn root(state: &Path) -> PathBuf {
    state.join("pins")
}
