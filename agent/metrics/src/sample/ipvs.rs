use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Encoder, Family, Labels};
use hostwright_core::config::metrics::collectors::ipvs as options;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Words on the line of a backend.
const OF_A_BACKEND: usize = 6;

/// `/proc/net/ip_vs_stats` and `ip_vs`: the kernel's load balancer, in all and by backend.
pub struct Ipvs {
    stats: KernelFile,
    table: KernelFile,
    totals: [Family; 5],
    labels: Vec<&'static str>,
    /// Connections that are active, those that are not, and the weight.
    families: [Family; 3],
    /// By the words that name service and backend.
    backends: Rows<[u64; 3]>,
    /// The backends by their labels.
    order: Vec<usize>,
    key: Vec<u8>,
}

/// A service of the table: what packets are sent to.
#[derive(Clone, Copy)]
struct Service<'a> {
    protocol: &'a [u8],
    /// None for one that is chosen by a mark of the firewall.
    address: Option<(IpAddr, u16)>,
    mark: &'a [u8],
    word: &'a [u8],
}

impl Ipvs {
    pub fn new(roots: &Roots, options: &options::Ipvs) -> Self {
        let total = |name: &str, help: &str| Family::counter(&format!("node_ipvs_{name}_total"), help);
        let backend = |name: &str, help: &str| Family::gauge(&format!("node_ipvs_backend_{name}"), help);
        Self {
            stats: KernelFile::new(roots.procfs.join("net/ip_vs_stats")),
            table: KernelFile::new(roots.procfs.join("net/ip_vs")),
            totals: [
                total("connections", "The total number of connections made."),
                total("incoming_packets", "The total number of incoming packets."),
                total("outgoing_packets", "The total number of outgoing packets."),
                total("incoming_bytes", "The total amount of incoming data."),
                total("outgoing_bytes", "The total amount of outgoing data."),
            ],
            labels: options.backend_labels.clone(),
            families: [
                backend("connections_active", "The current active connections by local and remote address."),
                backend("connections_inactive", "The current inactive connections by local and remote address."),
                backend("weight", "The current backend weight by local and remote address."),
            ],
            backends: Rows::default(),
            order: Vec::new(),
            key: Vec::new(),
        }
    }

    fn write_totals(&mut self, out: &mut Encoder) -> Result<(), CollectError> {
        let text = self.stats.read()?;
        // Two lines of names stand above the totals.
        let line = text.lines().nth(2).unwrap_or_default();
        let hexadecimal = |word| u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok();
        let mut numbers = words(line).map_while(hexadecimal);
        for family in &self.totals {
            let total = numbers.next().ok_or_else(|| text.malformed("five hexadecimal numbers", line))?;
            out.family(family).put(total);
        }
        Ok(())
    }

    fn read_backends(&mut self) -> Result<(), CollectError> {
        let text = self.table.read()?;
        self.backends.begin();
        let mut service = None;
        for line in text.lines() {
            let malformed = || text.malformed("a service or one of its backends", line);
            let mut parts = words(line);
            let (Some(first), Some(second)) = (parts.next(), parts.next()) else { continue };
            match first {
                b"TCP" | b"UDP" | b"SCTP" => {
                    let address = Some(endpoint(second).ok_or_else(malformed)?);
                    service = Some(Service { protocol: first, address, mark: b"", word: second });
                }
                b"FWM" => service = Some(Service { protocol: first, address: None, mark: second, word: second }),
                // One that is cut off is passed over, as in the original.
                b"->" if second != b"RemoteAddress:Port" && words(line).count() >= OF_A_BACKEND => {
                    let service = service.ok_or_else(malformed)?;
                    let remote = endpoint(second).ok_or_else(malformed)?;
                    let mut numbers = parts.skip(1).map_while(number);
                    let mut next = || numbers.next().ok_or_else(malformed);
                    let (weight, active, inactive) = (next()?, next()?, next()?);
                    self.key.clear();
                    [service.protocol, b" ", service.word, b" ", second].iter().for_each(|part| self.key.extend(*part));
                    let row =
                        self.backends.row_with(&self.key, |labels| render(labels, &self.labels, &service, remote));
                    *row = [active, inactive, weight];
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Backends with the same labels are one, with what all of them have.
    fn write_backends(&mut self, out: &mut Encoder) {
        let rows = self.backends.all();
        self.order.clear();
        self.order.extend(0..rows.len());
        self.order.sort_unstable_by(|one, other| rows[*one].labels.cmp(&rows[*other].labels));
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = out.family(family);
            for same in self.order.chunk_by(|one, other| rows[*one].labels == rows[*other].labels) {
                let sum = same.iter().fold(0_u64, |sum, row| sum.wrapping_add(rows[*row].values[at]));
                samples.with(&rows[same[0]].labels, sum);
            }
        }
    }
}

fn render(labels: &mut Labels, names: &[&str], service: &Service<'_>, remote: (IpAddr, u16)) {
    let values: Vec<String> = names.iter().map(|name| value(name, service, remote)).collect();
    let pairs = names.iter().copied().zip(values.iter().map(String::as_bytes));
    labels.set(&pairs.collect::<Vec<_>>());
}

fn value(label: &str, service: &Service<'_>, remote: (IpAddr, u16)) -> String {
    match label {
        "local_address" => service.address.map(|(address, _)| address.to_string()).unwrap_or_default(),
        "local_port" => service.address.map_or(0, |(_, port)| port).to_string(),
        "local_mark" => String::from_utf8_lossy(service.mark).into_owned(),
        "proto" => String::from_utf8_lossy(service.protocol).into_owned(),
        "remote_address" => remote.0.to_string(),
        _ => remote.1.to_string(),
    }
}

/// `C0A80016:0CEA` or `[2001:0db8:0000:0000:0000:0000:0000:0001]:0CEA`.
fn endpoint(word: &[u8]) -> Option<(IpAddr, u16)> {
    let (address, port) = std::str::from_utf8(word).ok()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = match address.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_canonical(),
        None => Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?).into(),
    };
    Some((address, port))
}

impl Collector for Ipvs {
    fn name(&self) -> &'static str {
        "ipvs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.write_totals(scrape.out)?;
        match self.read_backends() {
            Ok(()) => self.write_backends(scrape.out),
            Err(error) => scrape.failed = Some(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Ipvs, endpoint};
    use crate::sample::testing::{assert_has, samples, tree};
    use hostwright_core::config::metrics::collectors::ipvs as options;

    const STATS: &str = "   Total Incoming Outgoing         Incoming         Outgoing\n   \
                         Conns  Packets  Packets            Bytes            Bytes\n 16A E69D 0 51D8A0F 0\n\n";
    const TABLE: &str = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                         TCP  C0A80016:0CEA wlc\n  -> C0A85216:0CEA      Tunnel  100    248        2\n  \
                         -> C0A85318:0CEA      Masq  1    5        7\n\
                         FWM  10001000 wlc\n  -> [20010db8000000000000000000000001]:0CEB Route 0 0 1\n";

    fn table() -> String {
        TABLE.replace("[20010db8000000000000000000000001]", "[2001:0db8:0000:0000:0000:0000:0000:0001]")
    }

    #[test]
    fn totals_and_backends_are_taken() {
        let (_folder, roots) = tree(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", &table())]);
        let mut ipvs = Ipvs::new(&roots, &options::Ipvs::default());
        let lines = samples(&mut ipvs, &roots);
        let of_mark = r#"{local_address="",local_mark="10001000",local_port="0",proto="FWM",remote_address="2001:db8::1",remote_port="3307"}"#;
        assert_has(
            &lines,
            &[
                "node_ipvs_connections_total 362",
                "node_ipvs_outgoing_bytes_total 0",
                r#"node_ipvs_backend_connections_active{local_address="192.168.0.22",local_mark="",local_port="3306",proto="TCP",remote_address="192.168.82.22",remote_port="3306"} 248"#,
                &format!("node_ipvs_backend_connections_inactive{of_mark} 1"),
                &format!("node_ipvs_backend_weight{of_mark} 0"),
            ],
        );
        assert_eq!(lines.len(), 5 + 3 * 3);
        assert_eq!(samples(&mut ipvs, &roots), lines, "the second time, with what is kept");
    }

    #[test]
    fn backends_that_are_equal_in_the_labels_that_are_wanted_are_added_up() {
        let (_folder, roots) = tree(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", &table())]);
        let lines = samples(&mut Ipvs::new(&roots, &options::Ipvs { backend_labels: vec!["proto"] }), &roots);
        assert_has(&lines, &[r#"node_ipvs_backend_connections_active{proto="TCP"} 253"#]);
        assert_eq!(lines.len(), 5 + 2 * 3);
        let twice = table() + "TCP  C0A80016:0CEA wlc\n  -> C0A85216:0CEA Tunnel 3 2 1\n";
        let (_folder, roots) = tree(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", &twice)]);
        let lines = samples(&mut Ipvs::new(&roots, &options::Ipvs::default()), &roots);
        let labels = r#"local_address="192.168.0.22",local_mark="",local_port="3306",proto="TCP",remote_address="192.168.82.22",remote_port="3306""#;
        assert_has(&lines, &[&format!("node_ipvs_backend_connections_active{{{labels}}} 250")]);
        assert_eq!(lines.len(), 5 + 3 * 3, "no series twice");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let service = "TCP C0A80016:0CEA wlc\n";
        let backend = format!("{service}-> C0A85216:0CEA Tunnel x 2 3\n");
        for table in ["TCP nowhere wlc\n", "-> C0A85216:0CEA Tunnel 1 2 3\n", &backend] {
            let (_folder, roots) = tree(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", table)]);
            let mut ipvs = Ipvs::new(&roots, &options::Ipvs::default());
            assert_eq!(samples(&mut ipvs, &roots).len(), 5, "only the totals of {table}");
            assert!(ipvs.read_backends().is_err(), "{table}");
        }
        let cut = format!("{service}-> C0A85216:0CEA Tunnel 1 2 3\n-> C0A85318:0CEA Tunnel 1\n");
        let (_folder, roots) = tree(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", &cut)]);
        let mut ipvs = Ipvs::new(&roots, &options::Ipvs::default());
        assert_eq!(samples(&mut ipvs, &roots).len(), 5 + 3, "a line that is cut off costs itself alone");
        assert_eq!((endpoint(b"C0A80016:1CEAA"), endpoint(b"[::1:0CEA"), endpoint(b"\xff:1")), (None, None, None));
    }
}
