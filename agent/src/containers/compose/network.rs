use super::model::Tree;
use super::read;
use serde::Serialize;
use std::collections::BTreeMap;

/// A network of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name at the engine.
    pub name: String,
    /// Whether it is somebody else's: it must be there and is left alone.
    pub external: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_ipv6: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam_driver: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
}

/// A range of addresses of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subnet {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, String>,
}

impl Network {
    pub fn read(tree: &Tree) -> Self {
        let ipam = tree.get("ipam");
        let subnet = |pool: &Tree| Subnet {
            subnet: read::text(pool, "subnet"),
            gateway: read::text(pool, "gateway"),
            ip_range: read::text(pool, "ip_range"),
            aux_addresses: read::pairs(pool, "aux_addresses"),
        };
        Self {
            name: read::text(tree, "name").unwrap_or_default(),
            external: read::is_set(tree, "external"),
            driver: read::text(tree, "driver"),
            driver_opts: read::pairs(tree, "driver_opts"),
            internal: read::is_set(tree, "internal"),
            attachable: read::is_set(tree, "attachable"),
            enable_ipv6: read::is_set(tree, "enable_ipv6"),
            enable_ipv4: read::flag(tree, "enable_ipv4"),
            labels: read::pairs(tree, "labels"),
            ipam_driver: ipam.and_then(|ipam| read::text(ipam, "driver")),
            subnets: ipam.map(|ipam| read::list(ipam, "config").iter().map(subnet).collect()).unwrap_or_default(),
        }
    }
}
