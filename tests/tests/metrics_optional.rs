//! Collectors that are off unless asked for, compared with the real node_exporter's on this host.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hostwright_tests::engines::NodeExporter;
use hostwright_tests::exposition::Exposition;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

/// Name, options of ours, flags of the original's.
const COLLECTORS: &[(&str, &str, &[&str])] = &[
    ("buddyinfo", "true", &[]),
    ("cgroups", "true", &[]),
    ("ethtool", "{device_exclude: '^lo$'}", &["--collector.ethtool.device-exclude=^lo$"]),
    ("interrupts", "true", &[]),
    ("ksmd", "true", &[]),
    ("lnstat", "true", &[]),
    ("meminfo_numa", "true", &[]),
    (
        "netdev",
        "{address_info: true, enable_detailed_metrics: true}",
        &["--collector.netdev.address-info", "--collector.netdev.enable-detailed-metrics"],
    ),
    ("network_route", "true", &[]),
    ("qdisc", "true", &[]),
    ("slabinfo", "true", &[]),
    (
        "sysctl",
        "{include: [kernel.threads-max, 'net.ipv4.tcp_rmem:min,default,max', net.ipv4.tcp_wmem], \
         include_info: [kernel.seccomp.actions_avail, kernel.ostype]}",
        &[
            "--collector.sysctl.include=kernel.threads-max",
            "--collector.sysctl.include=net.ipv4.tcp_rmem:min,default,max",
            "--collector.sysctl.include=net.ipv4.tcp_wmem",
            "--collector.sysctl.include-info=kernel.seccomp.actions_avail",
            "--collector.sysctl.include-info=kernel.ostype",
        ],
    ),
    ("vmstat", "{fields: '^(pg|nr_.*file)'}", &["--collector.vmstat.fields=^(pg|nr_.*file)"]),
    ("softirqs", "true", &[]),
    ("swap", "true", &[]),
    ("tcpstat", "true", &[]),
    ("xfrm", "true", &[]),
    ("zoneinfo", "true", &[]),
];

#[test]
fn optional_collectors_give_what_node_exporters_give_on_this_host() -> Result<()> {
    let names: Vec<String> = COLLECTORS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let flags: Vec<String> = COLLECTORS.iter().flat_map(|(.., flags)| *flags).map(|flag| (*flag).to_owned()).collect();
    let original = NodeExporter::start_with(&names, &flags)?;
    let port = Port::reserve()?;
    let known = COLLECTORS.iter().filter(|(name, ..)| original.collectors().iter().any(|known| known == name));
    let listed: String = known.map(|(name, options, _)| format!(", {name}: {options}")).collect();
    let config = format!("metrics: {{listen: \"{}\", collectors: {{default: false{listed}}}}}\n", port.address());
    let mut agent = AgentProcess::start(&config)?;
    agent.wait_ready(SOON)?;
    let scrape = |address| Exposition::parse(&http::get(address, "/metrics")?.success()?.text());
    eventually("no difference to the original", SOON, || {
        let (before, ours) = (scrape(original.address())?, scrape(port.address())?);
        let after = scrape(original.address())?;
        ensure!(ours.series.len() > 100, "only {} series", ours.series.len());
        match ours.wrong(&before, &after, original.version())[..] {
            [] => Ok(()),
            ref wrong => bail!("{}", wrong.join("\n")),
        }
    })
}
