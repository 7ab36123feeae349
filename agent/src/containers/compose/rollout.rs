use super::model::Tree;
use super::read;
use std::time::Duration;

/// How many containers a service has, and how they are exchanged. When and how is no property of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub replicas: u32,
    /// `update_config.order`, where the file gives one.
    pub order: Option<Order>,
    /// How long a new container is watched before it counts as good: `update_config.monitor`.
    pub monitor: Option<Duration>,
}

/// Which of the two comes first when a container is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The new one is started, and the old one stopped when the new one is healthy.
    StartFirst,
    /// The old one is stopped, then the new one started: the service never runs twice.
    StopFirst,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { replicas: 1, order: None, monitor: None }
    }
}

impl Order {
    /// As the file names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}

impl Rollout {
    /// Reads `scale` and what `deploy` says of it.
    pub fn read(service: &Tree) -> Self {
        let deploy = service.get("deploy");
        let replicas = read::integer(service, "scale").or(deploy.and_then(|deploy| read::integer(deploy, "replicas")));
        let update = deploy.and_then(|deploy| deploy.get("update_config"));
        let order = match update.and_then(|update| update.get_text("order")) {
            Some("start-first") => Some(Order::StartFirst),
            Some("stop-first") => Some(Order::StopFirst),
            _ => None,
        };
        Self {
            replicas: replicas.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            order,
            monitor: update.and_then(|update| read::span(update, "monitor")),
        }
    }
}
