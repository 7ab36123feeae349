//! `hostwright-agent run | check | status | logs | containers | compose | jobs | products`.

mod check;
mod compose;
mod container_logs;
mod containers;
mod jobs;
mod logs;
mod products;
mod run;
mod status;

pub use check::check;
pub use compose::{Compose, compose};
pub use containers::{Containers, Deploy, containers};
pub use jobs::{Jobs, jobs};
pub use logs::{Logs, logs};
pub use products::{Products, products};
pub use run::run;
pub use status::{Format, status};

use std::io::{Error, ErrorKind};
use std::path::Path;

/// Why the agent's socket gave no answer, with what to do.
fn no_answer(socket: &Path, error: &Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "the agent does not run here; see `systemctl status hostwright-agent`"
        }
        ErrorKind::PermissionDenied => "only root and members of the group hostwright may ask; try with sudo",
        _ => "the agent does not answer; see `journalctl -u hostwright-agent`",
    };
    anyhow::anyhow!("no answer from {}: {error}; {hint}", socket.display())
}
