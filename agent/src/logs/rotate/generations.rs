use crate::logs::source::family::UNFINISHED;
use crate::logs::source::family::{family, is_former};
use crate::logs::source::followed::FollowedFile;
use crate::logs::source::identity::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What a generation's name may end with: plain or compressed by us.
pub(super) const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];
/// A rotated file is compressed when it was quiet for so long: its writer may have it open for a while.
const QUIET: Duration = Duration::from_secs(10);

/// A rotated file of a log.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub path: PathBuf,
    pub key: Key,
    pub size: u64,
    pub modified: SystemTime,
    pub is_compressed: bool,
    pub shipped: Shipped,
}

/// What is known of how far outputs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shipped {
    /// By all of them, to its end.
    Whole,
    /// An output lacks so many bytes.
    Lacking(u64),
    /// It was never followed.
    Unknown,
}

/// The generations of each log in a folder, the oldest first. On request, what a run that was cut off left half written
/// is removed.
pub(super) fn list(
    folder: &Path,
    logs: &BTreeSet<PathBuf>,
    remove_unfinished: bool,
) -> io::Result<BTreeMap<PathBuf, Vec<Generation>>> {
    let mut all: BTreeMap<PathBuf, Vec<Generation>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(unfinished) = name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)) {
            if remove_unfinished && logs.contains(&folder.join(family(plain(unfinished)))) {
                fs::remove_file(entry.path())?;
            }
            continue;
        }
        let log = folder.join(family(plain(&name)));
        // What a program keeps by itself is no generation of ours.
        if is_former(plain(&name))
            || *log == *entry.path()
            || *log == *folder.join(plain(&name))
            || !logs.contains(&log)
        {
            continue;
        }
        // Gone, or a link, which is somebody else's.
        if let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_file) {
            let is_compressed = plain(&name) != name;
            all.entry(log).or_default().push(Generation::new(entry.path(), &metadata, is_compressed));
        }
    }
    for generations in all.values_mut() {
        generations.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    }
    Ok(all)
}

/// The name without the ending that we give to what we compress.
fn plain(name: &str) -> &str {
    ENDINGS[1..].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Where a file is written before it gets its name.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

impl Generation {
    fn new(path: PathBuf, metadata: &fs::Metadata, is_compressed: bool) -> Self {
        Self {
            path,
            key: Key::of(metadata),
            size: metadata.size(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            is_compressed,
            shipped: Shipped::Unknown,
        }
    }

    /// Finds out how far outputs have it: those that are followed know, and of those that we compressed it is recorded.
    pub(super) fn judge(&mut self, followed: Option<&FollowedFile>, is_recorded: bool) {
        self.shipped = match followed {
            _ if is_recorded => Shipped::Whole,
            Some(file) if file.has_ended() && file.is_done() && file.size() == self.size => Shipped::Whole,
            Some(file) => {
                let outputs = 0..file.source.outputs.len();
                let least = outputs.map(|slot| file.acknowledged(slot)).min().unwrap_or(0);
                Shipped::Lacking(self.size.saturating_sub(least))
            }
            None => Shipped::Unknown,
        };
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.shipped == Shipped::Unknown
    }

    pub(super) fn is_to_be_compressed(&self) -> bool {
        !self.is_compressed && self.shipped == Shipped::Whole && self.age() >= QUIET
    }

    /// Since it was last written.
    pub(super) fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.modified).unwrap_or(Duration::ZERO)
    }

    /// Whether the path is still the file that was found, as it was then.
    pub(super) fn is_unchanged(&self) -> bool {
        let same = |metadata: fs::Metadata| Key::of(&metadata) == self.key && metadata.size() == self.size;
        self.path.symlink_metadata().is_ok_and(same)
    }
}
