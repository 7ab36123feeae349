//! To be written: from a shell.

use std::process::ExitCode;

/// `hostwright-bootstrap up`
#[derive(clap::Args, Debug)]
pub struct UpArguments {}

/// `hostwright-bootstrap show`
#[derive(clap::Args, Debug)]
pub struct ShowArguments {}

/// `hostwright-bootstrap down`
#[derive(clap::Args, Debug)]
pub struct DownArguments {}

/// Creates a VM.
///
/// # Errors
/// It could not be created.
pub fn up(_: &UpArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be written")
}

/// Lists VMs.
///
/// # Errors
/// Their state cannot be read.
pub fn show(_: &ShowArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be written")
}

/// Removes VMs.
///
/// # Errors
/// One could not be removed.
pub fn down(_: &DownArguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be written")
}
