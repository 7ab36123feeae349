use super::rows::Rows;
use super::rtnetlink::Links;
use super::{CollectError, Collector, Scrape};
use crate::encode::Family;
use hostwright_duty::netlink::{Netlink, attributes, number};
use nix::sys::socket::SockProtocol;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

const RTM_GETROUTE: u16 = 26;
/// `struct rtmsg`.
const MESSAGE: usize = 12;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
/// `struct rtnexthop`.
const HOP: usize = 8;

/// The kernel's routes.
pub struct NetworkRoute {
    netlink: Netlink,
    devices: Vec<Device>,
    info: Family,
    count: Family,
    routes: Rows<()>,
    counts: Rows<u64>,
    /// What was told this time: the same route may stand in several tables.
    told: HashSet<u64>,
    hash: RandomState,
    texts: Texts,
}

struct Device {
    index: u32,
    name: Vec<u8>,
    routes: u64,
}

/// The labels' values of a route, in place of new ones for each.
#[derive(Default)]
struct Texts {
    source: Vec<u8>,
    destination: Vec<u8>,
    gateway: Vec<u8>,
    priority: Vec<u8>,
    weight: Vec<u8>,
    key: Vec<u8>,
}

/// A route with several ways has one of these for each.
struct Way<'m> {
    device: u32,
    gateway: &'m [u8],
    weight: Option<u32>,
}

#[derive(Default)]
struct Route<'m> {
    destination: &'m [u8],
    bits: u8,
    source: &'m [u8],
    gateway: &'m [u8],
    device: u32,
    priority: u32,
    protocol: u8,
    ways: Option<&'m [u8]>,
}

impl<'m> Route<'m> {
    fn of(body: &'m [u8]) -> Option<Self> {
        let (head, rest) = body.split_at_checked(MESSAGE)?;
        if head[7] != RTN_UNICAST {
            return None;
        }
        let mut route = Self { bits: head[1], protocol: head[5], ..Self::default() };
        for (kind, value) in attributes(rest) {
            match kind {
                RTA_DST => route.destination = value,
                RTA_OIF => route.device = number(value, 0)?,
                RTA_GATEWAY => route.gateway = value,
                RTA_PRIORITY => route.priority = number(value, 0)?,
                RTA_PREFSRC => route.source = value,
                RTA_MULTIPATH => route.ways = Some(value),
                _ => {}
            }
        }
        Some(route)
    }

    fn ways(&self) -> impl Iterator<Item = Way<'m>> {
        let mut rest = self.ways.unwrap_or_default();
        let several = std::iter::from_fn(move || {
            let head = rest.get(..HOP)?;
            let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
            let gateway = attributes(rest.get(HOP..length)?).find(|(kind, _)| *kind == RTA_GATEWAY);
            let way = Way {
                device: number(head, 4)?,
                gateway: gateway.map_or(&[], |(_, value)| value),
                weight: Some(u32::from(head[3]) + 1),
            };
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(way)
        });
        let single = Way { device: self.device, gateway: self.gateway, weight: None };
        several.chain(self.ways.is_none().then_some(single))
    }
}

impl NetworkRoute {
    pub fn new() -> Self {
        Self {
            netlink: Netlink::new(SockProtocol::NetlinkRoute),
            devices: Vec::new(),
            info: Family::gauge("node_network_route_info", "network routing table information"),
            count: Family::gauge("node_network_routes", "network routes by interface"),
            routes: Rows::default(),
            counts: Rows::default(),
            told: HashSet::new(),
            hash: RandomState::new(),
            texts: Texts::default(),
        }
    }

    fn read(&mut self, links: &mut Links) -> io::Result<()> {
        let Self { netlink, devices, routes, told, hash, texts, .. } = self;
        devices.clear();
        // Ways without a device, which others than the kernel may use.
        devices.push(Device { index: 0, name: Vec::new(), routes: 0 });
        links.read(|link| {
            if let Some(name) = link.name() {
                devices.push(Device { index: link.index.cast_unsigned(), name: name.to_owned(), routes: 0 });
            }
        })?;
        routes.begin();
        told.clear();
        netlink.dump(RTM_GETROUTE, &[0; MESSAGE], |body| {
            let Some(route) = Route::of(body) else { return };
            for way in route.ways() {
                let at = devices.iter().position(|device| device.index == way.device).unwrap_or_default();
                devices[at].routes += 1;
                texts.write(&devices[at].name, &route, &way);
                if told.insert(hash.hash_one(&texts.key)) {
                    texts.put(&devices[at].name, route.protocol, routes);
                }
            }
        })
    }
}

impl Texts {
    fn write(&mut self, device: &[u8], route: &Route<'_>, way: &Way<'_>) {
        let parts = [&mut self.source, &mut self.destination, &mut self.gateway, &mut self.priority, &mut self.weight];
        parts.into_iter().for_each(Vec::clear);
        write_address(&mut self.source, route.source);
        write_address(&mut self.gateway, way.gateway);
        // Writing to a vector cannot fail.
        if route.bits == 0 {
            self.destination.extend_from_slice(b"default");
        } else {
            write_address(&mut self.destination, route.destination);
            let _ = write!(self.destination, "/{}", route.bits);
        }
        let _ = write!(self.priority, "{}", route.priority);
        if let Some(weight) = way.weight {
            let _ = write!(self.weight, "{weight}");
        }
        self.key.clear();
        let parts = [device, &self.source, &self.destination, &self.gateway, &self.priority, &self.weight];
        for part in parts.into_iter().chain([&[route.protocol][..]]) {
            self.key.extend_from_slice(part);
            self.key.push(0);
        }
    }

    fn put(&self, device: &[u8], number: u8, routes: &mut Rows<()>) {
        routes.row_with(&self.key, |labels| {
            labels.set(&[
                ("device", device),
                ("src", &self.source),
                ("dest", &self.destination),
                ("gw", &self.gateway),
                ("priority", &self.priority),
                ("proto", protocol(number).as_bytes()),
                ("weight", &self.weight),
            ]);
        });
    }
}

fn write_address(out: &mut Vec<u8>, bytes: &[u8]) {
    // Writing to a vector cannot fail. An address of another length is none.
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        let _ = write!(out, "{}", Ipv4Addr::from(bytes));
    } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        let _ = write!(out, "{}", Ipv6Addr::from(bytes));
    }
}

/// Who made a route, by the names that the original has.
fn protocol(number: u8) -> &'static str {
    match number {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => "unknown",
    }
}

impl Collector for NetworkRoute {
    fn name(&self) -> &'static str {
        "network_route"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read(scrape.links).map_err(|error| CollectError::reading(Path::new("rtnetlink(7)"), error))?;
        let mut samples = scrape.out.family(&self.info);
        self.routes.iter().for_each(|row| samples.with(&row.labels, true));
        self.counts.begin();
        for device in self.devices.iter().filter(|device| device.routes > 0) {
            *self.counts.row("device", &device.name) = device.routes;
        }
        let mut samples = scrape.out.family(&self.count);
        self.counts.iter().for_each(|row| samples.with(&row.labels, row.values));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Route, Texts, write_address};

    #[test]
    fn each_way_of_a_route_is_told_with_its_weight() {
        let mut body = vec![2, 24, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0];
        let attribute = |kind: u8, value: &[u8]| [&[value.len() as u8 + 4, 0, kind, 0], value].concat();
        body.extend(attribute(1, &[10, 1, 2, 0]));
        let hop = |weight: u8, device: u8, last: u8| {
            [&[16, 0, 0, weight, device, 0, 0, 0], &attribute(5, &[10, 0, 0, last])[..]].concat()
        };
        body.extend(attribute(9, &[hop(0, 3, 1), hop(4, 5, 2)].concat()));
        if cfg!(target_endian = "little") {
            let route = Route::of(&body).expect("a route");
            let mut texts = Texts::default();
            let ways: Vec<_> = route
                .ways()
                .map(|way| {
                    texts.write(b"eth0", &route, &way);
                    (way.device, String::from_utf8_lossy(&texts.key).replace('\0', " "))
                })
                .collect();
            let want = ["eth0  10.1.2.0/24 10.0.0.1 0 1 \u{3} ", "eth0  10.1.2.0/24 10.0.0.2 0 5 \u{3} "];
            assert_eq!(ways, [(3, want[0].to_owned()), (5, want[1].to_owned())]);
        }
        for length in 0..body.len() {
            let _ = Route::of(&body[..length]).map(|route| route.ways().count());
        }
        body[7] = 3;
        assert!(Route::of(&body).is_none(), "broadcasts are no way to anywhere");
    }

    #[test]
    fn addresses_are_written_as_usual_and_what_is_none_is_nothing() {
        let mut out = Vec::new();
        write_address(&mut out, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        write_address(&mut out, &[1, 2, 3]);
        assert_eq!(out, b"fd00::1");
    }
}
