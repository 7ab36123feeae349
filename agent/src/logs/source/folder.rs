use super::identity::Key;
use super::pattern::Place;
use super::watcher::Watcher;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Between two looks at a folder of which the kernel tells what happens, for what it missed: the longer the more there is
/// to look at.
const WATCHED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// ... so many times as long as it took to list it: a thousand names take a millisecond, and the files some more.
const WATCHED_REST: u32 = 20_000;
/// Between two looks at any other.
const UNWATCHED: Duration = Duration::from_secs(1);
/// The clock by which a folder tells of changes is no finer.
const TICK: Duration = Duration::from_millis(10);
/// After a look, at least so many times as long as it took: files that come and go by the thousand cost little.
const REST: u32 = 10;

/// A folder where files of a source are or may come to be.
#[derive(Debug)]
pub struct Folder {
    pub path: Arc<Path>,
    /// What is to be looked for in it. Nothing where only the target of a link is.
    pub places: Vec<Place>,
    /// The configuration names it: it is waited for.
    pub is_base: bool,
    /// Something happened in it.
    pub is_stirred: bool,
    /// Folders with links to files in this one: what happens here is about them.
    pub linked_from: BTreeSet<Arc<Path>>,
    /// Names that were looked into. The rest is left alone.
    names: HashMap<OsString, Named>,
    is_watched: bool,
    /// When names in it had last changed before it was listed.
    changed: Option<SystemTime>,
    listed: Option<Instant>,
    took: Duration,
    round: u32,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    what: What,
    /// As the folder lists it: on an overlay, not always what stat(2) says of the file.
    inode: u64,
    round: u32,
}

/// What a name is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The followed file of this sequence number.
    Followed(u64),
    /// Perhaps to be followed later.
    Later,
    /// Not to be followed.
    Nothing,
}

/// What a look at a folder gave.
#[derive(Debug, Default)]
pub struct Listing {
    pub is_there: bool,
    /// Names that are new, or that are about another file than before.
    pub unknown: Vec<Unknown>,
    pub folders: Vec<Unknown>,
    /// Followed files that are still there.
    pub seen: Vec<u64>,
    /// Names that followed files had.
    pub vanished: Vec<(OsString, u64)>,
}

#[derive(Debug)]
pub struct Unknown {
    pub name: OsString,
    pub inode: u64,
    pub is_link: bool,
}

impl Folder {
    pub fn new(path: Arc<Path>, places: Vec<Place>, is_base: bool) -> Self {
        Self {
            path,
            places,
            is_base,
            is_stirred: false,
            linked_from: BTreeSet::new(),
            names: HashMap::new(),
            is_watched: false,
            changed: None,
            listed: None,
            took: Duration::ZERO,
            round: 0,
        }
    }

    /// Whether it is to be looked at.
    pub fn is_due(&self) -> bool {
        let Some(listed) = self.listed else { return true };
        let patience = match (self.is_stirred, self.is_watched) {
            (true, _) => self.took * REST,
            (false, true) => (self.took * WATCHED_REST).clamp(WATCHED.0, WATCHED.1),
            (false, false) => UNWATCHED.max(self.took * REST),
        };
        listed.elapsed() >= patience
    }

    /// Whether what was there at a time, and is there yet, was seen.
    pub fn was_listed_after(&self, time: Instant) -> bool {
        self.listed.is_some_and(|listed| listed > time)
    }

    /// Whether names may have changed while it was listed: a file that is renamed meanwhile may be in no listing.
    pub fn is_moving(&self) -> bool {
        let changed = self.path.metadata().and_then(|metadata| metadata.modified()).ok();
        let is_long_ago = changed.is_none_or(|at| at.elapsed().is_ok_and(|ago| ago >= TICK));
        changed != self.changed || !is_long_ago
    }

    pub fn what(&self, name: &OsStr) -> Option<What> {
        self.names.get(name).map(|named| named.what)
    }

    /// Notes what a name is about.
    pub fn set(&mut self, name: OsString, inode: u64, what: What) {
        self.names.insert(name, Named { what, inode, round: self.round });
    }

    /// A name that is no longer about the file it was about; the file, if it was followed.
    pub fn unset(&mut self, name: &OsStr) -> Option<u64> {
        match self.names.remove(name)?.what {
            What::Followed(sequence) => Some(sequence),
            What::Later | What::Nothing => None,
        }
    }

    /// Another file has the inode: after its content was replaced, or none once it is followed no more.
    pub fn replace(&mut self, name: &OsStr, before: u64, what: What) {
        if let Some(named) = self.names.get_mut(name).filter(|named| named.what == What::Followed(before)) {
            named.what = what;
        }
    }

    /// A name of the followed file.
    pub fn name_of(&self, sequence: u64) -> Option<&OsStr> {
        self.names.iter().find(|(_, named)| named.what == What::Followed(sequence)).map(|(name, _)| name.as_os_str())
    }

    /// Lists it, and the folders in it if it `goes_deeper`.
    ///
    /// # Errors
    /// The file system refuses; everything is as before.
    pub fn list(&mut self, watcher: &mut Watcher, goes_deeper: bool) -> io::Result<Listing> {
        let start = Instant::now();
        (self.is_stirred, self.listed) = (false, Some(start));
        self.round = self.round.wrapping_add(1);
        let metadata = self.path.metadata().ok().filter(Metadata::is_dir);
        self.changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let mut listing = Listing { is_there: metadata.is_some(), ..Listing::default() };
        match metadata {
            Some(metadata) => {
                // Watched before it is listed, so that nothing comes in between.
                self.is_watched = watcher.watch(&self.path, Key::of(&metadata));
                for entry in self.path.read_dir()? {
                    self.note(&entry?, goes_deeper, &mut listing);
                }
            }
            None => {
                self.is_watched = false;
                watcher.forget(&self.path);
            }
        }
        let round = self.round;
        for (name, named) in self.names.extract_if(|_, named| named.round != round) {
            if let What::Followed(sequence) = named.what {
                listing.vanished.push((name, sequence));
            }
        }
        self.took = start.elapsed();
        Ok(listing)
    }

    fn note(&mut self, entry: &DirEntry, goes_deeper: bool, listing: &mut Listing) {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { return };
        let is_link = kind.is_symlink();
        let unknown = |name| Unknown { name, inode: entry.ino(), is_link };
        if goes_deeper && (kind.is_dir() || is_link) {
            listing.folders.push(unknown(name.clone()));
        }
        if !kind.is_file() && !is_link {
            return;
        }
        let Some(named) = self.names.get_mut(&name).filter(|named| named.inode == entry.ino()) else {
            return listing.unknown.push(unknown(name));
        };
        named.round = self.round;
        match named.what {
            // A link may lead elsewhere without being another one.
            _ if is_link => listing.unknown.push(unknown(name)),
            What::Followed(sequence) => listing.seen.push(sequence),
            What::Later => listing.unknown.push(unknown(name)),
            What::Nothing => {}
        }
    }
}
