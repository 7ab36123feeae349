use super::rename::rename_new;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A watched folder. Below it no symbolic link is followed, even one that takes a folder's place at the last moment.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: Arc<PathBuf>,
}

/// What tells one content of a file from another, as far as the ledger remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) size: u64,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, i64),
    /// Of a folder: a digest of what is in it.
    pub(super) inode: u64,
}

/// A fingerprint with what is not the same after a reboot or a change of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) fingerprint: Fingerprint,
    pub(super) device: u64,
    /// The last change of anything about the file; unlike `mtime` nobody can set it back.
    pub(super) ctime: (i64, i64),
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File(Stamp),
    Folder(Stamp),
    /// A link, a pipe, a socket, a device.
    Neither,
}

impl Fingerprint {
    /// In a few bytes, the same in every process: a ledger has very many of them.
    pub(super) fn digest(&self) -> u64 {
        let Self { size, mtime: (seconds, nanoseconds), inode } = *self;
        digest(&[size, seconds.cast_unsigned(), nanoseconds.cast_unsigned(), inode].map(u64::to_le_bytes).concat())
    }
}

/// Eight bytes of a SHA-256: by accident two in a thousand million million million are alike.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            fingerprint: Fingerprint {
                size: metadata.len(),
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
                inode: metadata.ino(),
            },
            device: metadata.dev(),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn of_stat(stat: &FileStat) -> Self {
        Self {
            fingerprint: Fingerprint {
                size: stat.st_size.cast_unsigned(),
                mtime: (stat.st_mtime, stat.st_mtime_nsec),
                inode: stat.st_ino,
            },
            device: stat.st_dev,
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Time since the last change of anything about the file; none if the clock was set back.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        let (seconds, nanoseconds) = self.ctime;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            return Duration::ZERO;
        };
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // An hour is as good as a year, and seldom lies before the machine's start.
        since_1970.checked_sub(Duration::new(seconds, nanoseconds)).unwrap_or_default().min(Duration::from_secs(3600))
    }

    /// Whether it is the same file with the same content; a change of rights or names does not count.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.device == other.device
    }
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a file in it for reading, with what it is at this moment.
    pub(super) fn open(&self, path: &str) -> io::Result<(File, Stamp)> {
        // Non-blocking, in case a pipe took the file's place.
        let fd = self.open_below(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let stat = fstat(&fd)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((fd.into(), Stamp::of_stat(&stat)))
    }

    /// What a file is at this moment.
    pub(super) fn stamp(&self, path: &str) -> io::Result<Stamp> {
        Ok(Stamp::of_stat(&fstat(self.open_below(path, OFlag::O_PATH)?)?))
    }

    /// What is at a path at this moment: a file, a folder with its stamp, or neither.
    pub(super) fn kind(&self, path: &str) -> io::Result<Kind> {
        let path = if path.is_empty() { "." } else { path };
        let stat = fstat(&self.open_below(path, OFlag::O_PATH)?)?;
        Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File(Stamp::of_stat(&stat)),
            SFlag::S_IFDIR => Kind::Folder(Stamp::of_stat(&stat)),
            _ => Kind::Neither,
        })
    }

    /// Deletes a file in it.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        self.unlink(path, UnlinkatFlags::NoRemoveDir)
    }

    /// Deletes a folder in it that is empty.
    pub(super) fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.unlink(path, UnlinkatFlags::RemoveDir)
    }

    /// Gives what is at a path another name in the same folder.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (above, from, to) = self.names(from, to)?;
        Ok(renameat(&above, from, &above, to)?)
    }

    /// The same, unless there is something of that name.
    pub(super) fn rename_back(&self, from: &str, to: &str) -> io::Result<()> {
        let (above, from, to) = self.names(from, to)?;
        rename_new((above.as_fd(), Path::new(from)), (above.as_fd(), Path::new(to)))
    }

    /// The folder in which two paths are, and their names there.
    fn names<'n>(&self, from: &'n str, to: &'n str) -> io::Result<(OwnedFd, &'n str, &'n str)> {
        let (above, from) = from.rsplit_once('/').unwrap_or((".", from));
        let to = to.rsplit_once('/').map_or(to, |(_, name)| name);
        Ok((self.open_below(above, OFlag::O_PATH | OFlag::O_DIRECTORY)?, from, to))
    }

    fn unlink(&self, path: &str, what: UnlinkatFlags) -> io::Result<()> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let above = self.open_below(above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(unlinkat(above, name, what)?)
    }

    fn open_below(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let root = open(&*self.root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let below = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        Ok(openat2(root, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(below))?)
    }
}

/// Whether a file is not there any more, or a link or something else took its place.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let link_in_its_place = error.raw_os_error() == Some(Errno::ELOOP as i32);
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::IsADirectory];
    link_in_its_place || kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::{Folder, is_gone};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_below_the_folder_is_followed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().join("watched");
        fs::create_dir_all(root.join("real")).expect("created");
        fs::write(folder.path().join("secret"), "s").expect("written");
        fs::write(root.join("real/file"), "f").expect("written");
        symlink(folder.path(), root.join("out")).expect("linked");
        symlink("real/file", root.join("link")).expect("linked");
        let watched = Folder::new(root);
        assert!(watched.open("real/file").is_ok());
        for path in ["out/secret", "link", "../secret", "/etc/passwd", "real"] {
            assert!(watched.open(path).is_err(), "{path}");
        }
        assert!(is_gone(&watched.open("link").expect_err("refused")));
        assert!(watched.remove("out/secret").is_err() && folder.path().join("secret").exists());
        watched.remove("real/file").expect("removed");
    }
}
