use super::network::read_external;
use super::values::Pairs;
use hostwright_core::config::section::Section;
use serde::Serialize;
use std::collections::BTreeMap;

/// A named volume of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name at the engine.
    pub name: String,
    /// Whether it is somebody else's: it must be there and is left alone.
    pub external: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// Reads one from the top-level `volumes`.
    pub fn read(mut section: Section<'_>, project: &str) -> Option<Self> {
        let external = read_external(&mut section);
        let name = section.optional::<String>("name");
        let own = section.name().to_owned();
        let unnamed = if external { own } else { format!("{project}_{own}") };
        let volume = Self {
            name: name.unwrap_or(unnamed),
            external,
            driver: section.optional("driver"),
            driver_opts: section.optional::<Pairs>("driver_opts").unwrap_or_default().or_empty(),
            labels: section.optional::<Pairs>("labels").unwrap_or_default().or_empty(),
        };
        section.allow_extensions();
        section.finish();
        Some(volume)
    }
}
