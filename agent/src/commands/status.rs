use anyhow::{Context as _, bail};
use hostwright_core::local_api;
use hostwright_core::status::{AgentStatus, Status};
use hostwright_core::terminal::plain;
use jiff::{Timestamp, Unit};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// In which form the status is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// The API's JSON.
    Json,
}

/// Exit code of an agent that answers but is not well.
const NOT_WELL: u8 = 3;

/// Asks the running agent how it is and prints it.
///
/// # Errors
/// No agent answers.
pub fn status(socket: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let answer = local_api::get(socket, "/v1/status", Duration::from_secs(5))
        .map_err(|error| super::agent::no_answer(socket, &error))?;
    if answer.code != 200 {
        bail!("the agent answered {} to the question for its status: {}", answer.code, answer.body.trim());
    }
    let status: AgentStatus = serde_json::from_str(&answer.body)
        .context("the agent's answer is not a status; do agent and command have the same version?")?;
    match format {
        Format::Json => println!("{}", answer.body),
        Format::Table => print!("{}", plain(&table(&status, Timestamp::now()))),
    }
    let well = status.ready && status.duties.values().all(|row| matches!(row.status, Status::Ok { .. }));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
}

fn table(status: &AgentStatus, now: Timestamp) -> String {
    let readiness = if status.ready { "ready" } else { "not ready yet" };
    let mut text = format!(
        "{}: hostwright-agent {}, {readiness}, up {}\n\n",
        status.host,
        status.version,
        ago(status.started, now)
    );
    let rows = status.duties.iter().map(|(name, row)| {
        let mut explanation = row.status.explanation().replace('\n', "\n                                  ");
        if let Status::Failed { retry_at, .. } = &row.status {
            explanation.push_str(&format!(" (again in {})", ago(now, *retry_at)));
        }
        (name.as_str(), row.status.name(), ago(row.since, now), row.restarts.to_string(), explanation)
    });
    let heading = ("DUTY", "STATE", "FOR".to_owned(), "RESTARTS".to_owned(), "WHAT IT SAYS".to_owned());
    for (duty, state, since, restarts, explanation) in std::iter::once(heading).chain(rows) {
        text.push_str(&format!("{duty:<11} {state:<9} {since:<8} {restarts:<9} {explanation}\n"));
    }
    text
}

/// "3d 4h", "2m 10s": the two largest units of a span.
fn ago(from: Timestamp, to: Timestamp) -> String {
    let seconds = (to - from).total(Unit::Second).unwrap_or(0.0).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::table;
    use hostwright_core::status::{AgentStatus, DutyStatus, Status};
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn the_table_tells_each_duty_and_why_it_is_not_well() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(30);
        let row = |status, restarts| DutyStatus {
            status,
            since: Timestamp::UNIX_EPOCH,
            restarts,
            details: serde_json::Value::Null,
        };
        let duties = [
            ("logs".to_owned(), row(Status::Ok { summary: "1 file".into() }, 0)),
            (
                "metrics".to_owned(),
                row(Status::Failed { why: "port taken".into(), retry_at: now + SignedDuration::from_secs(7) }, 2),
            ),
        ];
        let status = AgentStatus {
            version: "0.1.0".into(),
            host: "web-1".into(),
            started: Timestamp::UNIX_EPOCH,
            ready: false,
            duties: duties.into(),
        };
        assert_eq!(
            table(&status, now),
            "web-1: hostwright-agent 0.1.0, not ready yet, up 1d 6h\n\n\
             DUTY        STATE     FOR      RESTARTS  WHAT IT SAYS\n\
             logs        ok        1d 6h    0         1 file\n\
             metrics     failed    1d 6h    2         port taken (again in 7s)\n"
        );
    }
}
