use super::CollectError;
use super::rows::Rows;
use crate::encode::{Encoder, Family};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// The addresses of network devices.
pub struct Addresses {
    family: Family,
    rows: Rows<()>,
}

impl Addresses {
    pub fn new() -> Self {
        let family = Family::gauge("node_network_address_info", "node network address by device");
        Self { family, rows: Rows::default() }
    }

    pub fn write(&mut self, out: &mut Encoder) -> Result<(), CollectError> {
        let all =
            getifaddrs().map_err(|error| CollectError::reading(Path::new("getifaddrs"), io::Error::from(error)))?;
        self.rows.begin();
        for one in all {
            let Some(address) = one.address.as_ref().and_then(ip) else { continue };
            let bits = prefix(&one);
            let key = format!("{} {address} {bits}", one.interface_name);
            self.rows.row_with(key.as_bytes(), |labels| {
                labels.set(&[
                    ("address", address.to_string().as_bytes()),
                    ("device", one.interface_name.as_bytes()),
                    ("netmask", bits.to_string().as_bytes()),
                    ("scope", scope(address).as_bytes()),
                ]);
            });
        }
        let mut samples = out.family(&self.family);
        self.rows.iter().for_each(|row| samples.with(&row.labels, true));
        Ok(())
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn prefix(address: &InterfaceAddress) -> u32 {
    match address.netmask.as_ref().and_then(ip) {
        Some(IpAddr::V4(mask)) => mask.to_bits().count_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().count_ones(),
        None => 0,
    }
}

/// In the original's words, which are Go's: what is of this host or link is `link-local`.
fn scope(address: IpAddr) -> &'static str {
    let (link_local, interface_local) = match address {
        IpAddr::V4(four) => (four.is_link_local() || four.octets()[..3] == [224, 0, 0], false),
        IpAddr::V6(six) => (six.is_unicast_link_local() || multicast(six) == Some(2), multicast(six) == Some(1)),
    };
    if address.is_loopback() || link_local {
        "link-local"
    } else if interface_local {
        "interface-local"
    } else if address.is_unspecified() || address.is_multicast() || address == IpAddr::from([255; 4]) {
        ""
    } else {
        "global"
    }
}

/// How far a multicast reaches (RFC 4291, 2.7).
fn multicast(address: Ipv6Addr) -> Option<u8> {
    let [first, second, ..] = address.octets();
    (first == 0xff).then_some(second & 0xf)
}

#[cfg(test)]
mod tests {
    use super::{Addresses, scope};
    use crate::encode::Encoder;

    #[test]
    fn scopes_are_the_originals() {
        for (address, want) in [
            ("127.0.0.1", "link-local"),
            ("169.254.1.1", "link-local"),
            ("224.0.0.5", "link-local"),
            ("fe80::1", "link-local"),
            ("ff02::1", "link-local"),
            ("::1", "link-local"),
            ("ff01::1", "interface-local"),
            ("10.0.0.1", "global"),
            ("fd00::2", "global"),
            ("0.0.0.0", ""),
            ("239.1.1.1", ""),
            ("255.255.255.255", ""),
        ] {
            assert_eq!(scope(address.parse().expect("address")), want, "{address}");
        }
    }

    #[test]
    fn the_loopback_device_has_its_address() {
        let mut out = Encoder::default();
        Addresses::new().write(&mut out).expect("listed");
        let text = String::from_utf8(out.take()).expect("UTF-8");
        let want = r#"node_network_address_info{address="127.0.0.1",device="lo",netmask="8",scope="link-local"} 1"#;
        assert!(text.contains(want), "{text}");
    }
}
