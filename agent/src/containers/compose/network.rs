use super::values::Pairs;
use hostwright_core::config::section::Section;
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
}

impl Network {
    /// The network of services that name none.
    pub fn default_of(project: &str) -> Self {
        Self { name: format!("{project}_default"), ..Self::default() }
    }

    /// Reads one from the top-level `networks`.
    pub fn read(mut section: Section<'_>, project: &str) -> Option<Self> {
        let external = read_external(&mut section);
        let name = section.optional::<String>("name");
        let own = section.name().to_owned();
        let unnamed = if external { own } else { format!("{project}_{own}") };
        let (ipam_driver, subnets) = section.section("ipam", ipam).unwrap_or_default();
        let network = Self {
            name: name.unwrap_or(unnamed),
            external,
            driver: section.optional("driver"),
            driver_opts: section.optional::<Pairs>("driver_opts").unwrap_or_default().or_empty(),
            internal: section.or("internal", false),
            attachable: section.or("attachable", false),
            enable_ipv6: section.or("enable_ipv6", false),
            labels: section.optional::<Pairs>("labels").unwrap_or_default().or_empty(),
            ipam_driver,
            subnets,
        };
        section.refuse("enable_ipv4", "is not supported yet; leave it out");
        section.allow_extensions();
        section.finish();
        Some(network)
    }
}

/// `external: true`, or the form of old files, `external: {name: …}`, which is refused with what to write.
pub fn read_external(section: &mut Section<'_>) -> bool {
    if section.node("external").is_some_and(|node| node.mapping().is_some()) {
        section.problem_with("external", "write external: true, and name beside it");
        return true;
    }
    section.or("external", false)
}

fn ipam(mut section: Section<'_>) -> Option<(Option<String>, Vec<Subnet>)> {
    let driver = section.optional::<String>("driver");
    let mut subnets = Vec::new();
    if let Some(node) = section.node("config") {
        for item in section.items("config", node).unwrap_or_default() {
            let Some(mut item) = section.item("config", item) else { continue };
            subnets.push(Subnet {
                subnet: item.optional("subnet"),
                gateway: item.optional("gateway"),
                ip_range: item.optional("ip_range"),
            });
            item.refuse("aux_addresses", "is not supported yet; leave it out");
            item.finish();
        }
    }
    section.refuse("options", "is not supported yet; leave it out");
    section.finish();
    Some((driver, subnets))
}
