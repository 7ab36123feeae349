//! The metrics duty on hosts with other hardware than this one: on an unpacked tree, the real agent and a real
//! node_exporter answer the same.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::engines::NodeExporter;
use hostwright_tests::exposition::{Exposition, NEWEST};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::tree::Tree;

const SOON: Duration = Duration::from_secs(20);

/// Collectors, each with what `agent.yaml` says of it, and the original's flags for the same options.
struct Wanted<'a> {
    collectors: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

/// Both answer the same on the tree; returns how many series that are.
fn same_on(tree: &Tree, wanted: &Wanted<'_>) -> Result<usize> {
    let names: Vec<String> = wanted.collectors.iter().map(|(name, _)| (*name).to_owned()).collect();
    let original = NodeExporter::start_on(tree.path(), &names, wanted.flags)?;
    let known = wanted.collectors.iter().filter(|(name, _)| original.collectors().iter().any(|known| known == name));
    let said: String = known.map(|(name, said)| format!(", {name}: {said}")).collect();
    let (_agent, port) = agent_on(tree, &said)?;
    let scrape = |port: SocketAddr| Exposition::parse(&http::get(port, "/metrics")?.success()?.text());
    let before = scrape(original.address())?;
    let ours = scrape(port.address())?;
    let wrong = ours.wrong(&before, &scrape(original.address())?, original.version());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(ours.series.len())
}

/// Ours is what node_exporter 1.11 answered on the tree, which is recorded beside it: the installed one is older.
fn same_as_recorded(name: &str, collectors: &[(&str, &str)]) -> Result<()> {
    let tree = Tree::unpack(name)?;
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name).with_extension("prom");
    let recorded = fs::read_to_string(recorded)?.replace("{tree}", &tree.path().display().to_string());
    let recorded = Exposition::parse(&recorded)?;
    let said: String = collectors.iter().map(|(name, said)| format!(", {name}: {said}")).collect();
    let (_agent, port) = agent_on(&tree, &said)?;
    let ours = Exposition::parse(&http::get(port.address(), "/metrics")?.success()?.text())?;
    let wrong = ours.wrong(&recorded, &recorded, NEWEST);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn agent_on(tree: &Tree, collectors: &str) -> Result<(AgentProcess, Port)> {
    let port = Port::reserve()?;
    let roots = [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("udev", "udev")];
    let roots = roots.map(|(root, folder)| format!("{root}: {}", tree.path().join(folder).display())).join(", ");
    let mut agent = AgentProcess::start(&format!(
        "metrics:\n  listen: \"{}\"\n  roots: {{{roots}}}\n  collectors: {{default: false{collectors}}}\n",
        port.address(),
    ))?;
    agent.wait_ready(SOON)?;
    Ok((agent, port))
}

#[test]
fn a_server_with_one_of_nearly_everything_is_told_as_the_original_does() -> Result<()> {
    let collectors = [
        ("bcache", "true"),
        ("bonding", "true"),
        ("btrfs", "true"),
        ("cpu", "true"),
        ("cpu_vulnerabilities", "true"),
        ("cpufreq", "true"),
        ("diskstats", "true"),
        ("dmi", "true"),
        ("edac", "true"),
        ("fibrechannel", "true"),
        ("hwmon", "true"),
        ("infiniband", "true"),
        ("netclass", "true"),
        ("nvme", "true"),
        ("os", "true"),
        ("powersupplyclass", "true"),
        ("rapl", "true"),
        ("tapestats", "true"),
        ("thermal_zone", "true"),
        ("watchdog", "true"),
    ];
    let series = same_on(&Tree::unpack("server")?, &Wanted { collectors: &collectors, flags: &[] })?;
    ensure!(series > 130, "only {series} series");
    Ok(())
}

#[test]
fn a_file_server_with_raid_in_every_state_zfs_xfs_and_nfs_is_told_as_the_original_does() -> Result<()> {
    let collectors = ["drbd", "mdadm", "mountstats", "nfs", "nfsd", "xfs", "zfs"].map(|name| (name, "true"));
    let tree = Tree::unpack("file-server")?;
    let series = same_on(&tree, &Wanted { collectors: &collectors, flags: &[] })?;
    ensure!(series > 1000, "only {series} series");
    Ok(())
}

#[test]
fn a_load_balancers_network_and_kernel_are_told_as_the_original_does() -> Result<()> {
    let collectors = [
        "arp",
        "conntrack",
        "ipvs",
        "kernel_hung",
        "loadavg",
        "meminfo",
        "netstat",
        "pressure",
        "schedstat",
        "sockstat",
        "softnet",
        "stat",
        "udp_queues",
        "vmstat",
    ]
    .map(|name| (name, "true"));
    let tree = Tree::unpack("balancer")?;
    let series = same_on(&tree, &Wanted { collectors: &collectors, flags: &[] })?;
    ensure!(series > 240, "only {series} series");
    Ok(())
}

#[test]
fn options_have_the_same_effect_as_the_originals_flags() -> Result<()> {
    let collectors = [
        ("bcache", "{priority_stats: true}"),
        ("diskstats", "{device_exclude: '^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$'}"),
        ("netclass", "{ignored_devices: '^(lo|veth.*)$', ignore_invalid_speed: true}"),
        ("powersupplyclass", "{ignored_supplies: '^hidpp'}"),
        ("rapl", "{enable_zone_label: true}"),
        ("tapestats", "{ignored_devices: '^st1'}"),
    ];
    let flags = [
        "--collector.bcache.priorityStats",
        "--collector.netclass.ignored-devices=^(lo|veth.*)$",
        "--collector.netclass.ignore-invalid-speed",
        "--collector.powersupply.ignored-supplies=^hidpp",
        "--collector.rapl.enable-zone-label",
        "--collector.tapestats.ignored-devices=^st1",
    ];
    same_on(&Tree::unpack("server")?, &Wanted { collectors: &collectors, flags: &flags })?;
    Ok(())
}

#[test]
fn what_only_newer_versions_understand_is_told_as_they_do() -> Result<()> {
    let info = "{info: true, info_flags_include: '^(aes|avx.?|constant_tsc)$', info_bugs_include: '^(cpu_meltdown|spectre_.*|mds)$'}";
    let collectors = [
        ("bcachefs", "true"),
        ("btrfs", "true"),
        ("cpu", info),
        ("diskstats", "true"),
        ("drm", "true"),
        ("fibrechannel", "true"),
        ("hwmon", "true"),
        ("infiniband", "true"),
        ("pcidevice", "true"),
        ("thermal_zone", "true"),
    ];
    same_as_recorded("newer", &collectors)
}

#[test]
fn a_processor_with_fast_and_slow_cores_is_told_as_the_original_does() -> Result<()> {
    let collectors = [
        ("cpu", "{info: true, info_flags_include: '^(aes|hybrid_cpu|rapl)$'}"),
        ("cpufreq", "true"),
        ("cpu_vulnerabilities", "true"),
        ("interrupts", "true"),
        ("loadavg", "true"),
        ("meminfo", "true"),
        ("pressure", "true"),
        ("rapl", "true"),
        ("schedstat", "true"),
        ("softirqs", "true"),
        ("softnet", "true"),
        ("stat", "true"),
        ("thermal_zone", "true"),
        ("vmstat", "true"),
        ("zoneinfo", "true"),
    ];
    same_as_recorded("hybrid", &collectors)
}

#[test]
fn a_board_with_arm_cores_and_a_card_for_a_disk_is_told_as_the_original_does() -> Result<()> {
    let plain = [
        "arp",
        "buddyinfo",
        "cpufreq",
        "diskstats",
        "entropy",
        "filefd",
        "hwmon",
        "loadavg",
        "meminfo",
        "netdev",
        "netstat",
        "powersupplyclass",
        "sockstat",
        "stat",
        "swap",
        "thermal_zone",
        "watchdog",
    ];
    let collectors: Vec<_> = plain.map(|name| (name, "true")).into_iter().chain([("cpu", "{info: true}")]).collect();
    same_as_recorded("arm-board", &collectors)
}

#[test]
fn a_mainframe_with_many_disks_and_two_paths_to_one_is_told_as_the_original_does() -> Result<()> {
    let collectors = ["cpu", "diskstats", "infiniband", "mdadm", "meminfo", "nvme", "stat"].map(|name| (name, "true"));
    same_as_recorded("mainframe", &collectors)
}

#[test]
fn what_only_newer_versions_understand_of_storage_is_told_as_they_do() -> Result<()> {
    let collectors = ["kernel_hung", "mdadm", "mountstats", "nfs", "nfsd", "softnet", "xfs", "zfs"];
    same_as_recorded("newer-storage", &collectors.map(|name| (name, "true")))
}

#[test]
fn optional_collectors_tell_of_nodes_processes_and_interrupts_as_the_originals_do() -> Result<()> {
    let collectors = [
        ("buddyinfo", "true"),
        ("cgroups", "true"),
        ("interrupts", "true"),
        ("ksmd", "true"),
        ("lnstat", "true"),
        ("meminfo_numa", "true"),
        ("processes", "true"),
        ("slabinfo", "true"),
        (
            "sysctl",
            "{include: ['net.ipv4.tcp_rmem:min,default,max', fs.file-nr, 'fs.file-nr:total,current,max'], \
             include_info: kernel.seccomp.actions_avail}",
        ),
        ("zoneinfo", "true"),
    ];
    let flags = [
        "--collector.sysctl.include=net.ipv4.tcp_rmem:min,default,max",
        "--collector.sysctl.include=fs.file-nr",
        "--collector.sysctl.include=fs.file-nr:total,current,max",
        "--collector.sysctl.include-info=kernel.seccomp.actions_avail",
    ];
    let series = same_on(&Tree::unpack("numa")?, &Wanted { collectors: &collectors, flags: &flags })?;
    ensure!(series > 130, "only {series} series");
    Ok(())
}
