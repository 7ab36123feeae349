use crate::config::metrics::filter::Filter;
use crate::config::section::Section;
use std::time::Duration;

const EXCLUDED_POINTS: &str =
    "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const EXCLUDED_TYPES: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|\
     iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
/// Well below Prometheus' scrape timeout of 10 s, so that a scrape with a mount that just hung still arrives.
const MOUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// One works until a mount hangs, to which it is left; so this is also how many may hang.
const WORKERS: u64 = 64;
const MOST_WORKERS: u64 = 1024;

/// Options of the collector `filesystem`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filesystem {
    /// Which mount points are taken.
    pub mount_points: Filter,
    /// Which types of file systems are taken.
    pub types: Filter,
    /// After this long without an answer a mount is in error until it answers.
    pub mount_timeout: Duration,
    /// How many threads may ask mounts, with those that hang.
    pub stat_workers: u64,
}

impl Default for Filesystem {
    fn default() -> Self {
        Self {
            mount_points: Filter::excluding(EXCLUDED_POINTS),
            types: Filter::excluding(EXCLUDED_TYPES),
            mount_timeout: MOUNT_TIMEOUT,
            stat_workers: WORKERS,
        }
    }
}

impl Filesystem {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.mount_points.read(section, "mount_points_include", "mount_points_exclude");
        self.types.read(section, "fs_types_include", "fs_types_exclude");
        self.mount_timeout = section.or("mount_timeout", self.mount_timeout);
        self.stat_workers = section.or("stat_workers", self.stat_workers);
        if self.mount_timeout.is_zero() {
            section.problem_with("mount_timeout", "nothing answers in no time; 2s is the default");
        }
        if !(1..=MOST_WORKERS).contains(&self.stat_workers) {
            section.problem_with("stat_workers", &format!("from 1 to {MOST_WORKERS} threads can ask mounts"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filesystem;

    #[test]
    fn mount_points_of_the_kernel_and_of_containers_are_left_out() {
        let points = Filesystem::default().mount_points;
        for point in
            ["/dev", "/dev/shm", "/proc", "/sys/fs/cgroup", "/run/credentials/x", "/var/lib/docker/overlay2/a/merged"]
        {
            assert!(!points.admits(point.as_bytes()), "{point}");
        }
        for point in ["/", "/device", "/run", "/run/credentials", "/var/lib/docker", "/system", "/mnt/dev", ""] {
            assert!(points.admits(point.as_bytes()), "{point}");
        }
    }

    #[test]
    fn types_without_a_disk_of_their_own_are_left_out() {
        let types = Filesystem::default().types;
        assert!(["cgroup", "cgroup2", "overlay", "tracefs"].iter().all(|kind| !types.admits(kind.as_bytes())));
        assert!(["ext4", "tmpfs", "cgroup3", "fuse.sshfs", "nfs4"].iter().all(|kind| types.admits(kind.as_bytes())));
    }
}
