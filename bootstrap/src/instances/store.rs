//! The state folder: a folder for each local instance, and what it tells of its VM.

use super::file;
use super::name::InstanceName;
use super::process::is_qemu_of;
use super::record::Record;
use anyhow::{Context as _, bail};
use nix::unistd::Pid;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The folder that holds the instances' folders.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// An instance's folder.
#[derive(Debug)]
pub struct InstanceFolder {
    /// Its name.
    pub name: InstanceName,
    /// Absolute.
    pub path: PathBuf,
}

/// What an instance's folder tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `up` or `down` is at work on it right now.
    Changing,
    /// Its QEMU runs.
    Running(Pid),
    /// Its QEMU ended by itself: the VM powered off.
    Stopped,
    /// Its QEMU is gone without having ended by itself: killed, or this machine started anew.
    Gone,
    /// `up` was interrupted before it started a VM.
    Incomplete,
}

/// Held while an instance is made or removed; ends with the process at the latest.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl Store {
    /// Opens the state folder, and makes it if need be; without a path the user's own one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let root = path.map_or_else(default_root, |path| Ok(path.to_owned()))?;
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&root).and_then(|()| root.canonicalize());
        let root = make().with_context(|| {
            format!("cannot make the state folder {}; name another one with --state-dir", root.display())
        })?;
        Ok(Self { root })
    }

    /// Makes the folder of a new instance: of several at once under one name, one succeeds.
    ///
    /// # Errors
    /// There is an instance of that name already, or the folder cannot be made.
    pub fn create(&self, name: &InstanceName) -> anyhow::Result<(InstanceFolder, FolderLock)> {
        let folder = self.folder(name);
        match DirBuilder::new().mode(0o700).create(&folder.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let state = folder.state()?.as_str();
                bail!(
                    "there is an instance {name} already ({state}); remove it with `hostwright-bootstrap down {name}`, \
                    or choose another name with --name"
                );
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make the folder {}", folder.path.display()));
            }
        }
        let lock = folder.lock()?;
        Ok((folder, lock))
    }

    /// The instance of that name.
    ///
    /// # Errors
    /// There is none; the error tells which there are.
    pub fn find(&self, name: &InstanceName) -> anyhow::Result<InstanceFolder> {
        let folder = self.folder(name);
        if folder.path.is_dir() {
            return Ok(folder);
        }
        let names: Vec<_> = self.list()?.into_iter().map(|folder| folder.name.to_string()).collect();
        let there_are = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
        bail!("there is no instance {name} in {}; there are: {there_are}", self.root.display())
    }

    /// All instances, by name.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn list(&self) -> anyhow::Result<Vec<InstanceFolder>> {
        let mut found = Vec::new();
        let entries = fs::read_dir(&self.root).with_context(|| format!("cannot read {}", self.root.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", self.root.display()))?;
            // What has no name of an instance was not made by `up`.
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            found.push(self.folder(&name));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn folder(&self, name: &InstanceName) -> InstanceFolder {
        InstanceFolder { name: name.clone(), path: self.root.join(name.as_str()) }
    }
}

impl InstanceFolder {
    /// Everything that the VM wrote on its serial console.
    pub fn console(&self) -> PathBuf {
        self.path.join(file::CONSOLE)
    }

    /// What the folder tells right now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn state(&self) -> anyhow::Result<State> {
        if self.is_locked() {
            return Ok(State::Changing);
        }
        if let Some(pid) = self.running() {
            return Ok(State::Running(pid));
        }
        let has_pid_file = self.path.join(file::PID).exists();
        Ok(match Record::load(&self.path)? {
            None => State::Incomplete,
            Some(_) if has_pid_file => State::Gone,
            Some(_) => State::Stopped,
        })
    }

    /// The process of the VM, if it lives.
    pub fn running(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.path.join(file::PID)).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?);
        is_qemu_of(&self.path, pid).then_some(pid)
    }

    /// Waits for the sole right to change the instance.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn lock(&self) -> anyhow::Result<FolderLock> {
        let path = self.lock_path();
        let file = File::options().create(true).append(true).open(&path).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        let file = file.with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(FolderLock { _file: file })
    }

    /// Removes the folder and all that is in it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, _: &FolderLock) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    fn is_locked(&self) -> bool {
        let open = File::open(self.lock_path());
        open.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }
}

impl State {
    /// A word for the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changing => "changing",
            Self::Running(_) => "running",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
            Self::Incomplete => "incomplete",
        }
    }
}

/// `$XDG_STATE_HOME/hostwright/instances`, as the XDG base directory specification has it.
fn default_root() -> anyhow::Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let base = base.context("neither XDG_STATE_HOME nor HOME is set; name a state folder with --state-dir")?;
    Ok(base.join("hostwright/instances"))
}

#[cfg(test)]
mod tests {
    use super::{State, Store};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(Some(folder.path())).expect("opened");
        (folder, store)
    }

    #[test]
    fn a_name_is_given_once_and_an_interrupted_instance_can_be_removed() {
        let (_folder, store) = store();
        let name = "a".parse().expect("a name");
        let (instance, lock) = store.create(&name).expect("made");
        assert_eq!(instance.state().expect("read"), State::Changing);
        drop(lock);
        let error = store.create(&name).expect_err("refused").to_string();
        assert!(error.contains("incomplete") && error.contains("down a"), "{error}");
        let lock = instance.lock().expect("locked");
        instance.remove(&lock).expect("removed");
        assert!(store.list().expect("listed").is_empty());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_names_that_exist() {
        let (_folder, store) = store();
        for name in ["b", "a"] {
            store.create(&name.parse().expect("a name")).expect("made");
        }
        let error = store.find(&"c".parse().expect("a name")).expect_err("refused").to_string();
        assert!(error.ends_with("there are: a, b"), "{error}");
    }

    #[test]
    fn a_pid_that_now_belongs_to_another_process_is_not_taken_for_the_vm() {
        let (_folder, store) = store();
        let (instance, _lock) = store.create(&"a".parse().expect("a name")).expect("made");
        let own = std::process::id();
        std::fs::write(instance.path.join(super::file::PID), format!("{own}\n")).expect("written");
        assert_eq!(instance.running(), None);
    }
}
