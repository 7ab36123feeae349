use super::cgroup::{Groups, Place};
use super::devices::Devices;
use super::facts::Facts;
use super::usage::{Limits, Source, Usage, VERSION_1, VERSION_2};
use crate::encode::Labels;
use crate::sample::{Attribute, Page, Reader, Roots, Seldom, number, words};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Devices in a container that are not its way out, as in cAdvisor.
const NOT_OUTSIDE: [&[u8]; 4] = [b"lo", b"veth", b"docker", b"nerdctl"];

/// What files are read into, one after the other, and the names of what they tell.
#[derive(Debug)]
pub struct Buffers {
    pub page: Page,
    pub reader: Reader,
    pub devices: Devices,
}

/// systemd in a container makes groups in groups.
const DEEPEST: u32 = 4;

type Take = fn(&[u8], &mut Usage);

/// A container that runs: its labels, rendered once, its files, kept open, and what they said last.
pub struct Running {
    pairs: Vec<(&'static str, String)>,
    pub labels: Labels,
    /// With `cpu="total"`.
    pub cpu: Labels,
    /// For faults in the container and below it, then major ones.
    pub faults: [Labels; 4],
    pub started: Option<f64>,
    pub usage: Usage,
    pub processes: Option<f64>,
    pub open_files: Option<f64>,
    pub networks: Vec<Network>,
    /// The labels of each disk of the usage.
    pub disks: Vec<OfDisk>,
    /// How many files its first process may open, with labels; -1 is any number.
    pub most_open_files: Option<(Labels, f64)>,
    /// Whether its files could be read.
    pub is_there: bool,
    files: Vec<(Attribute, Take)>,
    limits: Vec<(Attribute, Take)>,
    /// When the limits are read again.
    seldom: Seldom,
    /// The group that has its processes, or groups that have them.
    group: PathBuf,
    procfs: PathBuf,
    net: Option<PathBuf>,
}

/// The labels of a disk, and those of what was read from it and written to it.
#[derive(Debug)]
pub struct OfDisk {
    pub of: Labels,
    pub read: Labels,
    pub write: Labels,
}

/// A network device of a container.
#[derive(Debug)]
pub struct Network {
    name: Vec<u8>,
    pub labels: Labels,
    /// In the order of `/proc/net/dev`.
    pub numbers: [u64; 16],
    seen: bool,
}

impl Running {
    /// A container that the engine says runs, if its control groups are there.
    pub fn of(id: &str, facts: &Facts, roots: &Roots) -> Option<Self> {
        let process = facts.process?;
        let groups = Groups::of(process, id, (&roots.procfs, &roots.sysfs))?;
        let mut pairs = facts.labels.clone();
        pairs.extend([("id", groups.id), ("image", facts.image.clone()), ("name", facts.name.clone())]);
        let folder_of = |controller: &str| match &groups.place {
            Place::Unified(folder) => Some(folder.clone()),
            Place::Each(each) => each.iter().find(|(name, _)| name == controller).map(|(_, folder)| folder.clone()),
        };
        let sources = if matches!(groups.place, Place::Unified(_)) { VERSION_2 } else { VERSION_1 };
        let file =
            |source: &Source| Some((Attribute::new(folder_of(source.controller)?.join(source.file)), source.take));
        let files = |limits: bool| sources.iter().filter(move |source| source.limits == limits).filter_map(file);
        let of_process = roots.procfs.join(process.to_string());
        // With the host's network, its devices are none of the container's.
        let network = |process: &Path| fs::read_link(process.join("ns/net")).ok();
        let has_own = network(&of_process).is_none_or(|own| Some(own) != network(&roots.procfs.join("1")));
        let failure = |kind: &str, scope: &str| with(&pairs, &[("failure_type", kind), ("scope", scope)]);
        Some(Self {
            labels: with(&pairs, &[]),
            cpu: with(&pairs, &[("cpu", "total")]),
            faults: [
                failure("pgfault", "container"),
                failure("pgfault", "hierarchy"),
                failure("pgmajfault", "container"),
                failure("pgmajfault", "hierarchy"),
            ],
            started: facts.started.map(|at| at.as_millisecond() as f64 / 1000.0),
            usage: Usage::default(),
            processes: None,
            open_files: None,
            networks: Vec::new(),
            disks: Vec::new(),
            most_open_files: most_open_files(&of_process)
                .map(|most| (with(&pairs, &[("ulimit", "max_open_files")]), most)),
            is_there: true,
            files: files(false).collect(),
            limits: files(true).collect(),
            seldom: Seldom::default(),
            group: folder_of("pids").or_else(|| folder_of("memory"))?,
            procfs: roots.procfs.clone(),
            net: has_own.then(|| of_process.join("net/dev")),
            pairs,
        })
    }

    /// Reads it anew.
    pub fn read(&mut self, now: Instant, buffers: &mut Buffers) {
        let (disks, limits) = (std::mem::take(&mut self.usage.disks), std::mem::take(&mut self.usage.limits));
        self.usage = Usage { disks, limits, ..Usage::default() };
        if self.seldom.is_due(now) {
            self.usage.limits = Limits::default();
            for (file, take) in &self.limits {
                if let Ok(text) = file.read_once(&mut buffers.page) {
                    take(text, &mut self.usage);
                }
            }
        }
        for (file, take) in &mut self.files {
            // Not every kernel has all of them.
            if let Ok(text) = file.read_whole(&mut buffers.page) {
                take(text, &mut self.usage);
            }
        }
        for disk in &self.usage.disks[self.disks.len()..] {
            let device = buffers.devices.name(&disk.number);
            self.disks.push(OfDisk::new(&self.pairs, &disk.number, &device));
        }
        self.is_there = self.count_processes(buffers);
        self.read_networks(buffers);
    }

    /// Whether its group is there and has a process.
    fn count_processes(&mut self, buffers: &mut Buffers) -> bool {
        let mut counted = Counted::default();
        counted.add(&self.group, (&self.procfs, DEEPEST), &mut buffers.reader);
        self.processes = Some(f64::from(counted.processes));
        self.open_files = counted.open_files.map(|open| open as f64);
        counted.processes > 0
    }

    fn read_networks(&mut self, buffers: &mut Buffers) {
        self.networks.iter_mut().for_each(|network| network.seen = false);
        let text = self.net.as_ref().and_then(|path| buffers.reader.read(path).ok());
        for line in text.into_iter().flat_map(|text| text.lines().skip(2)) {
            let Some(colon) = memchr::memrchr(b':', line) else { continue };
            let name = line[..colon].trim_ascii();
            if NOT_OUTSIDE.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let at = self.networks.iter().position(|network| network.name == name).unwrap_or_else(|| {
                let interface = String::from_utf8_lossy(name);
                let labels = with(&self.pairs, &[("interface", &interface)]);
                self.networks.push(Network { name: name.to_owned(), labels, numbers: [0; 16], seen: false });
                self.networks.len() - 1
            });
            let network = &mut self.networks[at];
            network.seen = true;
            for (slot, word) in network.numbers.iter_mut().zip(words(&line[colon + 1..])) {
                *slot = number(word).unwrap_or(0);
            }
        }
        self.networks.retain(|network| network.seen);
    }
}

impl OfDisk {
    fn new(pairs: &[(&'static str, String)], number: &[u8], device: &str) -> Self {
        let number = String::from_utf8_lossy(number);
        let (major, minor) = number.split_once(':').unwrap_or_default();
        let by = |operation: &str| {
            let more = [("device", device), ("major", major), ("minor", minor), ("operation", operation)];
            with(pairs, &more)
        };
        Self { of: with(pairs, &[("device", device)]), read: by("Read"), write: by("Write") }
    }
}

/// Processes of a container's groups.
#[derive(Default)]
struct Counted {
    processes: u32,
    open_files: Option<u64>,
}

impl Counted {
    /// Adds those of a group. One without any may have groups below it that have them.
    fn add(&mut self, group: &Path, (procfs, depth): (&Path, u32), reader: &mut Reader) {
        let before = self.processes;
        let file = group.join("cgroup.procs");
        let Ok(text) = reader.read(&file) else { return };
        for process in text.lines().filter_map(number) {
            self.processes += 1;
            // One that has ended meanwhile has none.
            if let Some(files) = open_files(&procfs.join(process.to_string()).join("fd")) {
                self.open_files = Some(self.open_files.unwrap_or(0) + files);
            }
        }
        if self.processes == before && depth > 0 {
            let below = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
            for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                self.add(&entry.path(), (procfs, depth - 1), reader);
            }
        }
    }
}

/// Labels in the order of their names.
fn with(pairs: &[(&'static str, String)], more: &[(&'static str, &str)]) -> Labels {
    let mut all: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    all.extend(more.iter().map(|(name, value)| (*name, value.as_bytes())));
    all.sort_unstable_by_key(|(name, _)| *name);
    Labels::new(&all)
}

/// The engine sets it before the container starts, so it is read once.
fn most_open_files(process: &Path) -> Option<f64> {
    let text = fs::read_to_string(process.join("limits")).ok()?;
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(-1.0) } else { soft.parse().ok() }
}

/// Since Linux 6.2 the folder's size is the number of its entries.
fn open_files(folder: &Path) -> Option<u64> {
    match fs::metadata(folder).ok()?.len() {
        0 => fs::read_dir(folder).ok().map(|entries| entries.count() as u64),
        size => Some(size),
    }
}
