use super::nfs::{VERSION_2, VERSION_3};
use super::rpc::{Procedures, Rpc, write_procedures};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Encoder, Family, Labels};

/// Operations of version 4 on a server, without those that the original does not tell.
const VERSION_4: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

/// `/proc/net/rpc/nfsd`: what the NFS server of this host was asked.
pub struct Nfsd {
    rpc: Rpc,
    /// Each with its line, and its place on it.
    plain: Vec<(Family, &'static str, usize)>,
    packets: Family,
    protocols: [(usize, Labels); 2],
    errors: Family,
    kinds: [(usize, Labels); 3],
    requests: Family,
    procedures: [Procedures; 3],
    /// Counted on a line of its own.
    delegation: Labels,
}

impl Nfsd {
    pub fn new(roots: &Roots) -> Self {
        let expected = &[
            ("rc", 3),
            ("fh", 5),
            ("io", 2),
            ("th", 2),
            ("ra", 12),
            ("net", 4),
            ("rpc", 5),
            ("proc2", 19),
            ("proc3", 23),
            ("proc4ops", 40),
            ("wdeleg_getattr", 1),
        ];
        let labels = |name: &str, value: &str| Labels::new(&[(name, value.as_bytes())]);
        Self {
            rpc: Rpc::new(roots.procfs.join("net/rpc/nfsd"), expected),
            plain: plain(),
            packets: counter("packets", "Total NFSd network packets (sent+received) by protocol type."),
            protocols: [(1, labels("proto", "udp")), (2, labels("proto", "tcp"))],
            errors: counter("rpc_errors", "Total number of NFSd RPC errors by error type."),
            kinds: [(2, labels("error", "fmt")), (3, labels("error", "auth")), (4, labels("error", "cInt"))],
            requests: counter("requests", "Total number NFSd Requests by method and protocol."),
            procedures: [
                Procedures::new("proc2", "2", &told(&VERSION_2)),
                Procedures::new("proc3", "3", &told(&VERSION_3)),
                Procedures::new("proc4ops", "4", &VERSION_4),
            ],
            delegation: Labels::new(&[("method", b"WdelegGetattr"), ("proto", b"4")]),
        }
    }

    fn write_by(&self, out: &mut Encoder, family: &Family, key: &str, labels: &[(usize, Labels)]) {
        let mut samples = out.family(family);
        labels.iter().for_each(|(at, labels)| samples.with(labels, self.rpc.number(key, *at)));
    }
}

/// Without the call that does nothing, which the original does not tell of servers.
fn told<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().map(|name| if *name == "Null" { "" } else { name }).collect()
}

fn counter(name: &str, help: &str) -> Family {
    Family::counter(&format!("node_nfsd_{name}_total"), help)
}

fn plain() -> Vec<(Family, &'static str, usize)> {
    let gauge = |name: &str, help: &str| Family::gauge(&format!("node_nfsd_{name}"), help);
    vec![
        (counter("reply_cache_hits", "Total number of NFSd Reply Cache hits (client lost server response)."), "rc", 0),
        (
            counter(
                "reply_cache_misses",
                "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
            ),
            "rc",
            1,
        ),
        (
            counter(
                "reply_cache_nocache",
                "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
            ),
            "rc",
            2,
        ),
        (counter("file_handles_stale", "Total number of NFSd stale file handles"), "fh", 0),
        (counter("disk_bytes_read", "Total NFSd bytes read."), "io", 0),
        (counter("disk_bytes_written", "Total NFSd bytes written."), "io", 1),
        (gauge("server_threads", "Total number of NFSd kernel threads that are running."), "th", 0),
        (gauge("read_ahead_cache_size_blocks", "How large the read ahead cache is in blocks."), "ra", 0),
        (counter("read_ahead_cache_not_found", "Total number of NFSd read ahead cache not found."), "ra", 11),
        (counter("connections", "Total number of NFSd TCP connections."), "net", 3),
        (counter("server_rpcs", "Total number of NFSd RPCs."), "rpc", 0),
    ]
}

impl Collector for Nfsd {
    fn name(&self) -> &'static str {
        "nfsd"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.rpc.read()?;
        for (family, key, at) in &self.plain {
            scrape.out.family(family).put(self.rpc.number(key, *at));
        }
        self.write_by(scrape.out, &self.packets, "net", &self.protocols);
        self.write_by(scrape.out, &self.errors, "rpc", &self.kinds);
        let mut samples = scrape.out.family(&self.requests);
        write_procedures(&mut samples, &self.rpc, &self.procedures);
        samples.with(&self.delegation, self.rpc.number("wdeleg_getattr", 0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Nfsd;
    use crate::sample::testing::{assert_has, samples, tree};

    const TEXT: &str = "rc 0 6 18622\nfh 1 0 0 0 0\nio 157286400 72864\nth 8 0 0.000 0.000\n\
                        ra 32 0 0 0 0 0 0 0 0 0 0 5\nnet 972 55 917 1\nrpc 18628 3 1 2 0\n\
                        proc2 18 2 69 0 0 4410 0 0 0 0 0 0 0 0 0 0 0 99 2\nproc4 2 2 10853\n\
                        proc4ops 40 0 0 1 15 3 0 0 4 5 20 46 0 1 2 3 7 0 0 28 1 2 3 40 4 5 7 10 0 0 6 3 1 6 0 3 9 8 2 1 77\n\
                        wdeleg_getattr 16\n";

    #[test]
    fn caches_packets_errors_and_operations_are_counted() {
        let (_folder, roots) = tree(&[("proc/net/rpc/nfsd", TEXT)]);
        let lines = samples(&mut Nfsd::new(&roots), &roots);
        assert_has(
            &lines,
            &[
                "node_nfsd_reply_cache_nocache_total 18622",
                "node_nfsd_file_handles_stale_total 1",
                "node_nfsd_disk_bytes_written_total 72864",
                "node_nfsd_server_threads 8",
                "node_nfsd_read_ahead_cache_not_found_total 5",
                r#"node_nfsd_packets_total{proto="tcp"} 917"#,
                r#"node_nfsd_rpc_errors_total{error="auth"} 2"#,
                r#"node_nfsd_requests_total{method="FsStat",proto="2"} 2"#,
                r#"node_nfsd_requests_total{method="Commit",proto="3"} 0"#,
                r#"node_nfsd_requests_total{method="Access",proto="4"} 15"#,
                r#"node_nfsd_requests_total{method="RelLockOwner",proto="4"} 77"#,
                r#"node_nfsd_requests_total{method="WdelegGetattr",proto="4"} 16"#,
            ],
        );
        assert!(!lines.iter().any(|line| line.contains("Null") || line.contains("PutRootFH")), "{lines:?}");
        assert_eq!(lines.len(), 11 + 2 + 3 + 17 + 21 + 35 + 1);
    }
}
