//! `hostwright-agent run | check | status | logs | containers | compose | jobs | products`.

/// What the running agent answers.
mod agent;
mod check;
mod compose;
mod container_logs;
mod containers;
mod jobs;
mod logs;
mod products;
mod run;
/// Times as operators give them.
mod since;
mod status;

pub use check::check;
pub use compose::{Compose, compose};
pub use containers::{Containers, Deploy, containers};
pub use jobs::{Jobs, jobs};
pub use logs::{Logs, logs};
pub use products::{Products, products};
pub use run::run;
pub use status::{Format, status};
