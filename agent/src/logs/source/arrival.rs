use super::admission::{self, Candidate, Verdict};
use super::entry::Entry;
use super::family;
use super::folder::What;
use super::followed::{FollowedFile, Found, Opened};
use super::following::{Following, by_key};
use super::heritage::Heritage;
use super::identity::{Attributes, Key, WELL};
use super::pins::Pins;
use super::search::Search;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// So many generations may have been made, a copy of each compressed, between two looks.
const LAST: usize = 8;
/// So many new files at once are named in the log.
const FEW: usize = 20;

/// The families whose new files all tell their day, but for the one being written, and for pins: those come before what was
/// never seen.
fn dated(new: &[(Candidate, Found)], pins: &Path) -> HashSet<Arc<Path>> {
    let is_rotated = |(candidate, found): &&(Candidate, Found)| {
        *found.family != *found.path && *candidate.folder != *pins && !candidate.is_kept()
    };
    let rotated = || new.iter().filter(is_rotated);
    let mut families: HashSet<_> = rotated().map(|(_, found)| found.family.clone()).collect();
    for (candidate, found) in rotated() {
        if family::day(&candidate.name.to_string_lossy()).is_none() {
            families.remove(&found.family);
        }
    }
    families
}

impl Following {
    /// Follows the files that are new, the older generations of a log first.
    pub(super) fn take_in(&mut self, candidates: Vec<Candidate>, search: &mut Search) {
        let mut each: BTreeMap<Key, Candidate> = BTreeMap::new();
        let mut others = Vec::new();
        for candidate in candidates {
            let key = candidate.attributes.key;
            let other = match each.get(&key) {
                Some(known) if known.wanted || !candidate.wanted || known.home != known.path => Some(candidate),
                _ => each.insert(key, candidate),
            };
            others.extend(other.map(|other| (key, other)));
        }
        let mut new = Vec::new();
        let mut after = HashMap::new();
        if search.is_first {
            self.coming = each.iter().map(|(key, candidate)| (key.inode, candidate.path.clone())).collect();
        }
        for (key, candidate) in each {
            self.check_base(&candidate, search);
            if let Some(sequence) = self.by_key.get(&by_key(key)).copied() {
                self.note(&candidate, What::Followed(sequence));
                continue;
            }
            match admission::admit(&candidate, self, search) {
                Verdict::Follow(found) => new.push((candidate, *found)),
                Verdict::FollowAfter(time, found) => {
                    after.insert(key, time);
                    new.push((candidate, *found));
                }
                Verdict::Later => self.note(&candidate, What::Later),
                Verdict::Never if candidate.folder == self.pins.folder => Pins::remove_stray(&candidate.path),
                Verdict::Never => self.note(&candidate, What::Nothing),
                Verdict::Failed(error) => search.problem(
                    &candidate.path,
                    format!("cannot open {}: {error}; let the agent read it", candidate.path.display()),
                ),
            }
        }
        self.coming = HashMap::new();
        self.leave_copies(&mut new);
        new.extend(self.take_kept(&new));
        // Of a file that was touched, its birth tells when it was written; of one that was copied with its times, they do.
        // A compressed one is born later than it was written.
        let is_plain = new.iter().all(|(_, found)| matches!(found.opened, Opened::Plain(_)));
        let written = |of: &Attributes| of.born.filter(|_| is_plain).map_or(of.modified, |born| born.min(of.modified));
        let dated = dated(&new, &self.pins.folder);
        // The file that has no date or number is the one being written, whatever the times say. A label or a day in a name
        // tells more than times do: what compresses may take its time for it, while the next one is written.
        new.sort_by_cached_key(|(candidate, found)| {
            let name = candidate.name.to_string_lossy();
            let is_written = *found.family == *found.path && !candidate.is_gone;
            let named = family::order_of_labels(&name).map(ToOwned::to_owned);
            let day = dated.contains(&found.family).then(|| family::day(&name)).flatten();
            let number = std::cmp::Reverse(family::number(&name));
            let after = after.get(&found.attributes.key).copied();
            let written = written(&found.attributes).max(after.unwrap_or(i64::MIN));
            (is_written, named, day, written, number, candidate.path.clone())
        });
        let is_many = new.len() > FEW;
        if is_many {
            log::info!(source = self.source.name; "logs: following {} files", new.len());
        }
        for (candidate, mut found) in new {
            if !is_many && !candidate.is_kept() {
                log::info!(source = self.source.name; "logs: following {}", found.path.display());
            }
            // What is found at first has its position.
            if !search.is_first {
                self.inherit(&mut found);
            }
            search.known.found(&self.source, found.attributes.key.inode);
            let sequence = self.follow(found, candidate.wanted, search);
            if candidate.is_kept() || candidate.is_gone {
                self.files.entry(sequence).and_modify(|entry| entry.move_to(None));
            }
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

    /// What was made of a file that came with it, and is gone, is not read beside it.
    fn leave_copies(&mut self, new: &mut Vec<(Candidate, Found)>) {
        let is_gone = |(candidate, _): &(Candidate, Found)| candidate.is_gone;
        if !new.iter().any(is_gone) {
            return;
        }
        let (mut gone, others): (Vec<_>, Vec<_>) = std::mem::take(new).into_iter().partition(is_gone);
        gone.retain(|(_, found)| *found.path == *found.family || !self.is_read_elsewhere(found));
        let is_copy = |of: &Found| {
            let size = of.opened.stated_size().unwrap_or(of.attributes.size);
            let mut family = gone.iter().map(|(_, found)| found).filter(|found| found.family == of.family);
            *of.path != *of.family
                && family.any(|gone| size <= gone.attributes.size && admission::is_copy(&gone.opened, &of.opened, size))
        };
        let (copies, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, found)| is_copy(found));
        for (copy, _) in copies {
            self.note(&copy, What::Later);
        }
        new.extend(gone.into_iter().chain(others));
    }

    /// Whether one of the last files of its log has all that is in it, as what was made of it has. Of little that would prove
    /// nothing.
    fn is_read_elsewhere(&self, gone: &Found) -> bool {
        let size = gone.attributes.size;
        let family = self.files.values().rev().filter(|entry| entry.file.family == gone.family);
        let mut last = family.take(LAST).filter(|entry| !entry.file.is_replaced());
        size >= WELL && last.any(|entry| admission::is_copy(&entry.file.file, &gone.opened, size))
    }

    /// Before a rotated file is judged: it may be the copy of one that was truncated just now.
    pub(super) fn check_base(&mut self, candidate: &Candidate, search: &mut Search) {
        let base = family::family_path(&candidate.home);
        if *base == *candidate.home {
            return;
        }
        let Some(file) = self.at(&base) else { return };
        let sequence = file.sequence;
        let _ = file.look();
        self.follow_replaced(&[sequence], search);
    }

    /// Looks what a file has of the one that was at its place, and is gone.
    fn inherit(&self, found: &mut Found) {
        let gone = self.restless.iter().rev().filter_map(|sequence| self.files.get(sequence));
        let mut gone = gone.filter(|entry| entry.gone_since.is_some() && !entry.file.is_replaced());
        let Some(former) = gone.find(|entry| entry.file.origin == found.path).map(|entry| &entry.file) else { return };
        if let Some(heritage) = Heritage::of(former, found) {
            log::info!(source = self.source.name; "logs: {} was written anew by another program; its first {} bytes are of the former one", found.path.display(), heritage.shared.offset);
            (found.former, found.heritage) = (Some(former.sequence), Some(Box::new(heritage)));
        }
    }

    pub(super) fn note(&mut self, candidate: &Candidate, what: What) {
        if candidate.is_gone {
            // Its name is about another file.
            return;
        }
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
        let newest = self.newest.get(&file.family).and_then(|newest| self.file(*newest));
        // A generation that was found late does not come after the one that is being written.
        let is_late = newest.is_some_and(|newest| file.is_older_than(newest));
        if !is_late && let Some(before) = self.newest.insert(file.family.clone(), sequence) {
            if let Some(entry) = self.files.get_mut(&before) {
                entry.superseded = true;
            }
            self.restless.insert(before);
        }
        if !file.is_at(&file.origin) {
            self.restless.insert(sequence);
        }
        let file = Arc::new(file);
        self.files.insert(
            sequence,
            Entry { file, gone_since: None, rotated_since: None, wanted, superseded: false, names: 1, still: None },
        );
        sequence
    }

    /// Notes the name that a link's target has in its own folder.
    pub(super) fn name_target(&mut self, link: &Path, sequence: u64) {
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
}
