use super::mounts::{Mount, Mounts, Place};
use super::statfs_pool::{Answer, Limits, Space, StatfsPool};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Encoder, Family, Value};
use hostwright_core::config::metrics::collectors::filesystem as options;

/// Space and inodes of mounts. A mount that does not answer in time is in error until it does.
pub struct Filesystem {
    mounts: Mounts,
    pool: StatfsPool,
    /// Of the places that cannot hang, asked here: to wake a thread of the pool takes longer than to ask.
    prompt: Vec<Answer>,
    /// Of the others, asked by the pool.
    others: Vec<Answer>,
    error: Family,
    read_only: Family,
    size: Family,
    free: Family,
    available: Family,
    files: Family,
    files_free: Family,
    /// Of Macintosh only, where it is not 0; told as the original does.
    purgeable: Family,
    info: Family,
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
            prompt: Vec::new(),
            others: Vec::new(),
            error: gauge("device_error", "Whether an error occurred while getting statistics for the given device."),
            read_only: gauge("readonly", "Filesystem read-only status."),
            size: gauge("size_bytes", "Filesystem size in bytes."),
            free: gauge("free_bytes", "Filesystem free space in bytes."),
            available: gauge("avail_bytes", "Filesystem space available to non-root users in bytes."),
            files: gauge("files", "Filesystem total file nodes."),
            files_free: gauge("files_free", "Filesystem total free file nodes."),
            purgeable: gauge(
                "purgeable_bytes",
                "Filesystem space available including purgeable space (MacOS specific).",
            ),
            info: gauge("mount_info", "Filesystem mount information."),
        }
    }

    fn ask(&mut self) {
        let places = &self.mounts.places;
        self.prompt.clear();
        self.prompt.extend(places.prompt.iter().map(|place| Answer::of(Space::of(place))));
        self.pool.ask(&places.others, &mut self.others);
    }

    fn answer_of(&self, mount: &Mount) -> Option<&Answer> {
        match mount.place {
            Place::Prompt(at) => self.prompt.get(at),
            Place::Other(at) => self.others.get(at),
        }
    }

    fn space_of(&self, mount: &Mount) -> Option<&Space> {
        match self.answer_of(mount) {
            Some(Answer::Space(space)) => Some(space),
            _ => None,
        }
    }

    /// A sample of each mount, with the reason for those in error.
    fn write_state(&self, out: &mut Encoder, family: &Family, state: fn(&Mount, bool) -> bool) {
        let mut samples = out.family(family);
        for mount in &self.mounts.table {
            match self.answer_of(mount) {
                Some(Answer::Space(_)) => samples.with(&mount.labels, state(mount, false)),
                Some(Answer::Refusal(error)) => {
                    samples.with(&mount.labels_in_error(&text_of(*error)), state(mount, true));
                }
                _ => samples.with(&mount.labels_in_error("mountpoint timeout"), state(mount, true)),
            }
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

/// An error of the system in the words of the original.
fn text_of(error: i32) -> String {
    if error == nix::libc::ESTALE {
        return "stale NFS file handle".to_owned();
    }
    let text = std::io::Error::from_raw_os_error(error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let first = text.chars().next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(text.chars().skip(1)).collect()
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.mounts.refresh()?;
        self.ask();
        self.write_state(scrape.out, &self.error, |_, in_error| in_error);
        self.write_state(scrape.out, &self.read_only, |mount, _| mount.read_only);
        let bytes = |blocks: u64, space: &Space| blocks.saturating_mul(space.block_size);
        self.write(scrape.out, &self.size, |space| bytes(space.blocks, space));
        self.write(scrape.out, &self.free, |space| bytes(space.blocks_free, space));
        self.write(scrape.out, &self.available, |space| bytes(space.blocks_available, space));
        self.write(scrape.out, &self.files, |space| space.files);
        self.write(scrape.out, &self.files_free, |space| space.files_free);
        self.write(scrape.out, &self.purgeable, |_| 0_u64);
        let mut samples = scrape.out.family(&self.info);
        for mount in self.mounts.table.iter().filter(|mount| self.space_of(mount).is_some()) {
            mount.info.iter().for_each(|labels| samples.with(labels, true));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Filesystem, text_of};
    use crate::sample::testing::{assert_has, captured, samples, tree};

    #[test]
    fn mounts_are_told_with_their_space_and_those_that_are_gone_as_in_error() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Filesystem::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_filesystem_device_error{device="/dev/vda",fstype="ext4",mountpoint="/"} 0"#,
                r#"node_filesystem_device_error{device="/dev/vdb",device_error="no such file or directory",fstype="xfs",mountpoint="/mnt/with space"} 1"#,
                r#"node_filesystem_readonly{device="/dev/vdb",device_error="no such file or directory",fstype="xfs",mountpoint="/mnt/with space"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 2 + 2 + 6, "two mounts, of which one can be asked:\n{}", lines.join("\n"));
    }

    #[test]
    fn where_the_kernel_tells_numbers_of_devices_mounts_have_them() {
        let mountinfo = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                         23 22 0:21 / /proc rw - proc proc rw\n24 22 254:16 / /srv ro - xfs /dev/vdb rw\n";
        let (_folder, roots) = tree(&[("proc/1/mountinfo", mountinfo), ("root/srv/file", "")]);
        let lines = samples(&mut Filesystem::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_filesystem_mount_info{device="/dev/vda",major="254",minor="0",mountpoint="/"} 1"#,
                r#"node_filesystem_mount_info{device="/dev/vdb",major="254",minor="16",mountpoint="/srv"} 1"#,
                r#"node_filesystem_purgeable_bytes{device="/dev/vdb",fstype="xfs",mountpoint="/srv"} 0"#,
                r#"node_filesystem_readonly{device="/dev/vdb",fstype="xfs",mountpoint="/srv"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 2 * 9);
    }

    #[test]
    fn errors_are_in_the_words_of_the_original() {
        let texts = [2, 5, 13, 107, 116].map(text_of);
        let want = [
            "no such file or directory",
            "input/output error",
            "permission denied",
            "transport endpoint is not connected",
            "stale NFS file handle",
        ];
        assert_eq!(texts, want);
    }
}
