use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file system in memory that can be made full. It is seen by this thread and what it starts, and goes with them.
#[derive(Debug)]
pub struct Disk {
    pub path: PathBuf,
}

/// Gives this thread mounts of its own; threads and processes that it starts have them too.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("mounts of our own: run as root")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")
}

impl Disk {
    pub fn mount(path: &Path, megabytes: usize) -> Result<Self> {
        fs::create_dir_all(path)?;
        let options = format!("size={megabytes}m");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("mounting a tmpfs at {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        let block = vec![0; 4096];
        while ballast.write_all(&block).is_ok() {}
        Ok(())
    }

    /// Gives it back.
    pub fn relieve(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It would go with this thread as well; its folder is to be removable before.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
