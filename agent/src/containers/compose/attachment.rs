use super::model::Tree;
use super::read;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a service is attached to networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// To networks of the file, by their keys.
    Networks(BTreeMap<String, Endpoint>),
    /// `network_mode`: the engine's own networks `host`, `none` or `bridge`, or that of a container.
    Mode(String),
    /// `network_mode: service:…`: that of another service's container.
    Service(String),
}

/// A service's place in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Names beside the service's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Networks with a higher one are attached first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Of the network with the highest one the container takes its default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw_priority: Option<i64>,
}

impl Attachment {
    pub fn read(service: &Tree) -> Self {
        match service.get_text("network_mode") {
            Some(mode) => match mode.strip_prefix("service:") {
                Some(other) => Self::Service(other.to_owned()),
                None => Self::Mode(mode.to_owned()),
            },
            None => Self::Networks(
                read::members(service, "networks").map(|(key, tree)| (key.clone(), Endpoint::read(tree))).collect(),
            ),
        }
    }

    /// The keys of the file's networks that it uses, in the order in which they are attached.
    pub fn networks(&self) -> impl Iterator<Item = (&String, &Endpoint)> {
        let mut networks: Vec<_> = match self {
            Self::Networks(networks) => networks.iter().collect(),
            Self::Mode(_) | Self::Service(_) => Vec::new(),
        };
        networks.sort_by_key(|(_, endpoint)| std::cmp::Reverse(endpoint.priority.unwrap_or(0)));
        networks.into_iter()
    }
}

impl Endpoint {
    fn read(tree: &Tree) -> Self {
        Self {
            aliases: read::texts(tree, "aliases"),
            ipv4_address: read::text(tree, "ipv4_address"),
            ipv6_address: read::text(tree, "ipv6_address"),
            link_local_ips: read::texts(tree, "link_local_ips"),
            mac_address: read::text(tree, "mac_address"),
            driver_opts: read::pairs(tree, "driver_opts"),
            priority: read::integer(tree, "priority"),
            gw_priority: read::integer(tree, "gw_priority"),
        }
    }
}
