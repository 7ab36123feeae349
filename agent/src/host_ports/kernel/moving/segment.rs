use std::net::{Ipv4Addr, SocketAddrV4};

/// What a client sends, as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'p> {
    pub client: SocketAddrV4,
    /// The host's end.
    pub host: SocketAddrV4,
    /// Of the payload's first byte.
    pub sequence: u32,
    pub acknowledged: u32,
    /// Not scaled.
    pub window: u16,
    /// Whether it begins or ends the connection.
    pub is_control: bool,
    /// The host's own time stamp, as the client gives it back.
    pub echo: Option<u32>,
    pub payload: &'p [u8],
}

const TCP: u8 = 6;
/// FIN, SYN and RST.
const CONTROL: u8 = 0x07;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const TIME_STAMPS: u8 = 8;

impl<'p> Segment<'p> {
    /// Reads a packet of IPv4 (RFC 791) with TCP (RFC 9293); none where it is not a whole one.
    pub fn of(packet: &'p [u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 4 != 4 || *packet.get(9)? != TCP || short(packet, 6)? & 0x3fff != 0 {
            return None;
        }
        let packet = packet.get(..usize::from(short(packet, 2)?))?;
        let address = |at| Some(Ipv4Addr::from_bits(long(packet, at)?));
        let tcp = packet.get(usize::from(first & 0xf) * 4..)?;
        let head = usize::from(*tcp.get(12)? >> 4) * 4;
        let options = tcp.get(20..head)?;
        Some(Self {
            client: SocketAddrV4::new(address(12)?, short(tcp, 0)?),
            host: SocketAddrV4::new(address(16)?, short(tcp, 2)?),
            sequence: long(tcp, 4)?,
            acknowledged: long(tcp, 8)?,
            window: short(tcp, 14)?,
            is_control: tcp.get(13)? & CONTROL != 0,
            echo: echo(options),
            payload: tcp.get(head..)?,
        })
    }

    /// The number of the byte after it.
    pub fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.payload.len() as u32)
    }
}

/// RFC 7323: the sender's time stamp, and the one that it has seen last.
fn echo(mut options: &[u8]) -> Option<u32> {
    loop {
        match *options.first()? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => options = &options[1..],
            TIME_STAMPS => return long(options, 6),
            _ => options = options.get(usize::from(*options.get(1)?).max(2)..)?,
        }
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::Segment;

    #[test]
    fn a_packet_is_read_and_anything_shorter_is_none() {
        let mut packet = vec![0x45, 0, 0, 57, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
        packet.extend([0xc3, 0x50, 0x1f, 0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0x80, 0x18, 0x01, 0xf6, 0, 0, 0, 0]);
        packet.extend([1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9]);
        packet.extend(b"GET /");
        let segment = Segment::of(&packet).expect("a segment");
        assert_eq!(segment.client, "192.0.2.2:50000".parse().expect("address"));
        assert_eq!(segment.host, "192.0.2.1:8080".parse().expect("address"));
        assert_eq!((segment.sequence, segment.end(), segment.acknowledged), (256, 261, 512));
        assert_eq!((segment.window, segment.is_control, segment.echo), (502, false, Some(9)));
        assert_eq!(segment.payload, b"GET /");
        for length in 0..packet.len() {
            assert_eq!(Segment::of(&packet[..length]), None, "{length}");
        }
        for (at, byte) in [(0, 0x65), (6, 0x20), (9, 17), (12 + 20, 0xf0)] {
            let mut other = packet.clone();
            other[at] = byte;
            assert_eq!(Segment::of(&other), None, "{at}");
        }
        for (at, byte) in (20..packet.len()).flat_map(|at| [0, 1, 2, 255].map(|byte| (at, byte))) {
            let mut other = packet.clone();
            other[at] = byte;
            let _ = Segment::of(&other);
        }
    }
}
