use super::admission::Candidate;
use super::family::{family_path, plain_name};
use super::followed::Opened;
use super::following::Following;
use super::identity::{Attributes, Key, WELL, born, differs};
use super::known::Known;
use super::nearby::{MOST, kind, near};
use crate::logs::positions::Position;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{DirEntry, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Programs that compress keep the time of a file, in seconds.
const TICK: i64 = 1_000_000_000;

/// Folders into which logs of other folders are rotated (as logrotate does with `olddir`). A folder is one by proof alone:
/// a file that was followed is in it. Names prove nothing, nor does an inode, which is used again.
#[derive(Debug, Default)]
pub struct Archives {
    /// Of each, the folders of its logs.
    homes: BTreeMap<Arc<Path>, BTreeSet<PathBuf>>,
}

impl Archives {
    /// A followed file that was written as `origin` is at `path` now.
    pub fn learn(&mut self, path: &Path, origin: &Path) {
        if let (Some(folder), Some(home), Some(name)) = (path.parent(), origin.parent(), path.file_name())
            && folder != home
            && is_generation(path)
            && family_path(&home.join(name)) == family_path(origin)
        {
            self.add(folder, home);
        }
    }

    /// Where a rotated file would be if it had stayed with its log, of which `is_log` tells whether it is one.
    pub fn home_of(&self, path: &Path, is_log: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let (homes, name) = (self.homes.get(path.parent()?)?, path.file_name()?);
        let mut at_home = homes.iter().filter(|_| is_generation(path)).map(|home| home.join(name));
        at_home.find(|home| is_log(&family_path(home)) || is_log(&plain(home)))
    }

    fn add(&mut self, folder: &Path, home: &Path) {
        self.homes.entry(folder.into()).or_default().insert(home.to_owned());
    }
}

/// A folder with the files of a source that were there when the agent ended.
struct Home<'k> {
    folder: &'k Path,
    /// What is there now.
    names: HashMap<u64, OsString>,
    positions: Vec<&'k Position>,
    by_path: HashMap<&'k Path, Vec<&'k Position>>,
    by_inode: HashMap<u64, Vec<&'k Position>>,
}

/// What a file is, beside the logs of a home.
enum Moved<'k> {
    /// What was written under this path: it was followed, and is nowhere else.
    Proven(&'k Path),
    /// It came after a file that was followed: it is a generation of a log if its name is one.
    Perhaps,
    Other,
}

/// What is in a folder, beside the logs of a home.
struct LookedInto<'n, 'k> {
    folder: &'n Path,
    /// What was followed, and under which path it was written.
    proven: Vec<(DirEntry, &'k Path)>,
    /// What came after that.
    later: Vec<DirEntry>,
}

/// By kind of folder, the names of what was followed without what counts, and under which path it was written.
type Proven<'k> = BTreeMap<PathBuf, HashMap<String, &'k Path>>;

impl LookedInto<'_, '_> {
    fn is_proven(&self) -> bool {
        !self.proven.is_empty()
    }
}

/// A rotated file, and where it would be under a name that tells its log.
struct Found {
    path: PathBuf,
    home: PathBuf,
}

impl Following {
    /// Before the first look: what was rotated while the agent was away into another folder, or under a name that does not
    /// tell of it (`app.1.log.gz`), so that what is unread of it is read, and first. The files of folders that are followed
    /// are only told apart; the others are given.
    pub fn look_elsewhere(&mut self, known: &Known) -> Vec<Candidate> {
        let mut positions: BTreeMap<&Path, Vec<&Position>> = BTreeMap::new();
        // What is behind a link is found by the link.
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        for position in known.there(&self.source).filter(|position| !is_link(Path::new(&position.path))) {
            positions.entry(Path::new(&position.path).parent().unwrap_or(Path::new("/"))).or_default().push(position);
        }
        let mut candidates = Vec::new();
        for (folder, positions) in positions {
            let home = Home::new(folder, positions);
            if !home.lacks_any() {
                continue;
            }
            let bases = self.folders.values().filter(|folder| folder.is_base).map(|folder| folder.path.to_path_buf());
            let near: BTreeSet<PathBuf> = near(folder).into_iter().chain(bases).chain([folder.to_owned()]).collect();
            let gone = home.gone();
            let is_anothers = |path: &Path| known.is_anothers(&self.source, path);
            let looked: Vec<_> = near.iter().map(|near| home.look_into((near, &gone), is_anothers)).collect();
            let mut proven: Proven<'_> = BTreeMap::new();
            for (looked, (entry, origin)) in
                looked.iter().flat_map(|looked| looked.proven.iter().map(move |p| (looked, p)))
            {
                proven.entry(kind(looked.folder)).or_default().insert(shape(&entry.file_name()), origin);
            }
            for looked in looked {
                let found = home.found_in(&looked, &proven);
                if found.is_empty() {
                    continue;
                }
                let near = looked.folder;
                log::info!(source = self.source.name; "logs: what was rotated from {} is in {} now", folder.display(), near.display());
                self.archives.add(near, folder);
                let is_followed = near != folder && self.folders.contains_key(near);
                candidates.extend(found.iter().filter(|_| !is_followed).filter_map(candidate));
            }
        }
        candidates
    }
}

impl<'k> Home<'k> {
    fn new(folder: &'k Path, positions: Vec<&'k Position>) -> Self {
        let (mut by_path, mut by_inode): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) = Default::default();
        for position in positions.iter().copied() {
            by_path.entry(Path::new(&position.path)).or_default().push(position);
            by_inode.entry(position.inode).or_default().push(position);
        }
        Self { folder, names: names_in(folder), positions, by_path, by_inode }
    }

    /// Whether a file is gone, has another name than rotation gives it, or has become shorter than it was read. (It may also
    /// have been filled anew so far.)
    fn lacks_any(&self) -> bool {
        self.positions.iter().any(|p| self.seems_gone(p) || self.is_renamed(p))
    }

    fn gone(&self) -> Vec<&'k Position> {
        self.positions.iter().copied().filter(|p| self.seems_gone(p)).collect()
    }

    fn seems_gone(&self, position: &Position) -> bool {
        let size = |name: &OsString| self.folder.join(name).metadata().map_or(0, |metadata| metadata.len());
        self.names.get(&position.inode).is_none_or(|name| size(name) < position.point.offset)
    }

    fn is_renamed(&self, position: &Position) -> bool {
        let path = Path::new(&position.path);
        let is_strange = |name: &OsString| {
            let now = self.folder.join(name);
            now != path && family_path(&now) != family_path(path)
        };
        self.names.get(&position.inode).is_some_and(is_strange)
    }

    /// What there is in a folder of what was followed here, and what may have come after it.
    fn look_into<'n>(
        &self,
        (near, gone): (&'n Path, &[&'k Position]),
        is_anothers: impl Fn(&Path) -> bool,
    ) -> LookedInto<'n, 'k> {
        let mut looked = LookedInto { folder: near, proven: Vec::new(), later: Vec::new() };
        for entry in entries(near).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).take(MOST) {
            if is_anothers(&family_path(&entry.path())) || is_anothers(&plain(&entry.path())) {
                continue;
            }
            match self.judge(&entry, near == self.folder, gone) {
                Moved::Proven(origin) => looked.proven.push((entry, origin)),
                Moved::Perhaps => looked.later.push(entry),
                Moved::Other => {}
            }
        }
        looked
    }

    /// The files in a folder that were followed here, and those that came after them; none without proof, in this folder or in
    /// one of its kind.
    fn found_in(&self, looked: &LookedInto<'_, 'k>, proven: &Proven<'k>) -> Vec<Found> {
        let mut found: Vec<_> = looked.proven.iter().map(|(entry, origin)| self.found(entry, origin)).collect();
        let Some(shapes) = proven.get(&kind(looked.folder)) else { return found };
        for entry in &looked.later {
            let log = family_path(&self.folder.join(entry.file_name()));
            let shape = shape(&entry.file_name());
            let log = match shapes.get(&shape) {
                _ if looked.folder != self.folder && self.is_log(&log) => &*log,
                Some(origin) if !shape.is_empty() => origin,
                _ => continue,
            };
            if looked.is_proven() || self.came_after(entry, log) {
                found.push(self.found(entry, log));
            }
        }
        found
    }

    /// Whether a file was written after what is known of its log.
    fn came_after(&self, entry: &DirEntry, log: &Path) -> bool {
        let modified = entry.metadata().map(|metadata| Attributes::of(&metadata).modified);
        let mut of_log = self.by_path.get(log).into_iter().flatten();
        modified.is_ok_and(|modified| of_log.any(|position| modified > position.modified))
    }

    fn found(&self, entry: &DirEntry, origin: &Path) -> Found {
        let home = self.folder.join(entry.file_name());
        // The log's own name is not that of a generation.
        let is_telling = family_path(&home) == family_path(origin) || plain(&home) == *origin;
        let is_telling = is_telling && home != *origin;
        if is_telling {
            return Found { path: entry.path(), home };
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let mut home = origin.as_os_str().to_owned();
        home.push(format!(".1{}", &name[plain_name(&name).len()..]));
        Found { path: entry.path(), home: home.into() }
    }

    fn is_log(&self, path: &Path) -> bool {
        self.by_path.contains_key(path)
    }

    fn judge(&self, entry: &DirEntry, is_home: bool, gone: &[&'k Position]) -> Moved<'k> {
        let at_home = self.folder.join(entry.file_name());
        let (base, plain) = (family_path(&at_home), plain(&at_home));
        let of = |log: &Path| self.by_path.get(log).into_iter().flatten().copied();
        let of_log: Vec<&Position> = of(&base).chain(of(&plain).filter(|_| plain != base)).collect();
        let is_generation = (!is_home || is_generation(&at_home)) && !of_log.is_empty();
        if is_home && (is_generation || self.is_log(&at_home)) {
            // That is looked at anyway.
            return Moved::Other;
        }
        let Some(metadata) = entry.metadata().ok() else { return Moved::Other };
        let attributes = Attributes::of(&metadata);
        let inode = attributes.key.inode;
        let of_inode = self.by_inode.get(&inode).filter(|_| is_home || !self.names.contains_key(&inode));
        let is_compressed = plain != at_home;
        let came_later = self.positions.iter().any(|p| attributes.modified > p.modified);
        let is_recent = |p: &&Position| attributes.modified + TICK >= p.modified;
        if !(is_generation || of_inode.is_some() || gone.iter().any(is_recent)) {
            return if came_later { Moved::Perhaps } else { Moved::Other };
        }
        let perhaps_gone = gone.iter().filter(|_| !is_generation).take(MOST);
        // A copy whose name tells nothing: its content has to tell all.
        let is_nameless = !is_generation && of_inode.is_none() && !is_compressed;
        let meant = of_inode.into_iter().flatten().chain(&of_log).chain(perhaps_gone);
        let Some(opened) = open(&entry.path()) else { return Moved::Other };
        let is_in: Box<dyn Fn(&Position) -> bool> = match opened {
            Opened::Compressed(compressed) => match compressed.in_order() {
                Ok(content) => Box::new(move |p| p.is_in(&content)),
                Err(_) => return Moved::Other,
            },
            Opened::Plain(file) => Box::new(move |p| {
                p.is_in(&file)
                    && !(is_nameless && (!differs(&file, &p.point).unwrap_or(false) || self.has_generation(p)))
            }),
        };
        for p in meant {
            let is_same = of_inode.is_some() && p.may_be(&p.source, inode, attributes.born);
            let is_certain = is_same && p.born.is_some() && attributes.born.is_some();
            // Files of one program may begin alike: what was read has to be more than that.
            let is_telling = p.point.offset >= WELL && (is_same || is_generation || is_compressed || is_nameless);
            if !(is_certain || is_telling) || !is_in(p) {
                continue;
            }
            // Else it is a copy whose original is where it was.
            return if is_same || self.is_gone(p) { Moved::Proven(Path::new(&p.path)) } else { Moved::Other };
        }
        if came_later { Moved::Perhaps } else { Moved::Other }
    }

    /// Whether what was read is in a file here whose name is that of a generation.
    fn has_generation(&self, position: &Position) -> bool {
        let log = Path::new(&position.path);
        let paths = self.names.values().map(|name| self.folder.join(name));
        let mut generations = paths.filter(|path| path != log && family_path(path) == family_path(log));
        generations.any(|path| open(&path).is_some_and(|opened| position.is_in(&opened)))
    }

    /// Whether what was read is in no file of the folder under the inode that it had.
    fn is_gone(&self, position: &Position) -> bool {
        let Some(name) = self.names.get(&position.inode) else { return true };
        let path = self.folder.join(name);
        let born = path.metadata().ok().and_then(|metadata| born(&metadata));
        let is_same = position.may_be(&position.source, position.inode, born);
        !(is_same && open(&path).is_some_and(|opened| position.is_in(&opened)))
    }
}

fn open(path: &Path) -> Option<Opened> {
    Opened::of(File::open(path).ok()?).ok()
}

fn candidate(found: &Found) -> Option<Candidate> {
    let metadata = found.path.metadata().ok().filter(Metadata::is_file)?;
    Some(Candidate {
        path: found.path.as_path().into(),
        home: found.home.as_path().into(),
        folder: found.path.parent()?.into(),
        name: found.path.file_name()?.to_owned(),
        inode: Key::of(&metadata).inode,
        attributes: Attributes::of(&metadata),
        wanted: false,
        is_link: false,
        held: None,
        is_gone: false,
    })
}

/// A name without its numbers, and without what else counts or tells a time (`@400000006740…`).
pub(super) fn shape(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let counts = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit()) && word.len() >= 8;
    let words = plain_name(&name).split_inclusive(|c: char| !c.is_alphanumeric());
    let words = words.map(|word| if counts(word) { "0" } else { word.trim_matches(|c: char| c.is_ascii_digit()) });
    words.collect()
}

/// Whether a name is that of a rotated file.
fn is_generation(path: &Path) -> bool {
    family_path(path) != path
}

/// Without the ending that compression gave it.
fn plain(path: &Path) -> PathBuf {
    path.with_file_name(plain_name(&path.file_name().unwrap_or(OsStr::new("")).to_string_lossy()))
}

fn names_in(folder: &Path) -> HashMap<u64, OsString> {
    // On an overlay, a folder lists other inodes than those of its files.
    let inode = |entry: &DirEntry| entry.metadata().map(|metadata| Key::of(&metadata).inode);
    entries(folder).filter_map(|entry| Some((inode(&entry).ok()?, entry.file_name()))).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    folder.read_dir().into_iter().flatten().filter_map(Result::ok)
}
