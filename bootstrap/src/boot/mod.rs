//! To be written: on the VM.

use std::path::PathBuf;
use std::process::ExitCode;

/// `hostwright-bootstrap boot`
#[derive(clap::Args, Debug)]
pub struct BootArguments {}

/// `hostwright-bootstrap check`
#[derive(clap::Args, Debug)]
pub struct CheckArguments {
    /// A user-data (`#cloud-config`) or an `agent.yaml`.
    pub file: PathBuf,
}

/// Configures this host.
///
/// # Errors
/// A step failed.
pub fn boot(_: &BootArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be written")
}

/// Checks a file without touching anything.
///
/// # Errors
/// It has problems.
pub fn check(_: &CheckArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be written")
}
