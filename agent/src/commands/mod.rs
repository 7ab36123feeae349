//! `hostwright-agent run | check | status`.

mod check;
mod run;

pub use check::check;
pub use run::run;
