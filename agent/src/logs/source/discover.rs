use super::Source;
use super::family::{family, is_compressed};
use super::followed::{self, FollowedFile, Found};
use super::identity::{self, Key};
use super::pattern::Folder;
use super::watcher::{Hints, Watcher};
use crate::logs::positions::Position;
use std::collections::{HashMap, HashSet};
use std::fs::{DirEntry, File, Metadata};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// The followed files in their order of discovery. Each send, also of the same files, means: look at them.
pub type Files = Arc<Vec<Arc<FollowedFile>>>;

/// A rotated file to which nothing was written for this long has ended. The writer still has the old descriptor for a
/// moment after a rename.
const QUIET: Duration = Duration::from_secs(2);
/// A deleted file stays open this long after it was read, for what an output may have to send again.
const LINGER: Duration = Duration::from_secs(60);
/// A rotated file that is asked for no more and was read is followed this much longer, for late writes.
const LATE: Duration = Duration::from_secs(600);

/// Finds the files of all sources and keeps their list true.
#[derive(Debug)]
pub struct Discovery {
    sources: Vec<Following>,
    /// Positions of earlier runs: by them a file is found under a new name.
    known: Vec<Position>,
    /// Files that outputs write: to follow them would feed them to themselves.
    excluded: HashSet<PathBuf>,
    watcher: Watcher,
    by_path: HashMap<PathBuf, Arc<FollowedFile>>,
    publish: watch::Sender<Files>,
    next_sequence: u64,
    scanned_before: bool,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Following {
    source: Arc<Source>,
    files: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<FollowedFile>,
    gone_since: Option<Instant>,
}

/// A regular file in a followed folder that is asked for, or was before it got its name.
struct Candidate {
    path: PathBuf,
    metadata: Metadata,
    by_pattern: bool,
}

impl Discovery {
    pub fn new(sources: &[Arc<Source>], known: Vec<Position>, excluded: HashSet<PathBuf>) -> Self {
        let sources =
            sources.iter().map(|source| Following { source: source.clone(), files: HashMap::new() }).collect();
        Self {
            sources,
            known,
            excluded,
            watcher: Watcher::new(),
            by_path: HashMap::new(),
            publish: watch::Sender::default(),
            next_sequence: 0,
            scanned_before: false,
            problems: Vec::new(),
        }
    }

    pub fn files(&self) -> watch::Receiver<Files> {
        self.publish.subscribe()
    }

    /// What kept the last scan from following a file, as sentences.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Waits until the kernel tells of a change. Cancel-safe.
    pub async fn hinted(&self) {
        self.watcher.arrived().await;
    }

    /// Looks where the kernel told to.
    pub fn follow_hints(&mut self) {
        let Hints { written, rescan } = self.watcher.take();
        if rescan {
            return self.scan();
        }
        let mut changed = false;
        for path in written {
            // A file that cannot be looked at is reported by the scan.
            changed |= self.by_path.get(&path).is_some_and(|file| file.look().unwrap_or(false));
        }
        if changed {
            self.publish.send_modify(|_| {});
        }
    }

    /// Looks at all folders and files.
    pub fn scan(&mut self) {
        self.problems.clear();
        let mut following = std::mem::take(&mut self.sources);
        let mut changed = false;
        for one in &mut following {
            let candidates = self.candidates(one);
            changed |= self.take_in(one, &candidates);
            changed |= one.update(&candidates);
        }
        self.sources = following;
        self.scanned_before = true;
        if changed {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let mut files: Vec<_> =
            self.sources.iter().flat_map(|one| one.files.values().map(|e| e.file.clone())).collect();
        files.sort_by_key(|file| file.sequence);
        self.by_path = files.iter().filter_map(|file| Some((file.path()?, file.clone()))).collect();
        self.publish.send_replace(Arc::new(files));
    }

    /// Each file once, under the name that is asked for if it has several.
    fn candidates(&mut self, following: &Following) -> HashMap<Key, Candidate> {
        let inodes: HashSet<u64> = following.files.keys().map(|key| key.inode).collect();
        let mut found = HashMap::new();
        for folder in &following.source.folders {
            for entry in self.list(&folder.path) {
                let Some(candidate) = self.candidate(&following.source, folder, &inodes, &entry) else { continue };
                let key = Key::of(&candidate.metadata);
                let better = |other: &Candidate| candidate.by_pattern && !other.by_pattern;
                if found.get(&key).is_none_or(better) {
                    found.insert(key, candidate);
                }
            }
        }
        found
    }

    fn list(&mut self, folder: &Path) -> Vec<DirEntry> {
        // A folder that is not there yet is waited for: its application creates it.
        let Ok(metadata) = folder.metadata() else { return Vec::new() };
        self.watcher.watch(folder, Key::of(&metadata));
        match folder.read_dir() {
            Ok(entries) => entries.filter_map(Result::ok).collect(),
            Err(error) => {
                self.problems.push(format!("cannot list {}: {error}; let the agent read it", folder.display()));
                Vec::new()
            }
        }
    }

    fn candidate(
        &self,
        source: &Source,
        folder: &Folder,
        inodes: &HashSet<u64>,
        entry: &DirEntry,
    ) -> Option<Candidate> {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let by_pattern = folder.matches(&name) && !is_compressed(&name);
        let inode = entry.ino();
        let familiar =
            || inodes.contains(&inode) || self.known.iter().any(|k| k.inode == inode && k.source == source.name);
        if self.excluded.contains(&path) || !(by_pattern || familiar() || self.may_be_missed(source, folder, &name)) {
            return None;
        }
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        Some(Candidate { path, metadata, by_pattern })
    }

    /// Opens the files that are new, the older generations of a log first.
    fn take_in(&mut self, following: &mut Following, candidates: &HashMap<Key, Candidate>) -> bool {
        let mut new: Vec<_> = candidates
            .iter()
            .filter(|(key, _)| !following.files.contains_key(key))
            .filter_map(|(key, candidate)| Some((*key, self.admit(following, candidate)?)))
            .collect();
        // The file that has no date or number is the one being written, whatever the times say.
        let is_base = |found: &Found| found.family == found.path;
        let age = |found: &Found| (is_base(found), followed::modified(&found.metadata), found.path.clone());
        new.sort_by_cached_key(|(_, found)| age(found));
        let any = !new.is_empty();
        for (key, found) in new {
            let path = found.path.clone();
            match FollowedFile::open(found, following.source.clone(), self.next_sequence) {
                Ok(Some(file)) => {
                    self.next_sequence += 1;
                    // Found: should it be let go later, it is not to be recognised once more.
                    self.known.retain(|k| k.inode != key.inode || k.source != following.source.name);
                    log::info!(source = following.source.name; "logs: following {}", path.display());
                    following.files.insert(key, Entry { file: Arc::new(file), gone_since: None });
                }
                Ok(None) => {}
                Err(error) => {
                    self.problems.push(format!("cannot open {}: {error}; let the agent read it", path.display()));
                }
            }
        }
        any
    }

    /// Whether a file that is not followed is to be, and what it was called when it was written.
    fn admit(&self, following: &Following, candidate: &Candidate) -> Option<Found> {
        let found = |origin: &Path| Found {
            path: candidate.path.clone(),
            origin: origin.to_owned(),
            family: family_path(origin),
            metadata: candidate.metadata.clone(),
        };
        if let Some(known) = self.recognise(&following.source, candidate) {
            return Some(found(Path::new(&known.path)));
        }
        let is_missed = || {
            let newer = |k: &&Position| followed::modified(&candidate.metadata) > k.modified;
            self.earlier(&following.source, &family_path(&candidate.path)).any(|k| newer(&k))
        };
        let wanted = candidate.by_pattern || (!self.scanned_before && is_missed());
        (wanted && !following.is_copy_in_the_making(candidate)).then(|| found(&candidate.path))
    }

    /// The position that an earlier run had in this file, whatever the file was called then.
    fn recognise(&self, source: &Source, candidate: &Candidate) -> Option<&Position> {
        let inode = Key::of(&candidate.metadata).inode;
        let born = identity::born(&candidate.metadata);
        let mut same = self.known.iter().filter(|k| k.may_be(&source.name, inode, born)).peekable();
        same.peek()?;
        let file = File::open(&candidate.path).ok()?;
        same.find(|known| known.is_in(&file))
    }

    /// Whether a file may be a generation that came and was rotated while nobody looked. That is asked once, at the
    /// start, of a log that was followed before under its one name.
    fn may_be_missed(&self, source: &Source, folder: &Folder, name: &str) -> bool {
        if self.scanned_before || self.known.is_empty() || is_compressed(name) {
            return false;
        }
        let base = family(name);
        base != name && folder.names_literally(&base) && self.earlier(source, &folder.path.join(base)).next().is_some()
    }

    fn earlier(&self, source: &Source, path: &Path) -> impl Iterator<Item = &Position> {
        self.known.iter().filter(move |k| k.source == source.name && Path::new(&k.path) == path)
    }
}

impl Following {
    /// Notes where the followed files are now, which of them are rotated, and lets go of those that are done with.
    fn update(&mut self, candidates: &HashMap<Key, Candidate>) -> bool {
        let now = SystemTime::now();
        let mut changed = false;
        let mut newest: HashMap<PathBuf, u64> = HashMap::new();
        for (key, entry) in &mut self.files {
            let candidate = candidates.get(key);
            changed |= entry.see(candidate);
            if candidate.is_some() {
                let sequence = newest.entry(entry.file.family.clone()).or_default();
                *sequence = entry.file.sequence.max(*sequence);
            }
        }
        for entry in self.files.values() {
            let file = &entry.file;
            let superseded = newest.get(&file.family).is_some_and(|newest| *newest > file.sequence);
            let rotated = superseded || !file.is_at(&file.origin);
            file.set_rotated(rotated);
            changed |= file.has_ended() != (rotated && file.quiet(now) >= QUIET);
            file.set_ended(rotated && file.quiet(now) >= QUIET);
        }
        let before = self.files.len();
        let retain = self.source.retain.is_some();
        self.files.retain(|key, entry| {
            let by_pattern = candidates.get(key).is_some_and(|candidate| candidate.by_pattern);
            !entry.is_done_with(by_pattern || (retain && entry.gone_since.is_none()), now)
        });
        changed || self.files.len() != before
    }

    /// A rotated name with the same beginning as the file being written, and still growing: a copy that comes before a
    /// truncation. It is taken in when it is complete, and then read on from where its original was read to.
    fn is_copy_in_the_making(&self, candidate: &Candidate) -> bool {
        let base = family_path(&candidate.path);
        let Some(original) = self.files.values().find(|entry| entry.file.is_at(&base)) else { return false };
        let modified = candidate.metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let quiet = SystemTime::now().duration_since(modified).unwrap_or(Duration::ZERO) >= QUIET;
        if candidate.path == base || quiet {
            return false;
        }
        let copy = File::open(&candidate.path).and_then(|file| identity::head(&file));
        copy.is_ok_and(|copy| identity::begins_with(&original.file.file, copy).unwrap_or(false))
    }
}

impl Entry {
    /// Notes the file's present path and size; whether outputs should look.
    fn see(&mut self, candidate: Option<&Candidate>) -> bool {
        let mut changed = self.file.look().unwrap_or(false);
        match candidate {
            Some(candidate) => {
                self.gone_since = None;
                if !self.file.is_at(&candidate.path) {
                    let from = self.file.path().unwrap_or_default();
                    log::info!(source = self.file.source.name; "logs: {} is now {}", from.display(), candidate.path.display());
                    self.file.set_path(Some(candidate.path.clone()));
                    changed = true;
                }
            }
            None if self.gone_since.is_none() => {
                self.gone_since = Some(Instant::now());
                log::info!(source = self.file.source.name; "logs: {} is gone; what is unread of it is still read", self.file.origin.display());
                self.file.set_path(None);
                changed = true;
            }
            None => {}
        }
        changed
    }

    fn is_done_with(&self, wanted: bool, now: SystemTime) -> bool {
        let lingered = match self.gone_since {
            Some(since) => since.elapsed() >= LINGER,
            None => !wanted && self.file.quiet(now) >= LATE,
        };
        lingered && self.file.is_rotated() && self.file.is_done()
    }
}

fn family_path(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| family(&name.to_string_lossy())).unwrap_or_default();
    path.with_file_name(name)
}
