use super::CollectError;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A folder of sysfs or procfs with an entry for each device. What is kept of an entry stays as long as the entry does.
pub struct Folder<T> {
    path: PathBuf,
    entries: BTreeMap<OsString, Entry<T>>,
}

struct Entry<T> {
    kept: T,
    seen: bool,
}

impl<T> Folder<T> {
    /// Nothing is read before [`Self::refresh`].
    pub fn new(path: PathBuf) -> Self {
        Self { path, entries: BTreeMap::new() }
    }

    /// Makes what is kept of new entries, given name and path, and forgets those that are gone.
    ///
    /// # Errors
    /// There is no such folder, or why it cannot be read. Then there are no entries.
    pub fn refresh(&mut self, mut make: impl FnMut(&[u8], &Path) -> Option<T>) -> Result<(), CollectError> {
        self.entries.values_mut().for_each(|entry| entry.seen = false);
        let found = self.list(&mut make);
        self.entries.retain(|_, entry| entry.seen);
        found
    }

    fn list(&mut self, make: &mut impl FnMut(&[u8], &Path) -> Option<T>) -> Result<(), CollectError> {
        let failed = |source| CollectError::reading(&self.path, source);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if let Some(known) = self.entries.get_mut(&name) {
                known.seen = true;
            } else if let Some(kept) = make(name.as_bytes(), &entry.path()) {
                self.entries.insert(name, Entry { kept, seen: true });
            }
        }
        Ok(())
    }

    /// The entries with their names, in the names' order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut T)> {
        self.entries.iter_mut().map(|(name, entry)| (name.as_bytes(), &mut entry.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::{CollectError, Folder};
    use std::fs;

    #[test]
    fn entries_are_kept_while_they_are_there_and_made_anew_when_they_come_back() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = root.path().join("devices");
        let mut folder = Folder::new(path.clone());
        let mut made = 0;
        let mut entries = |folder: &mut Folder<u32>| {
            let found = folder.refresh(|name, _| {
                made += 1;
                name.starts_with(b"sd").then_some(made)
            });
            let entries = folder.iter_mut().map(|(name, kept)| (String::from_utf8_lossy(name).into_owned(), *kept));
            (entries.collect::<Vec<_>>(), found)
        };
        assert!(matches!(entries(&mut folder), (none, Err(CollectError::NoData { .. })) if none.is_empty()));
        fs::create_dir_all(path.join("sda")).expect("made");
        assert_eq!(entries(&mut folder).0, [("sda".into(), 1)]);
        fs::create_dir(path.join("other")).expect("made");
        assert_eq!(entries(&mut folder).0, [("sda".into(), 1)]);
        fs::remove_dir(path.join("sda")).expect("removed");
        assert_eq!(entries(&mut folder).0, []);
        fs::create_dir(path.join("sda")).expect("made");
        assert_eq!(entries(&mut folder).0[0].0, "sda");
        fs::remove_dir_all(&path).expect("removed");
        assert!(entries(&mut folder).0.is_empty());
    }
}
