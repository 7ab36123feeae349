use super::model::Tree;
use super::read;
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
    pub fn read(tree: &Tree) -> Self {
        Self {
            name: read::text(tree, "name").unwrap_or_default(),
            external: read::is_set(tree, "external"),
            driver: read::text(tree, "driver"),
            driver_opts: read::pairs(tree, "driver_opts"),
            labels: read::pairs(tree, "labels"),
        }
    }
}
