//! Durable state: one JSON file for each noun, versioned, atomic, fsynced, with the previous generation kept.

use crate::atomic_file;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};

/// A file of durable state that holds a `T`.
#[derive(Debug)]
pub struct StateFile<T> {
    path: PathBuf,
    version: u32,
    /// What the disk holds, so that an unchanged state costs no write.
    stored: Option<Vec<u8>>,
    content: std::marker::PhantomData<fn() -> T>,
}

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {doing} the state in {}; see that the folder exists, is writable and has space", path.display())]
    Io {
        /// "read" or "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Written by a newer version of the program.
    #[error("the state in {} has version {found}, and this program knows up to {known}: install the newer version again", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    content: &'a T,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    content: T,
}

impl<T: Serialize + DeserializeOwned> StateFile<T> {
    /// Names the file; nothing is touched yet.
    pub fn new(path: PathBuf, version: u32) -> Self {
        Self { path, version, stored: None, content: std::marker::PhantomData }
    }

    /// Reads the state; nothing when there is none yet.
    ///
    /// A file that does not parse (a disk that lied about fsync) is moved aside as `….corrupt`, and the previous
    /// generation is read in its place.
    ///
    /// # Errors
    /// The file cannot be read, or a newer program wrote it.
    pub fn load(&mut self) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.read(&self.path)? else { return self.load_previous() };
        match self.parse(&bytes)? {
            Some(content) => {
                self.stored = Some(bytes);
                Ok(Some(content))
            }
            None => {
                let aside = self.beside("corrupt");
                log::error!(
                    "the state in {} is damaged; it is kept as {} and the previous one is used",
                    self.path.display(),
                    aside.display()
                );
                std::fs::rename(&self.path, &aside).map_err(|source| self.io("write", source))?;
                self.load_previous()
            }
        }
    }

    /// Writes the state, unless the disk holds the same already.
    ///
    /// # Errors
    /// The file cannot be written; the earlier state is intact then.
    pub fn store(&mut self, content: &T) -> Result<(), StateError> {
        let mut bytes =
            serde_json::to_vec(&Written { version: self.version, content }).map_err(|e| self.io("write", e.into()))?;
        bytes.push(b'\n');
        if self.stored.as_ref() == Some(&bytes) {
            return Ok(());
        }
        self.keep_previous()
            .and_then(|()| atomic_file::replace(&self.path, &bytes, 0o600))
            .map_err(|source| self.io("write", source))?;
        self.stored = Some(bytes);
        Ok(())
    }

    /// A hard link costs no copy; the rename that follows leaves the old content under this name alone.
    fn keep_previous(&self) -> io::Result<()> {
        let previous = self.beside("previous");
        match std::fs::remove_file(&previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match std::fs::hard_link(&self.path, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn load_previous(&mut self) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.read(&self.beside("previous"))? else { return Ok(None) };
        self.parse(&bytes)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StateError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.io("read", source)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<T>, StateError> {
        let Ok(Header { version }) = serde_json::from_slice(bytes) else { return Ok(None) };
        if version > self.version {
            return Err(StateError::TooNew { path: self.path.clone(), found: version, known: self.version });
        }
        Ok(serde_json::from_slice::<Read<T>>(bytes).ok().map(|read| read.content))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(ending);
        name.into()
    }

    fn io(&self, doing: &'static str, source: io::Error) -> StateError {
        StateError::Io { doing, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::{StateError, StateFile};

    #[test]
    fn state_survives_and_a_damaged_file_falls_back_on_the_previous_generation() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("positions.json");
        let mut state = StateFile::<u32>::new(path.clone(), 1);
        assert_eq!(state.load().expect("loads"), None);
        state.store(&1).expect("stored");
        state.store(&2).expect("stored");
        std::fs::write(&path, b"{\"version\":1,\"cont").expect("damaged");
        assert_eq!(StateFile::<u32>::new(path.clone(), 1).load().expect("loads"), Some(1));
        assert!(path.with_extension("json.corrupt").exists());
    }

    #[test]
    fn state_of_a_newer_program_is_refused_and_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("s.json");
        StateFile::<u32>::new(path.clone(), 2).store(&7).expect("stored");
        let error = StateFile::<u32>::new(path, 1).load().expect_err("refused");
        assert!(matches!(error, StateError::TooNew { found: 2, known: 1, .. }));
    }

    #[test]
    fn an_unwritable_folder_gives_an_error_with_its_path() {
        let error = StateFile::<u32>::new("/proc/nowhere/s.json".into(), 1).store(&1).expect_err("refused");
        assert!(error.to_string().contains("/proc/nowhere/s.json"), "{error}");
    }
}
