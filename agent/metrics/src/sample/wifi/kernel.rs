use super::{Interface, Network, Station};
use crate::sample::CollectError;
use hostwright_duty::netlink::{Netlink, attributes, number, text};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::io;
use std::path::Path;

/// Of generic netlink's own family, which knows the others.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`.
const HEADER: usize = 4;

const GET_INTERFACE: u8 = 5;
const GET_STATION: u8 = 17;
const GET_SCAN: u8 = 32;
const ATTR_IFINDEX: u16 = 3;
const ATTR_IFNAME: u16 = 4;
const ATTR_MAC: u16 = 6;
const ATTR_STA_INFO: u16 = 21;
const ATTR_FREQUENCY: u16 = 38;
const ATTR_BSS: u16 = 47;

const STA_INACTIVE_TIME: u16 = 1;
const STA_RX_BYTES: u16 = 2;
const STA_TX_BYTES: u16 = 3;
const STA_SIGNAL: u16 = 7;
const STA_TX_BITRATE: u16 = 8;
const STA_RX_PACKETS: u16 = 9;
const STA_TX_PACKETS: u16 = 10;
const STA_TX_RETRIES: u16 = 11;
const STA_TX_FAILED: u16 = 12;
const STA_RX_BITRATE: u16 = 14;
const STA_CONNECTED_TIME: u16 = 16;
const STA_BEACON_LOSS: u16 = 18;
const STA_RX_BYTES64: u16 = 23;
const STA_TX_BYTES64: u16 = 24;
const RATE_BITRATE: u16 = 1;
const RATE_BITRATE32: u16 = 5;

const BSS_BSSID: u16 = 1;
const BSS_ELEMENTS: u16 = 6;
const BSS_STATUS: u16 = 9;
/// The network's name among the elements of a beacon.
const ELEMENT_SSID: u8 = 0;

const MILLISECONDS: f64 = 1000.0;
/// In which a rate is told.
const RATE: f64 = 100_000.0;

/// The kernel's nl80211 (linux/nl80211.h).
pub struct Kernel {
    netlink: Netlink,
    /// Its number, which the kernel chooses when its module is loaded.
    family: Option<u16>,
}

impl Kernel {
    /// Nothing is asked before the first [`Self::read`].
    pub fn new() -> Self {
        Self { netlink: Netlink::new(SockProtocol::NetlinkGeneric), family: None }
    }

    /// Every device, with its network and stations; none where the kernel has nothing to do with 802.11.
    pub fn read(&mut self) -> Result<Vec<Interface>, CollectError> {
        let found = self.interfaces();
        if found.is_err() {
            self.family = None;
        }
        found.map_err(|error| CollectError::reading(Path::new("nl80211"), error))
    }

    fn interfaces(&mut self) -> io::Result<Vec<Interface>> {
        let mut found = Vec::new();
        self.dump((GET_INTERFACE, None), |attributes| found.extend(interface(attributes)))?;
        for (index, interface) in &mut found {
            let network = &mut interface.network;
            let scanned = self.dump((GET_SCAN, Some(*index)), |attributes| {
                *network = network.take().or_else(|| self::network(attributes));
            });
            unless_unsupported(scanned)?;
            let stations = &mut interface.stations;
            let told = self.dump((GET_STATION, Some(*index)), |attributes| stations.extend(station(attributes)));
            unless_unsupported(told)?;
        }
        Ok(found.into_iter().map(|(_, interface)| interface).collect())
    }

    fn dump(&mut self, (command, index): (u8, Option<u32>), mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let family = match self.family {
            Some(family) => family,
            None => self.find()?,
        };
        let mut body = vec![command, 0, 0, 0];
        if let Some(index) = index {
            put(&mut body, ATTR_IFINDEX, &index.to_ne_bytes());
        }
        self.netlink.dump(family, &body, |answer| each(answer.get(HEADER..).unwrap_or_default()))
    }

    fn find(&mut self) -> io::Result<u16> {
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        put(&mut body, CTRL_ATTR_FAMILY_NAME, b"nl80211\0");
        let mut family = None;
        self.netlink.ask(GENL_ID_CTRL, &body, |answer| {
            let told = attributes(answer.get(HEADER..).unwrap_or_default());
            family = told.filter(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID).find_map(|(_, value)| short(value));
        })?;
        self.family = family;
        family.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Not every driver and mode can tell networks and stations.
fn unless_unsupported(asked: io::Result<()>) -> io::Result<()> {
    match asked {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(()),
        other => other,
    }
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // What is asked for is short.
    body.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn short(value: &[u8]) -> Option<u16> {
    value.get(..2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// A number of whichever length it has.
fn count(value: &[u8]) -> f64 {
    match *value {
        [one] => f64::from(one),
        [a, b] => f64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => f64::from(u32::from_ne_bytes([a, b, c, d])),
        _ => value.try_into().map_or(0.0, |bytes| u64::from_ne_bytes(bytes) as f64),
    }
}

fn interface(told: &[u8]) -> Option<(u32, Interface)> {
    let (mut index, mut interface) = (None, Interface::default());
    for (kind, value) in attributes(told) {
        match kind {
            ATTR_IFINDEX => index = number(value, 0),
            ATTR_IFNAME => interface.name = text(value).to_owned(),
            ATTR_FREQUENCY => interface.megahertz = count(value),
            _ => {}
        }
    }
    index.map(|index| (index, interface))
}

/// The network of a scan that the device is in; there is a status for no other.
fn network(told: &[u8]) -> Option<Network> {
    let (_, bss) = attributes(told).find(|(kind, _)| *kind == ATTR_BSS)?;
    let (mut network, mut status) = (Network::default(), None);
    for (kind, value) in attributes(bss) {
        match kind {
            BSS_BSSID => network.bssid = value.to_owned(),
            BSS_ELEMENTS => network.ssid = ssid(value).unwrap_or_default().to_owned(),
            BSS_STATUS => status = number(value, 0),
            _ => {}
        }
    }
    Some(Network { status: status?, ..network })
}

/// Elements have a kind, a length and content.
fn ssid(elements: &[u8]) -> Option<&[u8]> {
    let mut rest = elements;
    loop {
        let (head, after) = rest.split_at_checked(2)?;
        let (content, next) = after.split_at_checked(usize::from(head[1]))?;
        if head[0] == ELEMENT_SSID {
            return Some(content);
        }
        rest = next;
    }
}

fn station(told: &[u8]) -> Option<Station> {
    let mut station = Station::default();
    let mut is_told = false;
    for (kind, value) in attributes(told) {
        match kind {
            ATTR_MAC => station.address = value.to_owned(),
            ATTR_STA_INFO => {
                is_told = true;
                attributes(value).for_each(|(kind, value)| take(&mut station, kind, value));
            }
            _ => {}
        }
    }
    is_told.then_some(station)
}

/// Attributes come in the order of their numbers: what has 64 bits after what has 32.
fn take(station: &mut Station, kind: u16, value: &[u8]) {
    let (at, value) = match kind {
        STA_CONNECTED_TIME => (0, count(value)),
        STA_INACTIVE_TIME => (1, count(value) / MILLISECONDS),
        STA_RX_BITRATE => (2, rate(value)),
        STA_TX_BITRATE => (3, rate(value)),
        STA_RX_BYTES | STA_RX_BYTES64 => (4, count(value)),
        STA_TX_BYTES | STA_TX_BYTES64 => (5, count(value)),
        STA_RX_PACKETS => (6, count(value)),
        STA_TX_PACKETS => (7, count(value)),
        STA_SIGNAL => (8, value.first().map_or(0.0, |byte| f64::from(byte.cast_signed()))),
        STA_TX_RETRIES => (9, count(value)),
        STA_TX_FAILED => (10, count(value)),
        STA_BEACON_LOSS => (11, count(value)),
        _ => return,
    };
    station.values[at] = value;
}

/// The number of 16 bits is of rates that fit it.
fn rate(told: &[u8]) -> f64 {
    let of = |wanted| attributes(told).find(|(kind, _)| *kind == wanted).map(|(_, value)| count(value));
    of(RATE_BITRATE32).or_else(|| of(RATE_BITRATE)).unwrap_or_default() * RATE
}

#[cfg(test)]
mod tests {
    use super::{ATTR_BSS, ATTR_MAC, ATTR_STA_INFO, Kernel, Network, interface, network, put, ssid, station};
    use crate::sample::CollectError;

    fn nested(kind: u16, parts: &[(u16, &[u8])]) -> Vec<u8> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        parts.iter().for_each(|(kind, value)| put(&mut inner, *kind, value));
        put(&mut outer, kind | 0x8000, &inner);
        outer
    }

    #[test]
    fn stations_and_networks_are_read_from_the_kernels_attributes() {
        let rate = nested(8, &[(1, &650_u16.to_ne_bytes()), (5, &70_000_u32.to_ne_bytes())]);
        let mut told = Vec::new();
        put(&mut told, ATTR_MAC, &[2, 0, 0, 0, 0, 1]);
        let mut info =
            nested(ATTR_STA_INFO, &[(2, &7_u32.to_ne_bytes()), (7, &[0xcc]), (23, &(1_u64 << 40).to_ne_bytes())]);
        // One more part of the station: how fast it sends.
        let length = (info.len() + rate.len()) as u16;
        info.extend(&rate);
        info[..2].copy_from_slice(&length.to_ne_bytes());
        told.extend(&info);
        let found = station(&told).expect("a station");
        assert_eq!(found.address, [2, 0, 0, 0, 0, 1]);
        assert_eq!((found.values[3], found.values[4], found.values[8]), (7e9, (1_u64 << 40) as f64, -52.0));
        let elements = [1, 1, 0x82, 0, 3, b'l', b'a', b'n'];
        let bss = nested(ATTR_BSS, &[(1, &[2; 6]), (6, &elements), (9, &1_u32.to_ne_bytes())]);
        assert_eq!(network(&bss), Some(Network { ssid: b"lan".to_vec(), bssid: vec![2; 6], status: 1 }));
        assert_eq!(network(&nested(ATTR_BSS, &[(1, &[2; 6])])), None, "a neighbour's");
        for length in 0..told.len() {
            let _ = (station(&told[..length]), interface(&told[..length]));
        }
        for length in 0..bss.len() {
            let _ = network(&bss[..length]);
        }
        assert_eq!((ssid(&[]), ssid(&[0]), ssid(&[0, 2, 1]), ssid(&[0, 0])), (None, None, None, Some(&b""[..])));
    }

    #[test]
    fn a_kernel_without_wireless_devices_has_no_data() {
        match Kernel::new().read() {
            Ok(_) | Err(CollectError::NoData { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
