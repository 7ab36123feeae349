use super::rules::MARK;
use crate::host_ports::table::Protocol;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

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
const NEW: u16 = 1 << 8;
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const PROTOCOL_INFORMATION: u16 = 4;
const MARKED: u16 = 8;
const MARK_MASK: u16 = 21;
const NESTED: u16 = 0x8000;
const STATE_SYN_SENT: u8 = 1;
const STATE_CLOSE_WAIT: u8 = 5;

/// Two headers stand before a message's attributes.
const HEADERS: usize = 20;
const LARGEST: usize = 64 << 10;

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
        let flows = list()?;
        let netlink = open()?;
        for flow in flows.iter().filter(|flow| !is_kept(flow)) {
            tell(&netlink, DELETE, REQUEST | ACKNOWLEDGE, &attribute(ORIGINAL | NESTED, &flow.original))?;
            // Gone by itself meanwhile is gone too.
            recv(netlink.as_raw_fd(), &mut [0; 256], MsgFlags::empty())?;
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
    let netlink = open()?;
    let mark = MARK.to_be_bytes();
    tell(&netlink, GET, REQUEST | DUMP, &[attribute(MARKED, &mark), attribute(MARK_MASK, &mark)].concat())?;
    let (mut flows, mut buffer) = (Vec::new(), vec![0; LARGEST]);
    loop {
        let count = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..count];
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                DONE => return Ok(flows),
                ERROR => {
                    let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                NEW => flows.extend(body.get(HEADERS - 16..).and_then(flow)),
                _ => {}
            }
            rest = next;
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // The kernel answers at once, or something is very wrong.
    setsockopt(&netlink, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
    Ok(netlink)
}

fn tell(netlink: &OwnedFd, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEADERS + attributes.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and sender: one question at a time needs neither.
    message.extend([0; 8]);
    // IPv4, version 0, no resource.
    message.extend([2, 0, 0, 0]);
    message.extend(attributes);
    send(netlink.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(())
}

/// Kind and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        // The highest two bits say how it is to be read.
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
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
    use super::{Flow, NESTED, attribute, flow, message};
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
            let _ = message(&whole[..length]);
        }
        assert!(flow(&whole[..whole.len() / 2]).is_none());
        assert!(message(&[255; 16]).is_none() && message(&[0; 16]).is_none());
    }
}
