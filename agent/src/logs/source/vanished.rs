use super::Source;
use super::family::family_path;
use super::followed::{FollowedFile, Opened};
use super::held::Held;
use super::known::Known;
use crate::logs::positions::Position;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VANISHED: &str = "vanished logs";
const OVERWRITTEN: &str = "overwritten logs";
/// A log that was last written so long before the others, in nanoseconds, was not in use when the agent ended.
const DISUSED: i64 = 86_400 * 1_000_000_000;

/// Logs that were written when the agent ended and are nowhere now, not even rotated or compressed: of what was written
/// to them after that nothing is known, which is told.
///
/// So many bytes, at least, were in files that are nowhere when that was last stored, and an output lacks them. What `held`
/// has noted is counted there.
pub fn tell_of_vanished<'f>(
    (source, held): (&Source, &Held),
    files: impl Iterator<Item = &'f Arc<FollowedFile>>,
    known: &Known,
) -> u64 {
    if source.intake.is_some() {
        return 0;
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
    let (mut of_inode, mut of_family): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) = Default::default();
    for file in files {
        of_inode.entry(file.key.inode).or_default().push(file);
        of_family.entry(&*file.family).or_default().push(file);
    }
    let is_there = |log: &Path, position: &Position| {
        let mut relatives = of_inode.get(&position.inode).into_iter().chain(of_family.get(log)).flatten();
        relatives.any(|file| position.begins(&file.file))
    };
    let mut generations = Generations::default();
    let mut lacking: BTreeMap<_, (u64, &Position)> = BTreeMap::new();
    for position in known.lacking(source) {
        let path = Path::new(&position.path);
        let log = family_path(path);
        if !held.has(path, position.inode) && !is_there(&log, position) && !generations.has(&log, position) {
            // What one output lacks, another may lack as well.
            let most = lacking.entry((path, position.inode, position.content)).or_insert((0, position));
            most.0 = most.0.max(position.pending());
        }
    }
    let lost: u64 = lacking.values().map(|(bytes, _)| bytes).sum();
    if let Some((_, first)) = lacking.values().next() {
        let why = format!(
            "{} was overwritten or deleted while the agent was away, before every output had it: at least {lost} bytes are lost (told until the next restart)",
            first.path
        );
        source.gone.add(OVERWRITTEN, &source.name, why);
    }
    let vanished = newest.iter().filter(|(log, position)| {
        let was_in_use = position.modified >= in_use && position.head.length() > 0;
        was_in_use && !is_there(log, position) && !generations.has(log, position)
    });
    let vanished: Vec<_> = vanished.map(|(_, position)| position).collect();
    let Some(first) = vanished.first() else { return lost };
    let more = if vanished.len() > 1 { format!(" (and {} more)", vanished.len() - 1) } else { String::new() };
    let why = format!(
        "{}{more} is nowhere: {} bytes of it were shipped when the agent ended, and what was written to it after that is lost, unless it was moved to a folder that `files` does not name: add that one (told until the next restart)",
        first.path, first.point.offset
    );
    source.gone.add(VANISHED, &source.name, why);
    lost
}

/// What there is of logs in their folders, each of which is listed once.
#[derive(Default)]
struct Generations(HashMap<PathBuf, Option<HashMap<PathBuf, Vec<PathBuf>>>>);

impl Generations {
    /// Whether a rotated file that is not followed, since it was read, has the content, or may have it: what cannot be read
    /// is told by itself.
    fn has(&mut self, log: &Path, position: &Position) -> bool {
        let Some(folder) = log.parent() else { return false };
        let families = match self.0.get(folder) {
            Some(families) => families,
            None => self.0.entry(folder.to_owned()).or_insert_with(|| families_in(folder)),
        };
        let Some(families) = families else { return true };
        let mut paths = families.get(log).into_iter().flatten();
        paths.any(|path| match File::open(path) {
            Ok(file) => Opened::of(file).is_ok_and(|opened| position.begins(&opened)),
            Err(error) => error.kind() == ErrorKind::PermissionDenied,
        })
    }
}

/// None if they are not for us to read.
fn families_in(folder: &Path) -> Option<HashMap<PathBuf, Vec<PathBuf>>> {
    let mut families: HashMap<_, Vec<_>> = HashMap::new();
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        entries => entries.into_iter().flatten(),
    };
    for entry in entries.filter_map(Result::ok) {
        families.entry(family_path(&entry.path())).or_default().push(entry.path());
    }
    Some(families)
}
