use super::address::contains;
use super::interfaces::Interfaces;
use super::state::{Dns, Kind, Link, Route, State, Subnet};
use hostwright_core::config::section::Problems;
use hostwright_core::yaml::Place;
use regex::Regex;
use std::fmt::Write as _;

/// In `/etc/network/interfaces.d`.
pub const NAME: &str = "50-hostwright";

/// A file of interfaces(5). What ifupdown has no words for is told.
pub fn file(state: &State, interfaces: &Interfaces, problems: &Problems) -> String {
    let mut text = "# Written by hostwright-bootstrap from what the datasource says.\n".to_owned();
    let mut links: Vec<&Link> = state.links.iter().filter(|link| link.name != "lo").collect();
    // What others are made of comes first.
    links.sort_by_key(|link| rank(&link.kind));
    for link in links {
        let names = names(link, interfaces);
        if let Kind::Virtual { kind, .. } = &link.kind {
            tell(problems, link, &format!("ifupdown makes no {kind}: use runcmd, or an image with systemd-networkd"));
        } else if names.is_empty() {
            tell(
                problems,
                link,
                "this machine has no such interface, and ifupdown knows interfaces by their names alone",
            );
        }
        for name in names.iter().filter(|_| !matches!(link.kind, Kind::Virtual { .. })) {
            stanzas(&mut text, name, link, state);
        }
    }
    text
}

fn tell(problems: &Problems, link: &Link, message: &str) {
    problems.note(Place { line: 1, column: 1 }, &link.id, message.to_owned());
}

fn rank(kind: &Kind) -> u8 {
    match kind {
        Kind::Physical | Kind::Virtual { .. } => 0,
        Kind::Bond { .. } => 1,
        Kind::Bridge { .. } => 2,
        Kind::Vlan { .. } => 3,
    }
}

/// A pattern stands for this machine's interfaces that it fits.
fn names(link: &Link, interfaces: &Interfaces) -> Vec<String> {
    let is_only_an_id = link.name == link.id && !link.is_renamed && link.kind == Kind::Physical;
    let is_here = link.mac.as_deref().is_some_and(|mac| interfaces.name_of(mac).is_some());
    let is_known = link.mac.is_none() && link.driver.is_none() || is_here;
    if link.name.is_empty() || is_only_an_id && !is_known {
        return Vec::new();
    }
    if !link.name.contains(['*', '?', '[', ' ']) {
        let is_a_name = !link.name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
        return is_a_name.then(|| link.name.clone()).into_iter().collect();
    }
    // `*`, `?` and `[abc]`, as the shell knows them.
    let expression = |word: &str| word.replace('.', "\\.").replace('*', ".*").replace('?', ".").replace("[!", "[^");
    let patterns: Vec<_> =
        link.name.split(' ').filter_map(|word| Regex::new(&format!("^(?:{})$", expression(word))).ok()).collect();
    let fits = |name: &&String| patterns.iter().any(|pattern| pattern.is_match(name));
    interfaces.0.iter().map(|(name, _)| name).filter(fits).cloned().collect()
}

fn stanzas(text: &mut String, name: &str, link: &Link, state: &State) {
    let _ = write!(text, "\nauto {name}\n");
    let manual = Subnet { kind: "manual".to_owned(), ..Subnet::default() };
    let subnets = if link.subnets.is_empty() { std::slice::from_ref(&manual) } else { &link.subnets[..] };
    for (number, subnet) in subnets.iter().enumerate() {
        let (family, method) = method(subnet);
        let _ = writeln!(text, "iface {name} {family} {method}");
        let mut line = |words: &str| {
            // A line break would begin a line of its own.
            let _ = writeln!(text, "    {}", words.replace(['\n', '\r'], " "));
        };
        of_subnet(subnet, link, &mut line);
        if number == 0 {
            of_device(link, state, &mut line);
            // What has no addresses asks nobody.
            let dns = if link.subnets.is_empty() { Dns::default() } else { dns(link, state) };
            for (key, values) in [("dns-nameservers", &dns.servers), ("dns-search", &dns.search)] {
                if !values.is_empty() {
                    line(&format!("{key} {}", values.join(" ")));
                }
            }
        }
        // When the interface has all its addresses: a gateway may be in the network of any.
        if number + 1 == subnets.len() {
            let routes = subnets.iter().flat_map(|subnet| &subnet.routes).chain(shared_routes(link, state));
            routes.for_each(|route| of_route(route, &mut line));
            link.rules.iter().for_each(|rule| of_rule(rule, &mut line));
        }
    }
}

/// Routes of no interface in particular go to the one in whose network their gateway is, else to the first.
pub fn shared_routes<'a>(link: &'a Link, state: &'a State) -> impl Iterator<Item = &'a Route> {
    let reaches = |link: &Link, route: &Route| {
        let mut addresses = link.subnets.iter().filter_map(|subnet| subnet.address.as_ref());
        route.gateway.as_ref().is_some_and(|gateway| addresses.any(|address| contains(address, gateway)))
    };
    let first = state.links.iter().find(|link| !link.subnets.is_empty() && link.name != "lo");
    let is_first = first.is_some_and(|first| first.id == link.id);
    let takes = move |route: &&Route| match state.links.iter().any(|link| reaches(link, route)) {
        true => reaches(link, route),
        false => is_first,
    };
    state.routes.iter().filter(takes)
}

/// Family and method as interfaces(5) calls them.
fn method(subnet: &Subnet) -> (&'static str, &'static str) {
    let is_6 = subnet.address.as_ref().is_some_and(|address| address.contains(':'));
    match subnet.kind.as_str() {
        "dhcp" | "dhcp4" => ("inet", "dhcp"),
        "dhcp6" | "ipv6_dhcpv6-stateful" => ("inet6", "dhcp"),
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => ("inet6", "auto"),
        _ if is_6 => ("inet6", "static"),
        _ if subnet.address.is_some() => ("inet", "static"),
        _ => ("inet", "manual"),
    }
}

fn of_subnet(subnet: &Subnet, link: &Link, line: &mut impl FnMut(&str)) {
    let (family, method) = method(subnet);
    if let Some(address) = &subnet.address {
        line(&format!("address {address}"));
    }
    if let Some(gateway) = &subnet.gateway {
        line(&format!("gateway {gateway}"));
    }
    match subnet.kind.as_str() {
        "ipv6_slaac" => line("dhcp 0"),
        "ipv6_dhcpv6-stateless" => line("dhcp 1"),
        _ => {}
    }
    if let Some(accept) = link.accept_ra.filter(|_| family == "inet6" && method != "auto") {
        line(&format!("accept_ra {}", u8::from(accept)));
    }
}

/// What is the interface's own and no address'.
fn of_device(link: &Link, state: &State, line: &mut impl FnMut(&str)) {
    if let Some(mtu) = &link.mtu {
        line(&format!("mtu {mtu}"));
    }
    if link.wake_on_lan {
        line("ethernet-wol g");
    }
    let own_mac = link.further.iter().find_map(|(_, text)| text.strip_prefix("MACAddress="));
    let made_mac = link.mac.as_deref().filter(|_| link.kind != Kind::Physical);
    if let Some(mac) = own_mac.or(made_mac) {
        line(&format!("hwaddress {mac}"));
    }
    let name_of = |id: &String| {
        let known = state.links.iter().find(|link| link.id == *id);
        known.map_or_else(|| id.clone(), |link| link.name.clone())
    };
    for other in &state.links {
        if matches!(&other.kind, Kind::Bond { members, .. } if members.contains(&link.id)) {
            line(&format!("bond-master {}", other.name));
        }
    }
    match &link.kind {
        Kind::Bond { members, settings } => {
            line(&format!("bond-slaves {}", members.iter().map(name_of).collect::<Vec<_>>().join(" ")));
            settings.iter().for_each(|(key, value)| line(&format!("bond-{key} {value}")));
        }
        Kind::Bridge { members, settings, ports } => {
            line(&format!("bridge_ports {}", members.iter().map(name_of).collect::<Vec<_>>().join(" ")));
            settings.iter().for_each(|(key, value)| of_bridge(key, value, line));
            for (port, setting) in ports {
                let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
                let key = if key == "Cost" { "pathcost" } else { "portprio" };
                line(&format!("bridge_{key} {} {value}", name_of(port)));
            }
        }
        Kind::Vlan { id, link } => {
            line(&format!("vlan-raw-device {}", name_of(link)));
            line(&format!("vlan_id {id}"));
        }
        Kind::Physical | Kind::Virtual { .. } => {}
    }
}

/// By the names of bridge-utils-interfaces(5).
fn of_bridge(key: &str, value: &str, line: &mut impl FnMut(&str)) {
    let key = match key {
        "priority" => "bridgeprio",
        "forward-delay" => "fd",
        "hello-time" => "hello",
        "max-age" => "maxage",
        "ageing-time" => "ageing",
        // A list of a port each, which is written for each of them.
        "pathcost" | "path-cost" | "portprio" | "port-priority" => return,
        other => other,
    };
    let value = match value {
        "true" | "True" | "yes" => "on",
        "false" | "False" | "no" => "off",
        other => other,
    };
    line(&format!("bridge_{key} {value}"));
}

/// By ip(8), which every image with ifupdown has; what is there already is no failure.
fn of_route(route: &Route, line: &mut impl FnMut(&str)) {
    let mut words = route.destination.clone();
    if let Some(gateway) = &route.gateway {
        words.push_str(&format!(" via {gateway}"));
    }
    words.push_str(" dev $IFACE");
    if let Some(metric) = &route.metric {
        words.push_str(&format!(" metric {metric}"));
    }
    if route.on_link {
        words.push_str(" onlink");
    }
    let mut kind = String::new();
    for setting in &route.further {
        match setting.split_once('=') {
            Some(("Table", value)) => words.push_str(&format!(" table {value}")),
            Some(("Scope", value)) => words.push_str(&format!(" scope {value}")),
            Some(("MTUBytes", value)) => words.push_str(&format!(" mtu {value}")),
            Some(("PreferredSource", value)) => words.push_str(&format!(" src {value}")),
            Some(("InitialCongestionWindow", value)) => words.push_str(&format!(" initcwnd {value}")),
            Some(("InitialAdvertisedReceiveWindow", value)) => words.push_str(&format!(" initrwnd {value}")),
            Some(("Type", value)) if value != "unicast" => kind = format!("{value} "),
            _ => {}
        }
    }
    if !kind.is_empty() {
        words = words.replace(" dev $IFACE", "");
    }
    let family = if route.destination.contains(':') { "-6" } else { "-4" };
    line(&format!("post-up ip {family} route add {kind}{words} || true"));
    line(&format!("pre-down ip {family} route del {kind}{words} || true"));
}

fn of_rule(rule: &[String], line: &mut impl FnMut(&str)) {
    let names = [
        ("From", "from"),
        ("To", "to"),
        ("Table", "table"),
        ("Priority", "priority"),
        ("FirewallMark", "fwmark"),
        ("TypeOfService", "tos"),
    ];
    let words = rule.iter().filter_map(|text| text.split_once('=')).filter_map(|(key, value)| {
        names.iter().find(|(name, _)| *name == key).map(|(_, word)| format!(" {word} {value}"))
    });
    let words: String = words.collect();
    let family = if words.contains(':') { "-6" } else { "-4" };
    line(&format!("post-up ip {family} rule add{words} || true"));
    line(&format!("pre-down ip {family} rule del{words} || true"));
}

/// An interface's own name servers with those of its addresses, else everybody's.
pub fn dns(link: &Link, state: &State) -> Dns {
    let own = link.dns.iter().chain(link.subnets.iter().map(|subnet| &subnet.dns));
    let mut all = Dns::default();
    let shared = state.shares_dns && link.dns.as_ref().is_none_or(|dns| *dns == Dns::default());
    for dns in own.chain(shared.then_some(&state.dns)) {
        for (to, from) in [(&mut all.servers, &dns.servers), (&mut all.search, &dns.search)] {
            for text in from {
                if !to.contains(text) {
                    to.push(text.clone());
                }
            }
        }
    }
    all
}
