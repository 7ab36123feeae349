use super::address::contains;
use super::interfaces::Interfaces;
use super::netdev;
use super::sections::Sections;
use super::state::{Dns, Kind, Link, State};

/// A file of who sets up the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `10-hostwright-eth0.network`: it sorts before the files of netplan and of the image.
    pub name: String,
    /// What stands in it.
    pub content: String,
}

/// The files of every interface.
pub fn files(state: &State, interfaces: &Interfaces) -> Vec<File> {
    let mut files = Vec::new();
    for link in &state.links {
        let name = file_name(link);
        files.push(File { name: format!("10-hostwright-{name}.network"), content: network(link, state) });
        files.extend(netdev::of(link).map(|content| File { name: format!("10-hostwright-{name}.netdev"), content }));
    }
    files.extend(names(state, interfaces));
    files
}

/// The files that give interfaces their names, for udev: whoever sets up the network then finds them.
pub fn names(state: &State, interfaces: &Interfaces) -> Vec<File> {
    let of = |link| {
        let content = renaming(link, interfaces)?;
        Some(File { name: format!("10-hostwright-{}.link", file_name(link)), content })
    };
    state.links.iter().filter_map(of).collect()
}

/// An interface without a name is known by its address.
pub fn file_name(link: &Link) -> String {
    let name = if link.name.is_empty() { link.mac.as_deref().unwrap_or(&link.id) } else { &link.name };
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

fn network(link: &Link, state: &State) -> String {
    let mut sections = Sections::default();
    if !link.name.is_empty() {
        sections.add("Match", "Name", &link.name);
    }
    match (&link.kind, &link.mac) {
        (Kind::Physical, _) => {
            for (key, value) in [("MACAddress", &link.mac), ("Driver", &link.driver)] {
                value.iter().for_each(|value| sections.add("Match", key, value));
            }
        }
        // What networkd makes itself is known by its name: a bond may take a member's address.
        (_, Some(mac)) => sections.add("Link", "MACAddress", mac),
        _ => {}
    }
    if let Some(mtu) = &link.mtu {
        sections.add("Link", "MTUBytes", mtu);
    }
    if link.is_optional {
        sections.add("Link", "RequiredForOnline", "no");
    }
    let dhcp = subnets(link, &mut sections);
    match &link.dns {
        Some(dns) if *dns != Dns::default() => sections.dns(dns),
        _ if state.shares_dns => sections.dns(&state.dns),
        _ => {}
    }
    for (number, route) in state.routes.iter().enumerate() {
        sections.route(format!("c{number}"), route);
    }
    overrides(link, dhcp, &mut sections);
    memberships(link, state, &mut sections);
    link.further.iter().for_each(|(section, line)| sections.line(section, line));
    sections.rules.clone_from(&link.rules);
    sections.text()
}

fn subnets(link: &Link, sections: &mut Sections) -> &'static str {
    let (mut has_4, mut has_6, mut number) = (false, false, 0);
    for subnet in &link.subnets {
        has_4 |= matches!(subnet.kind.as_str(), "dhcp" | "dhcp4");
        has_6 |= subnet.kind == "dhcp6";
        for route in &subnet.routes {
            sections.route(format!("r{number}"), route);
            number += 1;
        }
        let Some(address) = &subnet.address else { continue };
        sections.addresses.insert(address.clone(), subnet.further.clone());
        if let Some(gateway) = &subnet.gateway {
            let lines = sections.routes.entry(format!("a{number}")).or_default();
            lines.insert(format!("Gateway={gateway}"));
            lines.extend((!contains(address, gateway)).then(|| "GatewayOnLink=yes".to_owned()));
            number += 1;
        }
        sections.dns(&subnet.dns);
    }
    let dhcp = match (has_4, has_6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    sections.add("Network", "DHCP", dhcp);
    if let Some(accept) = link.accept_ra {
        sections.add("Network", "IPv6AcceptRA", if accept { "True" } else { "False" });
    }
    dhcp
}

fn overrides(link: &Link, dhcp: &str, sections: &mut Sections) {
    const BOTH: [(&str, &str); 4] =
        [("use-dns", "UseDNS"), ("use-domains", "UseDomains"), ("use-hostname", "UseHostname"), ("use-ntp", "UseNTP")];
    const OF_4: [(&str, &str); 5] = [
        ("send-hostname", "SendHostname"),
        ("hostname", "Hostname"),
        ("route-metric", "RouteMetric"),
        ("use-mtu", "UseMTU"),
        ("use-routes", "UseRoutes"),
    ];
    for (of_version, (section, own)) in link.overrides.iter().zip([("DHCPv4", "ipv4"), ("DHCPv6", "ipv6")]) {
        if dhcp != "yes" && dhcp != own {
            continue;
        }
        let names = BOTH.iter().chain(if own == "ipv4" { &OF_4[..] } else { &[] });
        for (key, name) in names {
            if let Some((_, value)) = of_version.iter().find(|(given, _)| given == key) {
                sections.add(section, name, value);
            }
        }
    }
}

/// To which bonds, bridges and tagged networks it belongs.
fn memberships(link: &Link, state: &State, sections: &mut Sections) {
    for other in &state.links {
        match &other.kind {
            Kind::Bond { members, settings } if members.contains(&link.id) => {
                sections.add("Network", "Bond", &other.name);
                if settings.get("primary").is_some_and(|primary| *primary == link.id || *primary == link.name) {
                    sections.add("Network", "PrimarySlave", "true");
                }
            }
            Kind::Bridge { members, ports, .. } if members.contains(&link.id) => {
                sections.add("Network", "Bridge", &other.name);
                let of_it = ports.iter().filter(|(port, _)| *port == link.id || *port == link.name);
                of_it.for_each(|(_, line)| sections.line("Bridge", line));
            }
            Kind::Vlan { link: below, .. } if *below == link.id => sections.add("Network", "VLAN", &other.name),
            Kind::Virtual { members, .. } if members.contains(&link.id) => {
                sections.add("Network", "VRF", &other.name);
            }
            _ => {}
        }
    }
}

/// A `.link` file where the interface shall be called otherwise than it is, or wake the machine.
fn renaming(link: &Link, interfaces: &Interfaces) -> Option<String> {
    let known = link.mac.as_deref().and_then(|mac| interfaces.name_of(mac));
    let is_renamed = link.is_renamed && known != Some(&link.name);
    if link.kind != Kind::Physical || !is_renamed && !link.wake_on_lan {
        return None;
    }
    let mut sections = Sections::default();
    match (&link.mac, &link.driver) {
        (Some(mac), _) => sections.add("Match", "PermanentMACAddress", mac),
        (None, Some(driver)) => sections.add("Match", "Driver", driver),
        (None, None) => sections.add("Match", "OriginalName", link.original.as_deref().unwrap_or(&link.id)),
    }
    if is_renamed {
        sections.add("Link", "Name", &link.name);
    } else {
        // The first file that fits is the only one that counts, so the image's rule for names is repeated.
        sections.add("Link", "NamePolicy", "keep kernel database onboard slot path");
    }
    if link.wake_on_lan {
        sections.add("Link", "WakeOnLan", "magic");
    }
    Some(sections.text())
}
