//! `hostwright-agent jobs`: the runs of jobs, and a run now.

use super::Format;
use super::agent::{duty, order};
use super::container_logs::{self, Show};
use anyhow::{Context as _, bail};
use hostwright_core::terminal::plain;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks whether a run has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For this long a run may not be known: the agent may be started again meanwhile.
const AWAY: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Jobs {
    /// Run a job now.
    Run(Run),
    /// Everything that is known of one run.
    Show {
        /// The run.
        id: String,
    },
    /// What a run wrote, as long as its container is kept.
    Logs {
        /// The run.
        id: String,
        #[command(flatten)]
        show: Show,
    },
}

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The job: a service of the Compose file.
    service: String,
    /// Variables beside the service's own: NAME=VALUE, or NAME to take the value from this shell.
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// Wait for its end; the exit code is 0 if it ended well, else 1.
    #[arg(long)]
    wait: bool,
    /// In place of the service's command.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Does it, or shows the runs.
///
/// # Errors
/// No agent answers, or it says no.
pub fn jobs(what: Option<Jobs>, format: Format, socket: &Path) -> anyhow::Result<ExitCode> {
    match what {
        None => {
            let jobs = duty(socket, "containers")?.details["jobs"].take();
            match format {
                Format::Json => println!("{jobs}"),
                Format::Table => print!("{}", plain(&table(&jobs))),
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Jobs::Run(run)) => start(&run, socket),
        Some(Jobs::Show { id }) => {
            let run = find(socket, &id)?;
            for (key, value) in run.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                println!("{key:13} {}", plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Jobs::Logs { id, show }) => {
            let container = find(socket, &id)?["container"].as_str().map(str::to_owned);
            let container = container.with_context(|| format!("{id} has no container yet"))?;
            container_logs::show(socket, &[(String::new(), container)], &show)
        }
    }
}

fn start(run: &Run, socket: &Path) -> anyhow::Result<ExitCode> {
    let mut environment = Vec::new();
    for pair in &run.environment {
        environment.push(match pair.contains('=') {
            true => pair.clone(),
            false => format!("{pair}={}", std::env::var(pair).with_context(|| format!("{pair} is not set here"))?),
        });
    }
    let what = json!({"service": run.service, "environment": environment, "arguments": run.arguments});
    let answer = order(socket, "containers", "job-run", &what)?;
    let id = answer["id"].as_str().unwrap_or_default().to_owned();
    println!("{id}");
    if !run.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let mut seen = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let found = match find(socket, &id) {
            Ok(found) => found,
            // The first status after the order may not know the run yet, and an agent may be started again.
            Err(_) if seen.elapsed() < AWAY => continue,
            Err(error) => return Err(error.context(format!("nothing is heard of {id} any more"))),
        };
        seen = Instant::now();
        match found["state"].as_str() {
            Some("succeeded") => return Ok(ExitCode::SUCCESS),
            Some("failed") => bail!("{id} has failed: {}", found["why"].as_str().unwrap_or_default()),
            _ => {}
        }
    }
}

fn find(socket: &Path, id: &str) -> anyhow::Result<Value> {
    let details = duty(socket, "containers")?.details;
    let runs = details["jobs"]["runs"].as_array().cloned().unwrap_or_default();
    let run = runs.into_iter().find(|run| run["id"] == id);
    run.with_context(|| format!("there is no run {id:?}; `hostwright-agent jobs` lists them"))
}

fn table(jobs: &Value) -> String {
    let mut rows = vec![["ID", "JOB", "STATE", "STARTED", "TOOK", "EXIT", "ATTEMPT", "TRIGGER"].map(str::to_owned)];
    for run in jobs["runs"].as_array().into_iter().flatten() {
        let text = |key: &str| run[key].as_str().unwrap_or("-").to_owned();
        let number = |key: &str| run[key].as_i64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        rows.push([
            text("id"),
            text("service"),
            text("state"),
            text("started"),
            took(run),
            number("exit_code"),
            number("attempt"),
            text("trigger"),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut shown = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        shown.push_str(cells.join("  ").trim_end());
        shown.push('\n');
    }
    for (name, row) in jobs["services"].as_object().into_iter().flatten() {
        if let Some(next) = row["next"].as_str() {
            shown.push_str(&format!("\n{name}: next at {next} ({})", row["schedule"].as_str().unwrap_or_default()));
        }
    }
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    shown
}

fn took(run: &Value) -> String {
    let time = |key: &str| run[key].as_str()?.parse::<jiff::Timestamp>().ok();
    match (time("started"), time("ended")) {
        (Some(started), Some(ended)) if ended >= started => {
            format!("{} s", ended.duration_since(started).as_secs())
        }
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn the_table_has_a_row_for_each_run_and_tells_the_next_times() {
        let jobs = json!({
            "runs": [{"id": "fsc-1", "service": "fsc", "state": "failed", "trigger": "order", "attempt": 2,
                "started": "2026-11-21T10:00:00Z", "ended": "2026-11-21T10:01:05Z", "exit_code": 3}],
            "services": {"fsc": {"schedule": "@daily", "next": "2026-11-22T00:00:00Z"}},
        });
        let shown = table(&jobs);
        assert!(shown.contains("fsc-1  fsc  failed  2026-11-21T10:00:00Z  65 s  3     2        order\n"), "{shown}");
        assert!(
            shown.ends_with("\nfsc: next at 2026-11-22T00:00:00Z (@daily)\n") || shown.contains("fsc: next at"),
            "{shown}"
        );
    }
}
