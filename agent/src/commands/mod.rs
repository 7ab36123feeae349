//! `hostwright-agent run | check | status`.

mod check;
mod run;
mod status;

pub use check::check;
pub use run::run;
pub use status::{Format, status};
