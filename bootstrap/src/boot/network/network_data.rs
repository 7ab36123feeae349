use super::address::{route, with_prefix};
use super::interfaces::Interfaces;
use super::state::{Dns, Kind, Link, State, Subnet};
use super::version_1::{settings, texts};
use hostwright_core::config::section::{Problem, Problems};
use hostwright_core::yaml::Node;

/// Bonds, VLANs, and what clouds call their ordinary interfaces.
const KINDS: [&str; 16] = [
    "",
    "bgpovs",
    "bond",
    "bridge",
    "cascading",
    "dvs",
    "ethernet",
    "hw_veb",
    "hyperv",
    "other",
    "ovs",
    "phy",
    "tap",
    "vhostuser",
    "vif",
    "vlan",
];
/// The beginning of a message that fails nothing.
const UNKNOWN_KIND: &str = "unknown kind of link ";

/// Whether a problem is only told: what it is about is done all the same.
pub fn is_only_told(problem: &Problem) -> bool {
    problem.is_unknown_key() || problem.message.starts_with(UNKNOWN_KIND)
}

/// Reads `links`, `networks` and `services`. A link that this machine does not have is described all the same: it may
/// come later, and is no reason to lose the others.
pub fn read(root: &Node, interfaces: &Interfaces, state: &mut State, problems: &Problems) {
    state.shares_dns = true;
    let list = |key: &str| root.get(key).and_then(Node::sequence).unwrap_or_default();
    let mut bonds = 0;
    for link in list("links") {
        let Some(id) = text(link, "id") else {
            problems.note(link.place, "links", "a link needs an id".to_owned());
            continue;
        };
        let networks = list("networks").iter().filter(|network| text(network, "link") == Some(id));
        if let Some(kind) = link.get("type").filter(|kind| kind.text().is_some_and(|kind| !KINDS.contains(&kind))) {
            let message =
                format!("{UNKNOWN_KIND}{:?}: {id} is taken for an ordinary interface", kind.text().unwrap_or_default());
            problems.note(kind.place, "links.type", message);
        }
        match self::link(link, id, networks, &mut bonds) {
            Ok(link) => state.links.push(link),
            Err(why) => problems.note(link.place, "links", why),
        }
    }
    for network in list("networks") {
        let named = text(network, "link").unwrap_or_default();
        if !list("links").iter().any(|link| text(link, "id") == Some(named)) {
            let place = network.get("link").unwrap_or(network).place;
            problems.note(place, "networks", format!("there is no link {named:?}: this network is left out"));
        }
    }
    name(state, interfaces);
    for service in list("services").iter().filter(|service| text(service, "type") == Some("dns")) {
        state.dns.servers.extend(text(service, "address").map(str::to_owned));
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).filter(|node| !node.is_null()).and_then(Node::text).filter(|text| !text.is_empty())
}

fn link<'a>(
    node: &Node,
    id: &str,
    networks: impl Iterator<Item = &'a Node>,
    bonds: &mut usize,
) -> Result<Link, String> {
    let mut link = Link {
        id: id.to_owned(),
        name: text(node, "name").unwrap_or_default().to_owned(),
        mac: text(node, "ethernet_mac_address").map(str::to_lowercase),
        mtu: text(node, "mtu").filter(|mtu| *mtu != "0").map(str::to_owned),
        ..Link::default()
    };
    match text(node, "type").unwrap_or_default() {
        "bond" => {
            link.name = format!("bond{bonds}");
            *bonds += 1;
            let members =
                node.get("bond_links").map(texts).ok_or_else(|| format!("the bond {id:?} needs bond_links"))?;
            let mut settings = settings(Some(node), &["bond_"]);
            settings.retain(|key, _| node.get(&format!("bond_{}", key.replace('-', "_"))).is_some() && key != "links");
            link.kind = Kind::Bond { members, settings };
        }
        "vlan" => {
            link.mac = text(node, "vlan_mac_address").map(str::to_lowercase);
            let missing = |key: &str| format!("the vlan {id:?} needs {key}");
            link.kind = Kind::Vlan {
                id: text(node, "vlan_id").ok_or_else(|| missing("vlan_id"))?.to_owned(),
                link: text(node, "vlan_link").ok_or_else(|| missing("vlan_link"))?.to_owned(),
            };
        }
        // phy, vif, bgpovs and what else clouds call theirs.
        _ if link.mac.is_none() && link.name.is_empty() => {
            return Err(format!("the link {id:?} has no address and no name"));
        }
        _ => {}
    }
    for network in networks {
        subnet(network, &mut link)?;
    }
    Ok(link)
}

fn subnet(network: &Node, link: &mut Link) -> Result<(), String> {
    let kind = text(network, "type").unwrap_or_default();
    let (kind, is_static) = match kind {
        "ipv4_dhcp" => ("dhcp4", false),
        "ipv6_dhcp" => ("dhcp6", false),
        "ipv4" | "static" => ("static", true),
        "ipv6" | "static6" => ("static6", true),
        other => (other, false),
    };
    match text(network, "type").unwrap_or_default() {
        "ipv6" | "static6" => link.accept_ra = Some(false),
        "ipv6_dhcpv6-stateful" | "ipv6_dhcp" => link.accept_ra = Some(true),
        _ => {}
    }
    let address = text(network, "ip_address").filter(|_| is_static);
    let address = address.map(|address| with_prefix(address, text(network, "netmask"))).transpose()?;
    if is_static && address.is_none() {
        return Err(format!("a network of the link {:?} has no ip_address", link.id));
    }
    let nodes = network.get("routes").and_then(Node::sequence).unwrap_or_default();
    let services = |node: &Node| -> Vec<String> {
        let services = node.get("services").and_then(Node::sequence).unwrap_or_default().iter();
        services
            .filter(|service| text(service, "type") == Some("dns"))
            .filter_map(|s| text(s, "address").map(str::to_owned))
            .collect()
    };
    let mut servers: Vec<String> = nodes.iter().flat_map(services).collect();
    for server in services(network) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.extend(network.get("dns_nameservers").map(texts).filter(|_| servers.is_empty()).unwrap_or_default());
    let search = network.get("dns_search").map(texts).unwrap_or_default();
    link.subnets.push(Subnet {
        kind: kind.to_owned(),
        address,
        further: Vec::new(),
        gateway: text(network, "gateway").map(str::to_owned),
        dns: Dns { servers, search },
        routes: nodes.iter().map(route).collect::<Result<_, _>>()?,
    });
    Ok(())
}

/// Names of this machine for the cloud's own, which nobody wants to see in a guest.
fn name(state: &mut State, interfaces: &Interfaces) {
    for link in &mut state.links {
        if link.name.is_empty() && link.kind == Kind::Physical {
            link.name = link.mac.as_deref().and_then(|mac| interfaces.name_of(mac)).unwrap_or_default().to_owned();
        }
    }
    let names: Vec<_> = state.links.iter().map(|link| (link.id.clone(), link.name.clone())).collect();
    for link in &mut state.links {
        if let Kind::Vlan { id, link: below } = &link.kind {
            let below = names.iter().find(|(other, _)| other == below).map_or(below.as_str(), |(_, name)| name);
            link.name = format!("{below}.{id}");
        }
    }
}
