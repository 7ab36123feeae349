use super::address::contains;
use super::interfaces::Interfaces;
use super::state::{Dns, Kind, Link, Route, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A file for `/etc/systemd/network`.
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
        files.extend(netdev(link).map(|content| File { name: format!("10-hostwright-{name}.netdev"), content }));
        files.extend(
            renaming(link, interfaces).map(|content| File { name: format!("10-hostwright-{name}.link"), content }),
        );
    }
    files
}

/// An interface without a name is known by its address.
fn file_name(link: &Link) -> String {
    let name = if link.name.is_empty() { link.mac.as_deref().unwrap_or(&link.id) } else { &link.name };
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

/// Sections with their lines: sorted, each once. Of some there are several.
#[derive(Default)]
struct Sections {
    single: BTreeMap<&'static str, BTreeSet<String>>,
    addresses: BTreeSet<String>,
    /// By where they come from: a gateway, everybody's, the interface's own.
    routes: BTreeMap<String, BTreeSet<String>>,
}

impl Sections {
    fn add(&mut self, section: &'static str, key: &str, value: &str) {
        // A line break would begin a line of its own.
        let value = value.replace(['\n', '\r'], " ");
        self.single.entry(section).or_default().insert(format!("{key}={value}"));
    }

    fn route(&mut self, id: String, route: &Route) {
        let lines = self.routes.entry(id).or_default();
        lines.insert(format!("Destination={}", route.destination));
        lines.extend(route.gateway.iter().map(|gateway| format!("Gateway={gateway}")));
        lines.extend(route.metric.iter().map(|metric| format!("Metric={metric}")));
        lines.extend(route.on_link.then(|| "GatewayOnLink=yes".to_owned()));
    }

    fn dns(&mut self, dns: &Dns) {
        for (key, values) in [("DNS", &dns.servers), ("Domains", &dns.search)] {
            if !values.is_empty() {
                self.add("Network", key, &values.join(" "));
            }
        }
    }

    fn text(self) -> String {
        let mut out = String::new();
        for address in self.addresses {
            let _ = write!(out, "[Address]\nAddress={address}\n\n");
        }
        for (section, lines) in self.single {
            let _ = write!(out, "[{section}]\n{}\n\n", lines.into_iter().collect::<Vec<_>>().join("\n"));
        }
        for lines in self.routes.into_values() {
            let _ = write!(out, "[Route]\n{}\n\n", lines.into_iter().collect::<Vec<_>>().join("\n"));
        }
        out
    }
}

fn network(link: &Link, state: &State) -> String {
    let mut sections = Sections::default();
    if !link.name.is_empty() {
        sections.add("Match", "Name", &link.name);
    }
    for (key, value) in [("MACAddress", &link.mac), ("Driver", &link.driver)] {
        // What networkd makes itself has the address that it gives.
        if let Some(value) = value.as_ref().filter(|_| link.kind == Kind::Physical || key == "MACAddress") {
            sections.add("Match", key, value);
        }
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
        sections.addresses.insert(address.clone());
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
            Kind::Bridge { members, .. } if members.contains(&link.id) => {
                sections.add("Network", "Bridge", &other.name);
            }
            Kind::Vlan { link: below, .. } if *below == link.id => sections.add("Network", "VLAN", &other.name),
            _ => {}
        }
    }
}

fn netdev(link: &Link) -> Option<String> {
    let mut sections = Sections::default();
    let kind = match &link.kind {
        Kind::Physical => return None,
        Kind::Bond { settings, .. } => {
            bond(settings, &mut sections);
            "bond"
        }
        Kind::Bridge { settings, .. } => {
            bridge(settings, &mut sections);
            "bridge"
        }
        Kind::Vlan { id, .. } => {
            sections.add("VLAN", "Id", id);
            "vlan"
        }
    };
    sections.add("NetDev", "Name", &link.name);
    sections.add("NetDev", "Kind", kind);
    if let Some(mac) = &link.mac {
        sections.add("NetDev", "MACAddress", mac);
    }
    Some(sections.text())
}

/// cloud-init's and netplan's names of the kernel's settings, networkd's, and the unit of a bare number.
const BOND: [(&[&str], &str, &str); 13] = [
    (&["mode"], "Mode", ""),
    (&["miimon", "mii-monitor-interval"], "MIIMonitorSec", "ms"),
    (&["lacp-rate"], "LACPTransmitRate", ""),
    (&["xmit-hash-policy", "transmit-hash-policy"], "TransmitHashPolicy", ""),
    (&["ad-select"], "AdSelect", ""),
    (&["updelay", "up-delay"], "UpDelaySec", "ms"),
    (&["downdelay", "down-delay"], "DownDelaySec", "ms"),
    (&["arp-interval"], "ARPIntervalSec", "ms"),
    (&["arp-ip-target", "arp-ip-targets"], "ARPIPTargets", ""),
    (&["arp-validate"], "ARPValidate", ""),
    (&["fail-over-mac", "fail-over-mac-policy"], "FailOverMACPolicy", ""),
    (&["primary-reselect", "primary-reselect-policy"], "PrimaryReselectPolicy", ""),
    (&["min-links"], "MinLinks", ""),
];
const BRIDGE: [(&[&str], &str, &str); 6] = [
    (&["stp"], "STP", ""),
    (&["bridgeprio", "priority"], "Priority", ""),
    (&["fd", "forward-delay"], "ForwardDelaySec", "s"),
    (&["hello", "hello-time"], "HelloTimeSec", "s"),
    (&["maxage", "max-age"], "MaxAgeSec", "s"),
    (&["ageing", "ageing-time"], "AgeingTimeSec", "s"),
];
const MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

fn bond(settings: &BTreeMap<String, String>, sections: &mut Sections) {
    for (names, key, unit) in BOND {
        let Some(value) = names.iter().find_map(|name| settings.get(*name)) else { continue };
        let value = match (key, value.as_str()) {
            ("Mode", number) => {
                number.parse().ok().and_then(|at: usize| MODES.get(at).copied()).unwrap_or(number).to_owned()
            }
            ("LACPTransmitRate", "0") => "slow".to_owned(),
            ("LACPTransmitRate", "1") => "fast".to_owned(),
            (_, number) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{number}{unit}"),
            (_, text) => text.replace(',', " "),
        };
        sections.add("Bond", key, &value);
    }
}

fn bridge(settings: &BTreeMap<String, String>, sections: &mut Sections) {
    for (names, key, unit) in BRIDGE {
        let Some(value) = names.iter().find_map(|name| settings.get(*name)) else { continue };
        let value = match (key, value.as_str()) {
            ("STP", text) => {
                if matches!(text, "on" | "true" | "True" | "1" | "yes") {
                    "yes".to_owned()
                } else {
                    "no".to_owned()
                }
            }
            (_, number) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{number}{unit}"),
            (_, text) => text.to_owned(),
        };
        sections.add("Bridge", key, &value);
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
        (None, None) => sections.add("Match", "OriginalName", &link.id),
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
