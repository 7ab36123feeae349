//! Which collectors run, and with which options: in comes `collectors:`, out go names and options.
//!
//! [`TABLE`] is the one list of collectors. What has options has a file here; nothing is kept.

/// Of `arp`.
pub mod arp;
/// Of `bcache`.
pub mod bcache;
/// Of `cpu`.
pub mod cpu;
/// Of `diskstats`.
pub mod diskstats;
/// Of `ethtool`.
pub mod ethtool;
/// Of `filesystem`.
pub mod filesystem;
/// Of `hwmon`.
pub mod hwmon;
/// Of `interrupts`.
pub mod interrupts;
/// Of `ipvs`.
pub mod ipvs;
/// Of `netclass`.
pub mod netclass;
/// Of `netdev`.
pub mod netdev;
/// Of `netstat`.
pub mod netstat;
/// Of `pcidevice`.
pub mod pcidevice;
/// Of `powersupplyclass`.
pub mod powersupplyclass;
/// Of `qdisc`.
pub mod qdisc;
/// Of `rapl`.
pub mod rapl;
/// Of `slabinfo`.
pub mod slabinfo;
/// Of `stat`.
pub mod stat;
/// Of `sysctl`.
pub mod sysctl;
/// Of `systemd`.
pub mod systemd;
/// Of `tapestats`.
pub mod tapestats;
/// Of `textfile`.
pub mod textfile;
/// Of `vmstat`.
pub mod vmstat;
/// Of `wifi`.
pub mod wifi;

use crate::config::section::Section;
use crate::config::values::FromNode;
use crate::yaml::Node;

/// What can be set of collectors; the defaults are node_exporter's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Of `arp`.
    pub arp: arp::Arp,
    /// Of `bcache`.
    pub bcache: bcache::Bcache,
    /// Of `cpu`.
    pub cpu: cpu::Cpu,
    /// Of `diskstats`.
    pub diskstats: diskstats::Diskstats,
    /// Of `ethtool`.
    pub ethtool: ethtool::Ethtool,
    /// Of `filesystem`.
    pub filesystem: filesystem::Filesystem,
    /// Of `hwmon`.
    pub hwmon: hwmon::Hwmon,
    /// Of `interrupts`.
    pub interrupts: interrupts::Interrupts,
    /// Of `ipvs`.
    pub ipvs: ipvs::Ipvs,
    /// Of `netclass`.
    pub netclass: netclass::Netclass,
    /// Of `netdev`.
    pub netdev: netdev::Netdev,
    /// Of `netstat`.
    pub netstat: netstat::Netstat,
    /// Of `pcidevice`.
    pub pcidevice: pcidevice::Pcidevice,
    /// Of `powersupplyclass`.
    pub powersupplyclass: powersupplyclass::Powersupplyclass,
    /// Of `qdisc`.
    pub qdisc: qdisc::Qdisc,
    /// Of `rapl`.
    pub rapl: rapl::Rapl,
    /// Of `slabinfo`.
    pub slabinfo: slabinfo::Slabinfo,
    /// Of `stat`.
    pub stat: stat::Stat,
    /// Of `sysctl`.
    pub sysctl: sysctl::Sysctl,
    /// Of `systemd`.
    pub systemd: systemd::Systemd,
    /// Of `tapestats`.
    pub tapestats: tapestats::Tapestats,
    /// Of `textfile`.
    pub textfile: textfile::Textfile,
    /// Of `vmstat`.
    pub vmstat: vmstat::Vmstat,
    /// Of `wifi`.
    pub wifi: wifi::Wifi,
}

type Read = fn(&mut Options, &mut Section<'_>);

/// A collector's name, whether it runs unless told, and how its options are read.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// node_exporter's name for it.
    pub name: &'static str,
    /// Whether node_exporter has it on.
    pub on: bool,
    read: Read,
}

const fn on(name: &'static str, read: Read) -> Known {
    Known { name, on: true, read }
}

const fn off(name: &'static str, read: Read) -> Known {
    Known { name, on: false, read }
}

const NO_OPTIONS: Read = |_, _| {};

/// Every collector, in the order of the names.
pub const TABLE: &[Known] = &[
    on("arp", |options, section| options.arp.read(section)),
    on("bcache", |options, section| options.bcache.read(section)),
    on("bcachefs", NO_OPTIONS),
    on("bonding", NO_OPTIONS),
    on("btrfs", NO_OPTIONS),
    off("buddyinfo", NO_OPTIONS),
    off("cgroups", NO_OPTIONS),
    on("conntrack", NO_OPTIONS),
    on("cpu", |options, section| options.cpu.read(section)),
    off("cpu_vulnerabilities", NO_OPTIONS),
    on("cpufreq", NO_OPTIONS),
    on("diskstats", |options, section| options.diskstats.read(section)),
    on("dmi", NO_OPTIONS),
    off("drbd", NO_OPTIONS),
    off("drm", NO_OPTIONS),
    on("edac", NO_OPTIONS),
    on("entropy", NO_OPTIONS),
    off("ethtool", |options, section| options.ethtool.read(section)),
    on("fibrechannel", NO_OPTIONS),
    on("filefd", NO_OPTIONS),
    on("filesystem", |options, section| options.filesystem.read(section)),
    on("hwmon", |options, section| options.hwmon.read(section)),
    on("infiniband", NO_OPTIONS),
    off("interrupts", |options, section| options.interrupts.read(section)),
    on("ipvs", |options, section| options.ipvs.read(section)),
    on("kernel_hung", NO_OPTIONS),
    off("ksmd", NO_OPTIONS),
    off("lnstat", NO_OPTIONS),
    on("loadavg", NO_OPTIONS),
    off("logind", NO_OPTIONS),
    on("mdadm", NO_OPTIONS),
    on("meminfo", NO_OPTIONS),
    off("meminfo_numa", NO_OPTIONS),
    off("mountstats", NO_OPTIONS),
    on("netclass", |options, section| options.netclass.read(section)),
    on("netdev", |options, section| options.netdev.read(section)),
    on("netstat", |options, section| options.netstat.read(section)),
    off("network_route", NO_OPTIONS),
    on("nfs", NO_OPTIONS),
    on("nfsd", NO_OPTIONS),
    on("nvme", NO_OPTIONS),
    on("os", NO_OPTIONS),
    off("pcidevice", |options, section| options.pcidevice.read(section)),
    on("powersupplyclass", |options, section| options.powersupplyclass.read(section)),
    on("pressure", NO_OPTIONS),
    off("processes", NO_OPTIONS),
    off("qdisc", |options, section| options.qdisc.read(section)),
    on("rapl", |options, section| options.rapl.read(section)),
    on("schedstat", NO_OPTIONS),
    on("selinux", NO_OPTIONS),
    off("slabinfo", |options, section| options.slabinfo.read(section)),
    on("sockstat", NO_OPTIONS),
    off("softirqs", NO_OPTIONS),
    on("softnet", NO_OPTIONS),
    on("stat", |options, section| options.stat.read(section)),
    off("swap", NO_OPTIONS),
    off("sysctl", |options, section| options.sysctl.read(section)),
    off("systemd", |options, section| options.systemd.read(section)),
    on("tapestats", |options, section| options.tapestats.read(section)),
    off("tcpstat", NO_OPTIONS),
    on("textfile", |options, section| options.textfile.read(section)),
    on("thermal_zone", NO_OPTIONS),
    on("time", NO_OPTIONS),
    on("timex", NO_OPTIONS),
    on("udp_queues", NO_OPTIONS),
    on("uname", NO_OPTIONS),
    on("vmstat", |options, section| options.vmstat.read(section)),
    on("watchdog", NO_OPTIONS),
    off("wifi", |options, section| options.wifi.read(section)),
    off("xfrm", NO_OPTIONS),
    on("xfs", NO_OPTIONS),
    on("zfs", NO_OPTIONS),
    off("zoneinfo", NO_OPTIONS),
];

/// node_exporter has these too, off by default; here they may be turned off. Why each is not provided.
const NOT_PROVIDED: [(&str, &str); 4] = [
    ("ntp", "node_exporter has deprecated it: the collectors time and timex tell how well the clock is kept"),
    ("perf", "it takes CAP_PERFMON and two descriptors for each counter of each CPU, which this service has not"),
    ("runit", "node_exporter has deprecated it: it is for hosts without systemd"),
    ("supervisord", "node_exporter has deprecated it: let supervisord's state be written to a file for textfile"),
];

/// Which collectors run, and with which options.
#[derive(Clone, Debug, PartialEq)]
pub struct Collectors {
    on: Vec<&'static str>,
    /// Those of collectors that do not run are the defaults.
    pub options: Options,
}

impl Default for Collectors {
    fn default() -> Self {
        let on = TABLE.iter().filter(|known| known.on).map(|known| known.name).collect();
        Self { on, options: Options::default() }
    }
}

impl Collectors {
    /// Whether the collector runs.
    pub fn is_on(&self, name: &str) -> bool {
        self.on.contains(&name)
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let default = section.or("default", true);
        let mut collectors = Self { on: Vec::new(), options: Options::default() };
        for known in TABLE {
            if collectors.read_one(&mut section, known).unwrap_or(default && known.on) {
                collectors.on.push(known.name);
            }
        }
        for (name, why) in NOT_PROVIDED {
            // Options mean that it shall run.
            let is_wanted = |node: &Node| node.mapping().is_some() || bool::from_node(node) != Ok(false);
            if section.node(name).is_some_and(is_wanted) {
                section.problem_with(name, &format!("this collector is not provided here ({why}); leave it out"));
            }
        }
        section.finish();
        collectors.options.cpu.frequency = collectors.is_on("cpufreq");
        Some(collectors)
    }

    /// Whether it is on, if the file says so: options turn it on.
    fn read_one(&mut self, section: &mut Section<'_>, known: &Known) -> Option<bool> {
        let node = section.node(known.name)?;
        if node.mapping().is_none() {
            return match bool::from_node(node) {
                Ok(on) => Some(on),
                Err(_) => {
                    let message = format!("expected true, false or a mapping of options, found {}", node.kind());
                    section.problem_at(node.place, known.name, &message);
                    None
                }
            };
        }
        let mut options = section.item(known.name, node)?;
        (known.read)(&mut self.options, &mut options);
        options.finish();
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Collectors, TABLE};
    use crate::config::Config;

    fn read(text: &str) -> Result<Collectors, String> {
        let config = Config::parse(&format!("metrics: {{collectors: {text}}}"), "agent.yaml");
        config.map(|config| config.metrics.expect("present").collectors).map_err(|error| error.to_string())
    }

    #[test]
    fn every_collector_has_one_place_in_the_order_of_the_names() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn collectors_are_on_as_in_node_exporter_unless_told() {
        let collectors = read("{}").expect("valid");
        assert_eq!(collectors, Collectors::default());
        assert_eq!(read("{runit: false}"), read("{}"));
        assert!(collectors.is_on("cpu") && !collectors.is_on("systemd"));
        let collectors = read("{systemd: true, cpu: false}").expect("valid");
        assert!(collectors.is_on("systemd") && !collectors.is_on("cpu") && collectors.is_on("zfs"));
        let collectors = read("{default: false, loadavg: true, netdev: {device_exclude: '^lo$'}}").expect("valid");
        let on: Vec<_> = TABLE.iter().map(|known| known.name).filter(|name| collectors.is_on(name)).collect();
        assert_eq!(on, ["loadavg", "netdev"], "options turn a collector on");
        assert!(!collectors.options.netdev.devices.admits(b"lo"));
    }

    /// The keys that a collector takes, as the message about one that is none lists them.
    fn options(name: &str) -> Vec<String> {
        let error = read(&format!("{{{name}: {{not-one-of-its-options: 1}}}}")).expect_err("refused");
        if error.contains("nothing can be set here") {
            return Vec::new();
        }
        let (_, keys) = error.rsplit_once("known here: ").expect("a list");
        let mut keys: Vec<_> = keys.split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// The words in backquotes, of which a default is no part.
    fn quoted(text: &str) -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(|word| word.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn the_guide_names_every_collector_with_its_options() {
        let guide = include_str!("../../../../../../docs/metrics.md");
        let between = |start: &str, end: &str| {
            let (_, rest) = guide.split_once(start).expect(start);
            rest.split_once(end).expect(end).0
        };
        for (start, on) in [("On by default: ", true), ("Off by default: ", false)] {
            let names: Vec<_> = TABLE.iter().filter(|known| known.on == on).map(|known| known.name).collect();
            assert_eq!(quoted(between(start, "\n\n")), names, "{start}");
        }
        let rows = between("| collector | options |\n| --- | --- |\n", "\n\n");
        let mut told = std::collections::BTreeMap::new();
        for (names, keys) in rows.lines().filter_map(|row| row.strip_prefix("| ")?.split_once(" | ")) {
            let (names, keys) = (quoted(names), quoted(keys));
            // Where each of several collectors has one option, these stand in the same order.
            for (at, name) in names.iter().enumerate() {
                let own = if keys.len() == names.len() && names.len() > 1 { &keys[at..=at] } else { &keys[..] };
                let mut own = own.to_vec();
                own.sort();
                told.insert(name.clone(), own);
            }
        }
        for known in TABLE {
            assert_eq!(told.remove(known.name).unwrap_or_default(), options(known.name), "{}", known.name);
        }
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn what_is_no_collector_and_what_is_no_option_is_refused_with_the_nearest_name() {
        for (text, want) in [
            ("{cpufrek: true}", "metrics.collectors.cpufrek: unknown key; did you mean \"cpufreq\"?"),
            ("{cpu: {gest: false}}", "metrics.collectors.cpu.gest: unknown key; did you mean \"guest\"?"),
            ("{runit: true}", "metrics.collectors.runit: this collector is not provided here (node_exporter has"),
            (
                "{perf: {cpus: '0-3'}}",
                "metrics.collectors.perf: this collector is not provided here (it takes CAP_PERFMON",
            ),
            ("{cpu: 7}", "metrics.collectors.cpu: expected true, false or a mapping of options, found a number"),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.contains(want), "{error}");
        }
    }
}
