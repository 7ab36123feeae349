use super::address::{route, with_prefix};
use super::interfaces::Interfaces;
use super::netplan;
use super::state::{Dns, Kind, Link, State, Subnet};
use super::version_1::{dns, is_true, settings, texts};
use hostwright_core::config::section::{Problems, did_you_mean};
use hostwright_core::yaml::{Entry, Node, Scalar};

const DONE: [&str; 7] = ["ethernets", "bonds", "bridges", "vlans", "tunnels", "vrfs", "dummy-devices"];
const SETTINGS: [&str; 2] = ["version", "renderer"];

/// Reads `ethernets:`, `bonds:`, `bridges:`, `vlans:` and what else netplan has.
pub fn read(root: &Node, interfaces: &Interfaces, state: &mut State, problems: &Problems) {
    for entry in entries(root) {
        match entry.key.as_str() {
            key if SETTINGS.contains(&key) => {}
            key if DONE.contains(&key) => {
                if entry.value.mapping().is_none() && !entry.value.is_null() {
                    let found = entry.value.kind();
                    problems.note(entry.value.place, key, format!("expected a mapping of names, found {found}"));
                }
                for device in entries(&entry.value) {
                    let link = link(key, device, interfaces, problems);
                    state.put(link);
                }
            }
            key @ ("wifis" | "modems" | "virtual-ethernets" | "nm-devices" | "openvswitch") => {
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
        is_optional: node.get("optional").is_some_and(is_true),
        accept_ra: node.get("accept-ra").filter(|node| !node.is_null()).map(is_true),
        ..Link::default()
    };
    for (slot, key) in link.overrides.iter_mut().zip(["dhcp4-overrides", "dhcp6-overrides"]) {
        *slot = entries(node.get(key).unwrap_or(node)).iter().filter(|_| node.get(key).is_some()).map(pair).collect();
    }
    let own: &[&str] = match section {
        "ethernets" => &["match", "set-name", "wakeonlan"],
        "vlans" => &["id", "link"],
        "vrfs" => &["table", "interfaces"],
        "tunnels" => &["mode", "local", "remote", "ttl", "key", "keys", "id", "port", "link"],
        "dummy-devices" => &[],
        _ => &["interfaces", "parameters"],
    };
    if node.mapping().is_none() && !node.is_null() {
        problems.note(node.place, &path, format!("expected a mapping of keys, found {}", node.kind()));
    }
    netplan::unknown(node, &path, own, problems);
    match section {
        "ethernets" => ethernet(&mut link, node, interfaces),
        "tunnels" => match netplan::tunnel(node) {
            Ok(kind) => link.kind = kind,
            Err(why) => problems.note(device.place, &path, why),
        },
        "vrfs" | "dummy-devices" => {
            let members = node.get("interfaces").map(texts).unwrap_or_default();
            let lines: Vec<_> = text("table").map(|table| format!("Table={table}")).into_iter().collect();
            if section == "vrfs" && lines.is_empty() {
                problems.note(device.place, &path, "a VRF needs the number of its table".to_owned());
            }
            let kind = if section == "vrfs" { "vrf" } else { "dummy" };
            link.kind = Kind::Virtual { kind: kind.to_owned(), section: "VRF", lines, members };
        }
        "vlans" => {
            link.kind = Kind::Vlan { id: text("id").unwrap_or_default(), link: text("link").unwrap_or_default() };
            if text("id").is_none() || text("link").is_none() {
                problems.note(device.place, &path, "a vlan needs id and link".to_owned());
            }
        }
        _ => {
            let members = node.get("interfaces").map(texts).unwrap_or_default();
            let settings = settings(node.get("parameters"), &[]);
            link.kind = if section == "bonds" {
                Kind::Bond { members, settings }
            } else {
                Kind::Bridge { members, settings, ports: ports(node) }
            };
        }
    }
    netplan::further(&mut link, node, problems);
    link
}

/// `path-cost: {eth0: 100}` and `port-priority:` of a bridge.
fn ports(node: &Node) -> Vec<(String, String)> {
    let of = |key: &str, name: &'static str| {
        let found = node.get("parameters").and_then(|parameters| parameters.get(key));
        let entries = found.map(entries).unwrap_or_default().iter();
        entries
            .filter_map(move |entry| Some((entry.key.clone(), format!("{name}={}", entry.value.text()?))))
            .collect::<Vec<_>>()
    };
    [of("path-cost", "Cost"), of("port-priority", "Priority")].concat()
}

fn ethernet(link: &mut Link, node: &Node, interfaces: &Interfaces) {
    // Of several patterns any may fit.
    let matched = |key: &str| {
        let patterns = node.get("match").and_then(|found| found.get(key)).map(texts).unwrap_or_default();
        Some(patterns.join(" ")).filter(|patterns| !patterns.is_empty())
    };
    let set_name = node.get("set-name").and_then(Node::text).filter(|name| !name.is_empty());
    link.mac = matched("macaddress").map(|mac| mac.to_lowercase());
    link.driver = matched("driver");
    link.is_renamed = set_name.is_some();
    let by_mac = link.mac.as_ref().and_then(|mac| interfaces.name_of(mac)).map(str::to_owned);
    if let Some(name) = set_name.map(str::to_owned).or(by_mac).or_else(|| matched("name")) {
        link.name = name;
    }
    link.original = matched("name");
    link.wake_on_lan = node.get("wakeonlan").is_some_and(is_true);
}

/// `label:` and `lifetime:` of an address.
fn of_address(settings: &Node) -> Vec<String> {
    let of = |(key, name): (&str, &str)| Some(format!("{name}={}", settings.get(key).and_then(Node::text)?));
    [("label", "Label"), ("lifetime", "PreferredLifetime")].into_iter().filter_map(of).collect()
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
        // `- 10.0.0.2/24: {label: x}`
        let with_settings = entries(item).first();
        let address = item.text().or_else(|| with_settings.map(|entry| entry.key.as_str())).unwrap_or_default();
        let settings = with_settings.map(|entry| &entry.value);
        match with_prefix(address, None) {
            Ok(with_prefix) => subnets.push(Subnet {
                kind: "static".to_owned(),
                gateway: gateways[usize::from(address.contains(':'))].take(),
                address: Some(with_prefix),
                further: settings.map(of_address).unwrap_or_default(),
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
