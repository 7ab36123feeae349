use super::entry::{LINGER, LINGER_OF_MANY};
use super::family;
use super::folder::{Folder, What};
use super::following::{Following, MOST_BYGONE, by_key};
use super::round::Round;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// So many files that programs made of generations are kept in mind.
const MOST_PRODUCTS: usize = 1000;
/// More rotated files than that are many.
const MANY: usize = 1000;
/// Between two looks at the files that time alone may change. There may be thousands.
const SETTLE: Duration = Duration::from_millis(500);

impl Following {
    /// Notes where the followed files are now.
    pub(super) fn rename(&mut self, round: &mut Round) {
        for (sequence, path) in std::mem::take(&mut round.vanished) {
            self.note_product(&path);
            let Some(entry) = self.files.get_mut(&sequence) else { continue };
            entry.names = entry.names.saturating_sub(1);
            if !entry.file.is_at(&path) {
                continue;
            }
            let elsewhere = round.arrived.remove(&sequence);
            if let Some((path, _)) = &elsewhere {
                self.archives.learn(path, &entry.file.origin);
            }
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
                self.archives.learn(&path, &entry.file.origin);
                entry.move_to(Some((path, wanted)));
                entry.settle(SystemTime::now());
                round.changed = true;
                self.restless.insert(sequence);
            }
        }
    }

    /// A followed file is no more at this path: what takes its place may be what a program made of it.
    fn note_product(&mut self, path: &Path) {
        let Some(product) = path.file_name().and_then(|name| family::processed(&name.to_string_lossy())) else {
            return;
        };
        let product = path.with_file_name(product);
        // It may also have been renamed so.
        if self.at(&product).is_none() {
            self.products.insert(product);
        }
        // The oldest, by their names.
        while self.products.len() > MOST_PRODUCTS {
            self.products.pop_first();
        }
    }

    /// Notes which files are rotated and have ended, and lets go of those that are done with; whether outputs should
    /// look.
    pub(super) fn settle(&mut self) -> bool {
        if self.settled.is_some_and(|settled| settled.elapsed() < SETTLE) {
            return false;
        }
        self.settled = Some(Instant::now());
        let now = SystemTime::now();
        let mut changed = false;
        let linger = if self.restless.len() > MANY { LINGER_OF_MANY } else { LINGER };
        for sequence in self.restless.clone() {
            let Some(entry) = self.files.get_mut(&sequence) else {
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
            if entry.is_done_with((linger, self.source.retain.is_some()), now) {
                self.let_go(sequence);
            } else if !entry.file.is_rotated() {
                self.restless.remove(&sequence);
            }
        }
        self.keep_within_limit();
        let restless = self.restless.iter().filter_map(|sequence| Some(&self.files.get(sequence)?.file));
        self.held.note(&self.source, restless);
        changed
    }

    /// Lets go of the oldest files that are on disk only because of us, as long as they are too much.
    pub(super) fn keep_within_limit(&mut self) {
        let held = |sequence: &u64| {
            let file = &self.files.get(sequence)?.file;
            // As long as it is in a folder of others, it is theirs.
            let is_ours = file.path().is_none_or(|path| path.starts_with(&self.pins.folder));
            (is_ours && file.unread() > 0 && !file.is_replaced() && file.is_ours_alone())
                .then(|| (*sequence, file.unread()))
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

    pub(super) fn let_go(&mut self, sequence: u64) {
        let Some(entry) = self.files.remove(&sequence) else { return };
        self.restless.remove(&sequence);
        let key = by_key(entry.file.key);
        if self.by_key.get(&key) == Some(&sequence) {
            self.by_key.remove(&key);
        }
        if self.newest.get(&entry.file.family) == Some(&sequence) {
            self.newest.remove(&entry.file.family);
            if self.bygone.len() < MOST_BYGONE {
                self.bygone.insert(entry.file.family.clone());
            }
        }
        let path = entry.file.path();
        let named = path.as_deref().and_then(|path| Some((path.parent()?, path.file_name()?)));
        if let Some((folder, name)) = named
            && let Some(folder) = self.folders.get_mut(folder)
        {
            folder.replace(name, sequence, What::Nothing);
        }
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
}

fn name_in(folders: &BTreeMap<Arc<Path>, Folder>, sequence: u64) -> Option<Arc<Path>> {
    folders.values().find_map(|folder| Some(folder.path.join(folder.name_of(sequence)?).into()))
}
