use crate::boot::host::Host;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// A folder of the host, held open: what it is called may change meanwhile, what is worked on does not.
///
/// On the way to it links are followed only where root alone can put them. Below a folder of somebody else's a link
/// would let him choose what root writes.
pub struct Folder {
    file: File,
    is_roots: bool,
}

/// A folder that is open already, and somebody else's.
impl From<File> for Folder {
    fn from(file: File) -> Self {
        Self { file, is_roots: false }
    }
}

enum Entered {
    Folder(Folder),
    Link(PathBuf),
}

impl Folder {
    /// Opens it, and makes what is missing of it.
    ///
    /// # Errors
    /// The file system refuses, or somebody else's link is on the way.
    pub fn open_or_make(host: &Host, path: &Path) -> io::Result<Self> {
        let file = File::open(host.path("/"))?;
        let is_roots = is_roots(&fstat(&file)?);
        let mut way = Vec::new();
        let mut here = Self { file, is_roots };
        let (mut ahead, mut links) = (names(path), 0);
        while let Some(name) = ahead.pop() {
            if name == ".." {
                here = way.pop().unwrap_or(here);
                continue;
            }
            match here.enter(&name)? {
                Entered::Folder(folder) => way.push(std::mem::replace(&mut here, folder)),
                Entered::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    if target.is_absolute() && !way.is_empty() {
                        here = way.swap_remove(0);
                        way.clear();
                    }
                    ahead.extend(names(&target));
                }
            }
        }
        Ok(here)
    }

    /// A path to a file in it, for as long as it is held.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())).join(name)
    }

    /// Makes that what was put into it is there after a power cut.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// The content of a file in it, if there is one. Neither a link nor anything but an ordinary file is read.
    ///
    /// # Errors
    /// It cannot be read, is larger than `limit`, or no ordinary file.
    pub fn read(&self, name: &OsStr, limit: u64) -> io::Result<Option<Vec<u8>>> {
        // A pipe must not hold up the boot.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.file, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(io::Error::other("it is a link, and links are not followed there")),
            opened => File::from(opened?),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no ordinary file"));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes, the most that is read")));
        }
        Ok(Some(content))
    }

    fn enter(&self, name: &OsStr) -> io::Result<Entered> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(&self.file, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::ENOENT) => match mkdirat(&self.file, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => open(),
                Err(error) => Err(error),
            },
            Err(error @ (Errno::ELOOP | Errno::ENOTDIR)) => return self.link(name, error).map(Entered::Link),
            opened => opened,
        };
        let file = File::from(opened?);
        let is_roots = self.is_roots && is_roots(&fstat(&file)?);
        Ok(Entered::Folder(Self { file, is_roots }))
    }

    fn link(&self, name: &OsStr, error: Errno) -> io::Result<PathBuf> {
        let stat = fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFLNK.bits() {
            return Err(error.into());
        }
        if !self.is_roots || !is_owner_trusted(&stat) {
            return Err(io::Error::other(format!(
                "{} is a link that is not root's, and such links are not followed",
                name.display()
            )));
        }
        Ok(readlinkat(&self.file, name)?.into())
    }
}

/// Whether nobody but root (or whoever works on a tree of his own) can put anything there.
fn is_roots(stat: &FileStat) -> bool {
    is_owner_trusted(stat) && stat.st_mode & Mode::S_IWOTH.bits() == 0
}

fn is_owner_trusted(stat: &FileStat) -> bool {
    stat.st_uid == 0 || stat.st_uid == nix::unistd::geteuid().as_raw()
}

/// The last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::Folder;
    use crate::boot::host::Host;
    use std::os::unix::fs::{lchown, symlink};
    use std::path::Path;

    #[test]
    fn links_are_followed_where_they_are_roots_alone_and_stay_in_the_tree() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        std::fs::create_dir_all(tree.path().join("usr/lib")).expect("folders");
        symlink("/usr/../usr/lib", tree.path().join("lib")).expect("linked");
        Folder::open_or_make(&host, Path::new("/lib/a/b")).expect("followed");
        assert!(tree.path().join("usr/lib/a/b").is_dir());
        symlink("loop", tree.path().join("loop")).expect("linked");
        Folder::open_or_make(&host, Path::new("/loop/a")).err().expect("refused");
    }

    #[test]
    fn a_users_links_are_not_followed_nor_those_below_his_folders() {
        if !nix::unistd::geteuid().is_root() {
            return; // nobody else can make another's folder
        }
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        std::fs::create_dir_all(tree.path().join("etc")).expect("folder");
        std::fs::create_dir_all(tree.path().join("home/bob/roots")).expect("folder");
        lchown(tree.path().join("home/bob"), Some(1000), Some(1000)).expect("chown");
        for link in ["home/bob/app", "home/bob/roots/app", "theirs"] {
            symlink("/etc", tree.path().join(link)).expect("linked");
        }
        lchown(tree.path().join("theirs"), Some(1000), Some(1000)).expect("chown");
        for path in ["/home/bob/app", "/home/bob/roots/app/x", "/theirs/x"] {
            let error = Folder::open_or_make(&host, Path::new(path)).err().expect("refused");
            assert!(error.to_string().contains("not followed"), "{path}: {error}");
        }
        Folder::open_or_make(&host, Path::new("/home/bob/new/folder")).expect("no link on the way");
        assert_eq!(tree.path().join("etc").read_dir().expect("listed").count(), 0);
    }
}
