use std::path::PathBuf;

/// Where the trees are that samples are read from: the host's own, or captured ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// In place of `/proc`.
    pub procfs: PathBuf,
    /// In place of `/sys`.
    pub sysfs: PathBuf,
    /// In place of `/`.
    pub rootfs: PathBuf,
    /// In place of `/run/udev/data`.
    pub udev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into(), udev: "/run/udev/data".into() }
    }
}

impl Roots {
    /// Whether the kernel that runs may be asked beside the files: with a captured tree its answers would not fit.
    pub fn are_live(&self) -> bool {
        self.procfs == Self::default().procfs
    }
}
