//! What the kernel says of this host, as node_exporter's families: a collector a file.
//!
//! In: procfs, sysfs, statfs, rtnetlink. Out: one text per scrape. Collectors keep open files, buffers and rendered
//! labels from scrape to scrape, so that a scrape allocates nothing for a sample; nothing survives a restart.

/// `node_network_address_info`: the addresses of network devices.
mod addresses;
/// `node_arp_*`: neighbours of IPv4 by device.
mod arp;
/// `node_bcache_*`: disks with a faster one before them.
mod bcache;
/// `node_bcachefs_*`.
mod bcachefs;
/// `node_bonding_*`: network devices that are bonded to one.
mod bonding;
/// `node_btrfs_*`.
mod btrfs;
/// `node_buddyinfo_*`: free blocks of memory.
mod buddyinfo;
/// How each collector is made.
mod builders;
/// `node_cgroups_*`: control groups by controller.
mod cgroups;
/// `node_nf_conntrack_*`: connection tracking.
mod conntrack;
/// `node_cpu_*`: time per CPU and mode, throttling.
mod cpu;
/// `node_cpu_vulnerabilities_info`: known flaws of the CPU, and what is done about them.
mod cpu_vulnerabilities;
/// `node_cpu_frequency_*`, `node_cpu_scaling_*`: how fast the CPUs run.
mod cpufreq;
/// Questions to services of the system's message bus.
mod dbus;
/// Devices from a file that stands in for the kernel.
mod devices_file;
/// `node_disk_*`: block devices.
mod diskstats;
/// `node_dmi_info`: what the firmware says of the machine.
mod dmi;
/// `node_drbd_*`: disks that are mirrored to another host.
mod drbd;
/// `node_drm_*`: graphics cards.
mod drm;
/// `node_edac_*`: memory errors.
mod edac;
/// `node_entropy_*`.
mod entropy;
/// `node_ethtool_*`: what drivers of network devices count, and what their ports can do.
mod ethtool;
/// `node_fibrechannel_*`: Fibre Channel adapters.
mod fibrechannel;
/// `node_filefd_*`: open files of the whole host.
mod filefd;
/// `node_filesystem_*`: space and inodes of mounts.
mod filesystem;
/// Folders with an entry for each device.
mod folder;
/// Families that the kernel names, for several devices.
mod grid;
/// `node_hwmon_*`: temperatures, fans, voltages.
mod hwmon;
/// `node_infiniband_*`.
mod infiniband;
/// `node_interrupts_total`: interrupts by CPU.
mod interrupts;
/// `node_ipvs_*`: the load balancer of the kernel.
mod ipvs;
/// Files of procfs and sysfs that are opened once and read at every scrape.
mod kernel_file;
/// `node_kernel_hung_*`: tasks that hang.
mod kernel_hung;
/// `node_ksmd_*`: pages that are merged.
mod ksmd;
/// `node_lnstat_*`: caches of the network stack.
mod lnstat;
/// `node_load*`.
mod loadavg;
/// `node_logind_sessions`: who is logged in.
mod logind;
/// `node_md_*`: software RAID.
mod mdadm;
/// Software RAID, as sysfs tells it.
mod mdraid;
/// Software RAID, as `/proc/mdstat` tells it.
mod mdstat;
/// `node_memory_*`: every field the kernel has.
mod meminfo;
/// `node_memory_numa_*`: memory of each NUMA node.
mod meminfo_numa;
/// The mounts of the host, without those that nobody asks for.
mod mounts;
/// `node_mountstats_nfs_*`: what mounts of NFS did.
mod mountstats;
/// Names of families that are made from the kernel's own words.
mod names;
/// `node_network_*`: what network devices are.
mod netclass;
/// `node_network_*_total`: network devices' traffic.
mod netdev;
/// `node_netstat_*`: protocol counters.
mod netstat;
/// `node_network_route*`: the kernel's routes.
mod network_route;
/// `node_nfs_*`: this host as a client of NFS.
mod nfs;
/// `node_nfsd_*`: the NFS server of this host.
mod nfsd;
/// `node_nvme_*`: NVMe controllers and namespaces.
mod nvme;
/// `node_os_*`: which distribution this is.
mod os;
/// `node_pcidevice_*`.
mod pcidevice;
/// `node_power_supply_*`: batteries and mains.
mod powersupplyclass;
/// `node_pressure_*`: time lost waiting for CPU, memory, disks.
mod pressure;
/// `node_processes_*`: processes and threads by state.
mod processes;
/// `node_qdisc_*`: queueing disciplines.
mod qdisc;
/// `node_rapl_*`: energy that was used.
mod rapl;
/// Devices with labels that are rendered once.
mod rows;
/// The files of both ends of NFS.
mod rpc;
/// Network devices from rtnetlink.
mod rtnetlink;
/// `node_schedstat_*`: what the scheduler did on each CPU.
mod schedstat;
/// Which collectors a scrape is of.
mod selection;
/// `node_selinux_*`.
mod selinux;
/// `node_slabinfo_*`: the kernel's own objects.
mod slabinfo;
/// `node_sockstat_*`: sockets by protocol.
mod sockstat;
/// `node_softirqs_*`: soft interrupts by CPU.
mod softirqs;
/// `node_softnet_*`: packets before they reach a protocol.
mod softnet;
/// Boot time, interrupts, context switches, forks, running and blocked processes.
mod stat;
/// statfs(2) by threads that may hang, for a caller that must not.
mod statfs_pool;
/// `node_swap_*`: what memory is written out to.
mod swap;
/// `node_sysctl_*`: settings of the kernel.
mod sysctl;
/// Devices and their small files under sysfs.
mod sysfs;
/// `node_systemd_*`: systemd's units.
mod systemd;
/// `node_tape_*`: tape drives.
mod tapestats;
/// `node_tcp_connection_states`: TCP's sockets.
mod tcpstat;
/// `node_textfile_*`, and what other programs write to files.
mod textfile;
/// `node_thermal_zone_*`, `node_cooling_device_*`: temperatures, and what is done about them.
mod thermal_zone;
/// `node_time_*`: the clock, its zone and source.
mod time;
/// `node_timex_*`: how the kernel keeps the clock.
mod timex;
/// `node_udp_queues`: bytes that wait in UDP sockets.
mod udp_queues;
/// `node_uname_info`.
mod uname;
/// `node_vmstat_*`: paging.
mod vmstat;
/// `node_watchdog_*`: timers that restart a host that hangs.
mod watchdog;
/// `node_wifi_*`: wireless devices.
mod wifi;
/// `node_xfrm_*`: packets that IPsec could not take.
mod xfrm;
/// `node_xfs_*`: what XFS did on each device.
mod xfs;
/// `node_zfs_*`: ZFS, its pools and datasets.
mod zfs;
/// `node_zoneinfo_*`: pages of memory by zone.
mod zoneinfo;

use builders::BUILDERS;
pub use hostwright_core::config::metrics::roots::Roots;
use kernel_file::Text;
pub use kernel_file::{KernelFile, Reader, lines, number, words};
use rtnetlink::Links;
pub use selection::{CONTAINERS, Selection};
pub use sysfs::{Attribute, Page, Seldom};

use super::encode::{Encoder, Family, Labels};
use super::stages::Stages;
use hostwright_core::config::metrics::collectors::Collectors;
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
    /// The network devices, of which several collectors tell.
    links: &'a mut Links,
    /// Why a collector that wrote something did not write all: what it wrote stays, but it counts as failed.
    failed: Option<CollectError>,
}

impl<'a> Scrape<'a> {
    fn new(out: &'a mut Encoder, proc_stat: Result<Text<'a>, &'a CollectError>, links: &'a mut Links) -> Self {
        Self { out, proc_stat, links, failed: None }
    }
}

/// A group of families, with node_exporter's name for it.
trait Collector: Send {
    fn name(&self) -> &'static str;
    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError>;

    /// After everything else of the scrape is written.
    fn finish(&mut self, _out: &mut Encoder) {}

    /// What is wrong although there are samples.
    fn troubles(&self) -> &[String] {
        &[]
    }
}

/// What one scrape told of itself beside its samples.
#[derive(Debug, Default)]
pub struct Troubles(pub Vec<(&'static str, String)>);

/// All collectors that are on, with what they keep between scrapes.
pub struct Sampler {
    proc_stat: KernelFile,
    links: Links,
    slots: Vec<Slot>,
    stages: Arc<Stages>,
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
    /// A sampler of the host under `roots` with the collectors that are on.
    pub fn new(roots: &Roots, collectors: &Collectors) -> Self {
        let on = BUILDERS.iter().filter(|(name, _)| collectors.is_on(name));
        let slot = |collector: Box<dyn Collector>| Slot {
            labels: Labels::new(&[("collector", collector.name().as_bytes())]),
            collector,
            seconds: 0.0,
            success: false,
        };
        Self {
            proc_stat: KernelFile::new(roots.procfs.join("stat")),
            links: Links::default(),
            slots: on.map(|(_, build)| slot(build(roots, &collectors.options))).collect(),
            stages: Arc::default(),
            duration: Family::gauge(
                "node_scrape_collector_duration_seconds",
                "node_exporter: Duration of a collector scrape.",
            ),
            success: Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded."),
        }
    }

    /// The same, which says there how far a scrape is.
    pub fn watched(self, stages: Arc<Stages>) -> Self {
        Self { stages, ..self }
    }

    /// Writes the families of the collectors that are selected. One that fails is left out whole, counted, and named
    /// with its reason.
    pub fn sample(&mut self, selection: &Selection, out: &mut Encoder) -> Troubles {
        let mut troubles = Troubles::default();
        let stat = match self.stages.begin("stat") {
            Ok(()) => self.proc_stat.read(),
            Err(why) => Err(CollectError::Read { path: "/proc/stat".into(), source: Arc::new(io::Error::other(why)) }),
        };
        let proc_stat = stat.as_ref().copied();
        self.links.forget();
        for slot in self.slots.iter_mut().filter(|slot| selection.takes(slot.collector.name())) {
            if let Err(why) = self.stages.begin(slot.collector.name()) {
                (slot.success, slot.seconds) = (false, 0.0);
                troubles.0.push((slot.collector.name(), why.to_owned()));
                continue;
            }
            let (began, mark) = (Instant::now(), out.mark());
            let mut scrape = Scrape::new(&mut *out, proc_stat, &mut self.links);
            let result = slot.collector.collect(&mut scrape);
            let failed = scrape.failed;
            slot.seconds = began.elapsed().as_secs_f64();
            if result.is_err() {
                out.truncate(mark);
            }
            let error = result.err().or(failed);
            slot.success = error.is_none();
            if let Some(error) = error.filter(|error| !matches!(error, CollectError::NoData { .. })) {
                troubles.0.push((slot.collector.name(), format!("{:#}", anyhow::Error::new(error))));
            }
        }
        let taken = || self.slots.iter().filter(|slot| selection.takes(slot.collector.name()));
        let mut samples = out.family(&self.duration);
        taken().for_each(|slot| samples.with(&slot.labels, slot.seconds));
        let mut samples = out.family(&self.success);
        taken().for_each(|slot| samples.with(&slot.labels, slot.success));
        troubles
    }

    /// What collectors add to what all others have written, the agent's own metrics included.
    pub fn finish(&mut self, selection: &Selection, out: &mut Encoder, troubles: &mut Troubles) {
        for slot in self.slots.iter_mut().filter(|slot| selection.takes(slot.collector.name())) {
            slot.collector.finish(out);
            let name = slot.collector.name();
            troubles.0.extend(slot.collector.troubles().iter().map(|why| (name, why.clone())));
        }
    }
}

/// What collectors' tests share: captured trees and the text that comes of them.
#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::{BUILDERS, Encoder, Roots, Sampler, Selection, testing};
    use hostwright_core::config::metrics::collectors::{Collectors, Options, TABLE};
    use hostwright_testing::allocations;
    use std::fmt::Write as _;

    /// A host with so many CPUs, disks, network devices and fields of memory.
    fn host(count: usize) -> (tempfile::TempDir, Roots) {
        let mut files = ["stat", "diskstats", "net/dev", "meminfo", "vmstat", "net/softnet_stat", "schedstat"]
            .map(|name| (format!("proc/{name}"), String::new()));
        files[0].1 = "cpu  1 2 3 4 5 6 7 8 9 10\n".to_owned();
        files[2].1 = "Inter-|\n face |\n".to_owned();
        for at in 0..count {
            let mut line = |file: usize, text: &str| {
                let _ = writeln!(files[file].1, "{}", text.replace("AT", &at.to_string()));
            };
            line(0, "cpuAT 1 2 3 4 5 6 7 8 9 10");
            line(1, "253 AT dm-AT 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17");
            line(2, "ethAT: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
            line(3, "FieldAT: 17 kB");
            line(4, "pgfaultAT 17");
            line(5, "1 2 3 0 0 0 0 0 0 4 5 0 AT");
            line(6, "cpuAT 0 0 0 0 0 0 1 2 3");
        }
        files[0].1.push_str("intr 1\nctxt 2\nbtime 3\nprocesses 4\nprocs_running 5\nprocs_blocked 6\n");
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        testing::tree(&files)
    }

    /// Samples of a scrape, and how often it allocates when what is kept is there.
    fn scraped(count: usize) -> (usize, u64) {
        let (_folder, roots) = host(count);
        let (mut sampler, mut out) = (Sampler::new(&roots, &Collectors::default()), Encoder::default());
        let selection = Selection::of_query(
            "collect[]=cpu&collect[]=diskstats&collect[]=netdev&collect[]=meminfo&collect[]=vmstat&collect[]=softnet&\
             collect[]=schedstat&collect[]=stat",
            &Collectors::default(),
        )
        .expect("known collectors");
        let mut samples = 0;
        for _ in 0..3 {
            sampler.sample(&selection, &mut out);
            let text = String::from_utf8(out.take()).expect("UTF-8");
            samples = text.lines().filter(|line| !line.starts_with('#')).count();
        }
        (samples, allocations::of(|| drop(sampler.sample(&selection, &mut out))))
    }

    #[test]
    fn nothing_is_allocated_for_a_sample() {
        let ((few, small), (many, large)) = (scraped(2), scraped(200));
        assert!(many > 50 * few / 2, "{few} and {many} samples");
        assert_eq!(large, small, "allocations for {many} samples and for {few}");
    }

    #[test]
    fn every_collector_of_the_table_is_made_and_has_the_tables_name() {
        let (roots, options) = (Roots::default(), Options::default());
        let made: Vec<&str> = BUILDERS.iter().map(|(_, build)| build(&roots, &options).name()).collect();
        let named: Vec<&str> = BUILDERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(made, named);
        let wanted = TABLE.iter().map(|known| known.name);
        assert_eq!(named, wanted.collect::<Vec<_>>());
    }
}
