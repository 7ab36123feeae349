use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The networks that lie directly behind the host's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces(Vec<Network>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    address: u32,
    mask: u32,
    interface: String,
}

impl Interfaces {
    /// Those of this host; none where it does not forward at all.
    pub fn of_host() -> Self {
        if fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1") {
            return Self::read(&fs::read_to_string("/proc/net/route").unwrap_or_default());
        }
        Self::default()
    }

    pub fn read(routes: &str) -> Self {
        let network = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (interface, address) = (words.next()?, number(words.next()?)?);
            let gateway = number(words.next()?)?;
            let mask = number(words.nth(4)?)?;
            (gateway == 0 && mask != 0).then(|| Network { address, mask, interface: interface.to_owned() })
        };
        Self(routes.lines().filter_map(network).collect())
    }

    /// The interface behind which a container is.
    pub fn of(&self, container: SocketAddr) -> Option<&str> {
        let IpAddr::V4(address) = container.ip() else { return None };
        let address = u32::from(address);
        let near = self.0.iter().filter(|network| address & network.mask == network.address);
        near.max_by_key(|network| network.mask).map(|network| network.interface.as_str())
    }
}

/// The address of a container from which it answers clients of other hosts by this host: that of the network whose
/// gateway is its default one, and is this host. `ends` are its networks' gateways with its addresses there; `process`
/// is one of its own.
pub fn direct(process: i64, ends: &[(IpAddr, IpAddr)]) -> Option<IpAddr> {
    let routes = fs::read_to_string(format!("/proc/{process}/net/route")).ok()?;
    let gateway = IpAddr::from(default_gateway(&routes)?);
    // An address can be bound where it is the host's own.
    UdpSocket::bind((gateway, 0)).ok()?;
    ends.iter().find(|(other, _)| *other == gateway).map(|(_, address)| *address)
}

/// The gateway of the default route, in the form of the kernel's table of routes.
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, gateway) = (number(words.next()?)?, number(words.next()?)?);
        let mask = number(words.nth(4)?)?;
        (address == 0 && mask == 0 && gateway != 0).then(|| Ipv4Addr::from(gateway))
    };
    routes.lines().find_map(gateway)
}

/// The table shows addresses as numbers of the machine, in hexadecimal.
fn number(word: &str) -> Option<u32> {
    u32::from_str_radix(word, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::{Interfaces, default_gateway};

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-1\t000111AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0000000A\t0100000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0
";

    #[test]
    fn a_container_is_behind_the_interface_of_the_narrowest_network_that_holds_it() {
        let interfaces = Interfaces::read(ROUTES);
        let of = |address: &str| interfaces.of(address.parse().expect("address")).map(str::to_owned);
        assert_eq!(of("172.17.0.2:80").as_deref(), Some("docker0"));
        assert_eq!(of("172.17.1.2:80").as_deref(), Some("br-1"));
        assert_eq!(of("10.0.0.2:80"), None, "behind a router");
        assert_eq!(of("[fd00::2]:80"), None);
        assert_eq!(default_gateway(ROUTES), Some([172, 17, 0, 1].into()));
        assert_eq!(default_gateway(""), None);
    }
}
