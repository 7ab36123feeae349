use super::labels::FileSystem;
use crate::boot::host::Host;
use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

const MOUNT_POINT: &str = "/run/hostwright/seed";

/// A disk that is mounted read-only for as long as this lives.
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts it where nobody else looks.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(host: &Host, device: &Path, file_system: FileSystem) -> anyhow::Result<Self> {
        let at = host.path(MOUNT_POINT);
        std::fs::create_dir_all(&at).with_context(|| format!("cannot create {}", at.display()))?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(&host.path(device)), &at, Some(file_system.name()), flags, None::<&str>).with_context(|| {
            let (device, name) = (device.display(), file_system.name());
            format!("cannot mount the seed's disk {device} as {name}; is the kernel module {name} there?")
        })?;
        Ok(Self { at })
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.at, MntFlags::MNT_DETACH) {
            log::warn!("cannot unmount the seed's disk from {}: {error}", self.at.display());
        }
        // Another mount may be left below it; the folder is in a tmpfs.
        let _ = std::fs::remove_dir(&self.at);
    }
}
