use super::rows::Rows;
use super::sysfs::{Attribute, Page};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::diskstats as options;
use hostwright_core::config::metrics::filter::Filter;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// After major, minor and name. Kernels before 5.5 and before 4.18 have only the first 15 and 11.
const FIELDS: usize = 17;
/// A line with fewer is of a partition on kernels before 2.6.25, which count something else of it.
const FEWEST_FIELDS: usize = 11;
/// The kernel's unit in this file, whatever the device's own sectors are.
const SECTOR: u64 = 512;

/// Texts that the original wants to find of a queue beside `rotational`.
const QUEUE_TEXTS: [&str; 3] = ["scheduler", "write_cache", "zoned"];

/// Numbers that it wants to find.
const QUEUE_NUMBERS: [&str; 30] = [
    "add_random",
    "chunk_sectors",
    "dax",
    "discard_granularity",
    "discard_max_bytes",
    "discard_max_hw_bytes",
    "fua",
    "hw_sector_size",
    "io_poll",
    "io_poll_delay",
    "io_timeout",
    "iostats",
    "logical_block_size",
    "max_discard_segments",
    "max_hw_sectors_kb",
    "max_integrity_segments",
    "max_sectors_kb",
    "max_segment_size",
    "max_segments",
    "minimum_io_size",
    "nomerges",
    "nr_requests",
    "nr_zones",
    "optimal_io_size",
    "physical_block_size",
    "read_ahead_kb",
    "rq_affinity",
    "wbt_lat_usec",
    "write_same_max_bytes",
    "write_zeroes_max_bytes",
];

#[derive(Clone, Copy)]
enum Unit {
    Count,
    Bytes,
    Milliseconds,
}

/// `/proc/diskstats`, and what udev knows of each device.
pub struct Diskstats {
    file: KernelFile,
    devices: Filter,
    places: Places,
    info: Family,
    filesystem: Family,
    mapper: Family,
    ata: [(&'static str, Family); 3],
    fields: [(Unit, Family); FIELDS],
    rows: Rows<Disk>,
}

/// Where more is known of a disk.
struct Places {
    udev: PathBuf,
    block: PathBuf,
}

#[derive(Default)]
struct Disk {
    numbers: (u64, u64),
    values: [u64; FIELDS],
    present: usize,
    /// Where udev's file is.
    path: Option<PathBuf>,
    known: Option<Known>,
}

/// What udev's file said; it is read again only when it is another one.
struct Known {
    /// Inode and change time; none where udev has no file.
    file: Option<(u64, i64, i64)>,
    info: Labels,
    filesystem: Option<Labels>,
    mapper: Option<Labels>,
    ata: [Option<f64>; 3],
}

impl Diskstats {
    pub fn new(roots: &Roots, options: &options::Diskstats) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_disk_{name}"), help);
        Self {
            file: KernelFile::new(roots.procfs.join("diskstats")),
            devices: options.devices.clone(),
            places: Places { udev: roots.udev.clone(), block: roots.sysfs.join("block") },
            info: gauge("info", "Info of /sys/block/<block_device>."),
            filesystem: gauge("filesystem_info", "Info about disk filesystem."),
            mapper: gauge("device_mapper_info", "Info about disk device mapper."),
            ata: [
                ("ID_ATA_WRITE_CACHE", gauge("ata_write_cache", "ATA disk has a write cache.")),
                (
                    "ID_ATA_WRITE_CACHE_ENABLED",
                    gauge("ata_write_cache_enabled", "ATA disk has its write cache enabled."),
                ),
                (
                    "ID_ATA_ROTATION_RATE_RPM",
                    gauge("ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
                ),
            ],
            fields: fields(),
            rows: Rows::default(),
        }
    }
}

fn fields() -> [(Unit, Family); FIELDS] {
    let counter = |unit, name: &str, help: &str| (unit, Family::counter(&format!("node_disk_{name}_total"), help));
    let count = |name: &str, help: &str| counter(Unit::Count, name, help);
    let bytes = |name: &str, help: &str| counter(Unit::Bytes, name, help);
    let seconds = |name: &str, help: &str| counter(Unit::Milliseconds, name, help);
    [
        count("reads_completed", "The total number of reads completed successfully."),
        count("reads_merged", "The total number of reads merged."),
        bytes("read_bytes", "The total number of bytes read successfully."),
        seconds("read_time_seconds", "The total number of seconds spent by all reads."),
        count("writes_completed", "The total number of writes completed successfully."),
        count("writes_merged", "The number of writes merged."),
        bytes("written_bytes", "The total number of bytes written successfully."),
        seconds("write_time_seconds", "This is the total number of seconds spent by all writes."),
        (Unit::Count, Family::gauge("node_disk_io_now", "The number of I/Os currently in progress.")),
        seconds("io_time_seconds", "Total seconds spent doing I/Os."),
        seconds("io_time_weighted_seconds", "The weighted # of seconds spent doing I/Os."),
        count("discards_completed", "The total number of discards completed successfully."),
        count("discards_merged", "The total number of discards merged."),
        count("discarded_sectors", "The total number of sectors discarded successfully."),
        seconds("discard_time_seconds", "This is the total number of seconds spent by all discards."),
        count("flush_requests", "The total number of flush requests completed successfully"),
        seconds("flush_requests_time_seconds", "This is the total number of seconds spent by all flush requests."),
    ]
}

impl Disk {
    fn read(&mut self, numbers: (u64, u64), fields: impl Iterator<Item = Option<u64>>) -> Option<()> {
        if self.numbers != numbers {
            *self = Self { numbers, ..Self::default() };
        }
        self.present = 0;
        for (slot, field) in self.values.iter_mut().zip(fields) {
            *slot = field?;
            self.present += 1;
        }
        Some(())
    }

    fn refresh(&mut self, name: &[u8], places: &Places, ata: &[(&'static str, Family); 3]) {
        let (major, minor) = self.numbers;
        let path = &*self.path.get_or_insert_with(|| places.udev.join(format!("b{major}:{minor}")));
        let file = std::fs::metadata(path).ok().map(|data| (data.ino(), data.ctime(), data.ctime_nsec()));
        if self.known.as_ref().is_none_or(|known| known.file != file) {
            let text = file.and_then(|_| std::fs::read(path).ok()).unwrap_or_default();
            let rotates = places.rotates(name);
            self.known = Some(Known { file, ..Known::new(&(name, rotates), self.numbers, &text, ata) });
        }
    }
}

impl Places {
    /// Whether the disk turns. The original says so only of a disk whose queue has every file that it knows, and so do
    /// we: otherwise its disks would have another label here.
    fn rotates(&self, name: &[u8]) -> bool {
        let queue = self.block.join(OsStr::from_bytes(name)).join("queue");
        let mut page = Page::default();
        let mut has =
            |file: &str, fits: fn(&[u8]) -> bool| Attribute::new(queue.join(file)).read(&mut page).is_ok_and(fits);
        let is_number = |text: &[u8]| number(text.strip_prefix(b"-").unwrap_or(text)).is_some();
        has("rotational", |text| text == b"1")
            && QUEUE_NUMBERS.iter().all(|file| has(file, is_number))
            && QUEUE_TEXTS.iter().all(|file| has(file, |_| true))
    }
}

impl Known {
    fn new(
        (name, rotates): &(&[u8], bool),
        (major, minor): (u64, u64),
        text: &[u8],
        ata: &[(&'static str, Family); 3],
    ) -> Self {
        let text = String::from_utf8_lossy(text);
        let properties = text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        let properties: HashMap<&str, &str> = properties.collect();
        let get = |key: &str| properties.get(key).copied().unwrap_or_default();
        let first = |keys: &[&str]| keys.iter().map(|key| get(key)).find(|value| !value.is_empty()).unwrap_or_default();
        let labels = |pairs: &[(&str, &str)]| {
            let mut all = vec![("device", *name)];
            all.extend(pairs.iter().map(|(label, value)| (*label, value.as_bytes())));
            Labels::new(&all)
        };
        let info = labels(&[
            ("major", &major.to_string()),
            ("minor", &minor.to_string()),
            ("model", get("ID_MODEL")),
            ("path", get("ID_PATH")),
            ("revision", get("ID_REVISION")),
            ("rotational", if *rotates { "1" } else { "0" }),
            ("serial", first(&["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"])),
            ("wwn", get("ID_WWN")),
        ]);
        let filesystem = labels(&[
            ("type", get("ID_FS_TYPE")),
            ("usage", get("ID_FS_USAGE")),
            ("uuid", get("ID_FS_UUID")),
            ("version", get("ID_FS_VERSION")),
        ]);
        let mapper = labels(&[
            ("lv_layer", get("DM_LV_LAYER")),
            ("lv_name", get("DM_LV_NAME")),
            ("name", get("DM_NAME")),
            ("uuid", get("DM_UUID")),
            ("vg_name", get("DM_VG_NAME")),
        ]);
        let is_ata = !get("ID_ATA").is_empty();
        Self {
            file: None,
            info,
            filesystem: (!get("ID_FS_TYPE").is_empty()).then_some(filesystem),
            mapper: (!get("DM_NAME").is_empty()).then_some(mapper),
            ata: [0, 1, 2].map(|at: usize| is_ata.then(|| get(ata[at].0).parse().ok()).flatten()),
        }
    }
}

impl Collector for Diskstats {
    fn name(&self) -> &'static str {
        "diskstats"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.rows.begin();
        let text = self.file.read()?;
        // Captured files may end with an empty line.
        for line in text.lines().filter(|line| !line.trim_ascii().is_empty()) {
            let mut words = words(line);
            let malformed = || text.malformed("a device with its numbers", line);
            let (major, minor) = (words.next().and_then(number), words.next().and_then(number));
            let numbers = major.zip(minor).ok_or_else(malformed)?;
            let name = words.next().ok_or_else(malformed)?;
            if !self.devices.admits(name) {
                continue;
            }
            let disk = self.rows.row("device", name);
            disk.read(numbers, words.map(number)).ok_or_else(malformed)?;
            if disk.present < FEWEST_FIELDS {
                self.rows.forget();
                continue;
            }
            disk.refresh(name, &self.places, &self.ata);
        }
        self.write(scrape);
        Ok(())
    }
}

impl Diskstats {
    fn write(&self, scrape: &mut Scrape<'_>) {
        for (at, (unit, family)) in self.fields.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for row in self.rows.iter().filter(|row| at < row.values.present) {
                let value = row.values.values[at];
                match unit {
                    Unit::Count => samples.with(&row.labels, value),
                    Unit::Bytes => match value.checked_mul(SECTOR) {
                        Some(bytes) => samples.with(&row.labels, bytes),
                        None => samples.with(&row.labels, value as f64 * SECTOR as f64),
                    },
                    // A product, as in the original, for the same last digit.
                    Unit::Milliseconds => samples.with(&row.labels, value as f64 * 0.001),
                }
            }
        }
        let known = || self.rows.iter().filter_map(|row| Some((row, row.values.known.as_ref()?)));
        let mut samples = scrape.out.family(&self.info);
        known().for_each(|(_, known)| samples.with(&known.info, true));
        let mut samples = scrape.out.family(&self.filesystem);
        known().filter_map(|(_, known)| known.filesystem.as_ref()).for_each(|labels| samples.with(labels, true));
        let mut samples = scrape.out.family(&self.mapper);
        known().filter_map(|(_, known)| known.mapper.as_ref()).for_each(|labels| samples.with(labels, true));
        for (at, (_, family)) in self.ata.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            known()
                .filter_map(|(row, known)| Some((row, known.ata[at]?)))
                .for_each(|(row, value)| samples.with(&row.labels, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Diskstats, Places, QUEUE_NUMBERS, QUEUE_TEXTS};
    use crate::sample::testing::{assert_has, captured, samples, tree};

    #[test]
    fn a_partition_of_which_old_kernels_count_something_else_is_left_out() {
        let lines = "\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 1 sda1x 1 2 3 4\n8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n \n";
        let (_folder, roots) = tree(&[("proc/diskstats", lines)]);
        let lines = samples(&mut Diskstats::new(&roots, &Default::default()), &roots);
        assert_eq!(lines.len(), 2 * (11 + 1), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("sda1x")), "{lines:?}");
    }

    #[test]
    fn every_field_of_a_disk_is_taken_in_its_unit() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Diskstats::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_disk_reads_completed_total{device="vda"} 164821"#,
                r#"node_disk_read_bytes_total{device="vda"} 5751354368"#,
                r#"node_disk_discard_time_seconds_total{device="vda"} 25.074"#,
                r#"node_disk_flush_requests_time_seconds_total{device="vda"} 0.378"#,
                r#"node_disk_info{device="vda",major="254",minor="0",model="",path="",revision="",rotational="0",serial="",wwn=""} 1"#,
            ],
        );
        assert_eq!(lines.len(), 18);
    }

    #[test]
    fn what_udev_knows_is_told_and_older_kernels_have_fewer_fields() {
        let roots = captured("procfs-bare");
        let lines = samples(&mut Diskstats::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_disk_info{device="sda",major="8",minor="0",model="SAMSUNG_MZ7LH960",path="pci-0000:00:17.0-ata-1",revision="HXT7904Q",rotational="0",serial="S45NNC0R101234",wwn="0x5002538e00000001"} 1"#,
                r#"node_disk_ata_write_cache{device="sda"} 1"#,
                r#"node_disk_ata_rotation_rate_rpm{device="sda"} 0"#,
                r#"node_disk_device_mapper_info{device="dm-0",lv_layer="",lv_name="root",name="vg-root",uuid="LVM-abc",vg_name="vg"} 1"#,
                r#"node_disk_filesystem_info{device="dm-0",type="ext4",usage="filesystem",uuid="0f3b",version="1.0"} 1"#,
            ],
        );
        assert!(!lines.iter().any(|line| line.contains("discard") || line.contains("flush")));
    }

    #[test]
    fn a_disk_turns_where_all_of_its_queue_is_understood() {
        let path = |name: &&str| format!("sys/block/sda/queue/{name}");
        let files: Vec<_> = QUEUE_NUMBERS.iter().chain(&QUEUE_TEXTS).chain(&["rotational"]).map(path).collect();
        let texts: Vec<_> = files.iter().map(|path| (path.as_str(), "1\n")).collect();
        let (_folder, roots) = tree(&texts);
        let places = Places { udev: roots.udev.clone(), block: roots.sysfs.join("block") };
        assert!(places.rotates(b"sda"));
        for (file, text, turns) in [
            ("zoned", "none\n", true),
            ("io_poll_delay", "-1\n", true),
            ("nr_requests", "\n", false),
            ("nr_requests", "many\n", false),
        ] {
            std::fs::write(roots.sysfs.join("block/sda/queue").join(file), text).expect("written");
            assert_eq!(places.rotates(b"sda"), turns, "{file}: {text}");
        }
    }
}
