use super::Source;
use super::followed::FollowedFile;
use super::following::Following;
use super::kept;
use super::known::{Earlier, Known};
use super::names::{self, Names};
use super::pins;
use super::round::Changes;
use super::search::Search;
use super::watcher::Hints;
use hostwright_core::state::{StateError, StateFile};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// So many times the folders are looked at before what is not found is taken for old, while files are renamed in them.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The followed files in their order of discovery. Each send, also of the same files, means: look at them.
pub type Files = Arc<Vec<Arc<FollowedFile>>>;

/// Finds the files of all sources and keeps their list true.
#[derive(Debug)]
pub struct Discovery {
    sources: Vec<Following>,
    search: Search,
    publish: watch::Sender<Files>,
    /// The duty's folder.
    state: PathBuf,
}

impl Drop for Discovery {
    fn drop(&mut self) {
        kept::keep(&self.state, self.sources.iter().flat_map(Following::left));
    }
}

/// Sources whose files were once begun at their ends: what came later is never skipped.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Begun {
    sources: BTreeSet<String>,
}

impl Discovery {
    /// `known` are the positions of earlier runs, and `state` is the duty's folder.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub fn new(
        sources: &[Arc<Source>],
        known: Vec<Earlier>,
        excluded: HashSet<PathBuf>,
        state: &Path,
    ) -> Result<Self, StateError> {
        let mut search = Search::new(sources, Known::new(known), excluded);
        search.from_end = begin_at_end(sources, &search.known, state)?;
        pins::adopt(state, sources, &search.known);
        pins::sweep(state, &sources.iter().map(|source| source.name.as_str()).collect());
        let sources = sources.iter().map(|source| Following::new(source.clone(), state));
        let mut sources = sources.collect::<Result<Vec<_>, _>>()?;
        for file in kept::take(state) {
            let is_own = |following: &&mut Following| following.source.name == file.source.name;
            if let Some(following) = sources.iter_mut().find(is_own) {
                following.kept.push(file);
                continue;
            }
            // Its source has another name now.
            let asking = sources.iter_mut().filter(|following| following.source.asks_for(&file.origin));
            asking.for_each(|following| following.kept.push(file.clone()));
        }
        Ok(Self { sources, search, publish: watch::Sender::default(), state: state.to_owned() })
    }

    pub fn files(&self) -> watch::Receiver<Files> {
        self.publish.subscribe()
    }

    /// To be listened with, so that no file is overwritten while the search is at work.
    pub fn names(&self) -> Arc<Names> {
        self.search.watcher.names()
    }

    /// What keeps files from being followed, as sentences.
    pub fn problems(&self) -> Vec<String> {
        self.search.problems.values().cloned().collect()
    }

    /// Waits until the kernel, or who reads a file, tells of a change. Cancel-safe.
    pub async fn hinted(&self) {
        tokio::select! {
            () = self.search.watcher.arrived() => {}
            () = self.search.attention.called() => {}
        }
    }

    /// Looks where it was told to.
    pub fn follow_hints(&mut self) {
        let Hints { written, stirred, everything, opened } = self.search.watcher.take();
        self.search.opened.extend(opened);
        let replaced = self.search.attention.take();
        let mut changed = false;
        for following in &mut self.sources {
            for (folder, name) in &written {
                changed |= following.written(folder, name);
            }
            for folder in &stirred {
                following.stir(folder);
            }
            for sequence in &replaced {
                following.suspect(*sequence);
            }
            if everything {
                following.stir_all();
            }
        }
        let is_more =
            everything || !stirred.is_empty() || !replaced.is_empty() || self.sources.iter().any(Following::is_stirred);
        let changes = if is_more { self.look(false) } else { Changes::default() };
        self.tell(Changes { files: changed || changes.files, ..changes });
    }

    /// Looks at the folders that are due: those of which the kernel does not tell everything, and from time to time all.
    pub fn tick(&mut self) {
        let changes = self.look(false);
        self.tell(changes);
    }

    /// Looks at all folders and files.
    pub fn scan(&mut self) {
        let mut changes = self.look(true);
        if self.search.is_first {
            // A file that comes up from now on is new.
            self.search.from_end.clear();
            // What escapes now is taken for old later.
            for _ in 0..LOOKS {
                if !self.sources.iter().any(Following::is_moving) {
                    break;
                }
                std::thread::sleep(PAUSE);
                changes = changes.and(self.look(true));
            }
            self.search.is_first = false;
            self.sources.iter_mut().for_each(|following| following.compare(&self.search.known));
            self.search.known.forget_found();
        }
        self.tell(changes);
    }

    fn look(&mut self, all: bool) -> Changes {
        let mut changes = Changes::default();
        for following in &mut self.sources {
            changes = changes.and(following.scan(all, &mut self.search));
        }
        self.search.opened.retain(|opened| !opened.is_old());
        let too_many = self.search.opened.len().saturating_sub(names::MOST);
        self.search.opened.drain(..too_many);
        changes
    }

    fn tell(&mut self, changes: Changes) {
        if changes.list {
            let mut files: Vec<_> = self.sources.iter().flat_map(Following::files).cloned().collect();
            files.sort_by_key(|file| file.sequence);
            self.publish.send_replace(Arc::new(files));
        } else if changes.files {
            self.publish.send_modify(|_| {});
        }
    }
}

/// The sources that begin at the ends of their files, now and never again.
fn begin_at_end(sources: &[Arc<Source>], known: &Known, state: &Path) -> Result<HashSet<String>, StateError> {
    let mut file = StateFile::<Begun>::new(state.join("begun.json"), 1);
    let mut begun = file.load()?.unwrap_or_default();
    let mut now = HashSet::new();
    for source in sources.iter().filter(|source| source.from_end) {
        if begun.sources.insert(source.name.clone()) && !known.has_source(&source.name) {
            now.insert(source.name.clone());
        }
    }
    if !begun.sources.is_empty() {
        // Before anything is read: after a crash between the two, too much is sent and not too little.
        file.store(&begun)?;
    }
    Ok(now)
}
