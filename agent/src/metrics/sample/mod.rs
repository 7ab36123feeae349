//! What the kernel says of this host, as node_exporter's families: a collector a file.
//!
//! In: procfs, sysfs, statfs, rtnetlink. Out: one text per scrape. Collectors keep open files, buffers and rendered
//! labels from scrape to scrape, so that a scrape allocates nothing for a sample; nothing survives a restart.

/// `node_nf_conntrack_*`: connection tracking.
mod conntrack;
/// `node_cpu_*`: time per CPU and mode, throttling.
mod cpu;
/// `node_disk_*`: block devices.
mod diskstats;
/// `node_entropy_*`.
mod entropy;
/// `node_filefd_*`: open files of the whole host.
mod filefd;
/// `node_filesystem_*`: space and inodes of mounts.
mod filesystem;
/// Files of procfs and sysfs that are opened once and read at every scrape.
mod kernel_file;
/// `node_load*`.
mod loadavg;
/// `node_memory_*`: every field the kernel has.
mod meminfo;
/// The mounts of the host, without those that nobody asks for.
mod mounts;
/// `node_network_*_total`: network devices' traffic.
mod netdev;
/// `node_netstat_*`: protocol counters.
mod netstat;
/// `node_os_*`: which distribution this is.
mod os;
/// `node_pressure_*`: time lost waiting for CPU, memory, disks.
mod pressure;
/// Where the trees are that samples are read from.
mod roots;
/// Devices with labels that are rendered once.
mod rows;
/// Network devices' counters from rtnetlink.
mod rtnetlink;
/// `node_sockstat_*`: sockets by protocol.
mod sockstat;
/// `node_softnet_*`: packets before they reach a protocol.
mod softnet;
/// Boot time, interrupts, context switches, forks, running and blocked processes.
mod stat;
/// statfs(2) by threads that may hang, for a caller that must not.
mod statfs_pool;
/// `node_time_*`: the clock, its zone and source.
mod time;
/// `node_uname_info`.
mod uname;
/// `node_vmstat_*`: paging.
mod vmstat;

use kernel_file::Text;
pub use kernel_file::{KernelFile, number, words};
pub use roots::Roots;

use super::encode::{Encoder, Family, Labels};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Why a collector gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CollectError {
    /// This host does not have it: no trouble.
    #[error("there is no {}", .path.display())]
    NoData {
        /// What is not there.
        path: PathBuf,
    },
    /// The kernel did not give it.
    #[error("cannot read {}", .path.display())]
    Read {
        /// From where.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The kernel gave something else than expected.
    #[error("{} is not understood: {what}", .path.display())]
    Malformed {
        /// From where.
        path: PathBuf,
        /// What was expected and found.
        what: String,
    },
}

impl CollectError {
    fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoData { path },
            _ => Self::Read { path, source: Arc::new(source) },
        }
    }
}

/// What a collector is given at a scrape.
struct Scrape<'a> {
    /// Where it writes.
    out: &'a mut Encoder,
    /// `/proc/stat`, which costs the kernel more than any other file and serves two collectors.
    proc_stat: Result<Text<'a>, &'a CollectError>,
}

/// A group of families, with node_exporter's name for it.
trait Collector: Send {
    fn name(&self) -> &'static str;
    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError>;
}

/// What one scrape told of itself beside its samples.
#[derive(Debug, Default)]
pub struct Troubles(pub Vec<(&'static str, String)>);

/// All collectors, with what they keep between scrapes.
pub struct Sampler {
    proc_stat: KernelFile,
    slots: Vec<Slot>,
    duration: Family,
    success: Family,
}

struct Slot {
    collector: Box<dyn Collector>,
    labels: Labels,
    seconds: f64,
    success: bool,
}

impl Sampler {
    /// A sampler of the host under `roots`.
    pub fn new(roots: &Roots) -> Self {
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(conntrack::Conntrack::new(roots)),
            Box::new(cpu::Cpu::new(roots)),
            Box::new(diskstats::Diskstats::new(roots)),
            Box::new(entropy::Entropy::new(roots)),
            Box::new(filefd::Filefd::new(roots)),
            Box::new(filesystem::Filesystem::new(roots)),
            Box::new(loadavg::Loadavg::new(roots)),
            Box::new(meminfo::Meminfo::new(roots)),
            Box::new(netdev::Netdev::new(roots)),
            Box::new(netstat::Netstat::new(roots)),
            Box::new(os::Os::new(roots)),
            Box::new(pressure::Pressure::new(roots)),
            Box::new(sockstat::Sockstat::new(roots)),
            Box::new(softnet::Softnet::new(roots)),
            Box::new(stat::Stat::new()),
            Box::new(time::Time::new(roots)),
            Box::new(uname::Uname::new()),
            Box::new(vmstat::Vmstat::new(roots)),
        ];
        let slot = |collector: Box<dyn Collector>| Slot {
            labels: Labels::new(&[("collector", collector.name().as_bytes())]),
            collector,
            seconds: 0.0,
            success: false,
        };
        Self {
            proc_stat: KernelFile::new(roots.procfs.join("stat")),
            slots: collectors.into_iter().map(slot).collect(),
            duration: Family::gauge(
                "node_scrape_collector_duration_seconds",
                "node_exporter: Duration of a collector scrape.",
            ),
            success: Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded."),
        }
    }

    /// Writes every family. A collector that fails is left out whole, counted, and named with its reason.
    pub fn sample(&mut self, out: &mut Encoder) -> Troubles {
        let mut troubles = Troubles::default();
        let stat = self.proc_stat.read();
        let proc_stat = stat.as_ref().copied();
        for slot in &mut self.slots {
            let (began, mark) = (Instant::now(), out.mark());
            let result = slot.collector.collect(&mut Scrape { out: &mut *out, proc_stat });
            slot.seconds = began.elapsed().as_secs_f64();
            slot.success = result.is_ok();
            if let Err(error) = result {
                out.truncate(mark);
                if !matches!(error, CollectError::NoData { .. }) {
                    troubles.0.push((slot.collector.name(), format!("{:#}", anyhow::Error::new(error))));
                }
            }
        }
        let mut samples = out.family(&self.duration);
        self.slots.iter().for_each(|slot| samples.with(&slot.labels, slot.seconds));
        let mut samples = out.family(&self.success);
        self.slots.iter().for_each(|slot| samples.with(&slot.labels, slot.success));
        troubles
    }
}

/// What collectors' tests share: captured trees and the text that comes of them.
#[cfg(test)]
mod testing;
