use crate::sample::CollectError;
use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stands in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which need not be UTF-8.
    pub name: Vec<u8>,
    /// What it is; a link is not followed.
    pub kind: Option<Type>,
    inode: u64,
}

impl Entry {
    /// A file of its own, neither link nor folder.
    pub fn is_file(&self) -> bool {
        self.kind == Some(Type::File)
    }

    /// A folder of its own, not the link to one.
    pub fn is_folder(&self) -> bool {
        self.kind == Some(Type::Directory)
    }

    /// Its name is the prefix with a digit behind it, and anything after that.
    pub fn is_numbered(&self, prefix: &str) -> bool {
        self.name.strip_prefix(prefix.as_bytes()).and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
    }
}

/// The devices in a folder in the order of their names, each with what a collector keeps of it.
#[derive(Debug)]
pub struct Devices<D> {
    folder: PathBuf,
    /// Of what stood in the folder at the last look: most looks find the same.
    seen: u64,
    all: Vec<(Entry, D)>,
}

impl<D> Devices<D> {
    /// Nothing is looked at before [`Self::refresh`].
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, seen: 0, all: Vec::new() }
    }

    /// Looks which devices there are, and tells whether they are others than before. What was kept of one stays with
    /// it; of a new one, `find` says what to keep.
    ///
    /// # Errors
    /// The folder cannot be read; [`CollectError::NoData`] where there is none.
    pub fn refresh(
        &mut self,
        is_device: impl Fn(&Entry) -> bool,
        mut find: impl FnMut(&Path, &[u8]) -> D,
    ) -> Result<bool, CollectError> {
        match self.look(is_device, &mut find) {
            Ok(changed) => Ok(changed),
            Err(source) => {
                self.forget();
                Err(CollectError::reading(&self.folder, source))
            }
        }
    }

    fn look(
        &mut self,
        is_device: impl Fn(&Entry) -> bool,
        find: &mut impl FnMut(&Path, &[u8]) -> D,
    ) -> io::Result<bool> {
        let mut seen = 1_u64;
        each(&self.folder, |name, inode, _| {
            let mut hasher = DefaultHasher::new();
            (name, inode).hash(&mut hasher);
            // A sum, since a folder's order means nothing.
            seen = seen.wrapping_add(hasher.finish());
        })?;
        if seen == self.seen {
            return Ok(false);
        }
        let mut known = std::mem::take(&mut self.all);
        for entry in list(&self.folder)?.into_iter().filter(is_device) {
            let kept = match known.iter().position(|(old, _)| *old == entry) {
                Some(at) => known.swap_remove(at).1,
                None => find(&self.folder.join(OsStr::from_bytes(&entry.name)), &entry.name),
            };
            self.all.push((entry, kept));
        }
        self.seen = seen;
        Ok(true)
    }

    /// What is kept of each.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut D> {
        self.all.iter_mut().map(|(_, kept)| kept)
    }

    /// The same, to be looked at.
    pub fn iter(&self) -> impl Iterator<Item = &D> {
        self.all.iter().map(|(_, kept)| kept)
    }

    /// Takes the next look for the first one.
    pub fn forget(&mut self) {
        self.seen = 0;
        self.all.clear();
    }
}

/// What stands in a folder, in the order of the names.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    each(folder, |name, inode, kind| entries.push(Entry { name: name.to_vec(), kind, inode }))?;
    for entry in entries.iter_mut().filter(|entry| entry.kind.is_none()) {
        entry.kind = look_up(&folder.join(OsStr::from_bytes(&entry.name)));
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// For file systems whose folders do not tell it.
fn look_up(path: &Path) -> Option<Type> {
    let kind = path.symlink_metadata().ok()?.file_type();
    match () {
        () if kind.is_file() => Some(Type::File),
        () if kind.is_dir() => Some(Type::Directory),
        () if kind.is_symlink() => Some(Type::Symlink),
        () => None,
    }
}

fn each(folder: &Path, mut look: impl FnMut(&[u8], u64, Option<Type>)) -> io::Result<()> {
    let mut folder = Dir::open(folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            look(name, entry.ino(), entry.file_type());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Devices;
    use crate::sample::CollectError;
    use std::fs;

    #[test]
    fn devices_that_stay_keep_what_is_kept_and_others_come_and_go() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let class = folder.path().join("net");
        let mut devices = Devices::new(class.clone());
        let mut counter = 0;
        let mut look = || {
            let found = devices.refresh(
                |entry| entry.is_numbered("eth"),
                |path, name| {
                    counter += 1;
                    (counter, path.ends_with("eth0"), name.to_vec())
                },
            );
            found.map(|_| {
                devices
                    .iter()
                    .map(|(at, _, name)| (*at, String::from_utf8_lossy(name).into_owned()))
                    .collect::<Vec<_>>()
            })
        };
        assert!(matches!(look(), Err(CollectError::NoData { .. })));
        for name in ["eth1", "eth0", "lo", "ethernet"] {
            fs::create_dir_all(class.join(name)).expect("made");
        }
        let two = vec![(1, "eth0".to_owned()), (2, "eth1".to_owned())];
        assert_eq!(look().expect("there"), two);
        assert_eq!(look().expect("there"), two);
        fs::create_dir(class.join("eth01")).expect("made");
        fs::remove_dir(class.join("eth0")).expect("removed");
        assert_eq!(look().expect("there"), [(3, "eth01".to_owned()), (2, "eth1".to_owned())]);
        fs::remove_dir_all(&class).expect("removed");
        assert!(look().is_err());
    }
}
