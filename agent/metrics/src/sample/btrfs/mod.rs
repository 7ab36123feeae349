//! Btrfs: in come the files of each file system and, of those that are mounted here, what the kernel says of their
//! devices; out go families by file system, kind of data and device.

/// What the kernel says of the devices.
mod devices;
/// A file system's files.
mod filesystem;
/// The kernel's answers on a mounted file system.
mod ioctl;

use super::sysfs::{Devices, Page};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use devices::Mounted;
use filesystem::Filesystem;

/// The file systems of this host.
pub struct Btrfs {
    filesystems: Devices<Filesystem>,
    mounted: Option<Mounted>,
    families: Families,
    page: Page,
}

struct Families {
    info: Family,
    reserve: Family,
    commits: Family,
    last_commit: Family,
    longest_commit: Family,
    commit_time: Family,
    reserved: Family,
    used: Family,
    size: Family,
    ratio: Family,
    device_size: Family,
    device_unused: Family,
    device_errors: Family,
}

impl Btrfs {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_btrfs_{name}"), help);
        let counter = |name: &str, help: &str| Family::counter(&format!("node_btrfs_{name}_total"), help);
        Self {
            filesystems: Devices::new(roots.sysfs.join("fs/btrfs")),
            mounted: roots.are_live().then(|| Mounted::new(roots)),
            families: Families {
                info: gauge("info", "Filesystem information"),
                reserve: gauge("global_rsv_size_bytes", "Size of global reserve."),
                commits: counter("commits", "The total number of commits that have occurred."),
                last_commit: gauge("last_commit_seconds", "Duration of the most recent commit, in seconds."),
                longest_commit: gauge("max_commit_seconds", "Duration of the slowest commit, in seconds."),
                commit_time: counter("commit_seconds", "Sum of the duration of all commits, in seconds."),
                reserved: gauge("reserved_bytes", "Amount of space reserved for a data type"),
                used: gauge("used_bytes", "Amount of used space by a layout/data type"),
                size: gauge("size_bytes", "Amount of space allocated for a layout/data type"),
                ratio: gauge("allocation_ratio", "Data allocation ratio for a layout/data type"),
                device_size: gauge("device_size_bytes", "Size of a device that is part of the filesystem."),
                device_unused: gauge(
                    "device_unused_bytes",
                    "Unused bytes unused on a device that is part of the filesystem.",
                ),
                device_errors: counter("device_errors", "Errors reported for the device"),
            },
            page: Page::default(),
        }
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let families = &self.families;
        let all = || self.filesystems.iter();
        put(scrape, &families.info, all().map(|one| (one.info.labels(), 1.0)));
        put(scrape, &families.reserve, all().map(|one| (&one.labels, one.reserve)));
        put(scrape, &families.commits, all().map(|one| (&one.labels, one.commits.count)));
        put(scrape, &families.last_commit, all().map(|one| (&one.labels, one.commits.last / 1000.0)));
        put(scrape, &families.longest_commit, all().map(|one| (&one.labels, one.commits.longest / 1000.0)));
        put(scrape, &families.commit_time, all().map(|one| (&one.labels, one.commits.total / 1000.0)));
        let groups = || all().flat_map(|one| &one.groups);
        put(scrape, &families.reserved, groups().map(|group| (&group.labels, group.reserved)));
        let layouts = || groups().flat_map(|group| group.layouts.iter());
        put(scrape, &families.used, layouts().map(|layout| (&layout.labels, layout.used)));
        put(scrape, &families.size, layouts().map(|layout| (&layout.labels, layout.size)));
        put(scrape, &families.ratio, layouts().map(|layout| (&layout.labels, layout.ratio)));
        let told = || all().filter_map(|one| self.mounted.as_ref()?.of(&one.uuid)).flatten();
        let untold = || all().filter(|one| self.mounted.as_ref().and_then(|known| known.of(&one.uuid)).is_none());
        let sizes = untold().flat_map(|one| one.devices.iter()).map(|device| (&device.labels, device.size));
        put(scrape, &families.device_size, told().map(|device| (&device.labels, device.size as f64)).chain(sizes));
        let unused = told().map(|device| (&device.labels, device.size.wrapping_sub(device.used) as f64));
        put(scrape, &families.device_unused, unused);
        let errors = told().flat_map(|device| device.error_labels.iter().zip(&device.errors));
        put(scrape, &families.device_errors, errors.map(|(labels, count)| (labels, *count as f64)));
    }
}

fn put<'l>(scrape: &mut Scrape<'_>, family: &Family, all: impl Iterator<Item = (&'l Labels, f64)>) {
    let mut samples = scrape.out.family(family);
    all.for_each(|(labels, value)| samples.with(labels, value));
}

impl Collector for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        match self.filesystems.refresh(|entry| entry.name.contains(&b'-'), Filesystem::new) {
            // A host without any has none to tell of, which is an answer.
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        self.filesystems.iter_mut().try_for_each(|one| one.read(&mut self.page))?;
        if let Some(mounted) = &mut self.mounted {
            mounted.read(self.filesystems.iter().map(|one| &one.uuid[..]));
        }
        self.write(scrape);
        Ok(())
    }
}
