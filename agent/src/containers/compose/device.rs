use super::model::{Tree, Value};
use super::read;
use serde::Serialize;
use std::collections::BTreeMap;

/// Devices of the host that a container may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Devices {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mapped: Vec<Device>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cgroup_rules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<DeviceRequest>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    pub source: String,
    pub target: String,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// Devices that a driver of the engine finds: graphics cards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceRequest {
    pub driver: Option<String>,
    /// -1 is all.
    pub count: Option<i64>,
    pub ids: Vec<String>,
    pub capabilities: Vec<String>,
    pub options: BTreeMap<String, String>,
}

impl Devices {
    /// Reads `devices`, `device_cgroup_rules`, `gpus` and what `deploy` reserves.
    pub fn read(service: &Tree) -> Self {
        let reserved = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations"));
        let reserved = reserved.map(|reserved| read::list(reserved, "devices")).unwrap_or_default();
        let mut requested: Vec<DeviceRequest> = reserved.iter().map(DeviceRequest::read).collect();
        for gpu in read::list(service, "gpus") {
            let mut request = DeviceRequest::read(gpu);
            if !request.capabilities.iter().any(|capability| capability == "gpu") {
                request.capabilities.push("gpu".into());
            }
            requested.push(request);
        }
        Self {
            mapped: read::list(service, "devices").iter().map(Device::read).collect(),
            cgroup_rules: read::texts(service, "device_cgroup_rules"),
            requested,
        }
    }
}

impl Device {
    fn read(tree: &Tree) -> Self {
        let source = read::text(tree, "source").unwrap_or_default();
        Self {
            target: read::text(tree, "target").unwrap_or_else(|| source.clone()),
            permissions: read::text(tree, "permissions").unwrap_or_else(|| "rwm".into()),
            source,
        }
    }
}

impl DeviceRequest {
    fn read(tree: &Tree) -> Self {
        Self {
            driver: read::text(tree, "driver"),
            count: tree
                .get("count")
                .and_then(|count| if let Value::Int(count) = count.value { Some(count) } else { None }),
            ids: read::texts(tree, "device_ids"),
            capabilities: read::texts(tree, "capabilities"),
            options: read::pairs(tree, "options"),
        }
    }
}
