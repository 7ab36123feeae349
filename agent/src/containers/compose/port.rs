use hostwright_core::config::section::Section;
use hostwright_core::config::values::FromNode;
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::net::IpAddr;

/// A port of the container that the engine publishes on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    pub container: u16,
    pub protocol: String,
    /// A port or a range to choose from; any free one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
}

/// The short form, which may be a range and so several ports.
struct Short(Vec<Port>);

impl FromNode for Short {
    const EXPECTED: &'static str = "a port such as 8080:80, 127.0.0.1:8080:80 or 53:53/udp";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        short(text).map(Self).ok_or_else(|| format!("expected {}, found {text:?}", Self::EXPECTED))
    }
}

/// Reads `ports`.
pub fn read(section: &mut Section<'_>) -> Vec<Port> {
    let Some(node) = section.node("ports") else { return Vec::new() };
    let Some(items) = section.items("ports", node) else { return Vec::new() };
    let mut ports = Vec::new();
    for item in items {
        if item.mapping().is_some() {
            ports.extend(section.item("ports", item).and_then(long));
        } else {
            ports.extend(section.value::<Short>("ports", item).map(|short| short.0).unwrap_or_default());
        }
    }
    // Their order means nothing, and must not make a difference to the hash.
    ports.sort();
    ports.dedup();
    ports
}

fn long(mut section: Section<'_>) -> Option<Port> {
    let target = section.required::<u64>("target");
    let host = section.optional::<String>("published");
    let host_ip = section.optional::<String>("host_ip");
    let protocol = section.optional::<String>("protocol").unwrap_or_else(|| "tcp".into());
    // On one host both modes mean the same.
    if let Some(mode) = section.optional::<String>("mode")
        && !["host", "ingress"].contains(&mode.as_str())
    {
        section.problem_with("mode", &format!("expected host or ingress, found {mode:?}"));
    }
    // Descriptions for a reader, as Compose has them.
    let _ = (section.optional::<String>("name"), section.optional::<String>("app_protocol"));
    if host.as_deref().is_some_and(|host| range(host).is_none()) {
        section.problem_with("published", "expected a port such as 8080 or a range such as 8000-8010");
    }
    if host_ip.as_deref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        section.problem_with("host_ip", "expected an address such as 127.0.0.1");
    }
    if !is_protocol(&protocol) {
        section.problem_with("protocol", "expected tcp, udp or sctp");
    }
    let container = target.and_then(|target| u16::try_from(target).ok()).filter(|port| *port > 0);
    if target.is_some() && container.is_none() {
        section.problem_with("target", "expected a port from 1 to 65535");
    }
    section.finish();
    Some(Port { container: container?, protocol, host, host_ip })
}

/// `[[ip:][host]:]container[/protocol]`, each port maybe a range.
fn short(text: &str) -> Option<Vec<Port>> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !is_protocol(protocol) {
        return None;
    }
    let (host_side, container) = match ports.rsplit_once(':') {
        Some((host_side, container)) => (Some(host_side), container),
        None => (None, ports),
    };
    let (ip, host) = match host_side {
        None => (None, None),
        Some(side) => match side.rsplit_once(':') {
            Some((ip, host)) => (Some(ip.trim_start_matches('[').trim_end_matches(']')), Some(host)),
            None => (None, Some(side)),
        },
    };
    if ip.is_some_and(|ip| ip.parse::<IpAddr>().is_err()) || (host == Some("") && ip.is_none()) {
        return None;
    }
    let containers = range(container)?;
    let host = host.filter(|host| !host.is_empty());
    let hosts = match host {
        Some(host) => Some(range(host)?),
        None => None,
    };
    let several = containers.clone().count() > 1;
    if several && hosts.as_ref().is_some_and(|hosts| hosts.clone().count() != containers.clone().count()) {
        return None;
    }
    let port = |(index, container): (usize, u16)| Port {
        container,
        protocol: protocol.to_owned(),
        host: match &hosts {
            Some(hosts) if several => hosts.clone().nth(index).map(|port| port.to_string()),
            _ => host.map(str::to_owned),
        },
        host_ip: ip.map(str::to_owned),
    };
    Some(containers.enumerate().map(port).collect())
}

fn is_protocol(text: &str) -> bool {
    ["tcp", "udp", "sctp"].contains(&text)
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::{Port, short};

    fn port(container: u16, host: Option<&str>, ip: Option<&str>, protocol: &str) -> Port {
        Port { container, protocol: protocol.into(), host: host.map(Into::into), host_ip: ip.map(Into::into) }
    }

    #[test]
    fn short_forms_are_read_as_compose_does() {
        for (text, expected) in [
            ("80", vec![port(80, None, None, "tcp")]),
            ("8080:80", vec![port(80, Some("8080"), None, "tcp")]),
            ("127.0.0.1:8080:80/udp", vec![port(80, Some("8080"), Some("127.0.0.1"), "udp")]),
            ("127.0.0.1::80", vec![port(80, None, Some("127.0.0.1"), "tcp")]),
            ("[::1]:8080:80", vec![port(80, Some("8080"), Some("::1"), "tcp")]),
            ("8000-8010:80", vec![port(80, Some("8000-8010"), None, "tcp")]),
            ("90-91:80-81", vec![port(80, Some("90"), None, "tcp"), port(81, Some("91"), None, "tcp")]),
        ] {
            assert_eq!(short(text), Some(expected), "{text}");
        }
        for wrong in
            ["", "x", "0", "65536", "80:", ":80", "80/http", "1-2:3-5", "9-8", "host:80:80", "1:2:3:4", "-1", "+1"]
        {
            assert_eq!(short(wrong), None, "{wrong}");
        }
    }
}
