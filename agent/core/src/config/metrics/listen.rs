use crate::config::values::{FromNode, list_or_one, mismatch};
use crate::yaml::Node;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// node_exporter's.
const PORT: u16 = 9100;

/// Where requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Each address once.
    Addresses(Vec<SocketAddr>),
    /// The sockets that systemd hands over (sd_listen_fds(3)).
    Systemd,
}

impl Default for Listen {
    fn default() -> Self {
        Self::Addresses(vec![SocketAddr::from(([0, 0, 0, 0], PORT))])
    }
}

/// An address in any of the forms that node_exporter takes.
struct Address(SocketAddr);

impl FromNode for Address {
    const EXPECTED: &'static str = "an address and port such as 0.0.0.0:9100, [::]:9100 or :9100";

    fn from_node(node: &Node) -> Result<Self, String> {
        let parse = |text: &str| match text.split_once(':') {
            // Go's form for every address of both families.
            Some(("", port)) => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.parse().ok()?))),
            Some(("localhost", port)) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
            _ => text.parse().ok(),
        };
        if node.text().is_some_and(|text| text.starts_with("vsock://")) {
            return Err(
                "sockets between a host and its virtual machines (vsock) are not listened on; give an address \
                        and port such as 0.0.0.0:9100"
                    .to_owned(),
            );
        }
        node.text().and_then(parse).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl FromNode for Listen {
    const EXPECTED: &'static str = "an address and port such as 0.0.0.0:9100 or [::]:9100, or the word systemd";

    fn from_node(node: &Node) -> Result<Self, String> {
        if node.text() == Some("systemd") {
            return Ok(Self::Systemd);
        }
        let addresses: Vec<SocketAddr> = list_or_one(node)?.into_iter().map(|Address(address)| address).collect();
        if addresses.is_empty() {
            return Err(format!("expected {}, found an empty list", Self::EXPECTED));
        }
        let twice = addresses.iter().enumerate().find(|(at, address)| addresses[..*at].contains(address));
        match twice {
            Some((_, address)) => Err(format!("{address} is listed twice; each address can be listened on once")),
            None => Ok(Self::Addresses(addresses)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;
    use crate::config::Config;

    #[test]
    fn addresses_are_one_or_several_but_never_none_nor_one_of_them_twice() {
        let listen = |text: &str| {
            let config = Config::parse(&format!("metrics: {{listen: {text}}}"), "agent.yaml");
            config.map(|config| config.metrics.expect("present").listen).map_err(|error| error.to_string())
        };
        assert_eq!(listen("'[::]:9100'"), Ok(Listen::Addresses(vec!["[::]:9100".parse().expect("address")])));
        assert!(
            listen("['127.0.0.1:9100', '10.0.0.1:9100']")
                .is_ok_and(|listen| matches!(listen, Listen::Addresses(all) if all.len() == 2))
        );
        assert_eq!(listen("systemd"), Ok(Listen::Systemd));
        assert_eq!(listen("':9100'"), listen("'[::]:9100'"), "Go's form");
        assert_eq!(listen("'localhost:9100'"), listen("'127.0.0.1:9100'"));
        for wrong in ["':'", "'::9100'", "':x'", "':99999'", "9100", "'example.org:9100'"] {
            assert!(listen(wrong).is_err_and(|error| error.contains("expected an address and port")), "{wrong}");
        }
        assert!(listen("'vsock://:9100'").is_err_and(|error| error.contains("(vsock) are not listened on")));
        assert!(listen("[]").is_err_and(|error| error.contains("found an empty list")));
        assert!(
            listen("['127.0.0.1:1', '127.0.0.1:1']").is_err_and(|error| error.contains("127.0.0.1:1 is listed twice"))
        );
    }
}
