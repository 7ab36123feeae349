use super::section::Section;
use super::values::{FromNode, list_or_one};
use crate::yaml::Node;
use std::net::SocketAddr;

/// The metrics duty: a Prometheus endpoint with node_exporter's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens, each address once; 9100 is node_exporter's port.
    pub listen: Vec<SocketAddr>,
}

struct Listen(Vec<SocketAddr>);

impl FromNode for Listen {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        let addresses: Vec<SocketAddr> = list_or_one(node)?;
        if addresses.is_empty() {
            return Err(format!("expected {}, found an empty list", Self::EXPECTED));
        }
        let twice = addresses.iter().enumerate().find(|(at, address)| addresses[..*at].contains(address));
        match twice {
            Some((_, address)) => Err(format!("{address} is listed twice; each address can be listened on once")),
            None => Ok(Self(addresses)),
        }
    }
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.or("listen", Listen(vec![SocketAddr::from(([0, 0, 0, 0], 9100))])).0;
        section.finish();
        Some(Self { listen })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn addresses_are_one_or_several_but_never_none_nor_one_of_them_twice() {
        let listen = |text: &str| {
            let config = Config::parse(&format!("metrics: {{listen: {text}}}"), "agent.yaml");
            config.map(|config| config.metrics.expect("present").listen).map_err(|error| error.to_string())
        };
        assert_eq!(listen("'[::]:9100'"), Ok(vec!["[::]:9100".parse().expect("address")]));
        assert_eq!(listen("['127.0.0.1:9100', '10.0.0.1:9100']").map(|all| all.len()), Ok(2));
        assert!(listen("[]").is_err_and(|error| error.contains("found an empty list")));
        assert!(
            listen("['127.0.0.1:1', '127.0.0.1:1']").is_err_and(|error| error.contains("127.0.0.1:1 is listed twice"))
        );
    }
}
