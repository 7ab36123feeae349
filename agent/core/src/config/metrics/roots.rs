use crate::config::section::Section;
use crate::config::values::AbsolutePath;
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
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let default = Self::default();
        let mut path = |key, default| section.or(key, AbsolutePath(default)).0;
        let roots = Self {
            procfs: path("procfs", default.procfs),
            sysfs: path("sysfs", default.sysfs),
            rootfs: path("rootfs", default.rootfs),
            udev: path("udev", default.udev),
        };
        section.finish();
        Some(roots)
    }

    /// Whether the kernel that runs may be asked beside the files: with a captured tree its answers would not fit.
    pub fn are_live(&self) -> bool {
        self.procfs == Self::default().procfs
    }
}

#[cfg(test)]
mod tests {
    use super::Roots;
    use crate::config::Config;

    #[test]
    fn each_tree_can_be_another_and_only_the_kernels_own_is_live() {
        let roots = |text: &str| {
            let config = Config::parse(&format!("metrics: {{roots: {text}}}"), "agent.yaml").expect("valid");
            config.metrics.expect("present").roots
        };
        assert_eq!(roots("{}"), Roots::default());
        let captured = roots("{procfs: /srv/tree/proc, rootfs: /host}");
        assert_eq!(captured.rootfs, std::path::Path::new("/host"));
        assert!(!captured.are_live() && roots("{sysfs: /srv/sys}").are_live());
    }
}
