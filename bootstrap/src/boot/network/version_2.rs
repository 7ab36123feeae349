use super::address::{route, with_prefix};
use super::interfaces::Interfaces;
use super::state::{Dns, Kind, Link, State, Subnet};
use super::version_1::{dns, is_true, settings, texts};
use hostwright_core::config::section::{Problems, did_you_mean};
use hostwright_core::yaml::{Entry, Node, Scalar};

const DONE: [&str; 4] = ["ethernets", "bonds", "bridges", "vlans"];
const SETTINGS: [&str; 2] = ["version", "renderer"];

/// Reads `ethernets:`, `bonds:`, `bridges:` and `vlans:` as netplan has them.
pub fn read(root: &Node, interfaces: &Interfaces, state: &mut State, problems: &Problems) {
    for entry in entries(root) {
        match entry.key.as_str() {
            key if SETTINGS.contains(&key) => {}
            key if DONE.contains(&key) => {
                for device in entries(&entry.value) {
                    let link = link(key, device, interfaces, problems);
                    put(link, state);
                }
            }
            key @ ("wifis" | "modems" | "tunnels" | "vrfs" | "dummy-devices" | "virtual-ethernets") => {
                problems.note(
                    entry.place,
                    key,
                    "is not done: these interfaces are left as the image has them".to_owned(),
                );
            }
            key => {
                let known = DONE.into_iter().chain(SETTINGS);
                problems.note(entry.place, key, format!("unknown key{}", did_you_mean(key, known)));
            }
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    node.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default()
}

fn put(link: Link, state: &mut State) {
    let members = match &link.kind {
        Kind::Bond { members, .. } | Kind::Bridge { members, .. } => members.clone(),
        _ => Vec::new(),
    };
    if matches!(link.kind, Kind::Bond { .. }) {
        state.put(link);
        members.iter().for_each(|member| state.member(member));
    } else {
        members.iter().for_each(|member| state.member(member));
        state.put(link);
    }
}

fn link(section: &str, device: &Entry, interfaces: &Interfaces, problems: &Problems) -> Link {
    let node = &device.value;
    let text = |key: &str| node.get(key).filter(|node| !node.is_null()).and_then(Node::text).map(str::to_owned);
    let path = format!("{section}.{}", device.key);
    let mut link = Link {
        id: device.key.clone(),
        name: device.key.clone(),
        mtu: text("mtu").filter(|mtu| mtu != "0"),
        subnets: subnets(node, &path, problems),
        dns: node.get("nameservers").map(|servers| dns(servers, "addresses", "search")),
        ..Link::default()
    };
    match section {
        "ethernets" => ethernet(&mut link, node, interfaces),
        "vlans" => {
            link.kind = Kind::Vlan { id: text("id").unwrap_or_default(), link: text("link").unwrap_or_default() };
            if text("id").is_none() || text("link").is_none() {
                problems.note(device.place, &path, "a vlan needs id and link".to_owned());
            }
        }
        _ => {
            let members = node.get("interfaces").map(texts).unwrap_or_default();
            let settings = settings(node.get("parameters"), &[]);
            link.kind =
                if section == "bonds" { Kind::Bond { members, settings } } else { Kind::Bridge { members, settings } };
        }
    }
    link
}

fn ethernet(link: &mut Link, node: &Node, interfaces: &Interfaces) {
    let matched =
        |key: &str| node.get("match").and_then(|found| found.get(key)).and_then(Node::text).map(str::to_owned);
    let set_name = node.get("set-name").and_then(Node::text).filter(|name| !name.is_empty());
    link.mac = matched("macaddress");
    link.driver = matched("driver");
    link.is_renamed = set_name.is_some();
    let by_mac = link.mac.as_ref().and_then(|mac| interfaces.name_of(mac)).map(str::to_owned);
    if let Some(name) = set_name.map(str::to_owned).or(by_mac).or_else(|| matched("name")) {
        link.name = name;
    }
    link.is_optional = node.get("optional").is_some_and(is_true);
    link.accept_ra = node.get("accept-ra").filter(|node| !node.is_null()).map(is_true);
    link.wake_on_lan = node.get("wakeonlan").is_some_and(is_true);
    for (slot, key) in link.overrides.iter_mut().zip(["dhcp4-overrides", "dhcp6-overrides"]) {
        *slot = entries(node.get(key).unwrap_or(node)).iter().filter(|_| node.get(key).is_some()).map(pair).collect();
    }
}

fn pair(entry: &Entry) -> (String, String) {
    let value = match entry.value.scalar() {
        Some(Scalar::Bool(true)) => "True".to_owned(),
        Some(Scalar::Bool(false)) => "False".to_owned(),
        _ => entry.value.text().unwrap_or_default().to_owned(),
    };
    (entry.key.clone(), value)
}

fn subnets(node: &Node, path: &str, problems: &Problems) -> Vec<Subnet> {
    let mut subnets: Vec<Subnet> = Vec::new();
    for (key, kind) in [("dhcp4", "dhcp4"), ("dhcp6", "dhcp6")] {
        // As Python takes values: a text is true whatever it says.
        let is_on = node.get(key).is_some_and(|node| match node.scalar() {
            Some(Scalar::Bool(value)) => value,
            Some(Scalar::Int(number)) => number != 0,
            Some(Scalar::String(text)) => !text.is_empty(),
            _ => false,
        });
        subnets.extend(is_on.then(|| Subnet { kind: kind.to_owned(), ..Subnet::default() }));
    }
    let text = |key: &str| node.get(key).filter(|node| !node.is_null()).and_then(Node::text).map(str::to_owned);
    let mut gateways = [text("gateway4"), text("gateway6")];
    let dns = node.get("nameservers").map(|servers| dns(servers, "addresses", "search")).unwrap_or_default();
    for item in node.get("addresses").and_then(Node::sequence).unwrap_or_default() {
        // `- 10.0.0.2/24: {label: x}` is an address with settings that networkd needs not.
        let address = item.text().or_else(|| entries(item).first().map(|entry| entry.key.as_str())).unwrap_or_default();
        match with_prefix(address, None) {
            Ok(with_prefix) => subnets.push(Subnet {
                kind: "static".to_owned(),
                gateway: gateways[usize::from(address.contains(':'))].take(),
                address: Some(with_prefix),
                dns: dns.clone(),
                routes: Vec::new(),
            }),
            Err(why) => problems.note(item.place, &format!("{path}.addresses"), why),
        }
    }
    let routes = node.get("routes").and_then(Node::sequence).unwrap_or_default();
    let routes = routes
        .iter()
        .filter_map(|item| route(item).map_err(|why| problems.note(item.place, &format!("{path}.routes"), why)).ok());
    let routes: Vec<_> = routes.collect();
    if subnets.is_empty() && !routes.is_empty() {
        subnets.push(Subnet { kind: "manual".to_owned(), ..Subnet::default() });
    }
    if let Some(first) = subnets.first_mut() {
        first.routes = routes;
    }
    if subnets.iter().all(|subnet| subnet.dns == Dns::default()) {
        subnets.iter_mut().for_each(|subnet| subnet.dns = Dns::default());
    }
    subnets
}
