use super::generations::Generation;
use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is known of rotated logs, on disk.
#[derive(Debug)]
pub(super) struct Record {
    state: StateFile<Stored>,
    stored: Stored,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    logs: BTreeMap<PathBuf, Log>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Log {
    /// When the present file began.
    since: Timestamp,
    /// The writer is still to be told of a rotation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    untold: bool,
    /// The copy that is being made, after which the log is emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copying: Option<PathBuf>,
    /// Files that were compressed by us: every output had what is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shipped: Vec<Inode>,
}

/// A file by what a rename does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inode {
    pub inode: u64,
    pub size: u64,
}

impl Record {
    pub(super) fn open(folder: &Path) -> Result<Self, StateError> {
        let mut state = StateFile::new(folder.join("rotations.json"), 1);
        let stored = state.load()?.unwrap_or_default();
        Ok(Self { state, stored })
    }

    /// When the present file of a log began; what `first` says when it is new to us.
    pub(super) fn begun_at(&mut self, log: &Path, first: impl FnOnce() -> Timestamp) -> io::Result<Timestamp> {
        if let Some(known) = self.stored.logs.get(log) {
            return Ok(known.since);
        }
        let since = first();
        let new = Log { since, untold: false, copying: None, shipped: Vec::new() };
        self.stored.logs.insert(log.to_owned(), new);
        self.store().map(|()| since)
    }

    pub(super) fn is_untold(&self, log: &Path) -> bool {
        self.stored.logs.get(log).is_some_and(|log| log.untold)
    }

    pub(super) fn copying(&self, log: &Path) -> Option<PathBuf> {
        self.stored.logs.get(log)?.copying.clone()
    }

    /// Before a rename: should we be cut off, the writer is told by the next run. To be told once more does no harm.
    pub(super) fn begin_rename(&mut self, log: &Path, is_to_be_told: bool) -> io::Result<()> {
        self.change(log, |log| log.untold = is_to_be_told)
    }

    pub(super) fn begin_copy(&mut self, log: &Path, copy: &Path) -> io::Result<()> {
        self.change(log, |log| log.copying = Some(copy.to_owned()))
    }

    pub(super) fn rotated(&mut self, log: &Path, at: Timestamp) -> io::Result<()> {
        self.change(log, |log| (log.since, log.copying) = (at, None))
    }

    pub(super) fn told(&mut self, log: &Path) -> io::Result<()> {
        self.change(log, |log| log.untold = false)
    }

    /// Before a compressed file gets its name.
    pub(super) fn shipped(&mut self, log: &Path, inode: Inode) -> io::Result<()> {
        self.change(log, |log| log.shipped.push(inode))
    }

    pub(super) fn is_shipped(&self, log: &Path, generation: &Generation) -> bool {
        let inode = Inode { inode: generation.key.inode, size: generation.size };
        generation.is_compressed && self.stored.logs.get(log).is_some_and(|log| log.shipped.contains(&inode))
    }

    /// Forgets compressed files that are gone; stored with the next change.
    pub(super) fn retain_shipped(&mut self, log: &Path, all: &[Generation]) {
        if let Some(log) = self.stored.logs.get_mut(log) {
            log.shipped.retain(|inode| all.iter().any(|generation| generation.key.inode == inode.inode));
        }
    }

    fn change(&mut self, log: &Path, change: impl FnOnce(&mut Log)) -> io::Result<()> {
        let new = || Log { since: Timestamp::now(), untold: false, copying: None, shipped: Vec::new() };
        change(self.stored.logs.entry(log.to_owned()).or_insert_with(new));
        self.store()
    }

    fn store(&mut self) -> io::Result<()> {
        self.state.store(&self.stored).map_err(|error| {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            io::Error::other(format!("{error}{why}"))
        })
    }
}
