use super::ifupdown::{dns, shared_routes};
use super::networkd::{File, file_name};
use super::state::{Kind, Link, Route, State};
use hostwright_core::config::section::Problems;
use hostwright_core::hex::hex;
use hostwright_core::yaml::Place;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// By which our files are known.
pub const PREFIX: &str = "hostwright-";
/// Of its file in `/etc/NetworkManager/system-connections`.
pub const END: &str = ".nmconnection";
/// As cloud-init's: before what the image or an operator made without a wish.
const PRIORITY: &str = "120";

/// Connections for NetworkManager, a file each. What it has no words for is told.
pub fn files(state: &State, problems: &Problems) -> Vec<File> {
    let mut files = Vec::new();
    for link in state.links.iter().filter(|link| link.name != "lo") {
        if let Kind::Virtual { kind, .. } = &link.kind {
            let message = format!("no {kind} is made with NetworkManager: use nmcli in runcmd, or systemd-networkd");
            problems.note(Place { line: 1, column: 1 }, &link.id, message);
            continue;
        }
        let name = format!("{PREFIX}{}{END}", file_name(link));
        files.push(File { name, content: connection(link, state) });
    }
    files
}

/// Sections in their order, with their lines.
#[derive(Default)]
struct Keyfile(Vec<(&'static str, Vec<String>)>);

impl Keyfile {
    fn add(&mut self, section: &'static str, key: &str, value: &str) {
        // A line break would begin a line of its own.
        let line = format!("{key}={}", value.replace(['\n', '\r'], " "));
        match self.0.iter_mut().find(|(name, _)| *name == section) {
            Some((_, lines)) => lines.push(line),
            None => self.0.push((section, vec![line])),
        }
    }

    fn text(self) -> String {
        let mut text = "# Written by hostwright-bootstrap from what the datasource says.\n".to_owned();
        for (section, lines) in self.0 {
            let _ = write!(text, "\n[{section}]\n{}\n", lines.join("\n"));
        }
        text
    }
}

/// The same for a name at each boot, so that others can refer to it.
fn uuid(name: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(format!("hostwright connection {name}"))[..16]);
    // A UUID made of a name (version 8: by a rule of one's own).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn connection(link: &Link, state: &State) -> String {
    let mut file = Keyfile::default();
    let name = if is_pattern(&link.name) { link.id.clone() } else { file_name(link) };
    file.add("connection", "id", &format!("hostwright {name}"));
    file.add("connection", "uuid", &uuid(&link.id));
    file.add("connection", "type", kind(&link.kind));
    file.add("connection", "autoconnect-priority", PRIORITY);
    which(link, &mut file);
    let is_member = membership(link, state, &mut file);
    device(link, state, &mut file);
    if !is_member {
        addresses(link, state, &mut file);
    }
    file.text()
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', ' '])
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bond { .. } => "bond",
        Kind::Bridge { .. } => "bridge",
        Kind::Vlan { .. } => "vlan",
        Kind::Physical | Kind::Virtual { .. } => "ethernet",
    }
}

/// By which the interface is known: an address alone, where there is one.
fn which(link: &Link, file: &mut Keyfile) {
    let is_physical = link.kind == Kind::Physical;
    let is_only_an_id = link.name == link.id && link.driver.is_some() && is_physical;
    if is_pattern(&link.name) {
        file.add("match", "interface-name", &list(link.name.split(' ')));
    } else if !(link.name.is_empty() || is_only_an_id || is_physical && link.mac.is_some()) {
        file.add("connection", "interface-name", &link.name);
    }
    if let Some(driver) = link.driver.as_ref().filter(|_| is_physical) {
        file.add("match", "driver", &list(driver.split(' ')));
    }
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!("{item};")).collect()
}

/// Whether it belongs to a bond or bridge, and so has no addresses of its own.
fn membership(link: &Link, state: &State, file: &mut Keyfile) -> bool {
    for other in &state.links {
        let (kind, ports) = match &other.kind {
            Kind::Bond { members, .. } if members.contains(&link.id) => ("bond", &[][..]),
            Kind::Bridge { members, ports, .. } if members.contains(&link.id) => ("bridge", &ports[..]),
            _ => continue,
        };
        file.add("connection", "slave-type", kind);
        file.add("connection", "master", &uuid(&other.id));
        for (_, setting) in ports.iter().filter(|(port, _)| *port == link.id || *port == link.name) {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            file.add("bridge-port", if key == "Cost" { "path-cost" } else { "priority" }, value);
        }
        return true;
    }
    false
}

fn device(link: &Link, state: &State, file: &mut Keyfile) {
    if let Some(mac) = link.mac.as_ref() {
        match link.kind {
            Kind::Physical if !mac.contains(' ') => file.add("ethernet", "mac-address", &mac.to_uppercase()),
            Kind::Bridge { .. } => file.add("bridge", "mac-address", &mac.to_uppercase()),
            Kind::Bond { .. } | Kind::Vlan { .. } => file.add("ethernet", "cloned-mac-address", &mac.to_uppercase()),
            _ => {}
        }
    }
    if let Some(mac) = link.further.iter().find_map(|(_, text)| text.strip_prefix("MACAddress=")) {
        file.add("ethernet", "cloned-mac-address", &mac.to_uppercase());
    }
    if let Some(mtu) = &link.mtu {
        file.add("ethernet", "mtu", mtu);
    }
    if link.wake_on_lan {
        file.add("ethernet", "wake-on-lan", "64");
    }
    match &link.kind {
        Kind::Bond { settings, .. } => {
            for (key, value) in settings {
                file.add("bond", &bond_option(key), &value.replace(' ', ","));
            }
        }
        Kind::Bridge { settings, .. } => {
            for (key, value) in settings {
                if let Some((key, value)) = bridge_option(key, value) {
                    file.add("bridge", key, &value);
                }
            }
        }
        Kind::Vlan { id, link: below } => {
            let parent = state.links.iter().find(|link| link.id == *below);
            file.add("vlan", "id", id);
            file.add("vlan", "parent", &parent.map_or_else(|| below.clone(), |parent| uuid(&parent.id)));
        }
        Kind::Physical | Kind::Virtual { .. } => {}
    }
}

/// The kernel's name of it, which is NetworkManager's too.
fn bond_option(key: &str) -> String {
    let kernels = match key {
        "mii-monitor-interval" => "miimon",
        "transmit-hash-policy" => "xmit_hash_policy",
        "up-delay" => "updelay",
        "down-delay" => "downdelay",
        "arp-ip-targets" => "arp_ip_target",
        "fail-over-mac-policy" => "fail_over_mac",
        "primary-reselect-policy" => "primary_reselect",
        "all-members-active" => "all_slaves_active",
        "gratuitous-arp" | "gratuitious-arp" => "num_grat_arp",
        "packets-per-member" => "packets_per_slave",
        "learn-packet-interval" => "lp_interval",
        other => return other.replace('-', "_"),
    };
    kernels.to_owned()
}

fn bridge_option(key: &str, value: &str) -> Option<(&'static str, String)> {
    let key = match key {
        "stp" => {
            let is_on = matches!(value, "on" | "true" | "True" | "1" | "yes");
            return Some(("stp", is_on.to_string()));
        }
        "bridgeprio" | "priority" => "priority",
        "fd" | "forward-delay" => "forward-delay",
        "hello" | "hello-time" => "hello-time",
        "maxage" | "max-age" => "max-age",
        "ageing" | "ageing-time" => "ageing-time",
        _ => return None,
    };
    Some((key, value.to_owned()))
}

fn addresses(link: &Link, state: &State, file: &mut Keyfile) {
    for (section, is_6) in [("ipv4", false), ("ipv6", true)] {
        family(link, state, (section, is_6), file);
    }
}

fn family(link: &Link, state: &State, (section, is_6): (&'static str, bool), file: &mut Keyfile) {
    let of_family = |text: &str| text.contains(':') == is_6;
    let mut static_ones = Vec::new();
    let mut method = "disabled";
    for subnet in &link.subnets {
        match (subnet.kind.as_str(), is_6) {
            ("dhcp" | "dhcp4", false) | ("dhcp6" | "ipv6_slaac" | "ipv6_dhcpv6-stateless", true) => method = "auto",
            ("ipv6_dhcpv6-stateful", true) => method = "dhcp",
            _ => {}
        }
        static_ones.extend(subnet.address.iter().filter(|address| of_family(address)));
    }
    if method == "disabled" && !static_ones.is_empty() {
        method = if is_6 && link.accept_ra == Some(true) { "auto" } else { "manual" };
    }
    file.add(section, "method", method);
    if method == "disabled" {
        return;
    }
    // One of both is enough where both are asked for.
    let others: &[&str] = if is_6 {
        &["dhcp", "dhcp4"]
    } else {
        &["dhcp6", "ipv6_slaac", "ipv6_dhcpv6-stateless", "ipv6_dhcpv6-stateful"]
    };
    let may_fail = method != "manual" && link.subnets.iter().any(|subnet| others.contains(&subnet.kind.as_str()));
    file.add(section, "may-fail", if may_fail { "true" } else { "false" });
    if is_6 {
        file.add(section, "addr-gen-mode", "eui64");
    }
    for (number, address) in static_ones.iter().enumerate() {
        file.add(section, &format!("address{}", number + 1), address);
    }
    if let Some(gateway) = link.subnets.iter().filter_map(|subnet| subnet.gateway.as_ref()).find(|text| of_family(text))
    {
        file.add(section, "gateway", gateway);
    }
    let dns = dns(link, state);
    let servers: Vec<_> = dns.servers.iter().map(String::as_str).filter(|server| of_family(server)).collect();
    for (key, values) in [("dns", servers), ("dns-search", dns.search.iter().map(String::as_str).collect())] {
        if !values.is_empty() {
            file.add(section, key, &list(values.into_iter()));
        }
    }
    overrides(link, (section, is_6), file);
    let routes = link.subnets.iter().flat_map(|subnet| &subnet.routes).chain(shared_routes(link, state));
    for (number, route) in routes.filter(|route| of_family(&route.destination)).enumerate() {
        of_route(route, number + 1, section, file);
    }
    let of_rule = |rule: &&Vec<String>| rule.iter().any(|text| text.contains(':')) == is_6;
    for (number, rule) in link.rules.iter().filter(of_rule).enumerate() {
        file.add(section, &format!("routing-rule{}", number + 1), &words_of_rule(rule));
    }
}

fn overrides(link: &Link, (section, is_6): (&'static str, bool), file: &mut Keyfile) {
    for (key, value) in &link.overrides[usize::from(is_6)] {
        let is_off = value == "False";
        match key.as_str() {
            "use-dns" if is_off => file.add(section, "ignore-auto-dns", "true"),
            "use-routes" if is_off => file.add(section, "ignore-auto-routes", "true"),
            "route-metric" => file.add(section, "route-metric", value),
            "send-hostname" if is_off => file.add(section, "dhcp-send-hostname", "false"),
            "hostname" => file.add(section, "dhcp-hostname", value),
            _ => {}
        }
    }
}

fn of_route(route: &Route, number: usize, section: &'static str, file: &mut Keyfile) {
    let mut value = route.destination.clone();
    if let Some(gateway) = &route.gateway {
        value.push_str(&format!(",{gateway}"));
    }
    if let Some(metric) = &route.metric {
        // An address of all zeros stands for none.
        let nothing = if route.destination.contains(':') { ",::" } else { ",0.0.0.0" };
        value.push_str(if route.gateway.is_none() { nothing } else { "" });
        value.push_str(&format!(",{metric}"));
    }
    file.add(section, &format!("route{number}"), &value);
    let mut options: Vec<String> = Vec::new();
    options.extend(route.on_link.then(|| "onlink=true".to_owned()));
    for setting in &route.further {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let name = match key {
            "Table" => "table",
            "Scope" => "scope",
            "MTUBytes" => "mtu",
            "PreferredSource" => "src",
            "InitialCongestionWindow" => "initcwnd",
            "InitialAdvertisedReceiveWindow" => "initrwnd",
            "Type" => "type",
            _ => continue,
        };
        options.push(format!("{name}={value}"));
    }
    if !options.is_empty() {
        file.add(section, &format!("route{number}_options"), &options.join(","));
    }
}

/// As ip(8) takes them; a priority is a must.
fn words_of_rule(rule: &[String]) -> String {
    let of = |name: &str| rule.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
    let mut words = format!("priority {}", of("Priority").unwrap_or("32000"));
    let names =
        [("From", "from"), ("To", "to"), ("FirewallMark", "fwmark"), ("TypeOfService", "tos"), ("Table", "table")];
    for (name, word) in names {
        if let Some(value) = of(name) {
            words.push_str(&format!(" {word} {value}"));
        }
    }
    words
}
