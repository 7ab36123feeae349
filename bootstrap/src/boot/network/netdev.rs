use super::sections::Sections;
use super::state::{Kind, Link};
use std::collections::BTreeMap;

/// The device that systemd-networkd makes for an interface, if it is none of the machine's.
pub fn of(link: &Link) -> Option<String> {
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
        Kind::Virtual { kind, section, lines, .. } => {
            lines.iter().for_each(|line| sections.line(section, line));
            kind
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
const BOND: [(&[&str], &str, &str); 20] = [
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
    (&["all-slaves-active", "all-members-active"], "AllSlavesActive", ""),
    (&["arp-all-targets"], "ARPAllTargets", ""),
    (&["num-grat-arp", "gratuitous-arp", "gratuitious-arp"], "GratuitousARP", ""),
    (&["packets-per-slave", "packets-per-member"], "PacketsPerSlave", ""),
    (&["resend-igmp"], "ResendIGMP", ""),
    (&["lp-interval", "learn-packet-interval"], "LearnPacketIntervalSec", "s"),
    (&["tlb-dynamic-lb"], "DynamicTransmitLoadBalancing", ""),
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
