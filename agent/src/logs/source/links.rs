use hostwright_core::permissions::{OTHERS_READ, lets_others_through};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::geteuid;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows (path_resolution(7)).
const MOST: usize = 40;

/// Opens a file for reading, unless somebody who may not read it has put a link to it on its way.
///
/// The agent reads files of everybody. Whoever owns a followed folder could have any of them shipped with a link to it,
/// so a link counts where it is root's, or of the file's owner, or leads to what everybody may read.
///
/// # Errors
/// It cannot be opened, or is not for whoever made the link.
pub fn open(path: &Path) -> io::Result<File> {
    // Few paths have a link, and there may be ten thousand files.
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    if let Ok(file) = openat2(AT_FDCWD, path, how) {
        return Ok(file.into());
    }
    let file = File::open(path)?;
    let (target, links) = resolve(path)?;
    let strange = |link: &&Link| link.owner != 0 && link.owner != geteuid().as_raw();
    if !links.iter().any(|link| strange(&link)) {
        return Ok(file);
    }
    let (opened, found) = (file.metadata()?, target.symlink_metadata()?);
    if same(&opened, &found) && is_for_everybody(&opened, &target) {
        return Ok(file);
    }
    // Between both looks a link may have been changed: then it is not known whose the open file is.
    match links.iter().filter(strange).find(|link| !same(&opened, &found) || link.owner != opened.uid()) {
        None => Ok(file),
        Some(link) => Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal(link, &target))),
    }
}

struct Link {
    path: PathBuf,
    owner: u32,
}

fn refusal(link: &Link, target: &Path) -> String {
    let Link { path, owner } = link;
    format!(
        "the symbolic link {} of user {owner} leads to {}, which is another user's and not for everybody to read: if it \
         shall be shipped, make the link root's (`chown -h root {}`)",
        path.display(),
        target.display(),
        path.display()
    )
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    // On some overlays, the path and the open file have different devices.
    a.ino() == b.ino() && a.uid() == b.uid()
}

fn is_for_everybody(file: &Metadata, path: &Path) -> bool {
    file.mode() & OTHERS_READ != 0 && lets_others_through(path)
}

/// Where a path leads, without links in it, and the links on the way.
fn resolve(path: &Path) -> io::Result<(PathBuf, Vec<Link>)> {
    let words = |path: &Path| path.components().map(|word| word.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let (mut rest, mut found, mut links) = (VecDeque::from(words(path)), PathBuf::new(), Vec::new());
    while let Some(word) = rest.pop_front() {
        match Path::new(&word).components().next() {
            Some(Component::ParentDir) => drop(found.pop()),
            Some(Component::Normal(_)) => {
                let next = found.join(&word);
                let metadata = next.symlink_metadata()?;
                if !metadata.is_symlink() {
                    found = next;
                    continue;
                }
                if links.len() == MOST {
                    return Err(io::Error::from_raw_os_error(nix::errno::Errno::ELOOP as i32));
                }
                words(&next.read_link()?).into_iter().rev().for_each(|word| rest.push_front(word));
                links.push(Link { path: next, owner: metadata.uid() });
            }
            // The root, which begins anew.
            Some(_) => found.push(&word),
            None => {}
        }
    }
    Ok((found, links))
}

#[cfg(test)]
mod tests {
    use super::{open, resolve};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
    use std::path::Path;

    const APP: u32 = 61_001;
    const OTHER: u32 = 61_002;

    fn file(path: &Path, owner: u32, mode: u32) {
        fs::write(path, "a line\n").expect("written");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        chown(path, Some(owner), None).expect("this test needs root");
    }

    #[test]
    fn a_link_counts_where_its_owner_might_have_read_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let folder = &folder.path().canonicalize().expect("there");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("set");
        let (secret, open_to_all, own) = (folder.join("secret"), folder.join("all"), folder.join("own"));
        file(&secret, 0, 0o600);
        file(&open_to_all, OTHER, 0o644);
        file(&own, APP, 0o600);
        let link = |name: &str, target: &Path, owner: u32| {
            let link = folder.join(name);
            symlink(target, &link).expect("linked");
            lchown(&link, Some(owner), None).expect("this test needs root");
            link
        };
        assert!(open(&secret).is_ok(), "no link");
        assert!(open(&link("by-root", &secret, 0)).is_ok());
        assert!(open(&link("own.log", &own, APP)).is_ok());
        assert!(open(&link("all.log", &open_to_all, APP)).is_ok());
        let planted = link("planted.log", &secret, APP);
        let why = open(&planted).expect_err("refused").to_string();
        assert!(why.contains("planted.log of user 61001") && why.contains("chown -h root"), "{why}");
        // A root's link that leads over a planted one, and a planted folder.
        assert!(open(&link("chain", &planted, 0)).is_err());
        assert!(open(&link("folder", folder, APP).join("secret")).is_err());
        // What lies in a folder that keeps others out is not for everybody.
        let closed = folder.join("closed");
        fs::create_dir(&closed).expect("made");
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("set");
        file(&closed.join("note"), 0, 0o644);
        assert!(open(&link("note.log", &closed.join("note"), APP)).is_err());
    }

    #[test]
    fn relative_links_lead_on_from_their_folder_and_a_circle_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let folder = folder.path().canonicalize().expect("there");
        fs::create_dir(folder.join("a")).expect("made");
        fs::write(folder.join("file"), "").expect("written");
        symlink("../file", folder.join("a/up")).expect("linked");
        symlink("circle", folder.join("circle")).expect("linked");
        assert_eq!(resolve(&folder.join("a/up")).expect("resolved").0, folder.join("file"));
        assert!(resolve(&folder.join("circle")).is_err());
    }
}
