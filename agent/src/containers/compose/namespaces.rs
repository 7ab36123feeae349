use super::model::Tree;
use super::read;
use serde::Serialize;

/// What a container shares with the host or with other containers. `service:…` names another service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Namespaces {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
}

impl Namespaces {
    pub fn read(service: &Tree) -> Self {
        Self {
            ipc: read::text(service, "ipc"),
            pid: read::text(service, "pid"),
            uts: read::text(service, "uts"),
            users: read::text(service, "userns_mode"),
            cgroup: read::text(service, "cgroup"),
            cgroup_parent: read::text(service, "cgroup_parent"),
        }
    }

    /// Services whose containers' namespaces it joins.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        [&self.ipc, &self.pid].into_iter().flatten().filter_map(|mode| mode.strip_prefix("service:"))
    }
}
