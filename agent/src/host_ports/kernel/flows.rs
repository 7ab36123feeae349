use super::rules::MARK;
use crate::host_ports::table::Protocol;
use hostwright_duty::netlink::{self, Netlink, attribute};
use nix::sys::socket::SockProtocol;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// A connection, or an exchange of datagrams, that the kernel carries between a client and a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub protocol: Protocol,
    /// Of the host, as the client knows it.
    pub port: u16,
    pub container: SocketAddr,
    state: u8,
    /// As the kernel gave it, to name the entry by.
    original: Vec<u8>,
}

// What follows is linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_tcp.h.
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const PROTOCOL_INFORMATION: u16 = 4;
const MARKED: u16 = 8;
const MARK_MASK: u16 = 21;
const NESTED: u16 = 0x8000;
const STATE_SYN_SENT: u8 = 1;
const STATE_CLOSE_WAIT: u8 = 5;
/// Stands before the attributes: IPv4, version 0, no resource.
const FAMILY: [u8; 4] = [2, 0, 0, 0];

impl Flow {
    /// Whether it would be cut off if its container ended now.
    pub fn is_live(&self) -> bool {
        self.protocol == Protocol::Tcp && (STATE_SYN_SENT..=STATE_CLOSE_WAIT).contains(&self.state)
    }
}

/// All that our rules have begun.
pub async fn all() -> io::Result<Vec<Flow>> {
    tokio::task::spawn_blocking(list).await.map_err(io::Error::other)?
}

/// Makes the kernel forget those that are not to be kept.
pub async fn forget(is_kept: impl Fn(&Flow) -> bool + Send + 'static) {
    let forgotten = tokio::task::spawn_blocking(move || {
        let mut netlink = Netlink::new(SockProtocol::NetlinkNetFilter);
        for flow in list()?.iter().filter(|flow| !is_kept(flow)) {
            match netlink.order(DELETE, &body(&[attribute(ORIGINAL | NESTED, &flow.original)])) {
                // Gone by itself meanwhile is gone too.
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    });
    if let Ok(Err(error)) = forgotten.await
        && error.raw_os_error() != Some(nix::libc::EPERM)
    {
        log::warn!("the kernel's tracking of connections cannot be set right: {error}");
    }
}

fn list() -> io::Result<Vec<Flow>> {
    let (mut flows, mark) = (Vec::new(), MARK.to_be_bytes());
    let wanted = body(&[attribute(MARKED, &mark), attribute(MARK_MASK, &mark)]);
    Netlink::new(SockProtocol::NetlinkNetFilter)
        .dump(GET, &wanted, |answer| flows.extend(answer.get(FAMILY.len()..).and_then(flow)))?;
    Ok(flows)
}

/// What the two sides of a connection agreed on when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scales {
    /// By how many bits the windows of the client and of the container are shifted, if at all.
    pub windows: Option<(u8, u8)>,
    /// Whether single segments may be acknowledged.
    pub is_selective: bool,
}

/// A connection of TCP, with what is needed to take it over.
pub struct Whole {
    pub scales: Scales,
    original: Vec<u8>,
}

/// The connection of a client to the host.
pub fn of_segment(client: SocketAddrV4, host: SocketAddrV4) -> io::Result<Whole> {
    let addresses = [attribute(1, &client.ip().octets()), attribute(2, &host.ip().octets())].concat();
    let ports = [attribute(2, &client.port().to_be_bytes()), attribute(3, &host.port().to_be_bytes())].concat();
    let protocol = [attribute(1, &[6]), ports].concat();
    let original = [attribute(1 | NESTED, &addresses), attribute(2 | NESTED, &protocol)].concat();
    let mut scales = None;
    let wanted = body(&[attribute(ORIGINAL | NESTED, &original)]);
    Netlink::new(SockProtocol::NetlinkNetFilter)
        .ask(GET, &wanted, |answer| scales = answer.get(FAMILY.len()..).and_then(self::scales))?;
    let scales = scales.ok_or_else(|| io::Error::other("the kernel does not track it"))?;
    Ok(Whole { scales, original })
}

/// Makes the kernel forget one.
pub fn forget_one(flow: &Whole) -> io::Result<()> {
    let wanted = body(&[attribute(ORIGINAL | NESTED, &flow.original)]);
    Netlink::new(SockProtocol::NetlinkNetFilter).order(DELETE, &wanted)
}

fn scales(attributes: &[u8]) -> Option<Scales> {
    const WINDOWS: [u16; 2] = [2, 3];
    const FLAGS: [u16; 2] = [4, 5];
    let tcp = find(find(attributes, PROTOCOL_INFORMATION)?, 1)?;
    let byte = |kind| find(tcp, kind)?.first().copied();
    let have = |flag: u8| FLAGS.iter().all(|kind| byte(*kind).is_some_and(|flags| flags & flag != 0));
    let windows = have(1).then(|| Some((byte(WINDOWS[0])?, byte(WINDOWS[1])?))).flatten();
    Some(Scales { windows, is_selective: have(2) })
}

fn body(attributes: &[Vec<u8>]) -> Vec<u8> {
    [&FAMILY[..], &attributes.concat()].concat()
}

/// The value of the first attribute of a kind.
fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    netlink::attributes(attributes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

fn flow(attributes: &[u8]) -> Option<Flow> {
    let original = find(attributes, ORIGINAL)?;
    let reply = find(attributes, REPLY)?;
    // In a tuple the first attribute is the addresses and the second the protocol; in these the first is the source
    // address or the protocol's number, then come the ports of source and destination.
    let (addresses, protocol) = (find(reply, 1)?, find(reply, 2)?);
    let port = |attributes, which| find(attributes, which)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let source = Ipv4Addr::from(*find(addresses, 1)?.first_chunk::<4>()?);
    let state = find(attributes, PROTOCOL_INFORMATION).and_then(|all| find(find(all, 1)?, 1)?.first().copied());
    Some(Flow {
        protocol: match find(protocol, 1)?.first()? {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return None,
        },
        port: port(find(original, 2)?, 3)?,
        container: SocketAddr::from((source, port(protocol, 2)?)),
        state: state.unwrap_or_default(),
        original: original.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Flow, NESTED, attribute, flow};
    use crate::host_ports::table::Protocol;

    fn tuple(source: [u8; 4], destination: [u8; 4], (from, to): (u16, u16)) -> Vec<u8> {
        let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
        let ports = [attribute(1, &[6]), attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())].concat();
        [attribute(1 | NESTED, &addresses), attribute(2 | NESTED, &ports)].concat()
    }

    #[test]
    fn a_tracked_connection_is_read_and_anything_shorter_is_none() {
        let original = tuple([192, 0, 2, 9], [192, 0, 2, 1], (50_000, 8080));
        let reply = tuple([172, 18, 0, 2], [192, 0, 2, 9], (80, 50_000));
        let state = attribute(4 | NESTED, &attribute(1 | NESTED, &attribute(1, &[3])));
        let whole = [attribute(1 | NESTED, &original), attribute(2 | NESTED, &reply), state].concat();
        let read = flow(&whole).expect("a flow");
        let container = "172.18.0.2:80".parse().expect("address");
        assert_eq!(read, Flow { protocol: Protocol::Tcp, port: 8080, container, state: 3, original });
        assert!(read.is_live());
        assert!(!Flow { state: 7, ..read.clone() }.is_live(), "TIME_WAIT");
        assert!(!Flow { protocol: Protocol::Udp, ..read }.is_live());
        for length in 0..whole.len() {
            let _ = flow(&whole[..length]);
        }
        assert!(flow(&whole[..whole.len() / 2]).is_none());
    }
}
