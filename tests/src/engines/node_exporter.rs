//! Prometheus' node_exporter: what the metrics duty is compared with.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(20);

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
    _server: Server,
    port: Port,
    _folder: TempDir,
}

impl NodeExporter {
    /// With these collectors and no others.
    pub fn start(collectors: &[String]) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let mut command = Command::new("prometheus-node-exporter");
        command
            .args(DEFAULTS)
            .arg("--collector.disable-defaults")
            .args(collectors.iter().map(|name| format!("--collector.{name}")))
            .arg(format!("--web.listen-address={}", port.address()));
        let mut server = Server::start(&command, &folder.path().join("node-exporter.log"))?;
        server.wait_until("GET / answers 200", START_TIMEOUT, || http::get(port.address(), "/")?.success())?;
        Ok(Self { _server: server, port, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}
