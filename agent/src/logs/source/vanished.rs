use super::Source;
use super::admission::family_path;
use super::followed::{FollowedFile, Opened};
use super::known::Known;
use crate::logs::positions::Position;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VANISHED: &str = "vanished logs";
/// A log that was last written so long before the others, in nanoseconds, was not in use when the agent ended.
const DISUSED: i64 = 86_400 * 1_000_000_000;

/// Logs that were written when the agent ended and are nowhere now, not even rotated or compressed: of what was written
/// to them after that nothing is known, which is told.
pub fn tell_of_vanished<'f>(
    source: &Source,
    files: &(impl Iterator<Item = &'f Arc<FollowedFile>> + Clone),
    known: &Known,
) {
    if source.intake.is_some() {
        return;
    }
    // Of each log, the file that was written last. An output that is behind has less of it.
    let mut newest: BTreeMap<PathBuf, &Position> = BTreeMap::new();
    for position in known.there(source) {
        let of_log = newest.entry(family_path(Path::new(&position.path))).or_insert(position);
        let order = |p: &Position| (p.modified, std::cmp::Reverse(p.point.offset));
        if order(position) > order(of_log) {
            *of_log = position;
        }
    }
    let in_use = newest.values().map(|position| position.modified).max().unwrap_or(0).saturating_sub(DISUSED);
    let is_there = |log: &Path, position: &Position| {
        let mut relatives = files.clone().filter(|file| file.key.inode == position.inode || *file.family == *log);
        relatives.any(|file| position.begins(&file.file))
    };
    let vanished = newest.iter().filter(|(log, position)| {
        let was_in_use = position.modified >= in_use && position.head.length() > 0;
        was_in_use && !is_there(log, position) && !is_in_a_generation(log, position)
    });
    let vanished: Vec<_> = vanished.map(|(_, position)| position).collect();
    let Some(first) = vanished.first() else { return };
    let more = if vanished.len() > 1 { format!(" (and {} more)", vanished.len() - 1) } else { String::new() };
    let why = format!(
        "{}{more} is nowhere: {} bytes of it were shipped when the agent ended, and what was written to it after that is lost, unless it was moved to a folder that `files` does not name: add that one (told until the next restart)",
        first.path, first.point.offset
    );
    source.gone.add(VANISHED, &source.name, why);
}

/// Whether a rotated file that is not followed, since it was read, has the content.
fn is_in_a_generation(log: &Path, position: &Position) -> bool {
    let Some(entries) = log.parent().and_then(|folder| folder.read_dir().ok()) else { return false };
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.any(|path| {
        let opened = || Opened::of(File::open(&path).ok()?).ok();
        family_path(&path) == log && opened().is_some_and(|opened| position.begins(&opened))
    })
}
