use super::state::Route;
use hostwright_core::yaml::Node;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `10.0.0.2/24` of an address with or without a prefix, and a prefix or netmask beside it. Where nothing says how long
/// the prefix is, it is 24 or 64, as for cloud-init.
pub fn with_prefix(address: &str, beside: Option<&str>) -> Result<String, String> {
    let (plain, prefix) = address.split_once('/').map_or((address, beside), |(plain, prefix)| (plain, Some(prefix)));
    let parsed: IpAddr = plain.trim().parse().map_err(|_| format!("{address:?} is no address"))?;
    let length = match prefix {
        None | Some("") => {
            if parsed.is_ipv6() {
                64
            } else {
                24
            }
        }
        Some(prefix) => prefix_length(prefix, parsed).ok_or_else(|| format!("{prefix:?} is no prefix or netmask"))?,
    };
    Ok(format!("{}/{length}", plain.trim()))
}

fn prefix_length(text: &str, address: IpAddr) -> Option<u32> {
    if let Ok(length) = text.parse::<u32>() {
        return (length <= if address.is_ipv6() { 128 } else { 32 }).then_some(length);
    }
    let (bits, width) = if address.is_ipv6() {
        (u128::from(text.parse::<Ipv6Addr>().ok()?), 128)
    } else {
        (u128::from(u32::from(text.parse::<Ipv4Addr>().ok()?)) << 96, 32)
    };
    // A mask is ones and then zeros; `0.0.0.255` is read as the opposite, as Python does.
    let ones = bits.leading_ones();
    if bits.checked_shl(ones).unwrap_or(0) == 0 {
        return Some(ones);
    }
    let host = (!bits) >> (128 - width) << (128 - width);
    let zeros = host.leading_ones();
    (width == 32 && host.checked_shl(zeros).unwrap_or(0) == 0).then_some(zeros)
}

/// Whether a gateway is in the network of an address; where that cannot be said, it is taken for being in it.
pub fn contains(address: &str, gateway: &str) -> bool {
    let Some((plain, length)) = address.split_once('/') else { return true };
    let (Ok(address), Ok(gateway)) = (plain.parse::<IpAddr>(), gateway.parse::<IpAddr>()) else { return true };
    let length: u32 = length.parse().unwrap_or(0);
    let masked = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address).checked_shr(32 - length.min(32)).unwrap_or(0)),
        IpAddr::V6(address) => u128::from(address).checked_shr(128 - length.min(128)).unwrap_or(0),
    };
    address.is_ipv4() == gateway.is_ipv4() && masked(address) == masked(gateway)
}

/// Further settings of a route as netplan calls them, and systemd-networkd.
const FURTHER: [(&str, &str); 7] = [
    ("type", "Type"),
    ("scope", "Scope"),
    ("table", "Table"),
    ("mtu", "MTUBytes"),
    ("from", "PreferredSource"),
    ("congestion-window", "InitialCongestionWindow"),
    ("advertised-receive-window", "InitialAdvertisedReceiveWindow"),
];

/// A route of version 1, 2 or OpenStack: `destination`, `network` or `to`; `netmask` or `prefix`; `gateway` or `via`.
pub fn route(node: &Node) -> Result<Route, String> {
    let text = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| node.get(key).filter(|value| !value.is_null()));
        found.and_then(Node::text).filter(|text| !text.is_empty())
    };
    let gateway = text(&["gateway", "via"]);
    if let Some(wrong) = gateway.filter(|gateway| gateway.parse::<IpAddr>().is_err()) {
        return Err(format!("the gateway {wrong:?} is no address"));
    }
    let destination = match text(&["network", "destination", "to"]) {
        Some("default") if gateway.is_some_and(|gateway| gateway.contains(':')) => "::/0".to_owned(),
        Some("default") => "0.0.0.0/0".to_owned(),
        Some(destination) => with_prefix(destination, text(&["prefix", "netmask"]))?,
        None => return Err("a route needs a destination: to, network or destination".to_owned()),
    };
    let metric = text(&["metric"]).filter(|metric| *metric != "0" || node.get("metric").is_some()).map(str::to_owned);
    if let Some(metric) = metric.as_ref().filter(|metric| metric.parse::<i64>().is_err()) {
        return Err(format!("the metric {metric:?} is no number"));
    }
    let on_link = node.get("on-link").and_then(Node::scalar) == Some(hostwright_core::yaml::Scalar::Bool(true));
    // In version 1 a route is a `type: route`.
    let further = FURTHER.iter().filter_map(|(key, name)| Some((name, text(&[key])?)));
    let further = further.filter(|(_, value)| *value != "route").map(|(name, value)| format!("{name}={value}"));
    Ok(Route { destination, gateway: gateway.map(str::to_owned), metric, on_link, further: further.collect() })
}

#[cfg(test)]
mod tests {
    use super::{contains, with_prefix};

    #[test]
    fn prefixes_come_as_lengths_and_masks() {
        for (address, beside, expected) in [
            ("10.0.0.2", None, "10.0.0.2/24"),
            ("10.0.0.2/16", Some("255.0.0.0"), "10.0.0.2/16"),
            ("10.0.0.2", Some("255.255.240.0"), "10.0.0.2/20"),
            ("10.0.0.2/255.0.0.0", None, "10.0.0.2/8"),
            ("0.0.0.0", Some("0.0.0.0"), "0.0.0.0/0"),
            ("::", Some("::"), "::/0"),
            ("2001:db8::2", None, "2001:db8::2/64"),
            ("2001:db8::2", Some("ffff:ffff:ffff::"), "2001:db8::2/48"),
        ] {
            assert_eq!(with_prefix(address, beside).as_deref(), Ok(expected), "{address} {beside:?}");
        }
        for (address, beside) in
            [("x", None), ("10.0.0.2/33", None), ("10.0.0.2", Some("255.0.255.0")), ("::1/129", None)]
        {
            assert!(with_prefix(address, beside).is_err(), "{address} {beside:?}");
        }
    }

    #[test]
    fn a_gateway_outside_of_its_network_is_seen() {
        assert!(contains("10.0.0.2/24", "10.0.0.1") && !contains("10.0.0.2/24", "10.0.1.1"));
        assert!(contains("2001:db8::2/64", "2001:db8::1") && !contains("2001:db8::2/64", "fe80::1"));
        assert!(contains("10.0.0.2/0", "8.8.8.8") && !contains("10.0.0.2/32", "10.0.0.1"));
    }
}
