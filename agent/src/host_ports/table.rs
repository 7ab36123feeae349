use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use tokio::sync::watch;

/// A port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listen {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A container behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The container's id.
    pub id: String,
    pub address: SocketAddr,
    /// Where it answers clients of other hosts itself, if it does.
    #[serde(default)]
    pub direct: Option<SocketAddr>,
    /// It gets nothing new, and what it has is to leave it as soon as that harms nobody.
    #[serde(default)]
    pub draining: bool,
}

/// What is behind a port, as its connections see it.
pub type Targets = watch::Receiver<Vec<Target>>;

/// A port with what is behind it. While nothing is, connections wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub listen: Listen,
    pub targets: Vec<Target>,
}

/// What the duty says; one JSON line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// These are all routes of an owner (a project); what is no longer among them is closed.
    Set { owner: String, routes: Vec<Route> },
    /// Changes nothing.
    Look,
}

/// What the process answers, to any request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Ports that cannot be had, each with the reason and what to do.
    pub failed: BTreeMap<String, String>,
    /// How many connections each container carries.
    pub attached: BTreeMap<String, usize>,
}

impl Route {
    /// Whether somebody takes what is new.
    pub fn has_active(&self) -> bool {
        self.targets.iter().any(|target| !target.draining)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
