//! What a duty last said of itself: the form in which the agent's API gives it and bootstrap reads it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a duty is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// It has not yet said how it is.
    Starting,
    /// It does its work.
    Ok {
        /// In a few words: "3 containers run".
        summary: String,
    },
    /// It goes on, but not as it should.
    Degraded {
        /// Why, and what to do.
        why: String,
    },
    /// It ended and will be started again.
    Failed {
        /// Why, and what to do.
        why: String,
        /// When it is started again.
        retry_at: Timestamp,
    },
}

impl Status {
    /// The state's name, a bounded set: `starting`, `ok`, `degraded`, `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok { .. } => "ok",
            Self::Degraded { .. } => "degraded",
            Self::Failed { .. } => "failed",
        }
    }

    /// What there is to say beside the name.
    pub fn explanation(&self) -> &str {
        match self {
            Self::Starting => "",
            Self::Ok { summary } => summary,
            Self::Degraded { why } | Self::Failed { why, .. } => why,
        }
    }
}

/// A duty's row in the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DutyStatus {
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// Since when it is in this state (not: since when it says these words).
    pub since: Timestamp,
    /// How often it was started again after an error.
    pub restarts: u32,
    /// What else it tells: positions, containers, uploads; each duty documents its own.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

/// The answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The agent's version.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// When the agent started.
    pub started: Timestamp,
    /// Whether every duty has been ok since the start.
    pub ready: bool,
    /// A row for each duty that runs.
    pub duties: BTreeMap<String, DutyStatus>,
}
