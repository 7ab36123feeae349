//! The agent: duties under a supervisor. This file is the index, and the one place that names every duty.

/// Routes, health and the status page, on the local socket and over TLS.
pub mod api;
/// Whose requests to AWS they are.
mod aws;
/// `hostwright-agent run | check | status | logs | containers | jobs | products`.
pub mod commands;
/// A Compose file that converges on a container engine.
pub mod containers;
/// Objects of buckets that are kept as files.
pub mod fetch;
/// The ports of the host that services publish, held by a process of its own.
pub mod host_ports;
/// Log files that reach log platforms.
pub mod logs;
/// How memory goes back to the system.
pub mod memory;
/// Finished files that reach buckets whole.
pub mod products;
/// The folder of sockets.
mod runtime_folder;
/// What systemd hears: READY, STATUS, RELOADING, STOPPING, WATCHDOG.
pub mod systemd;

pub use runtime_folder::RUNTIME_DIRECTORY;

use hostwright_core::config::Config;
use hostwright_duty::supervisor::Duty;

/// The duties that a configuration asks for.
///
/// The API is always among them: its local socket is how operators, and bootstrap, ask the agent how it is.
pub fn duties(config: &Config) -> Vec<Duty> {
    let mut duties = vec![Duty::new("api", config.api.clone(), api::run)];
    if let Some(section) = &config.containers {
        duties.push(Duty::new("containers", section.clone(), containers::run));
    }
    if !config.fetches.is_empty() {
        duties.push(Duty::new("fetch", (config.buckets.clone(), config.fetches.clone()), fetch::run));
    }
    if let Some(section) = &config.logs {
        duties.push(Duty::new("logs", section.clone(), logs::run));
    }
    if let Some(section) = &config.metrics {
        duties.push(Duty::new("metrics", section.clone(), hostwright_metrics::run));
    }
    if let Some(section) = &config.products {
        // Buckets belong to the products' settings, so that a changed bucket restarts this duty alone.
        duties.push(Duty::new("products", (section.clone(), config.buckets.clone()), products::run));
    }
    duties
}
