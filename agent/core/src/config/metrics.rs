use super::section::Section;
use super::values::{FromNode, list_or_one};
use crate::yaml::Node;
use std::net::SocketAddr;

/// The metrics duty: a Prometheus endpoint with node_exporter's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens; 9100 is node_exporter's port.
    pub listen: Vec<SocketAddr>,
}

struct Listen(Vec<SocketAddr>);

impl FromNode for Listen {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        list_or_one(node).map(Self)
    }
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.or("listen", Listen(vec![SocketAddr::from(([0, 0, 0, 0], 9100))])).0;
        section.finish();
        Some(Self { listen })
    }
}
