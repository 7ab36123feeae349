use crate::encode::Labels;
use crate::sample::kernel_file::lines;
use crate::sample::sysfs::{Attribute, Devices, Page, Texts, malformed, optional};
use crate::sample::{CollectError, number, words};
use std::path::Path;

/// Kinds of what is stored. A file system without the last one is none.
const KINDS: [&str; 3] = ["data", "metadata", "system"];
/// What the kernel counts a device's size in.
const SECTOR: f64 = 512.0;

/// A file system, mounted here or elsewhere on this host.
pub struct Filesystem {
    pub uuid: Vec<u8>,
    pub labels: Labels,
    pub info: Texts,
    pub reserve: f64,
    pub commits: Commits,
    pub groups: [Group; KINDS.len()],
    pub devices: Devices<Device>,
    reserve_file: Attribute,
    commits_file: Attribute,
}

/// How often it wrote its state down, and how many milliseconds that took.
#[derive(Default)]
pub struct Commits {
    pub count: f64,
    pub last: f64,
    pub longest: f64,
    pub total: f64,
}

/// Space for one kind of data.
pub struct Group {
    kind: &'static str,
    pub labels: Labels,
    pub reserved: f64,
    pub layouts: Devices<Layout>,
    file: Attribute,
}

/// Space of that kind that is kept in one way, such as `raid1`.
pub struct Layout {
    name: Vec<u8>,
    pub labels: Labels,
    pub used: f64,
    pub size: f64,
    pub ratio: f64,
    files: [Attribute; 2],
}

/// A device as its files tell of it.
pub struct Device {
    pub labels: Labels,
    pub size: f64,
    file: Attribute,
}

impl Filesystem {
    pub fn new(path: &Path, name: &[u8]) -> Self {
        let file = |name: &str| Attribute::new(path.join(name));
        let mut page = Page::default();
        let uuid = match file("metadata_uuid").read(&mut page) {
            Ok(uuid) if !uuid.is_empty() => uuid.to_vec(),
            _ => name.to_vec(),
        };
        Self {
            labels: Labels::new(&[("uuid", &uuid)]),
            info: Texts::new(&[("uuid", &uuid)]).with("label", file("label")),
            reserve: 0.0,
            commits: Commits::default(),
            groups: KINDS.map(|kind| Group::new(&path.join("allocation").join(kind), kind, &uuid)),
            devices: Devices::new(path.join("devices")),
            reserve_file: file("allocation/global_rsv_size"),
            commits_file: file("commit_stats"),
            uuid,
        }
    }

    pub fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.info.read(page);
        self.reserve = value(&mut self.reserve_file, page);
        let uuid = &self.uuid;
        let find = |path: &Path, name: &[u8]| Device {
            labels: Labels::new(&[("device", name), ("uuid", uuid)]),
            size: 0.0,
            file: Attribute::new(path.join("size")),
        };
        // Without the folder the kernel tells of none.
        let _ = self.devices.refresh(|_| true, find);
        let mut count = 0;
        for device in self.devices.iter_mut() {
            device.size = SECTOR * value(&mut device.file, page);
            count += 1;
        }
        for group in &mut self.groups {
            group.read(page, count, uuid)?;
        }
        self.commits = read_commits(&mut self.commits_file, page)?;
        Ok(())
    }
}

/// What is not there, or is no number, is 0, as in the original.
fn value(file: &mut Attribute, page: &mut Page) -> f64 {
    optional(file, page).and_then(number).unwrap_or_default() as f64
}

/// Kernels before 6.1 do not tell it.
fn read_commits(file: &mut Attribute, page: &mut Page) -> Result<Commits, CollectError> {
    let mut commits = Commits::default();
    let Ok(text) = file.read_whole(page) else { return Ok(commits) };
    for line in lines(text) {
        let mut parts = words(line);
        let (key, count, None) = (parts.next(), parts.next().and_then(number), parts.next()) else {
            return Err(malformed(file.path(), "a name and a number", line));
        };
        let count = count.ok_or_else(|| malformed(file.path(), "a name and a number", line))? as f64;
        match key {
            Some(b"commits") => commits.count = count,
            Some(b"last_commit_ms") => commits.last = count,
            Some(b"max_commit_ms") => commits.longest = count,
            Some(b"total_commit_ms") => commits.total = count,
            _ => {}
        }
    }
    Ok(commits)
}

impl Group {
    fn new(path: &Path, kind: &'static str, uuid: &[u8]) -> Self {
        Self {
            kind,
            labels: Labels::new(&[("block_group_type", kind.as_bytes()), ("uuid", uuid)]),
            reserved: 0.0,
            layouts: Devices::new(path.to_owned()),
            file: Attribute::new(path.join("bytes_reserved")),
        }
    }

    fn read(&mut self, page: &mut Page, devices: usize, uuid: &[u8]) -> Result<(), CollectError> {
        self.reserved = value(&mut self.file, page);
        let kind = self.kind.as_bytes();
        let find = |path: &Path, name: &[u8]| Layout {
            name: name.to_vec(),
            labels: Labels::new(&[("block_group_type", kind), ("mode", name), ("uuid", uuid)]),
            used: 0.0,
            size: 0.0,
            ratio: 0.0,
            files: ["used_bytes", "total_bytes"].map(|file| Attribute::new(path.join(file))),
        };
        let found = self.layouts.refresh(|entry| entry.is_folder(), find);
        if self.kind == KINDS[2] {
            found?;
        }
        for layout in self.layouts.iter_mut() {
            let [used, size] = &mut layout.files;
            layout.used = value(used, page);
            layout.size = value(size, page);
            layout.ratio = ratio(&layout.name, devices as f64);
        }
        Ok(())
    }
}

/// How much of the devices' space a byte takes.
fn ratio(layout: &[u8], devices: f64) -> f64 {
    match layout {
        b"single" | b"raid0" => 1.0,
        b"dup" | b"raid1" | b"raid10" => 2.0,
        b"raid1c3" => 3.0,
        b"raid1c4" => 4.0,
        b"raid5" => devices / (devices - 1.0),
        b"raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}
