use hostwright_core::config::section::{Section, did_you_mean};
use hostwright_core::config::values::FromNode;
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How a service is attached to networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// To networks of the file, by their keys.
    Networks(BTreeMap<String, Endpoint>),
    /// `network_mode`: `host`, `none` or `bridge`, the engine's own networks.
    Mode(String),
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
}

impl Attachment {
    /// The keys of the file's networks that it uses.
    pub fn networks(&self) -> impl Iterator<Item = (&String, &Endpoint)> {
        let networks = match self {
            Self::Networks(networks) => Some(networks),
            Self::Mode(_) => None,
        };
        networks.into_iter().flatten()
    }
}

struct Address(String);

impl FromNode for Address {
    const EXPECTED: &'static str = "an address such as 172.30.0.10";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        match text.parse::<IpAddr>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!("expected {}, found {text:?}", Self::EXPECTED)),
        }
    }
}

/// Reads `networks` and `network_mode`; `known` are the keys of the top-level `networks`.
pub fn read(section: &mut Section<'_>, known: &[String]) -> Attachment {
    let mode = section.optional::<String>("network_mode");
    let networks = section.node("networks");
    if let Some(mode) = mode {
        if networks.is_some() {
            section.problem_with("networks", "stands beside network_mode; leave one of them out");
        }
        check_mode(section, &mode);
        return Attachment::Mode(mode);
    }
    let mut endpoints = BTreeMap::new();
    if let Some(node) = networks {
        if let Some(mapping) = node.mapping() {
            for entry in &mapping.entries {
                check_known(section, &entry.key, entry.place, known);
                let endpoint = section.item("networks", &entry.value).and_then(endpoint);
                endpoints.insert(entry.key.clone(), endpoint.unwrap_or_default());
            }
        } else {
            for item in section.items("networks", node).unwrap_or_default() {
                let Some(key) = section.value::<String>("networks", item) else { continue };
                check_known(section, &key, item.place, known);
                endpoints.insert(key, Endpoint::default());
            }
        }
    }
    if endpoints.is_empty() {
        endpoints.insert("default".into(), Endpoint::default());
    }
    Attachment::Networks(endpoints)
}

fn endpoint(mut section: Section<'_>) -> Option<Endpoint> {
    let aliases = section.list("aliases").unwrap_or_default();
    let mut address = |key| section.optional::<Address>(key).map(|address| address.0);
    let (ipv4_address, ipv6_address) = (address("ipv4_address"), address("ipv6_address"));
    for key in ["link_local_ips", "mac_address", "driver_opts", "priority", "gw_priority", "interface_name"] {
        section.refuse(key, "is not supported yet");
    }
    section.allow_extensions();
    section.finish();
    Some(Endpoint { aliases, ipv4_address, ipv6_address })
}

fn check_known(section: &Section<'_>, key: &str, place: hostwright_core::yaml::Place, known: &[String]) {
    if key != "default" && !known.iter().any(|name| name == key) {
        let hint = did_you_mean(key, known.iter().map(String::as_str));
        let message = format!("there is no network {key:?} under the top-level networks{hint}");
        section.problem_at(place, "networks", &message);
    }
}

fn check_mode(section: &Section<'_>, mode: &str) {
    match mode {
        "host" | "none" | "bridge" => {}
        _ if mode.starts_with("service:") || mode.starts_with("container:") => {
            section.problem_with("network_mode", "sharing another container's network is not supported yet");
        }
        _ => section.problem_with(
            "network_mode",
            &format!("expected host, none or bridge, found {mode:?}; other networks are named under networks"),
        ),
    }
}
