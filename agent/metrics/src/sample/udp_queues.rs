use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::{Family, Labels};

/// `/proc/net/udp` and `udp6`: bytes that wait in the sockets.
pub struct UdpQueues {
    protocols: [Protocol; 2],
    family: Family,
}

struct Protocol {
    file: KernelFile,
    sent: Labels,
    received: Labels,
}

impl UdpQueues {
    pub fn new(roots: &Roots) -> Self {
        let labels = |queue: &str, ip: &str| Labels::new(&[("ip", ip.as_bytes()), ("queue", queue.as_bytes())]);
        let protocol = |name: &str, ip: &str| Protocol {
            file: KernelFile::new(roots.procfs.join("net").join(name)),
            sent: labels("tx", ip),
            received: labels("rx", ip),
        };
        Self {
            protocols: [protocol("udp", "v4"), protocol("udp6", "v6")],
            family: Family::gauge(
                "node_udp_queues",
                "Number of allocated memory in the kernel for UDP datagrams in bytes.",
            ),
        }
    }
}

/// The two queues of a socket: its fifth word is `00000000:00000000`.
fn queues(line: &[u8]) -> Option<(u64, u64)> {
    let (sent, received) = std::str::from_utf8(words(line).nth(4)?).ok()?.split_once(':')?;
    Some((u64::from_str_radix(sent, 16).ok()?, u64::from_str_radix(received, 16).ok()?))
}

impl Collector for UdpQueues {
    fn name(&self) -> &'static str {
        "udp_queues"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let mut samples = scrape.out.family(&self.family);
        let mut missing = Ok(());
        let mut found = false;
        for protocol in &mut self.protocols {
            let text = match protocol.file.read() {
                // A kernel without IPv4, or without IPv6.
                Err(error @ CollectError::NoData { .. }) => {
                    missing = Err(error);
                    continue;
                }
                text => text?,
            };
            let (mut sent, mut received) = (0_u64, 0_u64);
            for line in text.lines().skip(1) {
                let queues = queues(line).ok_or_else(|| text.malformed("a socket with its queues", line))?;
                (sent, received) = (sent.wrapping_add(queues.0), received.wrapping_add(queues.1));
            }
            samples.with(&protocol.sent, sent);
            samples.with(&protocol.received, received);
            found = true;
        }
        if found { Ok(()) } else { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::UdpQueues;
    use crate::sample::CollectError;
    use crate::sample::testing::{collect, samples, tree};

    const HEAD: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

    fn socket(at: u8, queues: &str) -> String {
        format!("{at:5}: 00000000:0044 00000000:0000 07 {queues} 00:00000000 00000000     0        0 9999 2 0 0\n")
    }

    #[test]
    fn queues_of_all_sockets_are_summed_by_protocol() {
        let udp = [HEAD, &socket(0, "00000010:00000001"), &socket(1, "00000000:000000ff")].concat();
        let (_folder, roots) = tree(&[("proc/net/udp", &udp)]);
        assert_eq!(
            samples(&mut UdpQueues::new(&roots), &roots),
            [r#"node_udp_queues{ip="v4",queue="tx"} 16"#, r#"node_udp_queues{ip="v4",queue="rx"} 256"#]
        );
        let (_folder, roots) = tree(&[("proc/net/udp", HEAD), ("proc/net/udp6", HEAD)]);
        assert_eq!(samples(&mut UdpQueues::new(&roots), &roots).len(), 4);
    }

    #[test]
    fn a_socket_without_queues_is_refused_and_a_kernel_without_udp_has_no_data() {
        let (_folder, roots) = tree(&[("proc/net/udp", &[HEAD, &socket(0, "none")].concat())]);
        assert!(matches!(collect(&mut UdpQueues::new(&roots), &roots), Err(CollectError::Malformed { .. })));
        let (_folder, roots) = tree(&[]);
        assert!(matches!(collect(&mut UdpQueues::new(&roots), &roots), Err(CollectError::NoData { .. })));
    }
}
