//! The agent: duties under a supervisor. This file is the index, and the one place that names every duty.

/// How much tests allocate.
#[cfg(test)]
mod allocations;
/// Routes, health and the status page, on the local socket and over TLS.
pub mod api;
/// Whose requests to AWS they are.
mod aws;
/// `hostwright-agent run | check | status | logs | containers | jobs | products`.
pub mod commands;
/// A Compose file that converges on a container engine.
pub mod containers;
/// What the Docker Engine keeps of a container, for those who only read.
mod docker_root;
/// Objects of buckets that are kept as files.
pub mod fetch;
/// The ports of the host that services publish, held by a process of its own.
pub mod host_ports;
/// Requests to servers behind HTTP, the same for all duties.
mod http;
/// Log files that reach log platforms.
pub mod logs;
/// What duties measure of themselves.
pub mod measures;
/// How memory goes back to the system.
pub mod memory;
/// Node metrics with node_exporter's names.
pub mod metrics;
/// Lists and orders over netlink, to the kernel.
mod netlink;
/// What operators ask of a running duty.
pub mod orders;
/// Finished files that reach buckets whole.
pub mod products;
/// Protocol Buffers' wire format.
mod protobuf;
/// Connections that a listener could not take.
mod refusals;
/// What is made of files, and made anew when they change.
mod reread;
/// The folder of sockets.
mod runtime_folder;
/// Starts duties, restarts them with backoff, drains them; knows none by name.
pub mod supervisor;
/// What systemd hears: READY, STATUS, RELOADING, STOPPING, WATCHDOG.
pub mod systemd;

pub use runtime_folder::RUNTIME_DIRECTORY;

use hostwright_core::config::Config;
use supervisor::Duty;

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
        duties.push(Duty::new("metrics", section.clone(), metrics::run));
    }
    if let Some(section) = &config.products {
        // Buckets belong to the products' settings, so that a changed bucket restarts this duty alone.
        duties.push(Duty::new("products", (section.clone(), config.buckets.clone()), products::run));
    }
    duties
}
