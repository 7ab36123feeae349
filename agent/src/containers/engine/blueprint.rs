//! What a container is made from, complete and storable: an earlier version is made again from it.

use super::body;
use crate::containers::compose::Project;
use crate::containers::hash;
use crate::containers::observed::Settings;
use crate::containers::update::held_ports;
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointSettings, HostConfig, RestartPolicy, RestartPolicyNameEnum,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A service's container in the engine's own words. It holds the environment and so secrets: it is never shown, and
/// lies on disk in the duty's own folder alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Blueprint {
    pub hash: String,
    pub image_id: String,
    pub image: String,
    #[serde(default)]
    pub(super) platform: Option<String>,
    pub(super) body: ContainerCreateBody,
    /// Networks by name; the first is the one of its creation.
    pub(super) networks: Vec<(String, EndpointSettings)>,
}

impl Blueprint {
    /// Of what the file says.
    pub fn of(project: &Project, name: &str, image_id: &str) -> Self {
        let service = &project.services[name];
        let mut body = body::container(project, name, image_id);
        if held_ports::is_held(project, service) {
            if let Some(host) = &mut body.host_config {
                host.port_bindings = None;
            }
            body.labels.get_or_insert_default().insert(held_ports::LABEL.into(), held_ports::label(service));
        }
        Self {
            hash: hash::service(project, service),
            image_id: image_id.to_owned(),
            image: service.image.clone(),
            platform: service.platform.clone(),
            body,
            networks: body::endpoints(project, name),
        }
    }

    /// For one of the service's places, from the very image: its name may have moved on.
    pub(super) fn body_for(&self, number: u32, by_id: bool) -> ContainerCreateBody {
        let mut body = self.body.clone();
        body.labels.get_or_insert_default().insert(body::NUMBER.into(), number.to_string());
        if by_id {
            body.image = Some(self.image_id.clone());
        }
        body
    }

    /// Paths of the host that it sees as they are.
    pub fn mounted(&self) -> impl Iterator<Item = PathBuf> {
        let mounts = self.body.host_config.iter().flat_map(|host| host.mounts.iter().flatten());
        mounts.filter_map(|mount| mount.source.as_ref().map(PathBuf::from))
    }

    /// An order to set it right.
    pub(super) fn correction(&self) -> ContainerUpdateBody {
        let host = self.body.host_config.clone().unwrap_or_default();
        let memory = host.memory.unwrap_or(0);
        ContainerUpdateBody {
            memory: Some(memory),
            // The engine's own default, without which a limit above an earlier one is refused.
            memory_swap: host.memory_swap.or((memory > 0).then(|| memory.saturating_mul(2))),
            memory_reservation: Some(host.memory_reservation.unwrap_or(0)),
            nano_cpus: Some(host.nano_cpus.unwrap_or(0)),
            cpu_shares: Some(host.cpu_shares.unwrap_or(0)),
            cpuset_cpus: host.cpuset_cpus,
            pids_limit: Some(host.pids_limit.unwrap_or(-1)),
            restart_policy: host
                .restart_policy
                .or(Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None })),
            ..ContainerUpdateBody::default()
        }
    }
}

/// The same value for what the engine says in several ways.
pub fn settings_of(host: &HostConfig) -> Settings {
    let restart = host.restart_policy.clone().unwrap_or_default();
    let most = restart.maximum_retry_count.filter(|most| *most > 0).map(|most| format!(":{most}")).unwrap_or_default();
    let name = restart.name.map(|name| name.to_string()).filter(|name| !name.is_empty());
    Settings {
        memory: host.memory.unwrap_or(0),
        memory_reservation: host.memory_reservation.unwrap_or(0),
        nano_cpus: host.nano_cpus.unwrap_or(0),
        cpu_shares: host.cpu_shares.unwrap_or(0),
        cpuset_cpus: host.cpuset_cpus.clone().unwrap_or_default(),
        pids: host.pids_limit.filter(|most| *most > 0).unwrap_or(0),
        restart: name.unwrap_or_else(|| "no".into()) + &most,
    }
}
