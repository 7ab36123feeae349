use super::state::{Kind, Link};
use super::version_1::{is_true, texts};
use hostwright_core::config::section::{Problems, did_you_mean};
use hostwright_core::yaml::{Entry, Node};

/// Keys of every interface that are read elsewhere, or that say nothing to systemd-networkd.
const COMMON: [&str; 19] = [
    "renderer",
    "networkmanager",
    "dhcp4",
    "dhcp6",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "dhcp4domain",
    "dhcp6domain",
    "addresses",
    "gateway4",
    "gateway6",
    "mtu",
    "nameservers",
    "routes",
    "routing-policy",
    "optional",
    "accept-ra",
    "link-local",
    "macaddress",
];
/// Keys that nothing is made of here.
const REFUSED: [&str; 15] = [
    "auth",
    "openvswitch",
    "optional-addresses",
    "neigh-suppress",
    "virtual-function-count",
    "embedded-switch-mode",
    "delay-virtual-functions-rebind",
    "infiniband-mode",
    "receive-checksum-offload",
    "transmit-checksum-offload",
    "tcp-segmentation-offload",
    "tcp6-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
];

/// How a value is written for systemd-networkd.
enum Write {
    /// As yes or no.
    Switch,
    /// As it is.
    Text,
}

/// netplan's key, and the section and key of a `.network` file.
const SETTINGS: [(&str, &str, &str, Write); 9] = [
    ("critical", "Network", "KeepConfiguration", Write::Switch),
    ("emit-lldp", "Network", "EmitLLDP", Write::Switch),
    ("ignore-carrier", "Network", "ConfigureWithoutCarrier", Write::Switch),
    ("ipv6-privacy", "Network", "IPv6PrivacyExtensions", Write::Switch),
    ("ipv6-address-generation", "Network", "IPv6LinkLocalAddressGenerationMode", Write::Text),
    ("ipv6-address-token", "IPv6AcceptRA", "Token", Write::Text),
    ("ipv6-mtu", "Network", "IPv6MTUBytes", Write::Text),
    ("dhcp-identifier", "DHCPv4", "ClientIdentifier", Write::Text),
    ("activation-mode", "Link", "ActivationPolicy", Write::Text),
];

const RA_OVERRIDES: [(&str, &str); 3] = [("use-dns", "UseDNS"), ("use-domains", "UseDomains"), ("table", "RouteTable")];

/// What netplan knows of an interface of any kind and cloud-init's own renderer does not.
pub fn further(link: &mut Link, node: &Node, problems: &Problems) {
    for (key, section, name, how) in SETTINGS {
        let Some(value) = node.get(key).filter(|value| !value.is_null()) else { continue };
        let text = match (how, value.text()) {
            (Write::Switch, _) => if is_true(value) { "yes" } else { "no" }.to_owned(),
            (Write::Text, Some("off")) if key == "activation-mode" => "always-down".to_owned(),
            (Write::Text, Some(text)) => text.to_owned(),
            (Write::Text, None) => {
                problems.note(value.place, key, format!("expected a text or number, found {}", value.kind()));
                continue;
            }
        };
        link.further.push((section, format!("{name}={text}")));
    }
    if let Some(families) = node.get("link-local").map(texts) {
        let both = families.len() > 1;
        let which = if both { "yes" } else { families.first().map_or("no", String::as_str) };
        link.further.push(("Network", format!("LinkLocalAddressing={which}")));
    }
    for (key, name) in RA_OVERRIDES {
        if let Some(value) = node.get("ra-overrides").and_then(|overrides| overrides.get(key)).and_then(Node::text) {
            link.further.push(("IPv6AcceptRA", format!("{name}={value}")));
        }
    }
    if let Some(address) = node.get("macaddress").and_then(Node::text) {
        match link.kind {
            Kind::Physical => link.further.push(("Link", format!("MACAddress={address}"))),
            _ => link.mac = Some(address.to_owned()),
        }
    }
    rules(link, node);
}

/// `routing-policy:`
fn rules(link: &mut Link, node: &Node) {
    const KEYS: [(&str, &str); 6] = [
        ("from", "From"),
        ("to", "To"),
        ("table", "Table"),
        ("priority", "Priority"),
        ("mark", "FirewallMark"),
        ("type-of-service", "TypeOfService"),
    ];
    for rule in node.get("routing-policy").and_then(Node::sequence).unwrap_or_default() {
        let lines = KEYS.iter().filter_map(|(key, name)| {
            rule.get(key).filter(|value| !value.is_null()).and_then(Node::text).map(|text| format!("{name}={text}"))
        });
        link.rules.push(lines.collect());
    }
}

/// Tells of keys that nobody knows, or that are not done: nothing that was wanted goes unsaid.
pub fn unknown(node: &Node, path: &str, own: &[&str], problems: &Problems) {
    let known = || {
        let settings = SETTINGS.iter().map(|(key, ..)| *key).chain(["ra-overrides"]);
        COMMON.into_iter().chain(settings).chain(own.iter().copied())
    };
    for Entry { key, place, value } in entries(node) {
        let path = format!("{path}.{key}");
        if REFUSED.contains(&key.as_str()) {
            problems.note(*place, &path, "is not done here: use runcmd, or write files".to_owned());
        } else if !known().any(|known| known == key) {
            problems.note(*place, &path, format!("unknown key{}", did_you_mean(key, known())));
        } else if let Some(expected) = other_than_expected(key, value) {
            problems.note(value.place, &path, format!("expected {expected}, found {}", value.kind()));
        } else if let Some((_, inner)) = INNER.iter().find(|(outer, _)| outer == key) {
            for node in value.sequence().unwrap_or(std::slice::from_ref(value)) {
                only(node, &path, inner, problems);
            }
        }
    }
}

/// What a known key takes, where its value is something else, of which nothing would be made.
fn other_than_expected(key: &str, value: &Node) -> Option<&'static str> {
    let (expected, fits) = match key {
        "addresses" | "routes" | "routing-policy" => ("a list", value.sequence().is_some()),
        "interfaces" | "link-local" => ("a list", value.mapping().is_none()),
        "match" | "nameservers" | "parameters" => ("a mapping of keys", value.mapping().is_some()),
        key if key.ends_with("-overrides") => ("a mapping of keys", value.mapping().is_some()),
        "mtu" => ("a number", value.text().is_some_and(|text| text.trim().parse::<u32>().is_ok())),
        // The keys of a tunnel, or its one key.
        "keys" => return None,
        _ => ("a text or number", value.scalar().is_some()),
    };
    (!fits && !value.is_null()).then_some(expected)
}

/// Keys of what stands under a key.
const INNER: [(&str, &[&str]); 7] = [
    ("match", &["name", "macaddress", "driver"]),
    ("nameservers", &["addresses", "search"]),
    ("dhcp4-overrides", OVERRIDES),
    ("dhcp6-overrides", OVERRIDES),
    ("ra-overrides", &["use-dns", "use-domains", "table"]),
    (
        "routes",
        &[
            "to",
            "via",
            "metric",
            "on-link",
            "type",
            "scope",
            "table",
            "mtu",
            "from",
            "congestion-window",
            "advertised-receive-window",
        ],
    ),
    ("routing-policy", &["from", "to", "table", "priority", "mark", "type-of-service"]),
];
const OVERRIDES: &[&str] = &[
    "hostname",
    "route-metric",
    "send-hostname",
    "use-dns",
    "use-domains",
    "use-hostname",
    "use-mtu",
    "use-ntp",
    "use-routes",
];

fn only(node: &Node, path: &str, known: &[&str], problems: &Problems) {
    for Entry { key, place, .. } in entries(node) {
        if !known.contains(&key.as_str()) {
            let hint = match did_you_mean(key, known.iter().copied()) {
                hint if hint.is_empty() => format!("; known here: {}", known.join(", ")),
                hint => hint,
            };
            problems.note(*place, &format!("{path}.{key}"), format!("unknown key{hint}"));
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    node.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default()
}

/// A device of `tunnels:`.
pub fn tunnel(node: &Node) -> Result<Kind, String> {
    let text = |key: &str| node.get(key).filter(|value| !value.is_null()).and_then(Node::text);
    let mode = text("mode").ok_or("a tunnel needs a mode such as sit, gre or vxlan")?;
    let (kind, section) = match mode {
        "sit" | "gre" | "gretap" | "ip6gre" | "ip6gretap" | "ipip" | "vti" | "vti6" => (mode, "Tunnel"),
        "ip6ip6" | "ipip6" => ("ip6tnl", "Tunnel"),
        "vxlan" => (mode, "VXLAN"),
        other => return Err(format!("tunnels of the mode {other:?} are not done here: use runcmd, or write files")),
    };
    let keys: &[(&str, &str)] = if mode == "vxlan" {
        &[("id", "VNI"), ("local", "Local"), ("remote", "Remote"), ("ttl", "TTL"), ("port", "DestinationPort")]
    } else {
        &[("local", "Local"), ("remote", "Remote"), ("ttl", "TTL"), ("key", "Key")]
    };
    let mut lines: Vec<_> =
        keys.iter().filter_map(|(key, name)| text(key).map(|value| format!("{name}={value}"))).collect();
    // It is not bound to one of the interfaces.
    lines.push("Independent=yes".to_owned());
    lines.extend(matches!(mode, "ip6ip6" | "ipip6").then(|| format!("Mode={mode}")));
    Ok(Kind::Virtual { kind: kind.to_owned(), section, lines, members: Vec::new() })
}
