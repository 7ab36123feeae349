use super::admission::is_copy;
use super::family::{family_path, plain_name};
use super::followed::{FollowedFile, Found, Opened};
use super::following::Following;
use super::identity::{Attributes, Key, modified};
use super::nearby::{MOST, near};
use super::search::Search;
use std::ffi::OsStr;
use std::fs::{DirEntry, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

// What can be known of a truncation after a copy (logrotate's copytruncate, or an application's own):
// the copy is complete when the original is truncated, and has every line that was written before the copy was made.
// What was written between the last read of the copier and the truncation is in neither file, and nobody can tell.
// A line that was half written at that moment ends the copy without a newline, and its other half begins the original
// anew, unless it fell into that gap. The halves are shipped as two records, each as it stands: were they joined, a
// line with a hole in the middle would look like a whole one.

/// A copy may have the time of its original, in seconds.
const TICK: i64 = 1_000_000_000;

impl Following {
    /// Files whose content was replaced are followed anew: what was in them until then as a copy of it, if there is
    /// one, and then the new content. Outputs read them in this order.
    pub(super) fn follow_replaced(&mut self, suspects: &[u64], search: &mut Search) {
        for sequence in suspects {
            let Some(file) = self.file(*sequence).cloned() else { continue };
            if !self.is_current(&file) || !(file.is_replaced() || file.has_other_content()) {
                file.set_checked();
                continue;
            }
            let opened = match reopen(&file) {
                Ok(found) => found,
                Err(error) => {
                    search.problem(&file.origin, format!("cannot look at {}: {error}", file.origin.display()));
                    continue;
                }
            };
            let generations = self.generations_since(&file, &opened, search.started);
            match generations.first() {
                Some(copy) => {
                    log::info!(source = self.source.name; "logs: {} was truncated; its copy {} is read to its end first", file.origin.display(), copy.path.display());
                }
                None => self.note_loss(&file),
            }
            file.set_replaced();
            let Some(wanted) = self.retire(*sequence) else { continue };
            for generation in generations {
                let of_copy = self.follow(generation, false, search);
                self.name(of_copy);
            }
            let anew = self.follow(opened, wanted, search);
            self.hand_over(*sequence, anew);
            file.set_path(None);
            file.set_size(0);
        }
    }

    /// The copy of what was there, as far as it was read, and the copies of what was there after that, if the file was
    /// truncated several times meanwhile. The oldest first.
    fn generations_since(&self, file: &FollowedFile, now: &Found, started: i64) -> Vec<Found> {
        let base = file.path().unwrap_or_else(|| file.origin.clone());
        let Some(folder) = base.parent() else { return Vec::new() };
        let siblings = generations_in(folder, &base);
        let mut found: Vec<Found> = siblings.into_iter().filter_map(|path| self.unfollowed(&path, file)).collect();
        // What is being compressed is there twice.
        let plain: Vec<_> = found.iter().map(|found| found.path.clone()).collect();
        found.retain(|found| {
            let made_of = plain_path(&found.path);
            *made_of == *found.path || !(plain.iter().any(|path| **path == *made_of) || made_of.exists())
        });
        found.sort_by_key(|found| (found.attributes.modified, found.path.clone()));
        // Of several with the same beginning that came while we looked, the oldest is the copy, and the others are copies of
        // what followed it; of earlier ones the newest.
        let is_original = |found: &Found| file.is_original_of(&found.opened);
        let came = found.iter().position(|found| found.attributes.modified >= started && is_original(found));
        let copy = came.or_else(|| found.iter().rposition(is_original));
        if copy.is_none()
            && let Some(moved) = self.copy_elsewhere(file, &base).or_else(|| self.copy_of_any_name(file, folder))
        {
            return vec![moved];
        }
        let later = found.split_off(copy.map_or(0, |copy| copy + 1));
        let is_missed = |found: &Found| {
            let size = found.opened.stated_size().unwrap_or(found.attributes.size);
            found.attributes.modified >= started && !is_copy(&now.opened, &found.opened, size)
        };
        let copy = copy.and_then(|_| found.pop());
        copy.into_iter().chain(later.into_iter().filter(is_missed)).collect()
    }

    /// The copy, if it was put into a folder nearby.
    fn copy_elsewhere(&self, file: &FollowedFile, base: &Path) -> Option<Found> {
        let mut paths = near(base.parent()?).into_iter().flat_map(|folder| generations_in(&folder, base));
        paths.find_map(|path| {
            self.unfollowed(&path, file).filter(|found| file.is_known_well() && file.is_original_of(&found.opened))
        })
    }

    /// The copy, if its name does not tell its log: then its content tells it.
    fn copy_of_any_name(&self, file: &FollowedFile, folder: &Path) -> Option<Found> {
        if !file.is_known_well() {
            return None;
        }
        let entries = folder.read_dir().ok()?.filter_map(Result::ok);
        let recent = |entry: &DirEntry| entry.metadata().is_ok_and(|found| modified(&found) + TICK >= file.modified());
        let recent = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && recent(entry));
        let mut found = recent.take(MOST).filter_map(|entry| self.unfollowed(&entry.path(), file));
        found.find(|found| file.is_certain_original_of(&found.opened))
    }

    fn unfollowed(&self, path: &Path, of: &FollowedFile) -> Option<Found> {
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        if self.is_followed(Key::of(&metadata)) || self.is_settled(path) {
            return None;
        }
        Some(Found {
            opened: Opened::of(File::open(path).ok()?).ok()?,
            path: path.into(),
            origin: of.origin.clone(),
            family: of.family.clone(),
            attributes: Attributes::of(&metadata),
            start: None,
            former: Some(of.sequence),
            heritage: None,
        })
    }

    fn note_loss(&self, file: &FollowedFile) {
        let lost = file.unread_at_most();
        if lost == 0 {
            return;
        }
        self.source.lost(lost);
        log::warn!(source = self.source.name; "logs: {} was truncated while {lost} bytes of it were not acknowledged by every output, and no copy of them is beside it: an output that is behind has lost them", file.origin.display());
    }
}

/// Without the ending that compression gives.
fn plain_path(path: &Path) -> PathBuf {
    path.with_file_name(plain_name(&path.file_name().unwrap_or_default().to_string_lossy()))
}

/// The rotated files of a log in a folder, by their names.
fn generations_in(folder: &Path, log: &Path) -> Vec<PathBuf> {
    let (Some(home), Ok(entries)) = (log.parent(), folder.read_dir()) else { return Vec::new() };
    let is_generation = |name: &OsStr| {
        let at_home = home.join(name);
        (home != folder || at_home != log) && family_path(&at_home) == family_path(log)
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter(|name| is_generation(name)).map(|name| folder.join(name)).collect()
}

fn reopen(file: &FollowedFile) -> std::io::Result<Found> {
    let Opened::Plain(plain) = &file.file else {
        return Err(std::io::Error::other("a compressed file has no other content"));
    };
    let path: Arc<Path> = file.path().unwrap_or_else(|| file.origin.clone());
    Ok(Found {
        opened: Opened::Plain(plain.try_clone()?),
        path,
        origin: file.origin.clone(),
        family: file.family.clone(),
        attributes: Attributes::of(&plain.metadata()?),
        start: None,
        former: Some(file.sequence),
        heritage: None,
    })
}
