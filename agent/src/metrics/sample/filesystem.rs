use super::mounts::{Mount, Mounts};
use super::statfs_pool::{Answer, Limits, Space, StatfsPool};
use super::{CollectError, Collector, Roots, Scrape};
use crate::metrics::encode::{Encoder, Family, Value};
use hostwright_core::config::metrics::collectors::filesystem as options;

/// Space and inodes of mounts. A mount that does not answer in time is in error until it does.
pub struct Filesystem {
    mounts: Mounts,
    pool: StatfsPool,
    answers: Vec<Answer>,
    error: Family,
    read_only: Family,
    size: Family,
    free: Family,
    available: Family,
    files: Family,
    files_free: Family,
}

impl Filesystem {
    pub fn new(roots: &Roots, options: &options::Filesystem) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_filesystem_{name}"), help);
        let limits = Limits {
            deadline: options.mount_timeout,
            threads: usize::try_from(options.stat_workers).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        Self {
            mounts: Mounts::new(roots, options),
            pool: StatfsPool::new(limits, Space::of),
            answers: Vec::new(),
            error: gauge("device_error", "Whether an error occurred while getting statistics for the given device."),
            read_only: gauge("readonly", "Filesystem read-only status."),
            size: gauge("size_bytes", "Filesystem size in bytes."),
            free: gauge("free_bytes", "Filesystem free space in bytes."),
            available: gauge("avail_bytes", "Filesystem space available to non-root users in bytes."),
            files: gauge("files", "Filesystem total file nodes."),
            files_free: gauge("files_free", "Filesystem total free file nodes."),
        }
    }

    fn space_of(&self, mount: &Mount) -> Option<&Space> {
        match self.answers.get(mount.place) {
            Some(Answer::Space(space)) => Some(space),
            _ => None,
        }
    }

    fn write<V: Value>(&self, out: &mut Encoder, family: &Family, value: impl Fn(&Space) -> V) {
        let mut samples = out.family(family);
        for mount in &self.mounts.table {
            if let Some(space) = self.space_of(mount) {
                samples.with(&mount.labels, value(space));
            }
        }
    }
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.mounts.refresh()?;
        self.pool.ask(&self.mounts.places, &mut self.answers);
        let mut samples = scrape.out.family(&self.error);
        for mount in &self.mounts.table {
            samples.with(&mount.labels, self.space_of(mount).is_none());
        }
        let mut samples = scrape.out.family(&self.read_only);
        for mount in &self.mounts.table {
            samples.with(&mount.labels, mount.read_only);
        }
        let bytes = |blocks: u64, space: &Space| blocks.saturating_mul(space.block_size);
        self.write(scrape.out, &self.size, |space| bytes(space.blocks, space));
        self.write(scrape.out, &self.free, |space| bytes(space.blocks_free, space));
        self.write(scrape.out, &self.available, |space| bytes(space.blocks_available, space));
        self.write(scrape.out, &self.files, |space| space.files);
        self.write(scrape.out, &self.files_free, |space| space.files_free);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Filesystem;
    use crate::metrics::sample::testing::{assert_has, captured, samples};

    #[test]
    fn mounts_are_told_with_their_space_and_those_that_are_gone_as_in_error() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Filesystem::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_filesystem_device_error{device="/dev/vda",fstype="ext4",mountpoint="/"} 0"#,
                r#"node_filesystem_device_error{device="/dev/vdb",fstype="xfs",mountpoint="/mnt/with space"} 1"#,
                r#"node_filesystem_readonly{device="/dev/vdb",fstype="xfs",mountpoint="/mnt/with space"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 2 + 2 + 5, "two mounts, of which one can be asked:\n{}", lines.join("\n"));
    }
}
