//! Prometheus' node_exporter: what the metrics duty is compared with.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::exposition::Version;
use crate::http;
use crate::port::Port;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Names another version's program than the installed one.
const OTHER_PROGRAM: &str = "HOSTWRIGHT_NODE_EXPORTER";

/// Its own defaults of its newest version: Debian changes some of them, and its version is older.
const DEFAULTS: [&str; 5] = [
    r"--collector.netdev.device-exclude=^$",
    r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
    r"--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
    r"--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
    r"--collector.netstat.fields=^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
];

/// A node_exporter with the collectors of a test.
#[derive(Debug)]
pub struct NodeExporter {
    server: Server,
    port: Port,
    _folder: TempDir,
    version: Version,
    collectors: Vec<String>,
}

impl NodeExporter {
    /// On this host, with these collectors and no others.
    pub fn start(collectors: &[String]) -> Result<Self> {
        Self::start_with(collectors, &[])
    }

    /// On an unpacked tree.
    pub fn start_on(tree: &Path, collectors: &[String], flags: &[&str]) -> Result<Self> {
        let roots = [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("udev.data", "udev")];
        let mut all: Vec<String> =
            roots.iter().map(|(flag, folder)| format!("--path.{flag}={}", tree.join(folder).display())).collect();
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        // Newer versions ask the kernel that runs, which knows nothing of the tree.
        if said("--help")?.lines().any(|line| is_the_switch_of(line, "arp.netlink")) {
            all.push("--no-collector.arp.netlink".to_owned());
        }
        Self::start_with(collectors, &all)
    }

    /// On this host, with more flags.
    pub fn start_with(collectors: &[String], flags: &[String]) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let help = said("--help")?;
        // A collector that this version does not have is left to the newer ones.
        let is_known = |name: &&String| help.lines().any(|line| is_the_switch_of(line, name));
        let known: Vec<String> = collectors.iter().filter(is_known).cloned().collect();
        let mut command = Command::new(program());
        command
            .args(DEFAULTS)
            .args(flags)
            .arg("--collector.disable-defaults")
            .args(known.iter().map(|name| format!("--collector.{name}")))
            .arg(format!("--web.listen-address={}", port.address()));
        let version = version_of(&said("--version")?)?;
        let mut server = Server::start(&command, &folder.path().join("node-exporter.log"))?;
        server.wait_until("GET / answers 200", START_TIMEOUT, || http::get(port.address(), "/")?.success())?;
        Ok(Self { server, port, _folder: folder, version, collectors: known })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its process.
    pub fn process(&self) -> i32 {
        self.server.pid().as_raw()
    }

    /// Those of the collectors it was to run that it has.
    pub fn collectors(&self) -> &[String] {
        &self.collectors
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.version
    }
}

fn program() -> OsString {
    env::var_os(OTHER_PROGRAM).unwrap_or_else(|| "prometheus-node-exporter".into())
}

/// Its help is on stdout, its version on either, by version.
fn said(flag: &str) -> Result<String> {
    let output = Command::new(program()).arg(flag).output().context("running node_exporter")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// `  --[no-]collector.arp   Enable …`, where older versions leave out `[no-]`.
fn is_the_switch_of(line: &str, collector: &str) -> bool {
    let flag = line.trim_start().trim_start_matches("--").trim_start_matches("[no-]");
    flag.strip_prefix("collector.").and_then(|rest| rest.split_whitespace().next()) == Some(collector)
}

/// `node_exporter, version 1.5.0 (…)`.
fn version_of(text: &str) -> Result<Version> {
    let version = text.split_once("version ").and_then(|(_, rest)| rest.split_whitespace().next());
    let mut numbers = version.context("no version is told")?.split('.').map(str::parse);
    let mut next = || numbers.next().context("no number")?.context("not a number");
    Ok((next()?, next()?))
}
