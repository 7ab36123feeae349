use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// What the engine has of a project, and what the project refers to.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The project's containers, stopped ones included, one-off ones not.
    pub containers: Vec<Container>,
    /// By name: those that the file wants and the engine has.
    pub networks: BTreeMap<String, Found>,
    /// By name: those that the file wants and the engine has.
    pub volumes: BTreeMap<String, Found>,
    /// By reference: the ids of those that the file wants and the engine has.
    pub images: BTreeMap<String, String>,
    /// By reference: the images that have a health check of their own.
    pub checked: BTreeSet<String>,
}

/// A network or volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    /// The project on its label.
    pub project: Option<String>,
    /// The hash on its label.
    pub hash: Option<String>,
}

/// A container of the project.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub service: String,
    /// Which of the service's containers it is: 1 to the number of replicas.
    pub number: u32,
    /// The hash on its label.
    pub hash: String,
    pub state: State,
    pub health: Health,
    /// What the last health check wrote.
    pub health_output: String,
    pub exit_code: i64,
    pub ran_out_of_memory: bool,
    /// The engine's own restarts since the last start by hand or by us.
    pub restarts: i64,
    pub image: String,
    pub image_id: String,
    /// Networks by name, with their ids where the engine says them.
    pub networks: BTreeMap<String, String>,
    /// Where it can be reached from the host, while it runs.
    pub addresses: Vec<IpAddr>,
    /// The one of them from which it answers clients of other hosts by way of this host.
    pub direct: Option<IpAddr>,
    /// Whether the engine itself publishes fixed ports of the host for it.
    pub has_host_ports: bool,
    /// What `docker update` can change.
    pub settings: Settings,
    /// How long its health check may take to come to a result.
    pub patience: Duration,
    /// By when the engine must have looked at its health once more.
    pub looked_by: Option<Timestamp>,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

/// What can be changed of a container without making it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub memory: i64,
    pub memory_reservation: i64,
    pub nano_cpus: i64,
    pub cpu_shares: i64,
    pub cpuset_cpus: String,
    pub pids: i64,
    /// `on-failure:3`.
    pub restart: String,
}

/// The engine's word for what a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// The engine's word for what its health check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no check.
    None,
    Starting,
    Healthy,
    Unhealthy,
}

impl Settings {
    /// Whether the engine can set a running container back to `other`: it takes 0 for "as it is".
    pub fn can_become(&self, other: &Self) -> bool {
        let number = |mine: i64, other: i64| mine == other || other != 0;
        number(self.memory, other.memory)
            && number(self.memory_reservation, other.memory_reservation)
            && number(self.nano_cpus, other.nano_cpus)
            && number(self.cpu_shares, other.cpu_shares)
            && (self.cpuset_cpus == other.cpuset_cpus || !other.cpuset_cpus.is_empty())
    }
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl Health {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Observed {
    /// All containers of a service.
    pub fn all_of(&self, service: &str) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(move |container| container.service == service)
    }

    /// A service's container that speaks for it; the running one, or the first, where there are several.
    pub fn of_service(&self, service: &str) -> Option<&Container> {
        let first = self.all_of(service).next();
        self.all_of(service).find(|container| container.state == State::Running).or(first)
    }
}
