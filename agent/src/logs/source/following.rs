use super::Source;
use super::admission::{self, Candidate, Verdict};
use super::family::{family, is_compressed, plain_name};
use super::folder::{Folder, Unknown, What};
use super::followed::{FollowedFile, Found};
use super::identity::Key;
use super::pins::Pins;
use super::search::Search;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A rotated file to which nothing was written for this long has ended. The writer still has the old descriptor for a
/// moment after a rename.
const QUIET: Duration = Duration::from_secs(2);
/// A deleted file stays open this long after it was read, for what an output may have to send again.
const LINGER: Duration = Duration::from_secs(60);
/// A rotated file that is asked for no more and was read is followed this much longer, for late writes.
const LATE: Duration = Duration::from_secs(600);

/// Between two looks at the files that time alone may change. There may be thousands.
const SETTLE: Duration = Duration::from_millis(500);

/// So many new files at once are named in the log.
const FEW: usize = 20;

/// The folders of one source and the files that are followed in them.
#[derive(Debug)]
pub struct Following {
    pub source: Arc<Source>,
    folders: BTreeMap<Arc<Path>, Folder>,
    files: BTreeMap<u64, Entry>,
    /// By inode and device: as long as a file is open, no other one gets its inode.
    by_key: BTreeMap<(u64, u64), u64>,
    /// The newest file of each family.
    newest: HashMap<Arc<Path>, u64>,
    /// Files that time alone may change: those that are not the one being written.
    restless: BTreeSet<u64>,
    /// Files that may have been truncated.
    suspects: BTreeSet<u64>,
    pins: Pins,
    /// A file that is not followed yet was written.
    is_stirred: bool,
    settled: Instant,
}

#[derive(Debug)]
struct Entry {
    file: Arc<FollowedFile>,
    gone_since: Option<Instant>,
    /// Its name is asked for.
    wanted: bool,
    /// A later generation came up.
    superseded: bool,
    /// How many names it has in folders that are looked at.
    names: usize,
}

/// What a look at some folders came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Files came or went.
    pub list: bool,
    /// Outputs should look at files.
    pub files: bool,
}

/// What is found on the way through some folders.
#[derive(Debug, Default)]
struct Round {
    candidates: Vec<Candidate>,
    /// New names of followed files.
    arrived: HashMap<u64, (Arc<Path>, bool)>,
    vanished: Vec<(u64, Arc<Path>)>,
    to_list: Vec<Arc<Path>>,
    changed: bool,
}

impl Following {
    pub fn new(source: Arc<Source>, state: &Path) -> Self {
        let pins = Pins::new(state, &source.name, source.pin);
        let of_pins = pins.folder.is_dir().then(|| Folder::new(pins.folder.clone(), Vec::new(), false));
        let bases = source.patterns.bases().into_iter();
        let folders = bases.map(|(path, places)| Folder::new(path.into(), places, true)).chain(of_pins);
        Self {
            folders: folders.map(|folder| (folder.path.clone(), folder)).collect(),
            pins,
            files: BTreeMap::new(),
            by_key: BTreeMap::new(),
            newest: HashMap::new(),
            restless: BTreeSet::new(),
            suspects: BTreeSet::new(),
            is_stirred: false,
            settled: Instant::now(),
            source,
        }
    }

    /// In the order of their sequence numbers.
    pub fn files(&self) -> impl Iterator<Item = &Arc<FollowedFile>> {
        self.files.values().map(|entry| &entry.file)
    }

    /// Whether a write showed that there is more to look at.
    pub fn is_stirred(&self) -> bool {
        self.is_stirred || !self.suspects.is_empty()
    }

    pub fn stir_all(&mut self) {
        self.folders.values_mut().for_each(|folder| folder.is_stirred = true);
    }

    pub fn stir(&mut self, folder: &Path) {
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.is_stirred = true;
        }
    }

    /// A file was written, as the kernel tells; whether outputs should look.
    pub fn written(&mut self, folder: &Path, name: &std::ffi::OsStr) -> bool {
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
        self.is_stirred = false;
        let due = self.folders.values().filter(|folder| all || folder.is_due()).map(|folder| folder.path.clone());
        round.to_list = due.collect();
        while let Some(path) = round.to_list.pop() {
            self.list(&path, search, &mut round);
        }
        let before = (self.files.len(), search.next_sequence);
        self.rename(&mut round);
        self.follow_suspects(search);
        self.take_in(std::mem::take(&mut round.candidates), search);
        let settled = self.settled.elapsed() >= SETTLE && self.settle();
        let list = (self.files.len(), search.next_sequence) != before;
        Changes { list, files: list || settled || round.changed }
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
        let Some((metadata, wanted)) = candidate else {
            round.vanished.extend(before.map(|sequence| (sequence, path)));
            return;
        };
        if found.is_link {
            self.watch_target(&path, round);
        }
        let known = self.by_key.get(&by_key(Key::of(&metadata))).copied();
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
        round.candidates.push(Candidate {
            path,
            folder: folder.path.clone(),
            name: found.name,
            inode: found.inode,
            metadata,
            wanted,
            is_link: found.is_link,
        });
    }

    /// Whether a file is worth a look: what it is, and whether its name is asked for.
    fn candidate(&self, folder: &Folder, path: &Path, found: &Unknown, search: &Search) -> Option<(Metadata, bool)> {
        let name = found.name.to_string_lossy();
        if folder.path == self.pins.folder {
            return Some((path.metadata().ok()?, false));
        }
        if search.excluded.contains(path) {
            return None;
        }
        let wanted = self.source.patterns.ask_for(&folder.places, &name) && self.source.takes(path, &name);
        let is_familiar = || {
            let of_inode = (found.inode, 0)..=(found.inode, u64::MAX);
            self.by_key.range(of_inode).next().is_some() || search.known.has_inode(found.inode)
        };
        if !wanted && !is_familiar() && !self.may_be_generation(&folder.path, &name, search) {
            return None;
        }
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        Some((metadata, wanted))
    }

    /// Whether a file that is not asked for may be a generation of a log that is, or was in an earlier run.
    fn may_be_generation(&self, folder: &Path, name: &str, search: &Search) -> bool {
        let base = family(plain_name(name));
        if base == name {
            return false;
        }
        let base = folder.join(base);
        if search.is_first {
            return search.known.at(&self.source, &base).next().is_some();
        }
        !is_compressed(name) && self.newest.contains_key(base.as_path())
    }

    /// Writes through another path are told in the folder of the target, and there are its other generations.
    fn watch_target(&mut self, link: &Path, round: &mut Round) {
        let Ok(target) = link.canonicalize() else { return };
        let Some(folder) = target.parent().filter(|folder| Some(*folder) != link.parent()) else { return };
        if !self.folders.contains_key(folder) {
            let folder: Arc<Path> = folder.into();
            self.folders.insert(folder.clone(), Folder::new(folder.clone(), Vec::new(), false));
            round.to_list.push(folder);
        }
    }

    /// Notes the name that a link's target has in its own folder.
    fn name_target(&mut self, link: &Path, sequence: u64) {
        let Ok(target) = link.canonicalize() else { return };
        let named = target.parent().zip(target.file_name()).zip(target.metadata().ok());
        if let Some(((folder, name), metadata)) = named
            && let Some(folder) = self.folders.get_mut(folder)
            && folder.what(name).is_none()
            && let Some(entry) = self.files.get_mut(&sequence)
        {
            folder.set(name.to_owned(), Key::of(&metadata).inode, What::Followed(sequence));
            entry.names += 1;
        }
    }

    /// Notes where the followed files are now.
    fn rename(&mut self, round: &mut Round) {
        for (sequence, path) in std::mem::take(&mut round.vanished) {
            let Some(entry) = self.files.get_mut(&sequence) else { continue };
            entry.names = entry.names.saturating_sub(1);
            if !entry.file.is_at(&path) {
                continue;
            }
            let elsewhere = round.arrived.remove(&sequence);
            let elsewhere = elsewhere.or_else(|| {
                let named = (entry.names > 0).then(|| name_in(&self.folders, sequence)).flatten()?;
                Some((named, false))
            });
            entry.move_to(elsewhere);
            entry.settle(SystemTime::now());
            round.changed = true;
            self.restless.insert(sequence);
        }
        for (sequence, (path, wanted)) in std::mem::take(&mut round.arrived) {
            let Some(entry) = self.files.get_mut(&sequence) else { continue };
            if entry.gone_since.is_some() || (wanted && !entry.wanted) {
                entry.move_to(Some((path, wanted)));
                entry.settle(SystemTime::now());
                round.changed = true;
                self.restless.insert(sequence);
            }
        }
    }

    /// Follows the files that are new, the older generations of a log first.
    fn take_in(&mut self, candidates: Vec<Candidate>, search: &mut Search) {
        let mut each: BTreeMap<Key, Candidate> = BTreeMap::new();
        let mut others = Vec::new();
        for candidate in candidates {
            let key = Key::of(&candidate.metadata);
            let other = match each.get(&key) {
                Some(known) if known.wanted || !candidate.wanted => Some(candidate),
                _ => each.insert(key, candidate),
            };
            others.extend(other.map(|other| (key, other)));
        }
        let mut new = Vec::new();
        for (key, candidate) in each {
            self.check_base(&candidate, search);
            if let Some(sequence) = self.by_key.get(&by_key(key)).copied() {
                self.note(&candidate, What::Followed(sequence));
                continue;
            }
            match admission::admit(&candidate, self, search) {
                Verdict::Follow(found) => new.push((candidate, *found)),
                Verdict::Later => self.note(&candidate, What::Later),
                Verdict::Never if candidate.folder == self.pins.folder => Pins::remove_stray(&candidate.path),
                Verdict::Never => self.note(&candidate, What::Nothing),
                Verdict::Failed(error) => search.problem(
                    &candidate.path,
                    format!("cannot open {}: {error}; let the agent read it", candidate.path.display()),
                ),
            }
        }
        // The file that has no date or number is the one being written, whatever the times say.
        new.sort_by_cached_key(|(candidate, found)| {
            (*found.family == *found.path, super::followed::modified(&found.metadata), candidate.path.clone())
        });
        let is_many = new.len() > FEW;
        if is_many {
            log::info!(source = self.source.name; "logs: following {} files", new.len());
        }
        for (candidate, found) in new {
            if !is_many {
                log::info!(source = self.source.name; "logs: following {}", found.path.display());
            }
            search.known.found(&self.source, Key::of(&found.metadata).inode);
            let sequence = self.follow(found, candidate.wanted, search);
            self.note(&candidate, What::Followed(sequence));
        }
        for (key, other) in others {
            let what = self.by_key.get(&by_key(key)).map_or(What::Later, |sequence| What::Followed(*sequence));
            if let What::Followed(sequence) = what
                && let Some(entry) = self.files.get_mut(&sequence)
            {
                entry.names += 1;
            }
            self.note(&other, what);
        }
    }

    /// Before a rotated file is judged: it may be the copy of one that was truncated just now.
    fn check_base(&mut self, candidate: &Candidate, search: &mut Search) {
        let base = admission::family_path(&candidate.path);
        if *base == *candidate.path {
            return;
        }
        let Some(file) = self.at(&base) else { return };
        let sequence = file.sequence;
        let _ = file.look();
        self.follow_replaced(&[sequence], search);
    }

    fn note(&mut self, candidate: &Candidate, what: What) {
        if candidate.is_link
            && let What::Followed(sequence) = what
        {
            self.name_target(&candidate.path, sequence);
        }
        if let What::Followed(sequence) = what
            && candidate.folder == self.pins.folder
            && let Some(file) = self.file(sequence)
        {
            file.set_pinned(true);
        }
        if let Some(folder) = self.folders.get_mut(&candidate.folder) {
            folder.set(candidate.name.clone(), candidate.inode, what);
        }
    }

    /// Takes over an opened file; its sequence number.
    pub(super) fn follow(&mut self, found: Found, wanted: bool, search: &mut Search) -> u64 {
        let sequence = search.next_sequence;
        search.next_sequence += 1;
        let file = FollowedFile::new(found, self.source.clone(), search.attention.clone(), sequence);
        self.by_key.insert(by_key(file.key), sequence);
        if let Some(before) = self.newest.insert(file.family.clone(), sequence) {
            if let Some(entry) = self.files.get_mut(&before) {
                entry.superseded = true;
            }
            self.restless.insert(before);
        }
        if !file.is_at(&file.origin) {
            self.restless.insert(sequence);
        }
        let file = Arc::new(file);
        self.files.insert(sequence, Entry { file, gone_since: None, wanted, superseded: false, names: 1 });
        sequence
    }

    /// The content of a file is followed as another file from now on.
    pub(super) fn retire(&mut self, sequence: u64) -> Option<bool> {
        let entry = self.files.get_mut(&sequence)?;
        entry.gone_since = Some(Instant::now());
        (entry.superseded, entry.names) = (true, 0);
        self.restless.insert(sequence);
        Some(entry.wanted)
    }

    /// All names of a file are about another one now.
    pub(super) fn hand_over(&mut self, before: u64, after: u64) {
        let mut names = 0;
        for folder in self.folders.values_mut() {
            while let Some(name) = folder.name_of(before).map(ToOwned::to_owned) {
                folder.replace(&name, before, What::Followed(after));
                names += 1;
            }
        }
        if let Some(entry) = self.files.get_mut(&after) {
            entry.names = names;
            if names == 0 {
                entry.move_to(None);
                self.restless.insert(after);
            }
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

    /// Notes the name of a file that was not found in its folder's listing.
    pub(super) fn name(&mut self, sequence: u64) {
        let Some(file) = self.file(sequence).cloned() else { return };
        let path = file.path();
        let named = path.as_deref().and_then(|path| Some((path.parent()?, path.file_name()?)));
        if let Some((folder, name)) = named
            && let Some(folder) = self.folders.get_mut(folder)
        {
            folder.set(name.to_owned(), file.key.inode, What::Followed(sequence));
        }
    }

    pub(super) fn is_followed(&self, key: Key) -> bool {
        self.by_key.contains_key(&by_key(key))
    }

    /// The followed file that is at a path now.
    pub(super) fn at(&self, path: &Path) -> Option<&Arc<FollowedFile>> {
        let (folder, name) = (path.parent()?, path.file_name()?);
        match self.folders.get(folder)?.what(name)? {
            What::Followed(sequence) => self.file(sequence),
            What::Later | What::Nothing => None,
        }
    }

    /// Notes which files are rotated and have ended, and lets go of those that are done with; whether outputs should
    /// look.
    fn settle(&mut self) -> bool {
        self.settled = Instant::now();
        let now = SystemTime::now();
        let mut changed = false;
        for sequence in self.restless.clone() {
            let Some(entry) = self.files.get(&sequence) else {
                self.restless.remove(&sequence);
                continue;
            };
            changed |= entry.settle(now);
            if entry.file.has_shrunk() {
                self.suspects.insert(sequence);
            }
            if self.pins.keep(&entry.file) && !self.folders.contains_key(&self.pins.folder) {
                let folder = Folder::new(self.pins.folder.clone(), Vec::new(), false);
                self.folders.insert(folder.path.clone(), folder);
            }
            if entry.is_done_with(self.source.retain.is_some(), now) {
                self.let_go(sequence);
            } else if !entry.file.is_rotated() {
                self.restless.remove(&sequence);
            }
        }
        self.keep_within_limit();
        changed
    }

    /// Lets go of the oldest files that are on disk only because of us, as long as they are too much.
    fn keep_within_limit(&mut self) {
        let held = |sequence: &u64| {
            let file = &self.files.get(sequence)?.file;
            // As long as it is in a folder of others, it is theirs.
            let is_ours = file.path().is_none_or(|path| path.starts_with(&self.pins.folder));
            (is_ours && file.unread() > 0 && !file.is_replaced()).then(|| (*sequence, Pins::held(file)))
        };
        let held: Vec<(u64, u64)> = self.restless.iter().filter_map(held).collect();
        let mut total: u64 = held.iter().map(|(_, bytes)| bytes).sum();
        for (sequence, bytes) in held {
            if total <= self.pins.limit() {
                break;
            }
            total -= bytes;
            let Some(entry) = self.files.get(&sequence) else { continue };
            let unread = entry.file.unread();
            log::error!(
                source = self.source.name;
                "logs: {} is let go with {unread} bytes that not every output has: somebody deleted it, and more than the source's `pin` ({} bytes) would be kept", entry.file.origin.display(), self.pins.limit()
            );
            self.source.lost(unread);
            self.pins.remove(&entry.file);
            self.let_go(sequence);
        }
    }

    fn let_go(&mut self, sequence: u64) {
        let Some(entry) = self.files.remove(&sequence) else { return };
        self.restless.remove(&sequence);
        let key = by_key(entry.file.key);
        if self.by_key.get(&key) == Some(&sequence) {
            self.by_key.remove(&key);
        }
        if self.newest.get(&entry.file.family) == Some(&sequence) {
            self.newest.remove(&entry.file.family);
        }
        let path = entry.file.path();
        let named = path.as_deref().and_then(|path| Some((path.parent()?, path.file_name()?)));
        if let Some((folder, name)) = named
            && let Some(folder) = self.folders.get_mut(folder)
        {
            folder.replace(name, sequence, What::Nothing);
        }
    }
}

impl Entry {
    /// Notes that it is at another place, or at none any more.
    fn move_to(&mut self, place: Option<(Arc<Path>, bool)>) {
        let source = &self.file.source.name;
        match place {
            Some((path, wanted)) => {
                let from = self.file.path().unwrap_or_else(|| self.file.origin.clone());
                if from != path {
                    log::info!(source; "logs: {} is now {}", from.display(), path.display());
                }
                self.file.set_path(Some(path));
                (self.gone_since, self.wanted) = (None, wanted);
            }
            None => {
                log::info!(source; "logs: {} is gone; what is unread of it is still read", self.file.origin.display());
                self.file.set_path(None);
                (self.gone_since, self.wanted) = (Some(Instant::now()), false);
            }
        }
        self.file.touch();
    }

    /// Whether outputs should look.
    fn settle(&self, now: SystemTime) -> bool {
        let file = &self.file;
        let mut changed = file.try_decoder();
        if self.gone_since.is_some() {
            // No folder tells of what is still written to it.
            changed |= file.look().unwrap_or(false);
        }
        file.set_rotated(self.superseded || !file.is_at(&file.origin));
        if !file.is_compressed() {
            let ended = file.is_rotated() && file.quiet(now) >= QUIET;
            changed |= file.has_ended() != ended;
            file.set_ended(ended);
        }
        changed
    }

    fn is_done_with(&self, is_retained: bool, now: SystemTime) -> bool {
        let lingered = match self.gone_since {
            Some(since) => since.elapsed() >= LINGER,
            None => !self.wanted && !is_retained && self.file.quiet(now) >= LATE,
        };
        lingered && self.file.is_rotated() && (self.file.is_done() || self.file.is_replaced())
    }
}

fn by_key(key: Key) -> (u64, u64) {
    (key.inode, key.device)
}

fn name_in(folders: &BTreeMap<Arc<Path>, Folder>, sequence: u64) -> Option<Arc<Path>> {
    folders.values().find_map(|folder| Some(folder.path.join(folder.name_of(sequence)?).into()))
}
