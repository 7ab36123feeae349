//! A child process with its log, stopped on drop.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{Probe, eventually};

/// Enough to see why a server refused to start.
const LOG_TAIL_LINES: usize = 25;
/// What a server may take to end by itself before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server: its process leads a process group of its own, and both streams go to one log file.
///
/// It dies with the test, even one that is killed: the kernel signals it when the *thread* that started it ends, so
/// start servers on the test's own thread.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`; its output is appended to `log`.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options().create(true).append(true).open(log);
        let out = out.with_context(|| format!("opening the log {}", log.display()))?;
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            tied.current_dir(folder);
        }
        if !command.get_envs().any(|(name, _)| name == "PATH") {
            tied.env("PATH", search_path());
        }
        tied.process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = tied.spawn().with_context(|| format!("starting {name} through setpriv (package util-linux)"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Waits until `probe` is met; fails at once, with the log's tail, when the process ends before.
    pub fn wait_until<P: Probe>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut probe: impl FnMut() -> P,
    ) -> Result<P::Value> {
        let child = &mut self.child;
        let outcome = eventually(what, timeout, || match child.try_wait() {
            Ok(None) => probe().met().map(Ok).map_err(|unmet| anyhow!(unmet)),
            Ok(Some(status)) => Ok(Err(anyhow!("it ended ({status}) before: {what}"))),
            Err(error) => Ok(Err(error.into())),
        });
        outcome.flatten().map_err(|error| self.explain(&error))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Signals the process, not its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = eventually("the end of the process", timeout, || child.try_wait().ok().flatten());
        ended.map_err(|error| self.explain(&error))
    }

    /// SIGTERM, then SIGKILL to the whole group if that was not enough.
    pub fn stop(&mut self) -> Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        if self.wait(STOP_TIMEOUT).is_err() {
            self.kill_group()?;
        }
        Ok(())
    }

    /// SIGKILL to the whole group: for servers whose last words nobody needs.
    pub fn kill_group(&mut self) -> Result<()> {
        if !self.has_ended()? {
            killpg(self.pid(), Signal::SIGKILL)?;
        }
        self.child.wait()?;
        Ok(())
    }

    fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{}: {error:#}\n--- end of {} ---\n{}", self.name, self.log.display(), tail(&self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines of a log; a missing program says so there, and the remedy is always the same.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let shown = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
    if shown.contains("failed to execute") { format!("{shown}\n(tests/setup.sh installs the engines)") } else { shown }
}

/// Debian leaves the folders of daemons out of the path of people who are not root.
pub fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned()))
}
