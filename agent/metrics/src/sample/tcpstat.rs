use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::{Family, Labels};
use hostwright_duty::netlink::{Netlink, number};
use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP};
use nix::sys::socket::SockProtocol;
use std::io;
use std::path::PathBuf;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
const ALL_STATES: u32 = 0xfff;
/// Where `struct inet_diag_msg` has bytes that wait to be read and sent.
const RECEIVED: usize = 56;
const SENT: usize = 60;
/// By the kernel's number, from 1; the last two are sums of bytes.
const STATES: [&str; 14] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "rx_queued_bytes",
    "tx_queued_bytes",
];
const RX: usize = 12;
const TX: usize = 13;

type Counts = [u64; STATES.len()];

/// TCP's sockets by state: from sock_diag(7), which is several times as fast as the text files; these where the kernel
/// must not be asked, or does not answer.
pub struct Tcpstat {
    netlink: Option<Netlink>,
    tcp6: PathBuf,
    files: [KernelFile; 2],
    family: Family,
    labels: [Labels; STATES.len()],
}

impl Tcpstat {
    pub fn new(roots: &Roots) -> Self {
        let path = |name: &str| roots.procfs.join("net").join(name);
        Self {
            netlink: roots.are_live().then(|| Netlink::new(SockProtocol::NetlinkSockDiag)),
            tcp6: path("tcp6"),
            files: ["tcp", "tcp6"].map(|name| KernelFile::new(path(name))),
            family: Family::gauge("node_tcp_connection_states", "Number of connection states."),
            labels: STATES.map(|state| Labels::new(&[("state", state.as_bytes())])),
        }
    }

    fn count(&mut self) -> Result<Counts, CollectError> {
        if let Some(netlink) = &mut self.netlink {
            match ask(netlink, self.tcp6.exists()) {
                Ok(counts) => return Ok(counts),
                Err(error) => {
                    log::info!("metrics: sock_diag gives no sockets ({error}); /proc/net/tcp is read in its place");
                    self.netlink = None;
                }
            }
        }
        self.read()
    }

    fn read(&mut self) -> Result<Counts, CollectError> {
        let mut counts = Counts::default();
        let [tcp, tcp6] = &mut self.files;
        let text = tcp.read()?;
        let more = match tcp6.read() {
            // A kernel without IPv6.
            Err(CollectError::NoData { .. }) => None,
            text => Some(text?),
        };
        for text in [Some(text), more].into_iter().flatten() {
            for line in text.lines().skip(1).filter(|line| !line.trim_ascii().is_empty()) {
                let socket = parse(line).ok_or_else(|| text.malformed("a socket with its state and queues", line))?;
                add(&mut counts, socket);
            }
        }
        Ok(counts)
    }
}

fn ask(netlink: &mut Netlink, has_ipv6: bool) -> io::Result<Counts> {
    let mut counts = Counts::default();
    for family in [Some(AF_INET), has_ipv6.then_some(AF_INET6)].into_iter().flatten() {
        let mut request = [0; REQUEST];
        // Both numbers are a byte.
        (request[0], request[1]) = (family as u8, IPPROTO_TCP as u8);
        request[4..8].copy_from_slice(&ALL_STATES.to_ne_bytes());
        netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |body| {
            if let (Some(state), Some(received), Some(sent)) = (body.get(1), number(body, RECEIVED), number(body, SENT))
            {
                add(&mut counts, (usize::from(*state), sent.into(), received.into()));
            }
        })?;
    }
    Ok(counts)
}

fn add(counts: &mut Counts, (state, sent, received): (usize, u64, u64)) {
    counts[if state < RX { state } else { 0 }] += 1;
    counts[RX] = counts[RX].saturating_add(received);
    counts[TX] = counts[TX].saturating_add(sent);
}

/// State, bytes to be sent, bytes to be read: ` 0: 0100007F:0016 00000000:0000 0A 00000000:00000000 …`.
fn parse(line: &[u8]) -> Option<(usize, u64, u64)> {
    let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
    let mut words = words(line).skip(3).map(std::str::from_utf8);
    let state = hexadecimal(words.next()?.ok()?)?;
    let (sent, received) = words.next()?.ok()?.split_once(':')?;
    Some((usize::try_from(state).ok()?, hexadecimal(sent)?, hexadecimal(received)?))
}

impl Collector for Tcpstat {
    fn name(&self) -> &'static str {
        "tcpstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let counts = self.count()?;
        let is_any = counts[..RX].iter().any(|count| *count > 0);
        let mut samples = scrape.out.family(&self.family);
        for (at, (labels, count)) in self.labels.iter().zip(counts).enumerate() {
            // As in the original, states without sockets are left out.
            if count > 0 || (at >= RX && is_any) {
                samples.with(labels, count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Roots, TX, Tcpstat};
    use crate::sample::testing::{collect, samples, tree};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn sockets_are_counted_by_state_with_the_bytes_that_wait() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr\n\
                   \x20  0: 0100007F:0016 00000000:0000 0A 00000015:00000000 00:00000000\n\
                   \x20  1: 0F02000A:0016 0202000A:8B6B 01 00000000:00000001 02:000AC99B\n";
        let tcp6 = "  sl  local_address\n   0: 0:0016 0:0000 0A 00000001:00000000 00:0\n";
        let (_folder, roots) = tree(&[("proc/net/tcp", tcp), ("proc/net/tcp6", tcp6)]);
        let mut tcpstat = Tcpstat::new(&roots);
        let want = [
            r#"node_tcp_connection_states{state="established"} 1"#,
            r#"node_tcp_connection_states{state="listen"} 2"#,
            r#"node_tcp_connection_states{state="rx_queued_bytes"} 1"#,
            r#"node_tcp_connection_states{state="tx_queued_bytes"} 22"#,
        ];
        assert_eq!(samples(&mut tcpstat, &roots), want);
        std::fs::write(roots.procfs.join("net/tcp6"), "sl\n 0: 0 0 0A 1\n").expect("written");
        assert!(collect(&mut tcpstat, &roots).is_err());
    }

    #[test]
    fn sock_diag_and_the_files_count_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let _client = TcpStream::connect(listener.local_addr().expect("address")).expect("connected");
        let mut tcpstat = Tcpstat::new(&Roots::default());
        let _ = tcpstat.count().expect("counted");
        if tcpstat.netlink.is_none() {
            eprintln!("skipped: this kernel has no sock_diag for TCP");
            return;
        }
        // Others open and close sockets meanwhile, so two looks may differ, but not always.
        let mut seen = String::new();
        let is_same = (0..50).any(|_| {
            let counts = tcpstat.count().expect("counted");
            assert!(counts[1] >= 2 && counts[10] >= 1 && tcpstat.netlink.is_some(), "{counts:?}");
            let read = tcpstat.read().expect("read");
            seen = format!("{counts:?} and {read:?}");
            // As what waits to be sent, sock_diag counts the places in the queues of listening sockets.
            counts[..TX] == read[..TX]
        });
        assert!(is_same, "{seen}");
    }
}
