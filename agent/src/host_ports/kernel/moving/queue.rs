use hostwright_duty::netlink::{self, Netlink};
use nix::sys::socket::SockProtocol;
use std::io;

/// A queue of the packet filter: what waits in it goes on when it is decided.
pub struct Queue {
    netlink: Netlink,
    number: u16,
}

// What follows is linux/netfilter/nfnetlink_queue.h.
const SUBSYSTEM: u16 = 3 << 8;
const VERDICT: u16 = SUBSYSTEM | 1;
const CONFIGURE: u16 = SUBSYSTEM | 2;
const CONFIGURE_COMMAND: u16 = 1;
const CONFIGURE_COPY: u16 = 2;
const CONFIGURE_MASK: u16 = 4;
const CONFIGURE_FLAGS: u16 = 5;
const BIND: [u8; 4] = [1, 0, 0, 0];
/// All of each packet.
const COPY_PACKET: [u8; 5] = [0, 0, 0xff, 0xff, 2];
/// What finds the queue full goes on.
const FAIL_OPEN: u32 = 1;
const PACKET_HEADER: u16 = 1;
const VERDICT_HEADER: u16 = 2;
const PAYLOAD: u16 = 10;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const GENERAL_HEADER: usize = 4;

impl Queue {
    pub fn open(number: u16) -> io::Result<Self> {
        let mut queue = Self { netlink: Netlink::new(SockProtocol::NetlinkNetFilter), number };
        let bind = netlink::attribute(CONFIGURE_COMMAND, &BIND);
        queue.netlink.order(CONFIGURE, &queue.body(&[bind]))?;
        let copy = netlink::attribute(CONFIGURE_COPY, &COPY_PACKET);
        let (mask, flags) = (CONFIGURE_MASK, CONFIGURE_FLAGS);
        let flags = [mask, flags].map(|kind| netlink::attribute(kind, &FAIL_OPEN.to_be_bytes())).concat();
        queue.netlink.order(CONFIGURE, &queue.body(&[copy, flags]))?;
        Ok(queue)
    }

    /// The packets that came, after a second at the latest, each with its number.
    pub fn next(&mut self) -> io::Result<Vec<(u32, Vec<u8>)>> {
        let mut packets = Vec::new();
        let heard = self.netlink.hear(|body| packets.extend(body.get(GENERAL_HEADER..).and_then(packet)));
        match heard.err().and_then(|error| error.raw_os_error().map(|number| (number, error))) {
            // Nothing came, or more than there was room for: that has gone on.
            None | Some((nix::libc::EAGAIN | nix::libc::ENOBUFS | nix::libc::EINTR, _)) => Ok(packets),
            Some((_, error)) => Err(error),
        }
    }

    pub fn decide(&mut self, id: u32, goes_on: bool) -> io::Result<()> {
        let verdict = if goes_on { ACCEPT } else { DROP };
        let header = [verdict.to_be_bytes(), id.to_be_bytes()].concat();
        self.netlink.tell(VERDICT, &self.body(&[netlink::attribute(VERDICT_HEADER, &header)]))
    }

    fn body(&self, attributes: &[Vec<u8>]) -> Vec<u8> {
        let [high, low] = self.number.to_be_bytes();
        [&[0, 0, high, low], attributes.concat().as_slice()].concat()
    }
}

fn packet(attributes: &[u8]) -> Option<(u32, Vec<u8>)> {
    let find = |wanted| netlink::attributes(attributes).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let id = u32::from_be_bytes(*find(PACKET_HEADER)?.first_chunk()?);
    Some((id, find(PAYLOAD).unwrap_or_default().to_vec()))
}
