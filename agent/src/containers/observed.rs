use jiff::Timestamp;
use std::collections::BTreeMap;

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
    /// The hash on its label.
    pub hash: String,
    pub state: State,
    pub health: Health,
    /// What the last health check wrote.
    pub health_output: String,
    pub exit_code: i64,
    /// The engine's own restarts since the last start by hand or by us.
    pub restarts: i64,
    pub image: String,
    pub image_id: String,
    /// Networks by name, with their ids where the engine says them.
    pub networks: BTreeMap<String, String>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
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
    /// A service's container; the running one, or the first, where a crash left several.
    pub fn of_service(&self, service: &str) -> Option<&Container> {
        let mut own = self.containers.iter().filter(|container| container.service == service);
        let first = own.clone().next();
        own.find(|container| container.state == State::Running).or(first)
    }
}
