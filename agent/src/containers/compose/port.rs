use super::model::Tree;
use super::read;
use serde::Serialize;

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

/// Reads `ports`, with what the engine would refuse.
pub fn read(service: &Tree) -> Result<Vec<Port>, (&Tree, String)> {
    let mut ports = Vec::new();
    for tree in read::list(service, "ports") {
        let container =
            read::integer(tree, "target").and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let Some(container) = container else {
            return Err((tree, "the target is a port from 1 to 65535".into()));
        };
        let protocol = read::text(tree, "protocol").unwrap_or_else(|| "tcp".into());
        if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
            return Err((tree, format!("expected the protocol tcp, udp or sctp, found {protocol:?}")));
        }
        let host = read::text(tree, "published").filter(|host| !host.is_empty());
        if host.as_deref().is_some_and(|host| !is_range(host)) {
            return Err((tree, "published is a port, or a range such as 8000-8010".into()));
        }
        if let Some(address) = tree.get_text("host_ip").filter(|address| address.parse::<std::net::IpAddr>().is_err()) {
            return Err((tree, format!("expected an address such as 127.0.0.1, found {address:?}")));
        }
        ports.push(Port { container, protocol, host, host_ip: read::text(tree, "host_ip") });
    }
    // Their order means nothing, and must not make a difference to the hash.
    ports.sort();
    ports.dedup();
    Ok(ports)
}

fn is_range(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
}
