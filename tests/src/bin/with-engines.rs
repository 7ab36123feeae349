//! `with-engines COMMAND…` runs a command while the shared Docker Engine is up, and ends with its exit code.
//!
//! Without it each test that needs the engine would start and stop it anew. It is stopped when nobody uses it any
//! more: also after Ctrl-C, and after SIGTERM, which the command receives too.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use hostwright_tests::engines::Docker;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("usage: with-engines COMMAND [ARGUMENT…]")?;
    let docker = Docker::start()?;
    eprintln!("with-engines: Docker Engine at {}", docker.host());
    let child = Command::new(&program).args(arguments).spawn();
    let child = child.with_context(|| format!("starting {}", program.display()))?;
    let status = wait(child)?;
    drop(docker);
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Signals are blocked after the start of the child, which would inherit that.
fn wait(mut child: Child) -> Result<ExitStatus> {
    let signals: SigSet = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // Ctrl-C reaches the whole foreground, so the child has it already.
        if signals.wait()? == Signal::SIGTERM {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        }
    }
}
