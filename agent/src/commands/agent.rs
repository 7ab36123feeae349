//! What commands ask of the running agent, over its local socket.

use anyhow::{Context as _, bail};
use hostwright_core::local_api::{self, Answer};
use hostwright_core::status::{AgentStatus, DutyStatus};
use serde_json::Value;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// A status is at hand.
const STATUS: Duration = Duration::from_secs(5);
/// An order may have to wait for what its duty does at the moment.
const ORDER: Duration = Duration::from_secs(90);

/// What a duty says of itself.
pub fn duty(socket: &Path, name: &str) -> anyhow::Result<DutyStatus> {
    let answer = answered(socket, local_api::get(socket, "/v1/status", STATUS))?;
    let mut status: AgentStatus = serde_json::from_str(&answer.body)
        .context("the agent's answer is not a status; do agent and command have the same version?")?;
    let duty = status.duties.remove(name);
    duty.with_context(|| format!("this agent has no duty {name}: its configuration has no section `{name}:`"))
}

/// Has a duty do something.
pub fn order(socket: &Path, duty: &str, verb: &str, arguments: &Value) -> anyhow::Result<Value> {
    let path = format!("/v1/duties/{duty}/{verb}");
    let answer = answered(socket, local_api::post(socket, &path, &arguments.to_string(), ORDER))?;
    serde_json::from_str(&answer.body).context("the agent's answer is not JSON")
}

fn answered(socket: &Path, answer: std::io::Result<Answer>) -> anyhow::Result<Answer> {
    let answer = answer.map_err(|error| no_answer(socket, &error))?;
    match answer.code {
        200 => Ok(answer),
        _ => bail!("{}", answer.body.trim()),
    }
}

/// Why the agent's socket gave no answer, with what to do.
pub fn no_answer(socket: &Path, error: &Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "the agent does not run here; see `systemctl status hostwright-agent`"
        }
        ErrorKind::PermissionDenied => "only root and members of the group hostwright may ask; try with sudo",
        _ => "the agent does not answer; see `journalctl -u hostwright-agent`",
    };
    anyhow::anyhow!("no answer from {}: {error}; {hint}", socket.display())
}
