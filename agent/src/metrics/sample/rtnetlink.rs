use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;
const LINK_MESSAGE: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// Its name.
pub const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves out counters per address family, half of the work; those of the device stay.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
/// The kernel fills at most this much for one receive of a dump.
const MOST_AT_ONCE: usize = 32 << 10;
/// The kernel answers at once; this is for a defect.
const PATIENCE_SECONDS: i64 = 1;

const FIELDS: usize = 24;

/// A link's counters, in the kernel's order.
pub type Stats = [u64; FIELDS];

/// The links of this network namespace with their 64-bit counters (rtnetlink(7)), on a socket that stays open.
#[derive(Default)]
pub struct Links {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Links {
    /// Calls `each` with every link.
    pub fn read(&mut self, each: impl FnMut(Link<'_>)) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.buffer.resize(MOST_AT_ONCE, 0);
        self.sequence = self.sequence.wrapping_add(1);
        dump(&socket, &mut self.buffer, self.sequence, each)?;
        // After an error the rest of a dump may still come, so only a socket that is done is kept.
        self.socket = Some(socket);
        Ok(())
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
    Ok(socket)
}

fn request(sequence: u32) -> [u8; HEADER + LINK_MESSAGE + 8] {
    let mut message = [0; HEADER + LINK_MESSAGE + 8];
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    let attribute = &mut message[HEADER + LINK_MESSAGE..];
    attribute[..2].copy_from_slice(&8_u16.to_ne_bytes());
    attribute[2..4].copy_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
    attribute[4..].copy_from_slice(&RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    message
}

fn dump(socket: &OwnedFd, buffer: &mut [u8], sequence: u32, mut each: impl FnMut(Link<'_>)) -> io::Result<()> {
    sendto(socket.as_raw_fd(), &request(sequence), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    loop {
        let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some((kind, from, body, after)) = message(rest) {
            rest = after;
            match kind {
                _ if from != sequence => {}
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(io::Error::other("the kernel refused to list links")),
                RTM_NEWLINK => {
                    if let Some(link) = Link::of(body) {
                        each(link);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The first message: its type, sequence number and body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, sequence, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// A network device as the kernel tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'m> {
    /// What kind of hardware it is, by ARP's numbers.
    pub kind: u16,
    /// Its number.
    pub index: i32,
    /// `IFF_*`.
    pub flags: u32,
    attributes: &'m [u8],
}

impl<'m> Link<'m> {
    fn of(body: &'m [u8]) -> Option<Self> {
        let (head, attributes) = body.split_at_checked(LINK_MESSAGE)?;
        Some(Self {
            kind: u16::from_ne_bytes(head[2..4].try_into().ok()?),
            index: i32::from_ne_bytes(head[4..8].try_into().ok()?),
            flags: u32::from_ne_bytes(head[8..12].try_into().ok()?),
            attributes,
        })
    }

    /// Its attributes (`IFLA_*`), each with its number.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'m [u8])> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let head = rest.get(..4)?;
            let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((u16::from_ne_bytes([head[2], head[3]]), value))
        })
    }

    /// Its name and counters.
    pub fn stats(&self) -> Option<(&'m [u8], Stats)> {
        let (mut name, mut stats) = (None, None);
        for (kind, value) in self.attributes() {
            match kind {
                IFLA_IFNAME => name = Some(text(value)),
                IFLA_STATS64 => stats = stats_of(value),
                _ => {}
            }
        }
        name.zip(stats)
    }
}

/// A text without the byte that ends it.
pub fn text(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\0").unwrap_or(value)
}

/// `struct rtnl_link_stats64`: older kernels have less of it, and what is not there is 0.
fn stats_of(stats: &[u8]) -> Option<Stats> {
    let mut fields = [0; FIELDS];
    for (slot, bytes) in fields.iter_mut().zip(stats.chunks_exact(8)) {
        *slot = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::{Link, message, stats_of};

    #[test]
    fn truncated_messages_end_the_walk_and_nothing_panics() {
        let whole: Vec<u8> = (0..=255).cycle().take(400).collect();
        for length in 0..whole.len() {
            let link = Link::of(&whole[..length]).and_then(|link| link.stats());
            let _ = (message(&whole[..length]), link, stats_of(&whole[..length]));
        }
        assert!(message(&[0; 16]).is_none(), "a message shorter than its header would never end");
    }
}
