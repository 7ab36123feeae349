use crate::sample::{lines, number, words};

/// What one container uses; what the kernel does not tell is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub cpu_seconds: Option<f64>,
    pub user_seconds: Option<f64>,
    pub system_seconds: Option<f64>,
    pub periods: Option<f64>,
    pub throttled_periods: Option<f64>,
    pub throttled_seconds: Option<f64>,
    pub memory: Option<f64>,
    pub memory_most: Option<f64>,
    pub active_file: Option<f64>,
    pub inactive_file: Option<f64>,
    pub rss: Option<f64>,
    pub cache: Option<f64>,
    pub swap: Option<f64>,
    pub mapped_file: Option<f64>,
    pub kernel: Option<f64>,
    pub faults: Option<f64>,
    pub major_faults: Option<f64>,
    pub limit_hits: Option<f64>,
    pub out_of_memory: Option<f64>,
    pub threads: Option<f64>,
    pub limits: Limits,
    /// Waiting and stalled seconds for CPU, memory, disks.
    pub pressure: [[Option<f64>; 2]; 3],
    /// By device: bytes read and written, reads and writes.
    pub disks: Vec<Disk>,
}

/// What a container may use: it stays what the engine made it, unless an operator says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub shares: Option<f64>,
    pub quota: Option<f64>,
    pub period: Option<f64>,
    pub memory_limit: Option<f64>,
    pub swap_limit: Option<f64>,
    pub reservation: Option<f64>,
    pub most_threads: Option<f64>,
}

/// What a container did on one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// `8:0`
    pub number: Vec<u8>,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

/// A file of a control group, and what is taken of it.
#[derive(Clone, Copy)]
pub struct Source {
    /// The controller that has it, in version 1.
    pub controller: &'static str,
    pub file: &'static str,
    pub take: fn(&[u8], &mut Usage),
    /// Whether it has limits alone.
    pub limits: bool,
}

const fn source(controller: &'static str, file: &'static str, take: fn(&[u8], &mut Usage)) -> Source {
    Source { controller, file, take, limits: false }
}

const fn limits(controller: &'static str, file: &'static str, take: fn(&[u8], &mut Usage)) -> Source {
    Source { controller, file, take, limits: true }
}

const NANOSECONDS: f64 = 1e9;
const MICROSECONDS: f64 = 1e6;
/// USER_HZ, which is 100 on every platform of Linux that we run on.
const TICKS: f64 = 100.0;
/// Version 1 says so where there is no limit: the largest number of whole pages.
const NO_LIMIT: f64 = 9.2e18;

/// Version 1 (Linux, Documentation/admin-guide/cgroup-v1).
pub const VERSION_1: &[Source] = &[
    source("cpuacct", "cpuacct.usage", |text, usage| usage.cpu_seconds = whole(text).map(|n| n / NANOSECONDS)),
    source("cpuacct", "cpuacct.stat", |text, usage| {
        each(text, |key, n| match key {
            b"user" => usage.user_seconds = Some(n / TICKS),
            b"system" => usage.system_seconds = Some(n / TICKS),
            _ => {}
        });
    }),
    source("cpu", "cpu.stat", |text, usage| {
        each(text, |key, n| match key {
            b"nr_periods" => usage.periods = Some(n),
            b"nr_throttled" => usage.throttled_periods = Some(n),
            b"throttled_time" => usage.throttled_seconds = Some(n / NANOSECONDS),
            _ => {}
        });
    }),
    limits("cpu", "cpu.shares", |text, usage| usage.limits.shares = whole(text)),
    // -1 where there is none.
    limits("cpu", "cpu.cfs_quota_us", |text, usage| usage.limits.quota = whole(text)),
    limits("cpu", "cpu.cfs_period_us", |text, usage| usage.limits.period = whole(text)),
    source("memory", "memory.usage_in_bytes", |text, usage| usage.memory = whole(text)),
    source("memory", "memory.max_usage_in_bytes", |text, usage| usage.memory_most = whole(text)),
    source("memory", "memory.kmem.usage_in_bytes", |text, usage| usage.kernel = whole(text)),
    source("memory", "memory.failcnt", |text, usage| usage.limit_hits = whole(text)),
    limits("memory", "memory.limit_in_bytes", |text, usage| usage.limits.memory_limit = limit(text)),
    limits("memory", "memory.memsw.limit_in_bytes", |text, usage| usage.limits.swap_limit = limit(text)),
    limits("memory", "memory.soft_limit_in_bytes", |text, usage| usage.limits.reservation = limit(text)),
    source("memory", "memory.oom_control", |text, usage| {
        each(text, |key, n| {
            if key == b"oom_kill" {
                usage.out_of_memory = Some(n);
            }
        });
    }),
    source("memory", "memory.stat", |text, usage| {
        each(text, |key, n| match key {
            b"total_rss" => usage.rss = Some(n),
            b"total_cache" => usage.cache = Some(n),
            b"total_swap" => usage.swap = Some(n),
            b"total_mapped_file" => usage.mapped_file = Some(n),
            b"total_active_file" => usage.active_file = Some(n),
            b"total_inactive_file" => usage.inactive_file = Some(n),
            b"total_pgfault" => usage.faults = Some(n),
            b"total_pgmajfault" => usage.major_faults = Some(n),
            _ => {}
        });
    }),
    source("blkio", "blkio.throttle.io_service_bytes_recursive", |text, usage| {
        each_disk(text, usage, |disk, what, n| match what {
            b"Read" => disk.read_bytes = n,
            b"Write" => disk.written_bytes = n,
            _ => {}
        });
    }),
    source("blkio", "blkio.throttle.io_serviced_recursive", |text, usage| {
        each_disk(text, usage, |disk, what, n| match what {
            b"Read" => disk.reads = n,
            b"Write" => disk.writes = n,
            _ => {}
        });
    }),
    source("pids", "pids.current", |text, usage| usage.threads = whole(text)),
    limits("pids", "pids.max", |text, usage| usage.limits.most_threads = limit(text)),
];

/// Version 2 (Linux, Documentation/admin-guide/cgroup-v2.rst).
pub const VERSION_2: &[Source] = &[
    source("", "cpu.stat", |text, usage| {
        each(text, |key, n| match key {
            b"usage_usec" => usage.cpu_seconds = Some(n / MICROSECONDS),
            b"user_usec" => usage.user_seconds = Some(n / MICROSECONDS),
            b"system_usec" => usage.system_seconds = Some(n / MICROSECONDS),
            b"nr_periods" => usage.periods = Some(n),
            b"nr_throttled" => usage.throttled_periods = Some(n),
            b"throttled_usec" => usage.throttled_seconds = Some(n / MICROSECONDS),
            _ => {}
        });
    }),
    limits("", "cpu.weight", |text, usage| usage.limits.shares = whole(text).map(shares_of_weight)),
    limits("", "cpu.max", |text, usage| {
        let mut parts = words(text);
        usage.limits.quota = parts.next().and_then(number).map(|n| n as f64);
        usage.limits.period = parts.next().and_then(number).map(|n| n as f64);
    }),
    source("", "memory.current", |text, usage| usage.memory = whole(text)),
    source("", "memory.peak", |text, usage| usage.memory_most = whole(text)),
    source("", "memory.swap.current", |text, usage| usage.swap = whole(text)),
    limits("", "memory.max", |text, usage| usage.limits.memory_limit = limit(text)),
    limits("", "memory.swap.max", |text, usage| usage.limits.swap_limit = limit(text)),
    limits("", "memory.low", |text, usage| usage.limits.reservation = limit(text)),
    source("", "memory.events", |text, usage| {
        each(text, |key, n| match key {
            b"max" => usage.limit_hits = Some(n),
            b"oom_kill" => usage.out_of_memory = Some(n),
            _ => {}
        });
    }),
    source("", "memory.stat", |text, usage| {
        each(text, |key, n| match key {
            b"anon" => usage.rss = Some(n),
            b"file" => usage.cache = Some(n),
            b"file_mapped" => usage.mapped_file = Some(n),
            b"active_file" => usage.active_file = Some(n),
            b"inactive_file" => usage.inactive_file = Some(n),
            b"kernel" => usage.kernel = Some(n),
            b"pgfault" => usage.faults = Some(n),
            b"pgmajfault" => usage.major_faults = Some(n),
            _ => {}
        });
    }),
    source("", "io.stat", take_io_stat),
    source("", "pids.current", |text, usage| usage.threads = whole(text)),
    limits("", "pids.max", |text, usage| usage.limits.most_threads = limit(text)),
    source("", "cpu.pressure", |text, usage| usage.pressure[0] = pressure(text)),
    source("", "memory.pressure", |text, usage| usage.pressure[1] = pressure(text)),
    source("", "io.pressure", |text, usage| usage.pressure[2] = pressure(text)),
];

fn whole(text: &[u8]) -> Option<f64> {
    number(text.trim_ascii()).map(|n| n as f64)
}

/// Zero stands for none, as cAdvisor has it.
fn limit(text: &[u8]) -> Option<f64> {
    match text.trim_ascii() {
        b"max" => Some(0.0),
        digits => number(digits).map(|n| n as f64).map(|n| if n >= NO_LIMIT { 0.0 } else { n }),
    }
}

/// What the engine made the weight of: 2 to 262144 shares are 1 to 10000.
fn shares_of_weight(weight: f64) -> f64 {
    2.0 + ((weight - 1.0) * 262_142.0 / 9999.0).floor()
}

/// `key number` a line.
fn each(text: &[u8], mut take: impl FnMut(&[u8], f64)) {
    for line in lines(text) {
        let mut parts = words(line);
        if let (Some(key), Some(n)) = (parts.next(), parts.next().and_then(number)) {
            take(key, n as f64);
        }
    }
}

/// `8:0 Read 4096` a line; the line `Total 8192` is about no disk.
fn each_disk(text: &[u8], usage: &mut Usage, take: impl Fn(&mut Disk, &[u8], u64)) {
    for line in lines(text) {
        let mut parts = words(line);
        if let (Some(device), Some(what), Some(n)) = (parts.next(), parts.next(), parts.next().and_then(number)) {
            take(disk(usage, device), what, n);
        }
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0` a line.
fn take_io_stat(text: &[u8], usage: &mut Usage) {
    for line in lines(text) {
        let mut parts = words(line);
        let Some(device) = parts.next() else { continue };
        let disk = disk(usage, device);
        for part in parts {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let (Some(key), Some(n)) = (halves.next(), halves.next().and_then(number)) else { continue };
            match key {
                b"rbytes" => disk.read_bytes = n,
                b"wbytes" => disk.written_bytes = n,
                b"rios" => disk.reads = n,
                b"wios" => disk.writes = n,
                _ => {}
            }
        }
    }
}

/// The same entries are used from scrape to scrape.
fn disk<'a>(usage: &'a mut Usage, device: &[u8]) -> &'a mut Disk {
    let at = usage.disks.iter().position(|disk| disk.number == device).unwrap_or_else(|| {
        usage.disks.push(Disk { number: device.to_owned(), ..Disk::default() });
        usage.disks.len() - 1
    });
    &mut usage.disks[at]
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`: waiting, then `full`: stalled.
fn pressure(text: &[u8]) -> [Option<f64>; 2] {
    [&b"some"[..], b"full"].map(|kind| {
        let line = lines(text).find(|line| line.starts_with(kind))?;
        let total = words(line).find_map(|word| word.strip_prefix(b"total=")).and_then(number)?;
        Some(total as f64 / MICROSECONDS)
    })
}

#[cfg(test)]
mod tests {
    use super::{Disk, Usage, VERSION_1, VERSION_2};

    fn usage(sources: &[super::Source], files: &[(&str, &str)]) -> Usage {
        let mut usage = Usage::default();
        for (file, text) in files {
            let source = sources.iter().find(|source| source.file == *file).expect("a known file");
            (source.take)(text.as_bytes(), &mut usage);
        }
        usage
    }

    #[test]
    fn both_versions_say_the_same_of_the_same_container() {
        let one = usage(
            VERSION_1,
            &[
                ("cpuacct.usage", "2500000000\n"),
                ("cpuacct.stat", "user 150\nsystem 100\n"),
                ("cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 500000000\n"),
                ("memory.usage_in_bytes", "4096000\n"),
                (
                    "memory.stat",
                    "cache 1\nrss 2\ntotal_rss 2000\ntotal_cache 3000\ntotal_active_file 7\ntotal_inactive_file 1000\n",
                ),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n"),
                ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\nTotal 3\n"),
                ("pids.max", "max\n"),
            ],
        );
        let two = usage(
            VERSION_2,
            &[
                (
                    "cpu.stat",
                    "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 500000\n",
                ),
                ("memory.current", "4096000\n"),
                ("memory.stat", "anon 2000\nfile 3000\nactive_file 7\ninactive_file 1000\n"),
                ("memory.max", "max\n"),
                ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"),
                ("pids.max", "max\n"),
            ],
        );
        assert_eq!(one, two);
        let disk = Disk { number: b"8:0".to_vec(), read_bytes: 10, written_bytes: 20, reads: 1, writes: 2 };
        assert_eq!((two.cpu_seconds, two.limits.memory_limit, two.disks), (Some(2.5), Some(0.0), vec![disk]));
    }

    #[test]
    fn limits_and_pressure_are_told_in_the_engines_units() {
        let limited = usage(
            VERSION_2,
            &[
                ("cpu.max", "50000 100000\n"),
                ("cpu.weight", "100\n"),
                ("memory.max", "67108864\n"),
                ("cpu.pressure", "some avg10=1.5 avg60=0 avg300=0 total=2000000\nfull avg10=0 total=500000\n"),
            ],
        );
        assert_eq!(
            (limited.limits.quota, limited.limits.period, limited.limits.shares),
            (Some(50_000.0), Some(100_000.0), Some(2597.0))
        );
        assert_eq!((limited.limits.memory_limit, limited.pressure[0]), (Some(67_108_864.0), [Some(2.0), Some(0.5)]));
        assert_eq!(usage(VERSION_2, &[("cpu.max", "max 100000\n")]).limits.quota, None);
    }

    #[test]
    fn what_is_not_understood_is_not_known() {
        for source in VERSION_1.iter().chain(VERSION_2) {
            for text in ["", "\n", "x", "x y z\n", "-1\n", "8:0\n", "8:0 Read x\n", "\u{0}\u{ff}", "a=b=c d\n"] {
                (source.take)(text.as_bytes(), &mut Usage::default());
            }
        }
        assert_eq!(usage(VERSION_1, &[("cpu.cfs_quota_us", "-1\n")]).limits.quota, None);
    }
}
