//! `hostwright-agent containers`: what runs, deploy now, go back.

use super::Format;
use super::agent::{duty, order};
use crate::containers::Refused;
use anyhow::{Context as _, bail};
use hostwright_core::config::values::parse_duration;
use hostwright_core::status::DutyStatus;
use hostwright_core::terminal::plain;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Containers {
    /// Make the host run what the Compose file says, now, and wait until it does; also what was refused is tried again.
    Deploy(Deploy),
    /// What the containers of a service write.
    Logs {
        /// The service.
        service: String,
        #[command(flatten)]
        show: super::container_logs::Show,
    },
    /// Go back to the last good version of a service, and wait until it runs.
    Rollback {
        /// The service.
        service: String,
        /// How long to wait.
        #[arg(long, default_value = "10m")]
        timeout: String,
    },
}

/// What `deploy` takes.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Deploy {
    /// This service alone; all of them unless given.
    service: Option<String>,
    /// How long to wait.
    #[arg(long, default_value = "10m")]
    timeout: String,
}

/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A failure that is still there after this long will not go by itself while somebody waits.
const HOPE: Duration = Duration::from_secs(60);

/// Does it, or shows the containers.
///
/// # Errors
/// No agent answers, or it says no.
pub fn containers(what: Option<Containers>, format: Format, socket: &Path) -> anyhow::Result<ExitCode> {
    match what {
        None => show(socket, format),
        Some(Containers::Deploy(Deploy { service, timeout })) => {
            let wait = wait(&timeout)?;
            follow(socket, &order(socket, "containers", "deploy", &json!({"service": service}))?, wait)
        }
        Some(Containers::Logs { service, show }) => super::container_logs::of_service(socket, &service, &show),
        Some(Containers::Rollback { service, timeout }) => {
            let wait = wait(&timeout)?;
            let answer = order(socket, "containers", "rollback", &json!({"service": service}))?;
            let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
            println!("{service}: back to {} of {}", text("image"), text("since"));
            follow(socket, &answer, wait)
        }
    }
}

fn show(socket: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let details = duty(socket, "containers")?.details;
    match format {
        Format::Json => println!("{details}"),
        Format::Table => print!("{}", plain(&table(&details))),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(details: &Value) -> String {
    let mut rows = vec![["SERVICE", "CONTAINER", "STATE", "HEALTH", "SINCE", "PORTS", "IMAGE"].map(str::to_owned)];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for (name, row) in details["services"].as_object().into_iter().flatten() {
        let containers = row["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let image = |container: &Value| {
            let digest = text(&container["image_id"]);
            let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
            format!("{} ({short})", text(&container["image"]))
        };
        let mut push = |container: &Value, state: String| {
            let [shown, health] = ["name", "health"].map(|key| text(&container[key]));
            // Fractions of a second tell an operator nothing.
            let since = container["since"].as_str().and_then(|since| since.parse::<Timestamp>().ok());
            let since = since.map_or_else(|| "-".into(), |since| since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            rows.push([name.clone(), shown, state, health, since, text(&row["ports"]), image(container)]);
        };
        if containers.is_empty() {
            push(&json!({"image": row["image"]}), "absent".into());
        }
        containers.iter().for_each(|container| push(container, text(&container["state"])));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut shown: String = rows.iter().map(line).collect();
    for (name, row) in details["services"].as_object().into_iter().flatten() {
        if let Some(why) = row["refused"]["why"].as_str() {
            let what = match row["refused"]["is_paused"] == true {
                true => "the update is paused",
                false => "the file's version was taken back",
            };
            shown.push_str(&format!("\n{name}: {what}: {why}\n"));
            for line in row["refused"]["last_lines"].as_array().into_iter().flatten() {
                shown.push_str(&format!("    {}\n", text(line)));
            }
        }
    }
    shown
}

/// Prints how far it is until it is done; the exit code says whether it is as it should be.
fn follow(socket: &Path, ordered: &Value, patience: Duration) -> anyhow::Result<ExitCode> {
    let (began, round) = (Instant::now(), ordered["round"].as_u64().unwrap_or(0));
    let services: BTreeSet<&str> =
        ordered["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_rollback = ordered.get("image").is_some();
    let (mut told, mut failing) = (String::new(), None);
    loop {
        let duty = duty(socket, "containers")?;
        let line = progress(&duty, &services);
        if line != told {
            println!("{line}");
            told = line;
        }
        let rows: Vec<(&str, &Value)> = services.iter().map(|name| (*name, &duty.details["services"][*name])).collect();
        let is_later = duty.details["round"].as_u64().unwrap_or(0) > round;
        if is_later {
            for (name, row) in rows.iter().filter(|_| !is_rollback) {
                if let Some(why) = row["refused"]["why"].as_str() {
                    let (what, instead) = Refused::words(row["refused"]["is_paused"] == true);
                    bail!("{name}: {what}: {why}; {instead}");
                }
            }
            if let Some((name, why)) = rows.iter().find_map(|(name, row)| Some((*name, row["blocked"].as_str()?))) {
                bail!("{name}: {why}");
            }
            if rows.iter().all(|(_, row)| row["settled"] == true && row.get("failure").is_none()) {
                println!("done after {:.1} s", began.elapsed().as_secs_f32());
                return Ok(ExitCode::SUCCESS);
            }
        }
        // One that stays sick is no success, and need not be waited for to the end.
        let why =
            |row: &Value| row["failure"].as_str().or(row["complaint"].as_str().filter(|_| is_later)).map(str::to_owned);
        match rows.iter().find_map(|(name, row)| Some((*name, why(row)?))) {
            Some((name, why)) => {
                if failing.get_or_insert_with(Instant::now).elapsed() > HOPE {
                    bail!("{name}: {why}; the agent tries it again by itself");
                }
            }
            None => failing = None,
        }
        if began.elapsed() > patience {
            bail!("not done after {} s; the agent goes on by itself: {told}", patience.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One line on what is not done yet.
fn progress(duty: &DutyStatus, services: &BTreeSet<&str>) -> String {
    let row = |name: &&str| {
        let row = &duty.details["services"][*name];
        let what = ["failure", "blocked", "exchange"].iter().find_map(|key| row[*key].as_str());
        let state =
            || format!("{}, {}", row["state"].as_str().unwrap_or("absent"), row["health"].as_str().unwrap_or("none"));
        (row["settled"] != true).then(|| format!("{name}: {}", what.map_or_else(state, str::to_owned)))
    };
    let open: Vec<String> = services.iter().filter_map(row).collect();
    let now = duty.details["now"].as_str().map(str::to_owned);
    let all: Vec<String> = now.into_iter().chain(open).collect();
    if all.is_empty() { duty.status.explanation().to_owned() } else { all.join("; ") }
}

fn wait(text: &str) -> anyhow::Result<Duration> {
    parse_duration(text).with_context(|| format!("{text:?} is no duration: give one such as 10m"))
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn the_table_has_a_row_for_each_container_and_tells_what_was_refused() {
        let container = json!({"name": "app-web-1", "state": "running", "health": "healthy", "since": "2026-01-01T00:00:00.123456789Z",
            "image": "web:2", "image_id": "sha256:0123456789abcdef"});
        let details = json!({"services": {
            "db": {"image": "db:1", "containers": []},
            "web": {"containers": [container], "ports": "0.0.0.0:80->80/tcp",
                "refused": {"why": "it is unhealthy", "last_lines": ["no database"]}},
        }});
        assert_eq!(
            table(&details),
            "SERVICE  CONTAINER  STATE    HEALTH   SINCE                 PORTS               IMAGE\n\
             db       -          absent   -        -                     -                   db:1 (-)\n\
             web      app-web-1  running  healthy  2026-01-01T00:00:00Z  0.0.0.0:80->80/tcp  web:2 (0123456789ab)\n\
             \nweb: the file's version was taken back: it is unhealthy\n    no database\n"
        );
    }
}
