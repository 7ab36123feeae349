//! `make demo`: a bare VM becomes a working host from one user-data, shown as it happens.
//!
//! Two processes: this one shows and ends with the verdict; the other holds the servers around the VM and tells the
//! story, and stays after the end, so that there is something to look at, until `demo --down` or Ctrl-C.

mod stage;
mod story;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use hostwright_tests::wait::eventually;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

/// As shells have it for Ctrl-C: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
const GONE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/demo");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(&folder),
        ["--down"] => down(&folder).map(|was_up| {
            println!("{}", if was_up { "The demo is down." } else { "No demo is up." });
            ExitCode::SUCCESS
        }),
        ["--stage"] => stage::run(&folder),
        _ => Err(anyhow::anyhow!("usage: demo [--down]")),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts the other process, shows what it says, and ends with its verdict.
fn show(folder: &Path) -> Result<ExitCode> {
    if down(folder)? {
        println!("An earlier demo was up; it is down now.");
    }
    fs::create_dir_all(folder)?;
    let _ = fs::remove_file(verdict_file(folder));
    let log = File::create(folder.join("stage.log"))?;
    // Ctrl-C reaches both processes: the other one cleans up, this one waits for that.
    // SAFETY: ignoring a signal runs no code in a handler.
    #[expect(unsafe_code, reason = "nix has no safe way to ignore a signal")]
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }?;
    let mut stage = Command::new(std::env::current_exe()?)
        .arg("--stage")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("starting the stage")?;
    fs::write(pid_file(folder), stage.id().to_string())?;
    let mut said = stage.stdout.take().context("the stage has no output")?;
    io::copy(&mut said, &mut io::stdout().lock())?;
    io::stdout().flush()?;
    verdict(folder, &mut stage)
}

fn verdict(folder: &Path, stage: &mut Child) -> Result<ExitCode> {
    if let Ok(verdict) = fs::read_to_string(verdict_file(folder)) {
        return Ok(if verdict == "0" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let status = stage.wait()?;
    let _ = fs::remove_file(pid_file(folder));
    if status.success() {
        println!("\nThe demo was interrupted; everything is cleared away.");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let log = fs::read_to_string(folder.join("stage.log")).unwrap_or_default();
    anyhow::bail!("ended without a verdict ({status}): {}", log.trim())
}

/// Ends a demo that is up; whether there was one.
fn down(folder: &Path) -> Result<bool> {
    let Ok(text) = fs::read_to_string(pid_file(folder)) else { return Ok(false) };
    let pid: i32 = text.trim().parse().context("the demo's pid file holds no number")?;
    // A pid that was given to somebody else meanwhile is not ours to signal; a zombie has an empty command line.
    let ours = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0--stage\0"));
    let was_up = ours();
    if was_up {
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        eventually("the demo is down", GONE, || !ours())?;
    }
    fs::remove_file(pid_file(folder))?;
    Ok(was_up)
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pid")
}

/// Holds the exit code once the story has been told.
fn verdict_file(folder: &Path) -> PathBuf {
    folder.join("verdict")
}
