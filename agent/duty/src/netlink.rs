use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_REQUEST_ACK: u16 = 0x005;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// Flags in the number of an attribute.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// The kernel fills at most this much for one receive of a dump.
const MOST_AT_ONCE: usize = 32 << 10;
/// What it says by itself may have a packet of 64 KiB in it. What does not fit would be cut off.
const MOST_HEARD: usize = 96 << 10;
/// The kernel answers at once; this is for a defect.
const PATIENCE_SECONDS: i64 = 1;

/// Lists that the kernel gives and orders that it takes (netlink(7)), on a socket that stays open.
pub struct Netlink {
    protocol: SockProtocol,
    socket: Option<OwnedFd>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Nothing is opened before the first list.
    pub fn new(protocol: SockProtocol) -> Self {
        Self { protocol, socket: None, request: Vec::new(), buffer: Vec::new(), sequence: 0 }
    }

    /// Asks for a list and calls `each` with the body of each of its messages.
    pub fn dump(&mut self, kind: u16, body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.exchange((kind, NLM_F_REQUEST_DUMP), body, each)
    }

    /// Orders something, and returns when it is done.
    pub fn order(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.ask(kind, body, |_| {})
    }

    /// Asks for one thing and calls `each` with the body of each message of the answer.
    pub fn ask(&mut self, kind: u16, body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.exchange((kind, NLM_F_REQUEST_ACK), body, each)
    }

    /// Says something that is not answered.
    pub fn tell(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        let socket = self.opened()?;
        write(&mut self.request, (kind, NLM_F_REQUEST), (0, body));
        sendto(socket.as_raw_fd(), &self.request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Waits for what the kernel says by itself, for a second at most, and calls `each` with the body of each message.
    pub fn hear(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let socket = self.opened()?;
        self.buffer.resize(MOST_HEARD, 0);
        let heard = recv(socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty());
        self.socket = Some(socket);
        let mut rest = &self.buffer[..heard?];
        while let Some((_, _, body, after)) = message(rest) {
            rest = after;
            each(body);
        }
        Ok(())
    }

    fn opened(&mut self) -> io::Result<OwnedFd> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => open(self.protocol),
        }
    }

    fn exchange(&mut self, what: (u16, u16), body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        let socket = self.opened()?;
        self.buffer.resize(MOST_AT_ONCE, 0);
        self.sequence = self.sequence.wrapping_add(1);
        write(&mut self.request, what, (self.sequence, body));
        sendto(socket.as_raw_fd(), &self.request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        receive(&socket, &mut self.buffer, self.sequence, each)?;
        // After an error the rest of a dump may still come, so only a socket that is done is kept.
        self.socket = Some(socket);
        Ok(())
    }
}

fn open(protocol: SockProtocol) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
    Ok(socket)
}

fn write(request: &mut Vec<u8>, (kind, flags): (u16, u16), (sequence, body): (u32, &[u8])) {
    request.clear();
    // What is asked fits a packet many times.
    request.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(body);
}

fn receive(socket: &OwnedFd, buffer: &mut [u8], sequence: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some((kind, from, body, after)) = message(rest) {
            rest = after;
            match kind {
                _ if from != sequence => {}
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return outcome(body),
                _ => each(body),
            }
        }
    }
}

/// The kernel's reason is a negative error number; none is an acknowledgement.
fn outcome(body: &[u8]) -> io::Result<()> {
    match number(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(error) if error < 0 => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::Error::other("the kernel's answer cannot be understood")),
    }
}

/// The first message: its type, sequence number and body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = number(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, number(bytes, 8)?, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Attributes, each with its number.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE_MASK, value))
    })
}

/// One to send.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// A text without the byte that ends it.
pub fn text(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\0").unwrap_or(value)
}

/// The number of four bytes at this place.
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{attributes, message, number, outcome};

    #[test]
    fn truncated_messages_end_the_walk_and_nothing_panics() {
        let whole: Vec<u8> = (0..=255).cycle().take(400).collect();
        for length in 0..whole.len() {
            let bytes = &whole[..length];
            let _ = (message(bytes), attributes(bytes).count(), number(bytes, length), outcome(bytes).is_ok());
        }
        assert!(message(&[0; 16]).is_none(), "a message shorter than its header would never end");
        assert_eq!(attributes(&[0; 16]).count(), 0, "and so would an attribute");
    }
}
