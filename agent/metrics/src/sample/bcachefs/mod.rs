//! Bcachefs: in come the files of each file system and its devices, out go families by file system, device and what is
//! counted.

/// What the files say.
mod filesystem;

use super::names::sanitized;
use super::sysfs::{Devices, Page};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use filesystem::{Filesystem, Measure};

/// The file systems of this host.
pub struct Bcachefs {
    filesystems: Devices<Filesystem>,
    info: Family,
    device_info: Family,
    /// In the order of [`Measure`].
    measures: Vec<(Measure, Family)>,
    /// Counters, each a family of its own, by their files' names.
    counters: Vec<(Vec<u8>, Family)>,
    page: Page,
}

impl Bcachefs {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_bcachefs_{name}"), help);
        let counter = |name: &str, help: &str| Family::counter(&format!("node_bcachefs_{name}"), help);
        Self {
            filesystems: Devices::new(roots.sysfs.join("fs/bcachefs")),
            info: gauge("info", "Filesystem information."),
            device_info: gauge("device_info", "Device information."),
            measures: vec![
                (Measure::BtreeCache, gauge("btree_cache_size_bytes", "Btree cache memory usage in bytes.")),
                (Measure::BtreeWriteSize, gauge("btree_write_average_size_bytes", "Average btree write size by type.")),
                (Measure::BtreeWrites, counter("btree_writes_total", "Number of btree writes by type.")),
                (Measure::Compressed, gauge("compression_compressed_bytes", "Compressed size by algorithm.")),
                (Measure::Uncompressed, gauge("compression_uncompressed_bytes", "Uncompressed size by algorithm.")),
                (Measure::BucketSize, gauge("device_bucket_size_bytes", "Bucket size in bytes.")),
                (Measure::Buckets, gauge("device_buckets", "Total number of buckets.")),
                (Measure::Durability, gauge("device_durability", "Device durability setting.")),
                (Measure::IoDone, counter("device_io_done_bytes_total", "IO bytes by operation type and data type.")),
                (Measure::IoErrors, counter("device_io_errors_total", "IO errors by error type.")),
                (Measure::Errors, counter("errors_total", "Error count by error type.")),
            ],
            counters: Vec::new(),
            page: Page::default(),
        }
    }

    /// Families of counters that were not there before.
    fn name_counters(&mut self) {
        for (name, ..) in self.filesystems.iter().flat_map(Filesystem::counters) {
            if !self.counters.iter().any(|(known, _)| known == name) {
                let text = String::from_utf8_lossy(name);
                let family = format!("node_bcachefs_{}_total", sanitized(&text));
                let help = format!("Bcachefs counter {text} since filesystem creation.");
                self.counters.push((name.to_vec(), Family::counter(&family, &help)));
            }
        }
    }
}

impl Collector for Bcachefs {
    fn name(&self) -> &'static str {
        "bcachefs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.filesystems.refresh(super::sysfs::Entry::is_folder, Filesystem::new)?;
        self.filesystems.iter_mut().try_for_each(|one| one.read(&mut self.page))?;
        self.name_counters();
        let mut samples = scrape.out.family(&self.info);
        let mut any = false;
        for one in self.filesystems.iter() {
            samples.with(one.labels(), true);
            any = true;
        }
        for (measure, family) in &self.measures {
            let mut samples = scrape.out.family(family);
            for (labels, value) in self.filesystems.iter().flat_map(|one| one.values(*measure)) {
                samples.with(labels, value);
            }
        }
        let mut samples = scrape.out.family(&self.device_info);
        let infos = self.filesystems.iter().flat_map(Filesystem::device_infos);
        infos.for_each(|labels: &Labels| samples.with(labels, true));
        for (name, family) in &self.counters {
            let mut samples = scrape.out.family(family);
            for one in self.filesystems.iter() {
                for (_, labels, value) in one.counters().filter(|(known, ..)| known == name) {
                    samples.with(labels, value);
                }
            }
        }
        if any { Ok(()) } else { Err(CollectError::NoData { path: "/sys/fs/bcachefs/*".into() }) }
    }
}
