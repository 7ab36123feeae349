//! `hostwright-agent containers logs` and `hostwright-agent jobs logs`: what containers wrote, from the engine itself.

use super::agent::duty;
use super::since::since_when;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which part of a log.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Wait for more.
    #[arg(long, short)]
    follow: bool,
    /// The last so many lines.
    #[arg(long, short = 'n')]
    tail: Option<u64>,
    /// Since an RFC 3339 time (2026-11-20T10:00:00Z), or how long ago (90m, 2h, 1d).
    #[arg(long)]
    since: Option<String>,
    /// With the time of each line.
    #[arg(long, short = 't')]
    timestamps: bool,
}

/// Shows the log of a service's containers.
///
/// # Errors
/// No agent or engine answers, or there is no such service.
pub fn of_service(socket: &Path, service: &str, show_: &Show) -> anyhow::Result<ExitCode> {
    let details = duty(socket, "containers")?.details;
    let row = &details["services"][service];
    if row.is_null() {
        let names = details["services"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "));
        bail!("there is no service {service:?}; there are {}", names.unwrap_or_default());
    }
    let listed = row["containers"].as_array().cloned().unwrap_or_default();
    let name = |container: &Value| Some(container["name"].as_str()?.to_owned());
    let names: Vec<_> = listed.iter().filter_map(name).collect();
    let many = names.len() > 1;
    let names: Vec<_> =
        names.into_iter().map(|name| (if many { format!("{name} | ") } else { String::new() }, name)).collect();
    if names.is_empty() {
        bail!("{service} has no container; see `hostwright-agent containers`");
    }
    show(socket, &names, show_)
}

/// Shows the logs of containers, each line behind its container's prefix.
pub fn show(socket: &Path, containers: &[(String, String)], show: &Show) -> anyhow::Result<ExitCode> {
    let since = show.since.as_deref().map(since_when).transpose()?.map(|time| time.as_second());
    let engine = duty(socket, "containers")?.details["engine"].as_str().map(PathBuf::from);
    let engine =
        engine.context("the agent does not say where its engine is; do agent and command have the same version?")?;
    let query =
        crate::containers::LogQuery { follow: show.follow, tail: show.tail, since, timestamps: show.timestamps };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crate::containers::write_logs(&engine, containers, query))?;
    Ok(ExitCode::SUCCESS)
}
