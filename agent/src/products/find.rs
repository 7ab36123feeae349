use super::folder::{Folder, Found, Stamp};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Folders in folders beyond this are not entered; no product is so deep, and a loop of mounts might be.
const DEEPEST: usize = 64;

/// Every regular file in a folder, and what cannot be a product although somebody may think so.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) files: Vec<Found>,
    /// A path, as far as it can be shown, and why it is not taken.
    pub(super) refused: Vec<(String, String)>,
    /// Whether a folder in it could not be read: what was not seen is then not gone.
    pub(super) incomplete: bool,
}

/// Walks the folder.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn walk(folder: &Folder) -> io::Result<Walk> {
    let mut walk = Walk::default();
    let mut above = vec![(String::new(), 0)];
    let mut first = true;
    while let Some((path, depth)) = above.pop() {
        match walk.enter(&folder.root().join(&path), &path) {
            Ok(_) if depth == DEEPEST => walk.refuse(&path, "it is nested too deep"),
            Ok(folders) => above.extend(folders.into_iter().map(|name| (name, depth + 1))),
            Err(error) if first => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                walk.incomplete = true;
                walk.refuse(&path, &format!("the folder cannot be read: {error}"));
            }
        }
        first = false;
    }
    // A certain order, so that of two files that want one key the same is refused each time.
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk)
}

impl Walk {
    /// Takes the files of one folder and gives the folders in it.
    fn enter(&mut self, folder: &Path, path: &str) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if is_temporary(&name) || !(kind.is_file() || kind.is_dir()) {
                continue;
            }
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let Some(name) = name.to_str() else {
                self.refuse(&below(&name.to_string_lossy()), "its name is not UTF-8 and cannot be a key; rename it");
                continue;
            };
            if kind.is_dir() {
                folders.push(below(name));
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => self.files.push(Found { path: below(name).into(), stamp: Stamp::of(&metadata) }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(folders)
    }

    fn refuse(&mut self, path: &str, why: &str) {
        self.refused.push((path.to_owned(), why.to_owned()));
    }
}

/// Names under which files are made that are not yet what they will be called; folders too.
fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let endings: [&[u8]; 4] = [b".tmp", b".part", b".partial", b"~"];
    name.starts_with(b".") || endings.iter().any(|ending| name.ends_with(ending))
}

/// Remembers how long each file has been as it is.
#[derive(Debug)]
pub(super) struct Finder {
    quiet: Duration,
    unchanged: HashMap<Arc<str>, (Stamp, Instant)>,
}

/// What the finder makes of a walk.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// Unchanged for long enough.
    pub(super) files: Vec<Found>,
    /// Those that are not yet.
    pub(super) unfinished: usize,
    /// When the next of them may be.
    pub(super) due: Option<Instant>,
}

impl Finder {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, unchanged: HashMap::new() }
    }

    /// Picks the files that have been quiet for long enough out of all that are not settled yet.
    pub(super) fn pick(&mut self, files: Vec<Found>, now: Instant, wall: SystemTime) -> Quiet {
        let mut before = std::mem::take(&mut self.unchanged);
        let mut quiet = Quiet::default();
        for found in files {
            let since = match before.remove(&found.path) {
                Some((stamp, since)) if stamp == found.stamp => since,
                Some(_) => now,
                // Never seen before: the kernel remembers since when it is so.
                None => now.checked_sub(found.stamp.age(wall)).unwrap_or(now),
            };
            self.unchanged.insert(found.path.clone(), (found.stamp, since));
            let due = since + self.quiet;
            if due <= now {
                quiet.files.push(found);
            } else {
                quiet.unfinished += 1;
                quiet.due = Some(quiet.due.map_or(due, |earlier| earlier.min(due)));
            }
        }
        quiet
    }
}

#[cfg(test)]
mod tests {
    use super::{Finder, walk};
    use crate::products::folder::Folder;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant, SystemTime};

    #[test]
    fn files_in_nested_folders_are_found_under_odd_names_and_links_and_temporary_names_are_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        fs::create_dir_all(root.join("a b/\u{e9}")).expect("created");
        fs::create_dir_all(root.join("job.tmp")).expect("created");
        for name in ["a b/\u{e9}/x\ny", "z", ".hidden", "w.tmp", "w.part", "w~", "job.tmp/inner"] {
            fs::write(root.join(name), "x").expect("written");
        }
        fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "x").expect("written");
        symlink("/etc", root.join("etc")).expect("linked");
        symlink("z", root.join("zz")).expect("linked");
        let walk = walk(&Folder::new(root.to_owned())).expect("walked");
        let paths: Vec<_> = walk.files.iter().map(|found| &*found.path).collect();
        assert_eq!(paths, ["a b/\u{e9}/x\ny", "z"]);
        assert_eq!(walk.refused.len(), 1);
        assert!(walk.refused[0].0.starts_with("bad") && walk.refused[0].1.contains("not UTF-8"), "{:?}", walk.refused);
    }

    #[test]
    fn a_file_is_taken_once_it_was_quiet_and_not_while_it_grows() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        fs::write(&path, "x").expect("written");
        let watched = Folder::new(folder.path().to_owned());
        let files = || walk(&watched).expect("walked").files;
        let mut finder = Finder::new(Duration::from_secs(10));
        let (start, wall) = (Instant::now(), SystemTime::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(finder.pick(files(), start, wall).unfinished, 1);
        fs::write(&path, "xy").expect("grown");
        assert!(finder.pick(files(), at(11), wall).files.is_empty(), "it changed");
        let waiting = finder.pick(files(), at(20), wall);
        assert_eq!((waiting.files.len(), waiting.due), (0, Some(at(21))));
        assert_eq!(finder.pick(files(), at(21), wall).files.len(), 1);
    }

    #[test]
    fn a_file_that_was_quiet_before_the_agent_started_is_taken_at_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("f"), "x").expect("written");
        let files = walk(&Folder::new(folder.path().to_owned())).expect("walked").files;
        let later = SystemTime::now() + Duration::from_secs(11);
        let now = Instant::now() + Duration::from_secs(7200);
        assert_eq!(Finder::new(Duration::from_secs(10)).pick(files, now, later).files.len(), 1);
    }
}
