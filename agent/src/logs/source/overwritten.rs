use super::admission::Candidate;
use super::family::{family_path, is_unfinished};
use super::following::Following;
use super::identity::{Attributes, Key};
use super::names::OpenedEarly;
use super::round::Round;
use super::search::Search;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

impl Following {
    /// What was opened when it got its name is read, whatever has its name now: also when it has none any more, as a rotator
    /// keeps one generation.
    pub(super) fn add_opened(&self, search: &Search, round: &mut Round) {
        if search.opened.is_empty() {
            return;
        }
        let mut found: HashMap<Key, usize> =
            round.candidates.iter().enumerate().map(|(place, candidate)| (candidate.attributes.key, place)).collect();
        let youngest = round.candidates.iter().filter_map(|candidate| candidate.attributes.born).max();
        for early in &search.opened {
            let Ok((attributes, is_gone, held)) = again(&early.file) else { continue };
            if self.is_followed(attributes.key) {
                continue;
            }
            if let Some(candidate) = found.get(&attributes.key).and_then(|place| round.candidates.get_mut(*place)) {
                candidate.held = Some(held);
            } else if is_gone
                && (self.was_listed_after(early) || attributes.born.is_some_and(|born| Some(born) <= youngest))
                && let Some(wanted) = self.asks_for_opened(early, search)
            {
                found.insert(attributes.key, round.candidates.len());
                let path: Arc<Path> = early.folder.join(&early.name).into();
                round.candidates.push(Candidate {
                    home: path.clone(),
                    path,
                    folder: early.folder.clone(),
                    name: early.name.clone(),
                    inode: attributes.key.inode,
                    attributes,
                    wanted,
                    is_link: false,
                    held: Some(held),
                    is_gone: true,
                });
            }
        }
    }

    /// Whether what came before it was seen.
    fn was_listed_after(&self, early: &OpenedEarly) -> bool {
        self.folders.get(&early.folder).is_some_and(|folder| folder.was_listed_after(early.at))
    }

    /// Whether the name is asked for; none where it is not that of a generation either.
    fn asks_for_opened(&self, early: &OpenedEarly, search: &Search) -> Option<bool> {
        let (folder, name) = (self.folders.get(&early.folder)?, early.name.to_string_lossy());
        if search.is_of_an_output(&folder.path, &name) || is_unfinished(&name) {
            return None;
        }
        let path = folder.path.join(&early.name);
        let log = family_path(&path);
        let asks = |path: &Path| {
            let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
            self.source.patterns.ask_for(&folder.places, &name) && self.source.takes(path, &name)
        };
        let wanted = asks(&path);
        (wanted || (asks(&log) && self.source.takes(&path, &name))).then_some(wanted)
    }
}

/// What an open file is now, and whether it has a name.
fn again(file: &File) -> io::Result<(Attributes, bool, File)> {
    let metadata = file.metadata()?;
    Ok((Attributes::of(&metadata), metadata.nlink() == 0, file.try_clone()?))
}
