use super::Source;
use super::admission::{Candidate, is_copy};
use super::archives::Archives;
use super::entry::Entry;
use super::family::{family, family_path, is_compressed, is_unfinished, plain_name};
use super::folder::{Folder, Unknown, What};
use super::followed::{FollowedFile, Opened};
use super::held::Held;
use super::identity::{Attributes, Key, modified};
use super::known::Known;
use super::pins::Pins;
use super::round::{Changes, Round};
use super::search::Search;
use super::vanished::tell_of_vanished;
use hostwright_core::state::StateError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many times a folder is listed again in which files are renamed meanwhile, and after what time: what rotates every 20 ms
/// (one that splits by size, under load) has a quiet moment in that.
const LISTINGS: usize = 12;
const LISTING: Duration = Duration::from_millis(7);

/// So many logs are remembered that are gone. Whether there was one more is not known.
pub(super) const MOST_BYGONE: usize = 10_000;

/// The folders of one source and the files that are followed in them.
#[derive(Debug)]
pub struct Following {
    pub source: Arc<Source>,
    pub(super) folders: BTreeMap<Arc<Path>, Folder>,
    pub(super) files: BTreeMap<u64, Entry>,
    /// By inode and device: as long as a file is open, no other one gets its inode.
    pub(super) by_key: BTreeMap<(u64, u64), u64>,
    /// The newest file of each family.
    pub(super) newest: HashMap<Arc<Path>, u64>,
    /// Files that time alone may change: those that are not the one being written.
    pub(super) restless: BTreeSet<u64>,
    /// Files that may have been truncated.
    pub(super) suspects: BTreeSet<u64>,
    pub(super) pins: Pins,
    pub(super) archives: Archives,
    /// Not before the first look: what was rotated while the agent was away may be in another folder.
    looks_elsewhere: bool,
    pub(super) held: Held,
    /// What the search before this one left: not in any folder, and not followed yet.
    pub(super) kept: Vec<Arc<FollowedFile>>,
    /// At the first look, what is being judged, by inode: listing a folder for each of thousands of files would take long.
    pub(super) coming: HashMap<u64, Arc<Path>>,
    /// Logs of which files were followed, and none is now.
    pub(super) bygone: BTreeSet<Arc<Path>>,
    /// What programs make of generations that were followed.
    pub(super) products: BTreeSet<PathBuf>,
    /// A file that is not followed yet was written.
    pub(super) is_stirred: bool,
    pub(super) settled: Option<Instant>,
}

impl Following {
    /// `state` is the duty's folder.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn new(source: Arc<Source>, state: &Path) -> Result<Self, StateError> {
        let held = Held::open(state, &source.name)?;
        let pins = Pins::new(state, &source.name, source.pin);
        let of_pins = pins.folder.is_dir().then(|| Folder::new(pins.folder.clone(), Vec::new(), false));
        let bases = source.patterns.bases().into_iter();
        let folders = bases.map(|(path, places)| Folder::new(path.into(), places, true)).chain(of_pins);
        Ok(Self {
            folders: folders.map(|folder| (folder.path.clone(), folder)).collect(),
            pins,
            archives: Archives::default(),
            looks_elsewhere: true,
            held,
            kept: Vec::new(),
            coming: HashMap::new(),
            bygone: BTreeSet::new(),
            files: BTreeMap::new(),
            by_key: BTreeMap::new(),
            newest: HashMap::new(),
            restless: BTreeSet::new(),
            suspects: BTreeSet::new(),
            products: BTreeSet::new(),
            is_stirred: false,
            settled: None,
            source,
        })
    }

    /// After the first look at all folders: tells which files are gone that an earlier run had noted.
    pub fn compare(&mut self, known: &Known) {
        let files = self.files.values().map(|entry| &entry.file);
        let lost = self.held.compare(&self.source, &files, known);
        let vanished = tell_of_vanished((&self.source, &self.held), files, known);
        self.source.lost(lost + vanished);
    }

    /// In the order of their sequence numbers.
    pub fn files(&self) -> impl Iterator<Item = &Arc<FollowedFile>> {
        self.files.values().map(|entry| &entry.file)
    }

    /// What is there when it ends.
    pub fn left(&self) -> impl Iterator<Item = &Arc<FollowedFile>> {
        self.files().chain(&self.kept)
    }

    /// Whether a write showed that there is more to look at.
    pub fn is_stirred(&self) -> bool {
        self.is_stirred || !self.suspects.is_empty()
    }

    /// Whether files may have been renamed while the folders were looked at.
    pub fn is_moving(&self) -> bool {
        self.folders.values().any(Folder::is_moving)
    }

    pub fn stir_all(&mut self) {
        self.folders.values_mut().for_each(|folder| folder.is_stirred = true);
    }

    pub fn stir(&mut self, folder: &Path) {
        let Some(folder) = self.folders.get_mut(folder) else { return };
        folder.is_stirred = true;
        for path in folder.linked_from.clone() {
            if let Some(folder) = self.folders.get_mut(&path) {
                folder.is_stirred = true;
            }
        }
    }

    /// A file was written, as the kernel tells; whether outputs should look.
    pub fn written(&mut self, folder: &Path, name: &OsStr) -> bool {
        let Some(folder) = self.folders.get_mut(folder) else { return false };
        match folder.what(name) {
            Some(What::Followed(sequence)) => {
                let Some(entry) = self.files.get(&sequence) else { return false };
                // A file that cannot be looked at is reported when it is read. One that was filled anew within the
                // same tick of the clock has its former size and time.
                let _ = entry.file.look();
                entry.file.touch();
                if entry.file.has_shrunk() {
                    self.suspects.insert(sequence);
                }
                true
            }
            Some(What::Later) => {
                (folder.is_stirred, self.is_stirred) = (true, true);
                false
            }
            Some(What::Nothing) | None => false,
        }
    }

    /// Looks at all folders, or at those that are due.
    pub fn scan(&mut self, all: bool, search: &mut Search) -> Changes {
        let mut round = Round::default();
        if std::mem::take(&mut self.looks_elsewhere) {
            round.candidates = self.look_elsewhere(&search.known);
        }
        self.is_stirred = false;
        let due = self.folders.values().filter(|folder| all || folder.is_due()).map(|folder| folder.path.clone());
        round.to_list = due.collect();
        while let Some(path) = round.to_list.pop() {
            self.list(&path, search, &mut round);
        }
        self.list_again(search, &mut round);
        // After the last look at a folder: what was overwritten meanwhile came before what is there.
        search.opened.extend(search.watcher.take_opened());
        self.add_opened(search, &mut round);
        let before = (self.files.len(), search.next_sequence);
        self.rename(&mut round);
        let unseen = self.renamed_unseen(&round.candidates, search);
        round.candidates.extend(unseen);
        self.follow_suspects(search);
        self.take_in(std::mem::take(&mut round.candidates), search);
        let settled = self.settle();
        let list = (self.files.len(), search.next_sequence) != before;
        Changes { list, files: list || settled || round.changed }
    }

    /// A file that is renamed while its folder is listed may be in no listing, and the one that came after it is: then it
    /// would be read after that.
    fn list_again(&mut self, search: &mut Search, round: &mut Round) {
        for _ in 0..LISTINGS {
            let folders: BTreeSet<_> = round.candidates.iter().map(|candidate| candidate.folder.clone()).collect();
            let is_moving = |path: &Arc<Path>| self.folders.get(path).is_some_and(Folder::is_moving);
            let moving: Vec<_> = folders.into_iter().filter(is_moving).collect();
            if moving.is_empty() {
                return;
            }
            std::thread::sleep(LISTING);
            for path in moving {
                round.candidates.retain(|candidate| candidate.folder != path || *candidate.home != *candidate.path);
                self.list(&path, search, round);
            }
            while let Some(path) = round.to_list.pop() {
                self.list(&path, search, round);
            }
        }
    }

    fn list(&mut self, path: &Arc<Path>, search: &mut Search, round: &mut Round) {
        let Some(mut folder) = self.folders.remove(path) else { return };
        search.forget_problems(path);
        let goes_deeper = self.source.patterns.goes_deeper(&folder.places);
        match folder.list(&mut search.watcher, goes_deeper) {
            Ok(listing) => {
                for sequence in listing.seen {
                    self.look(sequence, round);
                }
                for (name, sequence) in listing.vanished {
                    round.vanished.push((sequence, path.join(name).into()));
                }
                for unknown in &listing.folders {
                    self.enter(&folder, unknown, round);
                }
                for unknown in listing.unknown {
                    self.consider(&mut folder, unknown, search, round);
                }
                if !listing.is_there && !folder.is_base {
                    return;
                }
            }
            Err(error) => {
                search.problem(path, format!("cannot list {}: {error}; let the agent read it", path.display()));
            }
        }
        self.folders.insert(path.clone(), folder);
    }

    fn look(&mut self, sequence: u64, round: &mut Round) {
        let Some(entry) = self.files.get(&sequence) else { return };
        round.changed |= entry.file.look().unwrap_or(false);
        if entry.file.has_shrunk() {
            self.suspects.insert(sequence);
        }
    }

    /// The content of a file was replaced, as who reads it says.
    pub fn suspect(&mut self, sequence: u64) {
        if self.files.contains_key(&sequence) {
            self.suspects.insert(sequence);
        }
    }

    fn follow_suspects(&mut self, search: &mut Search) {
        let suspects: Vec<_> = std::mem::take(&mut self.suspects).into_iter().collect();
        self.follow_replaced(&suspects, search);
    }

    /// A folder in a folder.
    fn enter(&mut self, parent: &Folder, found: &Unknown, round: &mut Round) {
        let patterns = &self.source.patterns;
        if found.is_link && patterns.is_any_depth(&parent.places) {
            return;
        }
        let places = patterns.inside(&parent.places, &found.name.to_string_lossy());
        if places.is_empty() {
            return;
        }
        let path: Arc<Path> = parent.path.join(&found.name).into();
        if found.is_link && !path.is_dir() {
            return;
        }
        match self.folders.get_mut(&path) {
            Some(folder) => {
                // Perhaps it was there before as the folder of a link's target. Another folder may have its name now.
                let is_known = folder.is_base || folder.places == places;
                if !folder.is_base {
                    folder.places = places;
                }
                if is_known && !found.is_link {
                    return;
                }
            }
            None => {
                self.folders.insert(path.clone(), Folder::new(path.clone(), places, false));
            }
        }
        round.to_list.push(path);
    }

    /// A name that is new, or about another file than before.
    fn consider(&mut self, folder: &mut Folder, found: Unknown, search: &Search, round: &mut Round) {
        let path = folder.path.join(&found.name);
        let before = found.is_link.then(|| folder.unset(&found.name)).flatten();
        let candidate = self.candidate(folder, &path, &found, search);
        let path: Arc<Path> = path.into();
        let Some((attributes, wanted)) = candidate else {
            round.vanished.extend(before.map(|sequence| (sequence, path)));
            return;
        };
        if found.is_link {
            self.watch_target(&path, round);
        }
        let known = self.by_key.get(&by_key(attributes.key)).copied();
        if let Some(sequence) = before {
            if known == before {
                folder.set(found.name, found.inode, What::Followed(sequence));
                return self.look(sequence, round);
            }
            round.vanished.push((sequence, path.clone()));
        }
        if let Some(sequence) = known {
            folder.set(found.name, found.inode, What::Followed(sequence));
            if let Some(entry) = self.files.get_mut(&sequence) {
                entry.names += 1;
                if folder.path == self.pins.folder {
                    entry.file.set_pinned(true);
                }
            }
            let arrival = round.arrived.entry(sequence).or_insert((path.clone(), wanted));
            if wanted && !arrival.1 {
                *arrival = (path, wanted);
            }
            return self.look(sequence, round);
        }
        round.candidates.extend(self.between(&path, search));
        round.candidates.push(Candidate {
            home: self.home_of(&path, search).map_or_else(|| path.clone(), Into::into),
            path,
            folder: folder.path.clone(),
            name: found.name,
            inode: found.inode,
            attributes,
            wanted,
            is_link: found.is_link,
            held: None,
            is_gone: false,
        });
    }

    /// Whether a file is worth a look: what it is, and whether its name is asked for.
    fn candidate(&self, folder: &Folder, path: &Path, found: &Unknown, search: &Search) -> Option<(Attributes, bool)> {
        let name = found.name.to_string_lossy();
        if folder.path == self.pins.folder {
            return Some((Attributes::of(&path.metadata().ok()?), false));
        }
        if search.is_of_an_output(&folder.path, &name) || is_unfinished(&name) {
            return None;
        }
        let wanted = self.source.patterns.ask_for(&folder.places, &name) && self.source.takes(path, &name);
        let is_familiar = || {
            let of_inode = (found.inode, 0)..=(found.inode, u64::MAX);
            self.by_key.range(of_inode).next().is_some() || search.known.has_inode(found.inode)
        };
        let home = self.home_of(path, search);
        let home = home.as_deref().and_then(Path::parent).unwrap_or(&folder.path);
        let may_be_generation =
            || self.may_be_generation(home, &name, search) || self.is_of_unseen(folder, path, search);
        if !wanted && !is_familiar() && !may_be_generation() {
            return None;
        }
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        Some((Attributes::of(&metadata), wanted))
    }

    /// Whether a file that is not asked for may be a generation of a log that is, or was in an earlier run.
    fn may_be_generation(&self, folder: &Path, name: &str, search: &Search) -> bool {
        let base = family(plain_name(name));
        if base == name {
            return false;
        }
        let base = folder.join(base);
        if search.is_first {
            let is_known = |path: &Path| search.known.at(&self.source, path).next().is_some();
            let is_dated = |path: &Path| is_compressed(name) && search.known.dated(&self.source, path).next().is_some();
            return is_known(&base) || is_known(&folder.join(plain_name(name))) || is_dated(&base);
        }
        self.newest.contains_key(base.as_path())
    }

    /// Whether a file is a generation of a log that is asked for and was rotated before it was ever seen.
    fn is_of_unseen(&self, folder: &Folder, path: &Path, search: &Search) -> bool {
        let log = family_path(path);
        let names = (path.file_name().map(OsStr::to_string_lossy), log.file_name().map(OsStr::to_string_lossy));
        let (Some(name), Some(base)) = names else { return false };
        plain_name(&name) != base
            && !search.is_first
            && self.is_unseen(&log, search)
            && self.source.patterns.ask_for(&folder.places, &base)
            && self.source.takes(&log, &base)
            && self.source.takes(path, &name)
            && path.metadata().is_ok_and(|metadata| search.came_after_start(modified(&metadata)))
    }

    /// Whether no generation of a log was ever followed.
    pub(super) fn is_unseen(&self, log: &Path, search: &Search) -> bool {
        let is_seen = self.newest.contains_key(log) || self.bygone.contains(log) || self.bygone.len() >= MOST_BYGONE;
        !is_seen && search.known.at(&self.source, log).next().is_none()
    }

    /// Where a file in an archive would be with its log.
    fn home_of(&self, path: &Path, search: &Search) -> Option<PathBuf> {
        let is_known = |log: &Path| search.known.at(&self.source, log).next().is_some();
        self.archives.home_of(path, |log| self.newest.contains_key(log) || is_known(log))
    }

    /// Whether a content, of the size that it states, was written after the newest file that is followed of its log: then it
    /// was never followed.
    pub(super) fn is_newer(&self, family: &Path, (modified, size): (i64, Option<u64>), content: &Opened) -> bool {
        let newest = self.newest.get(family).and_then(|sequence| self.file(*sequence));
        newest.is_some_and(|file| {
            let _ = file.look();
            // Within one tick of the clock, size alone tells the compressed file from another; zstd states none of a pipe.
            let is_other =
                || size.map_or_else(|| !is_copy(&file.file, content, file.size()), |size| size != file.size());
            modified > file.modified() || (modified == file.modified() && is_other())
        })
    }

    /// Writes through another path are told in the folder of the target, and there are its other generations.
    fn watch_target(&mut self, link: &Path, round: &mut Round) {
        let Ok(target) = link.canonicalize() else { return };
        let (Some(folder), Some(from)) = (target.parent(), link.parent()) else { return };
        if folder == from {
            return;
        }
        if !self.folders.contains_key(folder) {
            let folder: Arc<Path> = folder.into();
            self.folders.insert(folder.clone(), Folder::new(folder.clone(), Vec::new(), false));
            round.to_list.push(folder);
        }
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.linked_from.insert(from.into());
        }
    }

    pub(super) fn file(&self, sequence: u64) -> Option<&Arc<FollowedFile>> {
        self.files.get(&sequence).map(|entry| &entry.file)
    }

    /// Whether the file at a path was judged before, or read and let go.
    pub(super) fn is_settled(&self, path: &Path) -> bool {
        let what = |folder: &Path, name| self.folders.get(folder)?.what(name);
        let named = path.parent().zip(path.file_name());
        named.is_some_and(|(folder, name)| what(folder, name) == Some(What::Nothing))
    }

    /// Whether a file is followed as what its inode has now.
    pub(super) fn is_current(&self, file: &FollowedFile) -> bool {
        self.by_key.get(&by_key(file.key)) == Some(&file.sequence)
    }

    pub(super) fn is_followed(&self, key: Key) -> bool {
        self.by_key.contains_key(&by_key(key))
    }

    /// Files of a family that have no name any more, and are read to their ends: what comes may be a copy of one.
    pub(super) fn gone(&self, family: &Path) -> impl Iterator<Item = &FollowedFile> {
        let gone = self.restless.iter().filter_map(|sequence| self.files.get(sequence));
        let gone = gone.filter(|entry| entry.gone_since.is_some() && !entry.file.is_replaced());
        let kept = self.kept.iter().map(|file| &**file);
        gone.map(|entry| &*entry.file).chain(kept).filter(move |file| *file.family == *family)
    }

    /// The followed file that is at a path now.
    pub(super) fn at(&self, path: &Path) -> Option<&Arc<FollowedFile>> {
        let (folder, name) = (path.parent()?, path.file_name()?);
        match self.folders.get(folder)?.what(name)? {
            What::Followed(sequence) => self.file(sequence),
            What::Later | What::Nothing => None,
        }
    }
}

pub(super) fn by_key(key: Key) -> (u64, u64) {
    (key.inode, key.device)
}
