use super::deletion::before_deletion;
use super::folder::{Folder, Kind, Stamp};
use super::found::{Contents, Found, Member};
use super::rule::{JOB_FILE, Rule};
use hostwright_core::config::products::{Finished, Form};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Folders in folders beyond this are not entered; no product is so deep, and a loop of mounts might be.
const DEEPEST: usize = 64;
/// What is larger is no description of a job.
const LARGEST_JOB: u64 = 64 << 10;
/// A product of more files than this would be a manifest that nobody reads, and memory that nobody has.
const MOST_MEMBERS: usize = 100_000;

/// Looks for products in a folder.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    pub(super) folder: Folder,
    pub(super) rule: Rule,
}

/// Where a walk is: the folders that are left, the next one last, with their depths, and from which name on it goes there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    above: Vec<(String, usize)>,
    from: Option<OsString>,
    is_begun: bool,
}

impl Place {
    /// Before all that is in a folder in the watched one; `""` is that itself.
    pub(super) fn before(path: &str) -> Self {
        Self { above: vec![(path.to_owned(), 0)], from: None, is_begun: false }
    }
}

/// What is seen on the way through a folder.
pub(super) enum Seen {
    /// A product, finished or not.
    Product(Found),
    /// What cannot be a product although somebody may think so: a path, as far as it can be shown, and why.
    Refused(String, String),
    /// A folder that could not be read: what is in it was not seen, and is not gone.
    Unread(String, String),
    /// What an earlier process was deleting.
    Deleting(String),
}

impl Finder {
    /// What is at a path, if that is the path of a product.
    ///
    /// # Errors
    /// It is gone, or cannot be looked at.
    pub(super) fn look(&self, path: &str) -> io::Result<Option<Seen>> {
        match (self.folder.kind(path)?, self.rule.form) {
            (Kind::File(stamp), Form::File) if self.rule.is_file(path) => {
                Ok(Some(Seen::Product(self.with_job(Found::file(path.into(), stamp)))))
            }
            (Kind::Folder(stamp), Form::Folder) if self.rule.is_folder(path) => Ok(Some(self.contents(path, stamp)?)),
            _ => Ok(None),
        }
    }

    /// The same for a path that no pattern fits, because somebody asks for it.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(super) fn look_anyway(&self, path: &str) -> io::Result<Option<Seen>> {
        match (self.folder.kind(path)?, self.rule.form) {
            (Kind::File(stamp), Form::File) => Ok(Some(Seen::Product(self.with_job(Found::file(path.into(), stamp))))),
            (Kind::Folder(stamp), Form::Folder) if !path.is_empty() => Ok(Some(self.contents(path, stamp)?)),
            _ => Ok(None),
        }
    }

    /// Goes through all from a place on, until told to break: then it gives the place of what it was told so.
    ///
    /// # Errors
    /// The folder with which the walk began cannot be read.
    pub(super) fn walk(
        &self,
        Place { mut above, mut from, is_begun }: Place,
        visit: &mut dyn FnMut(Seen) -> ControlFlow<()>,
    ) -> io::Result<Option<Place>> {
        let mut first = !is_begun;
        while let Some((path, depth)) = above.pop() {
            match self.enter((&path, from.take()), visit) {
                Ok(ControlFlow::Break(name)) => {
                    above.push((path, depth));
                    return Ok(Some(Place { above, from: Some(name), is_begun: true }));
                }
                Ok(_) if depth == DEEPEST => {
                    let _ = visit(Seen::Refused(path, "it is nested too deep".into()));
                }
                Ok(ControlFlow::Continue(folders)) => {
                    above.extend(folders.into_iter().rev().map(|name| (name, depth + 1)));
                }
                Err(error) if first => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = visit(Seen::Unread(path, format!("the folder cannot be read: {error}")));
                }
            }
            first = false;
        }
        Ok(None)
    }

    /// Visits the products directly in a folder, from a name on, and gives the folders that may have some.
    fn enter(
        &self,
        (path, from): (&str, Option<OsString>),
        visit: &mut dyn FnMut(Seen) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<OsString, Vec<String>>> {
        let mut folders = Vec::new();
        let folder = self.folder.root().join(path);
        for (name, kind) in sorted(&folder)? {
            // Only the way down through it is needed.
            let is_visited = from.as_ref().is_some_and(|from| name < *from);
            if is_visited && !kind.is_dir() {
                continue;
            }
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let seen = match name.to_str().map(below) {
                Some(path) if is_visited => {
                    let is_entered = self.rule.is_entered(&path) && before_deletion(&path).is_none();
                    folders.extend(Some(path).filter(|path| is_entered && !self.rule.is_folder(path)));
                    None
                }
                None if is_visited => None,
                None if kind.is_file() || kind.is_dir() => {
                    Some(Seen::Refused(below(&name.to_string_lossy()), NOT_UTF8.into()))
                }
                Some(path) if kind.is_file() && self.rule.is_file(&path) => match folder.join(&name).symlink_metadata()
                {
                    Ok(metadata) => Some(Seen::Product(self.with_job(Found::file(path.into(), Stamp::of(&metadata))))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                },
                Some(path) if kind.is_dir() && self.rule.is_folder(&path) => match self.look(&path) {
                    Ok(seen) => seen,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => Some(Seen::Unread(path, format!("the folder cannot be read: {error}"))),
                },
                Some(path) if !kind.is_symlink() && before_deletion(&path).is_some() => Some(Seen::Deleting(path)),
                Some(path) if kind.is_dir() && self.rule.is_entered(&path) => {
                    folders.push(path);
                    None
                }
                _ => None,
            };
            if seen.is_some_and(|seen| visit(seen).is_break()) {
                return Ok(ControlFlow::Break(name));
            }
        }
        Ok(ControlFlow::Continue(folders))
    }

    /// A folder that is a product, with all that is in it.
    fn contents(&self, path: &str, own: Stamp) -> io::Result<Seen> {
        self.contents_at(&self.folder.root().join(path), (path, own))
    }

    /// The same, wherever it lies now.
    ///
    /// # Errors
    /// Something in it cannot be looked at.
    pub(super) fn contents_at(&self, at: &Path, (path, own): (&str, Stamp)) -> io::Result<Seen> {
        let mut contents = Contents::default();
        let mut above = vec![String::new()];
        while let Some(inner) = above.pop() {
            let folder = at.join(&inner);
            for (name, kind) in sorted(&folder)? {
                let Some(name) = name.to_str() else {
                    let shown = format!("{path}/{}", name.to_string_lossy());
                    return Ok(Seen::Refused(path.to_owned(), format!("of {shown:?} {NOT_UTF8}")));
                };
                let member = if inner.is_empty() { name.to_owned() } else { format!("{inner}/{name}") };
                let whole = format!("{path}/{member}");
                if self.rule.is_excluded(&whole) || self.rule.is_a_sign(&whole) || name == JOB_FILE {
                    continue;
                }
                if kind.is_dir() {
                    above.push(member);
                } else if kind.is_file() {
                    contents
                        .members
                        .push(Member { path: member, stamp: Stamp::of(&folder.join(name).symlink_metadata()?) });
                } else {
                    let what = if kind.is_symlink() { "a symbolic link" } else { "neither file nor folder" };
                    contents.left_out.push((member, what.to_owned()));
                }
            }
            if contents.members.len() > MOST_MEMBERS {
                let why = format!("it has more than {MOST_MEMBERS} files; make several products of it");
                return Ok(Seen::Refused(path.to_owned(), why));
            }
        }
        contents.members.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Seen::Product(self.with_job(Found::folder(path.into(), own, contents))))
    }

    /// Whether a marker, or the file of a job, says that a product is finished. What needs none has one.
    pub(super) fn has_sign(&self, found: &Found) -> bool {
        match &self.rule.finished {
            Finished::Job => found.job.is_some(),
            Finished::Marker(_) => {
                let is_file = |sign: &String| matches!(self.folder.kind(sign), Ok(Kind::File(_)));
                self.rule.signs_for(&found.path).iter().any(is_file)
            }
            _ => true,
        }
    }

    fn with_job(&self, mut found: Found) -> Found {
        if self.rule.finished == Finished::Job {
            found.job = self.rule.signs_for(&found.path).iter().find_map(|sign| self.job(sign));
        }
        found
    }

    fn job(&self, path: &str) -> Option<Arc<Map<String, Value>>> {
        let (file, _) = self.folder.open(path).ok()?;
        let mut text = String::new();
        file.take(LARGEST_JOB).read_to_string(&mut text).ok()?;
        match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(job) => Some(Arc::new(job)),
            Err(error) => {
                let folder = self.folder.root().display();
                log::warn!("products: {folder}/{path} does not describe a job: {error}");
                None
            }
        }
    }
}

const NOT_UTF8: &str = "its name is not UTF-8 and cannot be a key; rename it";

/// In a certain order, so that of two that want one key the same is refused each time.
fn sorted(folder: &Path) -> io::Result<Vec<(OsString, fs::FileType)>> {
    let entries =
        fs::read_dir(folder)?.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::{Finder, Place, Seen};
    use crate::products::folder::Folder;
    use crate::products::found::Body;
    use crate::products::rule::tests::rule;
    use std::ffi::OsStr;
    use std::fs;
    use std::ops::ControlFlow;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn finder(root: &Path, settings: &str) -> Finder {
        Finder { folder: Folder::new(root.to_owned()), rule: rule(settings) }
    }

    /// Products, and what was refused.
    fn walk(finder: &Finder) -> (Vec<String>, Vec<String>) {
        let (mut products, mut refused) = (Vec::new(), Vec::new());
        let mut visit = |seen| {
            match seen {
                Seen::Product(found) => products.push(found.path.to_string()),
                Seen::Refused(path, why) | Seen::Unread(path, why) => refused.push(format!("{path}: {why}")),
                Seen::Deleting(path) => refused.push(path),
            }
            ControlFlow::Continue(())
        };
        finder.walk(Place::before(""), &mut visit).expect("walked");
        (products, refused)
    }

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
        let (mut products, refused) = walk(&finder(root, "quiet: 1s"));
        products.sort();
        assert_eq!(products, ["a b/\u{e9}/x\ny", "z"]);
        assert!(refused.len() == 1 && refused[0].starts_with("bad") && refused[0].contains("not UTF-8"), "{refused:?}");
    }

    #[test]
    fn a_walk_that_stops_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        for path in ["b/2", "b/a/1", "c", "d/1", "a/1", "a/x/y/2", "e", "f/z"] {
            fs::create_dir_all(root.join(path).parent().expect("a folder")).expect("created");
            fs::write(root.join(path), "x").expect("written");
        }
        let finder = finder(root, "quiet: 1s");
        let all = walk(&finder).0;
        for most in 1..=all.len() {
            let (mut seen, mut place) = (Vec::new(), Some(Place::before("")));
            while let Some(from) = place {
                let mut lot = Vec::new();
                place = finder
                    .walk(from, &mut |next| {
                        let Seen::Product(found) = next else { panic!("a product") };
                        if lot.len() == most {
                            return ControlFlow::Break(());
                        }
                        lot.push(found.path.to_string());
                        ControlFlow::Continue(())
                    })
                    .expect("walked");
                seen.append(&mut lot);
                // What comes and goes meanwhile does not matter.
                fs::write(root.join("b/1"), "x").expect("written");
                fs::remove_file(root.join("b/1")).expect("removed");
            }
            assert_eq!(seen, all, "{most} at a time");
        }
        assert_eq!(all.len(), 8);
        let Ok(Some(rest)) = finder.walk(Place::before(""), &mut |_| ControlFlow::Break(())) else {
            panic!("it stops")
        };
        fs::remove_dir_all(root).expect("removed");
        assert!(matches!(finder.walk(rest, &mut |_| panic!("nothing is left")), Ok(None)));
    }

    #[test]
    fn a_folder_is_taken_with_all_that_is_in_it_but_what_is_excluded_and_links_are_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        fs::create_dir_all(root.join("j1/out/.zarr")).expect("created");
        fs::create_dir_all(root.join("j1/inputs")).expect("created");
        for name in ["j1/out/.zarr/.zattrs", "j1/out/a.tmp", "j1/inputs/in", "j1/.hostwright-job.json", "stray"] {
            fs::write(root.join(name), "{\"job_id\": \"7\"}").expect("written");
        }
        symlink("/etc/passwd", root.join("j1/out/link")).expect("linked");
        let finder = finder(root, "finished: job, exclude: ['*/inputs/**']");
        assert_eq!(walk(&finder).0, ["j1"]);
        let Ok(Some(Seen::Product(found))) = finder.look("j1") else { panic!("no product") };
        let Body::Folder(contents) = &found.body else { panic!("no folder") };
        let members: Vec<_> = contents.members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(members, ["out/.zarr/.zattrs", "out/a.tmp"]);
        assert_eq!(contents.left_out, [("out/link".to_owned(), "a symbolic link".to_owned())]);
        assert_eq!(found.job.as_ref().expect("job")["job_id"], "7");
        assert!(finder.has_sign(&found));
        fs::remove_file(root.join("j1/.hostwright-job.json")).expect("removed");
        let Ok(Some(Seen::Product(found))) = finder.look("j1") else { panic!("no product") };
        assert!(!finder.has_sign(&found), "the job has not ended");
    }
}
