use super::running::Running;
use super::usage::{Disk, Usage};
use crate::encode::{Encoder, Family, Kind};
use crate::sample::{KernelFile, Roots, number, words};
use jiff::Timestamp;

/// All families, and what is known of the machine.
pub struct Families {
    of_usage: Vec<(Family, OfUsage)>,
    of_processes: [Family; 3],
    most_open_files: Family,
    cpu: Family,
    faults: Family,
    networks: Vec<(Family, usize)>,
    disks: Vec<(Family, OfDisk)>,
    /// Bytes read and written once more, by the device's number.
    blkio: Family,
    last_seen: Family,
    cores: Family,
    memory: Family,
    swap: Family,
    stat: KernelFile,
    meminfo: KernelFile,
}

type OfUsage = fn(&Usage) -> Option<f64>;
type OfDisk = fn(&Disk) -> u64;
type Plain = (&'static str, Kind, &'static str, OfUsage);

/// Those with one number for each container, in cAdvisor's words.
const OF_USAGE: &[Plain] = &[
    ("cpu_cfs_periods_total", Kind::Counter, "Number of elapsed enforcement period intervals.", |u| u.periods),
    ("cpu_cfs_throttled_periods_total", Kind::Counter, "Number of throttled period intervals.", |u| {
        u.throttled_periods
    }),
    ("cpu_cfs_throttled_seconds_total", Kind::Counter, "Total time duration the container has been throttled.", |u| {
        u.throttled_seconds
    }),
    ("cpu_system_seconds_total", Kind::Counter, "Cumulative system cpu time consumed in seconds.", |u| {
        u.system_seconds
    }),
    ("cpu_user_seconds_total", Kind::Counter, "Cumulative user cpu time consumed in seconds.", |u| u.user_seconds),
    ("memory_cache", Kind::Gauge, "Number of bytes of page cache memory.", |u| u.cache),
    ("memory_failcnt", Kind::Counter, "Number of memory usage hits limits", |u| u.limit_hits),
    ("memory_kernel_usage", Kind::Gauge, "Size of kernel memory allocated in bytes.", |u| u.kernel),
    ("memory_mapped_file", Kind::Gauge, "Size of memory mapped files in bytes.", |u| u.mapped_file),
    ("memory_max_usage_bytes", Kind::Gauge, "Maximum memory usage recorded in bytes", |u| u.memory_most),
    ("memory_rss", Kind::Gauge, "Size of RSS in bytes.", |u| u.rss),
    ("memory_swap", Kind::Gauge, "Container swap usage in bytes.", |u| u.swap),
    ("memory_total_active_file_bytes", Kind::Gauge, "Current total active file in bytes.", |u| u.active_file),
    ("memory_total_inactive_file_bytes", Kind::Gauge, "Current total inactive file in bytes.", |u| u.inactive_file),
    (
        "memory_usage_bytes",
        Kind::Gauge,
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |u| u.memory,
    ),
    ("memory_working_set_bytes", Kind::Gauge, "Current working set in bytes.", |u| {
        Some((u.memory? - u.inactive_file.unwrap_or(0.0)).max(0.0))
    }),
    ("oom_events_total", Kind::Counter, "Count of out of memory events observed for the container", |u| {
        u.out_of_memory
    }),
    (
        "pressure_cpu_stalled_seconds_total",
        Kind::Counter,
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
        |u| u.pressure[0][1],
    ),
    (
        "pressure_cpu_waiting_seconds_total",
        Kind::Counter,
        "Total time duration tasks in the container have waited due to CPU congestion.",
        |u| u.pressure[0][0],
    ),
    (
        "pressure_io_stalled_seconds_total",
        Kind::Counter,
        "Total time duration no tasks in the container could make progress due to IO congestion.",
        |u| u.pressure[2][1],
    ),
    (
        "pressure_io_waiting_seconds_total",
        Kind::Counter,
        "Total time duration tasks in the container have waited due to IO congestion.",
        |u| u.pressure[2][0],
    ),
    (
        "pressure_memory_stalled_seconds_total",
        Kind::Counter,
        "Total time duration no tasks in the container could make progress due to memory congestion.",
        |u| u.pressure[1][1],
    ),
    (
        "pressure_memory_waiting_seconds_total",
        Kind::Counter,
        "Total time duration tasks in the container have waited due to memory congestion.",
        |u| u.pressure[1][0],
    ),
    ("spec_cpu_period", Kind::Gauge, "CPU period of the container.", |u| u.limits.period),
    ("spec_cpu_quota", Kind::Gauge, "CPU quota of the container.", |u| u.limits.quota),
    ("spec_cpu_shares", Kind::Gauge, "CPU share of the container.", |u| u.limits.shares),
    ("spec_memory_limit_bytes", Kind::Gauge, "Memory limit for the container.", |u| u.limits.memory_limit),
    ("spec_memory_reservation_limit_bytes", Kind::Gauge, "Memory reservation limit for the container.", |u| {
        u.limits.reservation
    }),
    ("spec_memory_swap_limit_bytes", Kind::Gauge, "Memory swap limit for the container.", |u| u.limits.swap_limit),
    ("threads", Kind::Gauge, "Number of threads running inside the container", |u| u.threads),
    (
        "threads_max",
        Kind::Gauge,
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        |u| u.limits.most_threads,
    ),
];

/// The numbers of `/proc/net/dev` that are told.
const NETWORKS: [(&str, &str, usize); 8] = [
    ("receive_bytes", "Cumulative count of bytes received", 0),
    ("receive_errors", "Cumulative count of errors encountered while receiving", 2),
    ("receive_packets_dropped", "Cumulative count of packets dropped while receiving", 3),
    ("receive_packets", "Cumulative count of packets received", 1),
    ("transmit_bytes", "Cumulative count of bytes transmitted", 8),
    ("transmit_errors", "Cumulative count of errors encountered while transmitting", 10),
    ("transmit_packets_dropped", "Cumulative count of packets dropped while transmitting", 11),
    ("transmit_packets", "Cumulative count of packets transmitted", 9),
];

/// What each disk did.
const DISKS: [(&str, &str, OfDisk); 4] = [
    ("reads_bytes", "Cumulative count of bytes read", |disk| disk.read_bytes),
    ("reads", "Cumulative count of reads completed", |disk| disk.reads),
    ("writes_bytes", "Cumulative count of bytes written", |disk| disk.written_bytes),
    ("writes", "Cumulative count of writes completed", |disk| disk.writes),
];

impl Families {
    pub fn new(roots: &Roots) -> Self {
        let family = |name: &str, help: &str, kind| Family::new(&format!("container_{name}"), help, kind);
        let gauge = |name: &str, help: &str| family(name, help, Kind::Gauge);
        let counter = |name: &str, help: &str| family(name, help, Kind::Counter);
        Self {
            of_usage: OF_USAGE.iter().map(|(name, kind, help, of)| (family(name, help, *kind), *of)).collect(),
            of_processes: [
                gauge("file_descriptors", "Number of open file descriptors for the container."),
                gauge("processes", "Number of processes running inside the container."),
                gauge("start_time_seconds", "Start time of the container since unix epoch in seconds."),
            ],
            most_open_files: gauge(
                "ulimits_soft",
                "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
            ),
            cpu: counter("cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds."),
            faults: counter("memory_failures_total", "Cumulative count of memory allocation failures."),
            networks: NETWORKS.map(|(name, help, at)| (counter(&format!("network_{name}_total"), help), at)).into(),
            disks: DISKS.map(|(name, help, of)| (counter(&format!("fs_{name}_total"), help), of)).into(),
            blkio: counter("blkio_device_usage_total", "Blkio Device bytes usage"),
            last_seen: gauge("last_seen", "Last time a container was seen by the exporter"),
            cores: Family::gauge("machine_cpu_cores", "Number of logical CPU cores."),
            memory: Family::gauge("machine_memory_bytes", "Amount of memory installed on the machine."),
            swap: Family::gauge("machine_swap_bytes", "Amount of swap memory available on the machine."),
            stat: KernelFile::new(roots.procfs.join("stat")),
            meminfo: KernelFile::new(roots.procfs.join("meminfo")),
        }
    }

    /// Writes them, each with all containers.
    pub fn write<'a>(&mut self, all: &(impl Iterator<Item = &'a Running> + Clone), out: &mut Encoder) {
        for (family, of) in &self.of_usage {
            let mut samples = out.family(family);
            for running in all.clone() {
                if let Some(value) = of(&running.usage) {
                    samples.with(&running.labels, value);
                }
            }
        }
        let now = Timestamp::now().as_second();
        let of_processes: [fn(&Running) -> Option<f64>; 3] =
            [|running| running.open_files, |running| running.processes, |running| running.started];
        for (family, of) in self.of_processes.iter().zip(of_processes) {
            let mut samples = out.family(family);
            for running in all.clone() {
                if let Some(value) = of(running) {
                    samples.with(&running.labels, value);
                }
            }
        }
        let mut samples = out.family(&self.most_open_files);
        for (labels, most) in all.clone().filter_map(|running| running.most_open_files.as_ref()) {
            samples.with(labels, *most);
        }
        let mut samples = out.family(&self.last_seen);
        all.clone().for_each(|running| samples.with(&running.labels, now));
        let mut samples = out.family(&self.cpu);
        for running in all.clone() {
            if let Some(seconds) = running.usage.cpu_seconds {
                samples.with(&running.cpu, seconds);
            }
        }
        let mut samples = out.family(&self.faults);
        for running in all.clone() {
            let (minor, major) = (running.usage.faults, running.usage.major_faults);
            for (labels, value) in running.faults.iter().zip([minor, minor, major, major]) {
                if let Some(value) = value {
                    samples.with(labels, value);
                }
            }
        }
        self.write_devices(all, out);
        self.write_machine(out);
    }

    fn write_devices<'a>(&self, all: &(impl Iterator<Item = &'a Running> + Clone), out: &mut Encoder) {
        for (family, at) in &self.networks {
            let mut samples = out.family(family);
            for network in all.clone().flat_map(|running| &running.networks) {
                samples.with(&network.labels, network.numbers[*at]);
            }
        }
        for (family, of) in &self.disks {
            let mut samples = out.family(family);
            for (disk, labels) in all.clone().flat_map(|running| running.usage.disks.iter().zip(&running.disks)) {
                samples.with(&labels.of, of(disk));
            }
        }
        let mut samples = out.family(&self.blkio);
        for (disk, labels) in all.clone().flat_map(|running| running.usage.disks.iter().zip(&running.disks)) {
            samples.with(&labels.read, disk.read_bytes);
            samples.with(&labels.write, disk.written_bytes);
        }
    }

    fn write_machine(&mut self, out: &mut Encoder) {
        if let Ok(text) = self.stat.read() {
            let is_core = |line: &&[u8]| line.strip_prefix(b"cpu").is_some_and(|rest| rest.first() != Some(&b' '));
            out.family(&self.cores)
                .put(text.lines().take_while(|line| line.starts_with(b"cpu")).filter(is_core).count() as u64);
        }
        if let Ok(text) = self.meminfo.read() {
            for (name, family) in [(&b"MemTotal:"[..], &self.memory), (b"SwapTotal:", &self.swap)] {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                if let Some(kib) = line.and_then(|rest| words(rest).next()).and_then(number) {
                    out.family(family).put(kib.saturating_mul(1024));
                }
            }
        }
    }
}
