use super::address::{route, with_prefix};
use super::state::{Dns, Kind, Link, State, Subnet};
use hostwright_core::config::section::{Problems, did_you_mean};
use hostwright_core::yaml::{Node, Scalar};
use std::collections::BTreeMap;

/// Reads `config:`, a list of things with a type each.
pub fn read(root: &Node, state: &mut State, problems: &Problems) {
    state.shares_dns = true;
    let Some(items) = root.get("config").and_then(Node::sequence) else {
        return problems.note(root.place, "config", "expected a list of interfaces under config".to_owned());
    };
    let mut own_dns: Vec<(String, Dns, &Node)> = Vec::new();
    for item in items {
        let text = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default();
        match text("type") {
            "nameserver" => match text("interface") {
                "" => {
                    let dns = dns(item, "address", "search");
                    state.dns.servers.extend(dns.servers);
                    state.dns.search.extend(dns.search);
                }
                interface => own_dns.push((interface.to_owned(), dns(item, "address", "search"), item)),
            },
            "route" => match route(item) {
                Ok(route) => state.routes.push(route),
                Err(why) => problems.note(item.place, "config", why),
            },
            "physical" | "loopback" | "infiniband" | "bond" | "bridge" | "vlan" => interface(item, state, problems),
            other => problems.note(
                item.place,
                "config.type",
                format!(
                    "{other:?} is no type; known: physical, loopback, bond, bridge, vlan, infiniband, nameserver, route"
                ),
            ),
        }
    }
    for (interface, dns, item) in own_dns {
        match state.links.iter_mut().find(|link| link.id == interface) {
            Some(link) => link.dns = Some(dns),
            None => problems.note(item.place, "config.interface", format!("there is no interface {interface:?}")),
        }
    }
}

fn interface(item: &Node, state: &mut State, problems: &Problems) {
    let text = |key: &str| item.get(key).filter(|node| !node.is_null()).and_then(Node::text).map(str::to_owned);
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        return problems.note(item.place, "config.name", "an interface needs a name".to_owned());
    };
    unknown(item, problems);
    shapes(item, problems);
    let kind = match kind(item, &name) {
        Ok(kind) => kind,
        Err(why) => return problems.note(item.place, "config", why),
    };
    let subnets = item.get("subnets").and_then(Node::sequence).unwrap_or_default().iter();
    let subnets =
        subnets.filter_map(|node| subnet(node).map_err(|why| problems.note(node.place, "config.subnets", why)).ok());
    let mac = text("mac_address").filter(|mac| !mac.is_empty()).map(|mac| mac.to_lowercase());
    let link = Link {
        id: name.clone(),
        is_renamed: kind == Kind::Physical && mac.is_some(),
        mac,
        mtu: text("mtu").filter(|mtu| mtu != "0"),
        is_optional: item.get("optional").is_some_and(is_true),
        accept_ra: item.get("accept-ra").filter(|node| !node.is_null()).map(is_true),
        wake_on_lan: item.get("wakeonlan").is_some_and(is_true),
        subnets: subnets.collect(),
        name,
        kind,
        ..Link::default()
    };
    state.put(link);
}

/// Tells of keys that nobody knows, of an interface and its subnets.
fn unknown(item: &Node, problems: &Problems) {
    let tell = |node: &Node, path: &str, known: &[&str]| {
        for entry in node.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default() {
            if !known.contains(&entry.key.as_str()) {
                let message = format!("unknown key{}", did_you_mean(&entry.key, known.iter().copied()));
                problems.note(entry.place, &format!("{path}.{}", entry.key), message);
            }
        }
    };
    tell(item, "config", &KEYS);
    for subnet in item.get("subnets").and_then(Node::sequence).unwrap_or_default() {
        tell(subnet, "config.subnets", &SUBNET_KEYS);
    }
}

/// Tells of values of which nothing would be made.
fn shapes(item: &Node, problems: &Problems) {
    let here = |key: &str| item.get(key).filter(|node| !node.is_null());
    let wrong = |node: &Node, key: &str, expected: &str| {
        problems.note(node.place, &format!("config.{key}"), format!("expected {expected}, found {}", node.kind()));
    };
    if let Some(node) = here("subnets").filter(|node| node.sequence().is_none()) {
        wrong(node, "subnets", "a list");
    }
    if let Some(node) = here("params").filter(|node| node.mapping().is_none()) {
        wrong(node, "params", "a mapping of keys");
    }
    if let Some(node) = here("mtu").filter(|node| node.text().is_none_or(|text| text.trim().parse::<u32>().is_err())) {
        wrong(node, "mtu", "a number");
    }
    for subnet in here("subnets").and_then(Node::sequence).unwrap_or_default() {
        let kind = subnet.get("type").filter(|kind| kind.text().is_none_or(|kind| !SUBNET_TYPES.contains(&kind)));
        if let Some(kind) = kind {
            let told = format!("{:?} is no type; known: {}", kind.text().unwrap_or_default(), SUBNET_TYPES.join(", "));
            problems.note(kind.place, "config.subnets.type", told);
        }
    }
}

const SUBNET_TYPES: [&str; 9] = [
    "dhcp",
    "dhcp4",
    "dhcp6",
    "static",
    "static6",
    "manual",
    "ipv6_slaac",
    "ipv6_dhcpv6-stateful",
    "ipv6_dhcpv6-stateless",
];
const KEYS: [&str; 18] = [
    "type",
    "name",
    "id",
    "config_id",
    "devname",
    "mac_address",
    "mtu",
    "accept-ra",
    "optional",
    "wakeonlan",
    "subnets",
    "params",
    "bond_interfaces",
    "bridge_interfaces",
    "vlan_id",
    "vlan_link",
    "keep_configuration",
    "match",
];
const SUBNET_KEYS: [&str; 20] = [
    "type",
    "id",
    "control",
    "address",
    "ip_address",
    "netmask",
    "prefix",
    "broadcast",
    "gateway",
    "pointopoint",
    "scope",
    "metric",
    "mtu",
    "dns_nameservers",
    "dns_search",
    "routes",
    "ipv4",
    "ipv6",
    "label",
    "source",
];

fn kind(item: &Node, name: &str) -> Result<Kind, String> {
    let text = |key: &str| item.get(key).and_then(Node::text).map(str::to_owned);
    let missing = |key: &str| format!("the interface {name:?} needs {key}");
    match item.get("type").and_then(Node::text).unwrap_or_default() {
        "bond" => {
            let members = texts(item.get("bond_interfaces").ok_or_else(|| missing("bond_interfaces"))?);
            Ok(Kind::Bond { members, settings: settings(item.get("params"), &["bond-", "bond_"]) })
        }
        "bridge" => {
            let members = texts(item.get("bridge_interfaces").ok_or_else(|| missing("bridge_interfaces"))?);
            let settings = settings(item.get("params"), &["bridge_", "bridge-"]);
            let port = |(key, name): (&str, &'static str)| {
                let items = item.get("params").and_then(|params| params.get(key)).map(texts).unwrap_or_default();
                // `eth0 50`
                let words = |text: &String| {
                    text.split_once(' ').map(|(port, value)| (port.to_owned(), format!("{name}={}", value.trim())))
                };
                items.iter().filter_map(words).collect::<Vec<_>>()
            };
            let ports = [("bridge_pathcost", "Cost"), ("bridge_portprio", "Priority")].into_iter().flat_map(port);
            Ok(Kind::Bridge { members, settings, ports: ports.collect() })
        }
        "vlan" => Ok(Kind::Vlan {
            id: text("vlan_id").ok_or_else(|| missing("vlan_id"))?,
            link: text("vlan_link").ok_or_else(|| missing("vlan_link"))?,
        }),
        _ => Ok(Kind::Physical),
    }
}

/// Settings of a bond or bridge by their names without what each of them begins with.
pub fn settings(node: Option<&Node>, prefixes: &[&str]) -> BTreeMap<String, String> {
    let entries = node.and_then(Node::mapping).map(|mapping| &mapping.entries[..]).unwrap_or_default();
    let pair = |entry: &hostwright_core::yaml::Entry| {
        let name = prefixes.iter().find_map(|prefix| entry.key.strip_prefix(prefix)).unwrap_or(&entry.key);
        (name.replace('_', "-"), texts(&entry.value).join(" "))
    };
    entries.iter().map(pair).collect()
}

/// A list of texts, or one.
pub fn texts(node: &Node) -> Vec<String> {
    let items = node.sequence().unwrap_or(std::slice::from_ref(node));
    items.iter().filter(|item| !item.is_null()).filter_map(Node::text).map(str::to_owned).collect()
}

/// As cloud-init reads flags.
pub fn is_true(node: &Node) -> bool {
    match node.scalar() {
        Some(Scalar::Bool(value)) => value,
        Some(Scalar::Int(number)) => number == 1,
        Some(Scalar::String(text)) => ["true", "1", "on", "yes"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    }
}

pub fn dns(node: &Node, servers: &str, search: &str) -> Dns {
    let of = |key: &str| {
        let words = node.get(key).map(texts).unwrap_or_default();
        words.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
    };
    Dns { servers: of(servers), search: of(search) }
}

/// An item of `subnets:`.
pub fn subnet(node: &Node) -> Result<Subnet, String> {
    let text =
        |key: &str| node.get(key).filter(|node| !node.is_null()).and_then(Node::text).filter(|text| !text.is_empty());
    let kind = text("type").ok_or("a subnet needs a type: dhcp4, dhcp6, static, …")?.to_owned();
    let is_static = matches!(kind.as_str(), "static" | "static6");
    let address = match text("address").or_else(|| text("ip_address")) {
        Some(address) if is_static => Some(with_prefix(address, text("prefix").or_else(|| text("netmask")))?),
        Some(address) => Some(address.to_owned()),
        None if is_static => return Err("a static subnet needs an address".to_owned()),
        None => None,
    };
    let routes = node.get("routes").and_then(Node::sequence).unwrap_or_default();
    Ok(Subnet {
        kind,
        address,
        further: Vec::new(),
        gateway: text("gateway").map(str::to_owned),
        dns: dns(node, "dns_nameservers", "dns_search"),
        routes: routes.iter().map(route).collect::<Result<_, _>>()?,
    })
}
