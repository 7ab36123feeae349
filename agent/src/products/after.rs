use super::deletion::{before_deletion, hidden};
use super::find::{Finder, Seen};
use super::folder::{Kind, Stamp, is_gone};
use super::found::{Body, Found};
use super::rename::rename_new;
use super::writers::writers;
use hostwright_core::config::products::{Afterwards, Finished, Marker};
use nix::fcntl::AT_FDCWD;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A product that was moved away takes the first free name with a number.
const MOST_OF_A_NAME: u32 = 10_000;

/// Does with a local product that the bucket has confirmed what is to be done, unless somebody writes it or it changed.
///
/// # Errors
/// A sentence that says what cannot be done.
pub(super) fn clear(finder: &Finder, found: &Found, afterwards: &Afterwards) -> Result<(), String> {
    let done = match afterwards {
        Afterwards::Keep => return Ok(()),
        Afterwards::Delete | Afterwards::KeepFor(_) => unless_changed(finder, found, &|| delete(finder, found)),
        Afterwards::Move(to) => unless_changed(finder, found, &|| move_to(finder, found, to)),
    };
    match done {
        Err(error) if !is_gone(&error) => Err(format!("uploaded, but cannot be {}: {error}", word(afterwards))),
        _ => Ok(()),
    }
}

fn word(afterwards: &Afterwards) -> String {
    match afterwards {
        Afterwards::Move(to) => format!("moved to {}", to.display()),
        _ => "deleted".into(),
    }
}

fn unless_changed(finder: &Finder, found: &Found, act: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    if !writers(&finder.folder, std::slice::from_ref(found))?.is_empty() {
        return Ok(());
    }
    match finder.look_anyway(&found.path)? {
        Some(Seen::Product(now)) if now.same_content(found) => act(),
        // A new product.
        _ => Ok(()),
    }
}

fn delete(finder: &Finder, found: &Found) -> io::Result<()> {
    match &found.body {
        Body::File => match hide(finder, found) {
            // There is no name that is so much longer.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                finder.folder.remove(&found.path)?;
                remove_signs(finder, &found.path)
            }
            Err(error) => Err(error),
            Ok(None) => Ok(()),
            Ok(Some(hidden)) => {
                finder.folder.remove(&hidden)?;
                remove_signs(finder, &found.path)
            }
        },
        Body::Folder(_) => {
            let Some(hidden) = hide(finder, found)? else { return Ok(()) };
            remove_signs(finder, &found.path)?;
            finish(finder, &hidden)
        }
    }
}

/// Gives a product a name under which nobody replaces it, adds to it or opens it, and looks once more: whatever came since
/// the last look goes back to its place. Nothing is given then.
fn hide(finder: &Finder, found: &Found) -> io::Result<Option<String>> {
    let hidden = hidden(&found.path);
    finder.folder.rename(&found.path, &hidden)?;
    let same = is_as_found(finder, found, &finder.folder.root().join(&hidden));
    let there = Found { path: hidden.as_str().into(), ..found.clone() };
    let unused = || writers(&finder.folder, std::slice::from_ref(&there)).map(|all| all.is_empty());
    match same.and_then(|same| Ok(same && unused()?)) {
        Ok(true) => return Ok(Some(hidden)),
        Ok(false) => put_back(finder, &hidden, &found.path)?,
        Err(error) => {
            put_back(finder, &hidden, &found.path)?;
            return Err(error);
        }
    }
    Ok(None)
}

/// What has taken its place meanwhile has replaced it.
fn put_back(finder: &Finder, hidden: &str, path: &str) -> io::Result<()> {
    match finder.folder.rename_back(hidden, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            log::warn!("{path:?} was made anew while it was to be deleted; what it was before is {hidden:?}");
            Ok(())
        }
        // No place for two names, or no right to them.
        Err(error) => {
            let named = format!("what took its place meanwhile is {hidden:?}, rename it to {path:?} ({error})");
            Err(io::Error::new(error.kind(), named))
        }
        Ok(()) => Ok(()),
    }
}

/// Whether what lies somewhere now is the product as it was found.
fn is_as_found(finder: &Finder, found: &Found, at: &Path) -> io::Result<bool> {
    let stamp = Stamp::of(&at.symlink_metadata()?);
    match &found.body {
        Body::File => Ok(stamp.same_content(&found.stamp)),
        Body::Folder(_) => match finder.contents_at(at, (&found.path, stamp))? {
            Seen::Product(now) => Ok(now.same_content(found)),
            _ => Ok(false),
        },
    }
}

/// Ends the deletion of a folder: all goes that was uploaded. What was excluded, and links, stay under the folder's name.
/// A file goes back to its place: what it is was not looked at any more.
///
/// # Errors
/// Something cannot be deleted.
pub(super) fn finish(finder: &Finder, hidden: &str) -> io::Result<()> {
    let Some(original) = before_deletion(hidden) else { return Ok(()) };
    if matches!(finder.folder.kind(hidden)?, Kind::File(_)) {
        return put_back(finder, hidden, &original);
    }
    let root = finder.folder.root();
    let stays = |inner: &str| finder.rule.is_excluded(&format!("{original}/{inner}"));
    if !remove_below(finder, hidden, "", &stays)? {
        finder.folder.remove_folder(hidden)?;
        return Ok(());
    }
    if root.join(&original).symlink_metadata().is_err() {
        finder.folder.rename(hidden, &original)?;
    }
    Ok(())
}

/// Removes the files in a folder and the folders in it that are empty then. Tells whether anything is left.
fn remove_below(finder: &Finder, hidden: &str, inner: &str, stays: &dyn Fn(&str) -> bool) -> io::Result<bool> {
    let mut is_left = false;
    for entry in fs::read_dir(finder.folder.root().join(hidden).join(inner))? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            is_left = true;
            continue;
        };
        let path = if inner.is_empty() { name } else { format!("{inner}/{name}") };
        let (kind, whole) = (entry.file_type()?, format!("{hidden}/{path}"));
        if stays(&path) || !(kind.is_dir() || kind.is_file()) {
            is_left = true;
        } else if kind.is_file() {
            finder.folder.remove(&whole)?;
        } else if remove_below(finder, hidden, &path, stays)? {
            is_left = true;
        } else {
            finder.folder.remove_folder(&whole)?;
        }
    }
    Ok(is_left)
}

/// Markers beside a product go with it, if they do not speak of another one that is still there.
fn remove_signs(finder: &Finder, path: &str) -> io::Result<()> {
    if !matches!(finder.rule.finished, Finished::Marker(Marker::Beside(..))) {
        return Ok(());
    }
    let (above, name) = path.rsplit_once('/').map_or(("", path), |(above, name)| (above, name));
    for (place, sign) in finder.rule.signs_for(path).iter().enumerate() {
        // The first has the product's own name, the second its stem.
        let is_there = matches!(finder.folder.kind(sign), Ok(Kind::File(_)));
        if is_there && (place == 0 || !has_sibling(finder, above, name)?) {
            finder.folder.remove(sign)?;
        }
    }
    Ok(())
}

/// Whether another product of the same stem lies in a folder.
fn has_sibling(finder: &Finder, above: &str, name: &str) -> io::Result<bool> {
    let stem = super::rule::stem(name);
    for entry in fs::read_dir(finder.folder.root().join(above))? {
        let other = entry?.file_name();
        let Some(other) = other.to_str() else { continue };
        let path = if above.is_empty() { other.to_owned() } else { format!("{above}/{other}") };
        if other != name && super::rule::stem(other) == stem && finder.rule.product_of(&path) == Some(path.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn move_to(finder: &Finder, found: &Found, to: &Path) -> io::Result<()> {
    let from = finder.folder.root().join(&*found.path);
    let target = free(&to.join(&*found.path))?;
    if let Some(above) = target.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::rename(&from, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(finder, found, &target)?;
            delete(finder, found)
        }
        Err(error) => Err(error),
        // What took its place at the last moment is no product that was confirmed.
        Ok(()) if !is_as_found(finder, found, &target)? => rename_new((AT_FDCWD, &target), (AT_FDCWD, &from)),
        Ok(()) => remove_signs(finder, &found.path),
    }
}

/// The first of some names that nothing has.
fn free(wanted: &Path) -> io::Result<PathBuf> {
    for number in 1..=MOST_OF_A_NAME {
        let name = wanted.file_name().unwrap_or_default().to_string_lossy();
        let path = if number == 1 { wanted.to_owned() } else { wanted.with_file_name(format!("{name}.{number}")) };
        if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// To another file system: under a hidden name first, durable before it gets its own.
fn copy(finder: &Finder, found: &Found, target: &Path) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unfinished = target.with_file_name(format!(".{name}.hostwright-moving"));
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished)?;
    }
    for (path, _) in found.files() {
        let to = match &found.body {
            Body::File => unfinished.clone(),
            Body::Folder(_) => {
                unfinished.join(path.strip_prefix(&*found.path).unwrap_or(&path).trim_start_matches('/'))
            }
        };
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        let (mut from, _) = finder.folder.open(&path)?;
        let mut copied = File::create(&to)?;
        io::copy(&mut from, &mut copied)?;
        copied.set_times(fs::FileTimes::new().set_modified(from.metadata()?.modified()?))?;
        copied.sync_all()?;
    }
    fs::rename(&unfinished, target)?;
    target.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::{before_deletion, clear, delete, finish, move_to};
    use crate::products::find::{Finder, Seen};
    use crate::products::folder::Folder;
    use crate::products::found::Found;
    use crate::products::rule::tests::rule;
    use hostwright_core::config::products::Afterwards;
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    fn finder(root: &Path, settings: &str) -> Finder {
        Finder { folder: Folder::new(root.to_owned()), rule: rule(settings) }
    }

    fn found(finder: &Finder, path: &str) -> Found {
        match finder.look(path) {
            Ok(Some(Seen::Product(found))) => found,
            _ => panic!("no product {path}"),
        }
    }

    fn make(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, file).expect("written");
        }
    }

    #[test]
    fn a_folder_is_deleted_but_for_what_was_not_uploaded_and_a_deletion_that_was_cut_off_goes_on() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let finder = finder(root, "finished: {marker: _SUCCESS}, product: folder, exclude: ['*/inputs/**']");
        make(root, &["j/a", "j/deep/b", "j/_SUCCESS", "k/inputs/i", "k/a", "k/_SUCCESS", ".l.hostwright-uploaded/a"]);
        clear(&finder, &found(&finder, "j"), &Afterwards::Delete).expect("deleted");
        clear(&finder, &found(&finder, "k"), &Afterwards::Delete).expect("deleted");
        assert!(!root.join("j").exists() && root.join("k/inputs/i").exists());
        assert!(!root.join("k/a").exists() && !root.join("k/_SUCCESS").exists());
        assert_eq!(before_deletion("x/.l.hostwright-uploaded").as_deref(), Some("x/l"));
        finish(&finder, ".l.hostwright-uploaded").expect("finished");
        assert_eq!(fs::read_dir(root).expect("listed").count(), 1);
    }

    #[test]
    fn what_changed_since_it_was_found_stays() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let finder = finder(folder.path(), "product: folder");
        make(folder.path(), &["j/a"]);
        let found = found(&finder, "j");
        make(folder.path(), &["j/late"]);
        clear(&finder, &found, &Afterwards::Delete).expect("left alone");
        assert!(folder.path().join("j/a").exists() && folder.path().join("j/late").exists());
    }

    /// What happens between the last look at a product and its deletion cannot be waited for: what was found is old here.
    fn what_takes_its_place_stays(folder: &Path) {
        let (root, done) = (folder.join("in"), folder.join("done"));
        let (files, folders) = (finder(&root, "quiet: 1s"), finder(&root, "product: folder"));
        let replace = |name: &str| {
            make(&root, &["new"]);
            fs::rename(root.join("new"), root.join(name)).expect("replaced");
        };
        make(&root, &["a.tif", "b.tif", "c.tif", "j/a", "k/a"]);
        let [a, b, c] = ["a.tif", "b.tif", "c.tif"].map(|path| found(&files, path));
        let [j, k] = ["j", "k"].map(|path| found(&folders, path));
        replace("a.tif");
        delete(&files, &a).expect("left alone");
        replace("b.tif");
        move_to(&files, &b, &done).expect("left alone");
        let writer = fs::OpenOptions::new().append(true).open(root.join("c.tif")).expect("opened");
        delete(&files, &c).expect("left alone");
        make(&root, &["j/late", "k/late"]);
        delete(&folders, &j).expect("left alone");
        move_to(&folders, &k, &done).expect("left alone");
        for path in ["a.tif", "b.tif", "c.tif", "j/a", "j/late", "k/a", "k/late"] {
            assert!(root.join(path).exists(), "{path}");
        }
        assert_eq!(fs::read_to_string(root.join("a.tif")).expect("there"), "new");
        drop(writer);
        delete(&files, &c).expect("deleted");
        delete(&folders, &found(&folders, "j")).expect("deleted");
        assert_eq!(fs::read_dir(&root).expect("listed").count(), 3, "nothing hidden is left");
        fs::rename(root.join("a.tif"), root.join(".a.tif.hostwright-uploaded")).expect("renamed");
        finish(&files, ".a.tif.hostwright-uploaded").expect("finished");
        assert!(root.join("a.tif").exists(), "a process was killed before it looked");
        make(&root, &[&"x".repeat(250)]);
        delete(&files, &found(&files, &"x".repeat(250))).expect("deleted");
    }

    #[test]
    fn what_takes_a_products_place_at_the_last_moment_is_neither_deleted_nor_moved() {
        let folder = tempfile::tempdir().expect("temporary folder");
        what_takes_its_place_stays(folder.path());
    }

    /// As NFS does, bindfs refuses to rename only where there is nothing of that name. It takes root, and FUSE.
    #[test]
    fn what_takes_a_products_place_stays_where_the_file_system_cannot_see_to_it() {
        let (folder, place) = (tempfile::tempdir().expect("temporary folder"), tempfile::tempdir().expect("another"));
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not tried: it takes root");
            return;
        }
        let mounted =
            Command::new("bindfs").args([folder.path(), place.path()]).status().expect("tests/setup.sh has it");
        assert!(mounted.success(), "bindfs: {mounted}");
        let all = std::panic::catch_unwind(|| {
            make(place.path(), &["a"]);
            let (a, b) = (place.path().join("a"), place.path().join("b"));
            let refused = renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_NOREPLACE);
            assert_eq!(refused, Err(Errno::EINVAL), "it can: this shows nothing any more");
            what_takes_its_place_stays(place.path());
        });
        let unmounted = Command::new("umount").arg("--lazy").arg(place.path()).status().expect("started");
        all.expect("stays");
        assert!(unmounted.success(), "umount: {unmounted}");
    }

    #[test]
    fn files_are_moved_under_their_paths_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (root, done) = (folder.path().join("in"), folder.path().join("done"));
        let finder = finder(&root, "quiet: 1s");
        for _ in 0..2 {
            make(&root, &["x/a.tif"]);
            clear(&finder, &found(&finder, "x/a.tif"), &Afterwards::Move(done.clone())).expect("moved");
        }
        assert!(!root.join("x/a.tif").exists());
        assert!(done.join("x/a.tif").exists() && done.join("x/a.tif.2").exists());
    }

    #[test]
    fn a_product_is_moved_to_another_file_system_whole() {
        let folder = tempfile::tempdir_in("/var/tmp").expect("temporary folder");
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("temporary folder");
        let finder = finder(folder.path(), "product: folder");
        make(folder.path(), &["j/a", "j/deep/b"]);
        clear(&finder, &found(&finder, "j"), &Afterwards::Move(elsewhere.path().join("to"))).expect("moved");
        assert!(!folder.path().join("j").exists());
        assert_eq!(fs::read_to_string(elsewhere.path().join("to/j/deep/b")).expect("there"), "j/deep/b");
        assert_eq!(fs::read_dir(elsewhere.path().join("to")).expect("listed").count(), 1);
    }

    #[test]
    fn a_marker_goes_with_the_last_product_that_it_speaks_of() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let finder = finder(folder.path(), "finished: {marker: '*.ready'}");
        make(folder.path(), &["a.tif", "a.xml", "a.ready", "b.tif", "b.tif.ready"]);
        let gone = |path: &str, sign: &str| {
            clear(&finder, &found(&finder, path), &Afterwards::Delete).expect("deleted");
            !folder.path().join(sign).exists()
        };
        assert!(gone("b.tif", "b.tif.ready"));
        assert!(!gone("a.tif", "a.ready"));
        assert!(gone("a.xml", "a.ready"));
    }
}
