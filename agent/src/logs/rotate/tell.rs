use hostwright_core::config::logs::rotate::Tell;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// A command that takes longer is ended.
const LONGEST: Duration = Duration::from_secs(30);

/// Tells the writer of a log to open it again.
pub(super) async fn tell(how: &Tell, log: &Path) -> io::Result<()> {
    match how {
        Tell::Signal { pid_file, signal } => send(pid_file, signal, log),
        Tell::Command(words) => run(words, log).await,
    }
}

fn send(pid_file: &Path, signal: &str, log: &Path) -> io::Result<()> {
    let signal: Signal = signal.parse()?;
    let text = match fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return not_running(pid_file, log),
        Err(error) => return Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", pid_file.display()))),
    };
    let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
    let pid = pid.ok_or_else(|| io::Error::other(format!("{} has no process id", pid_file.display())))?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => not_running(pid_file, log),
        Err(errno) => Err(io::Error::other(format!("cannot send {signal} to process {pid}: {errno}"))),
    }
}

/// A writer that does not run opens the new file when it does.
fn not_running(pid_file: &Path, log: &Path) -> io::Result<()> {
    log::warn!(
        "logs: {} was rotated, and nobody was told: no process runs that {} names",
        log.display(),
        pid_file.display()
    );
    Ok(())
}

async fn run(words: &[String], log: &Path) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env("LOG", log).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let output = timeout(LONGEST, command.stderr(Stdio::piped()).spawn()?.wait_with_output());
    let output = output.await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("{program} did not end within {} s", LONGEST.as_secs()))
    })??;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.trim().lines().last().unwrap_or_default();
    Err(io::Error::other(format!("{program} failed ({}): {last}", output.status)))
}
