use super::rpc::{Procedures, Rpc, write_procedures};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};

/// Of version 2, on client and server.
pub const VERSION_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create", "Remove",
    "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

/// Of version 3, on client and server.
pub const VERSION_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// Of version 4 on a client. Newer kernels have more, which the original does not tell.
const VERSION_4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// `/proc/net/rpc/nfs`: what this host asked of NFS servers.
pub struct Nfs {
    rpc: Rpc,
    packets: Family,
    protocols: [(usize, Labels); 2],
    connections: Family,
    rpcs: [Family; 3],
    requests: Family,
    procedures: [Procedures; 3],
}

impl Nfs {
    pub fn new(roots: &Roots) -> Self {
        let counter = |name: &str, help: &str| Family::counter(&format!("node_nfs_{name}_total"), help);
        let protocol = |name: &str| Labels::new(&[("protocol", name.as_bytes())]);
        let expected = &[("net", 4), ("rpc", 3), ("proc2", 19), ("proc3", 23), ("proc4", 1)];
        Self {
            rpc: Rpc::new(roots.procfs.join("net/rpc/nfs"), expected),
            packets: counter("packets", "Total NFSd network packets (sent+received) by protocol type."),
            protocols: [(1, protocol("udp")), (2, protocol("tcp"))],
            connections: counter("connections", "Total number of NFSd TCP connections."),
            rpcs: [
                counter("rpcs", "Total number of RPCs performed."),
                counter("rpc_retransmissions", "Number of RPC transmissions performed."),
                counter("rpc_authentication_refreshes", "Number of RPC authentication refreshes performed."),
            ],
            requests: counter("requests", "Number of NFS procedures invoked."),
            procedures: [
                Procedures::new("proc2", "2", &VERSION_2),
                Procedures::new("proc3", "3", &VERSION_3),
                Procedures::new("proc4", "4", &VERSION_4),
            ],
        }
    }
}

impl Collector for Nfs {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.rpc.read()?;
        let mut samples = scrape.out.family(&self.packets);
        self.protocols.iter().for_each(|(at, labels)| samples.with(labels, self.rpc.number("net", *at)));
        scrape.out.family(&self.connections).put(self.rpc.number("net", 3));
        for (at, family) in self.rpcs.iter().enumerate() {
            scrape.out.family(family).put(self.rpc.number("rpc", at));
        }
        write_procedures(&mut scrape.out.family(&self.requests), &self.rpc, &self.procedures);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Nfs;
    use crate::sample::testing::{assert_has, samples, tree};

    #[test]
    fn packets_calls_and_procedures_are_counted_and_versions_that_are_not_there_are_zero() {
        let text = "net 70 69 45 1\nrpc 1218785755 374636 1218815394\nproc4 4 1 98 51 54\n";
        let (_folder, roots) = tree(&[("proc/net/rpc/nfs", text)]);
        let lines = samples(&mut Nfs::new(&roots), &roots);
        assert_has(
            &lines,
            &[
                r#"node_nfs_packets_total{protocol="udp"} 69"#,
                r#"node_nfs_packets_total{protocol="tcp"} 45"#,
                "node_nfs_connections_total 1",
                "node_nfs_rpc_retransmissions_total 374636",
                r#"node_nfs_requests_total{method="GetAttr",proto="2"} 0"#,
                r#"node_nfs_requests_total{method="Read",proto="4"} 98"#,
                r#"node_nfs_requests_total{method="Commit",proto="4"} 54"#,
                r#"node_nfs_requests_total{method="Clone",proto="4"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 2 + 1 + 3 + 18 + 22 + 59);
    }
}
