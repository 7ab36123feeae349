//! The life of a private Docker Engine that several test processes share.
//!
//! Each user holds a shared lock on `users` while it needs the engine. The first one starts it, the last one to let go
//! stops it and removes its data; both happen under the lock `turn`. A user that is killed lets go of its locks too,
//! and an engine that it left running serves, and ends with, the next user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};

use crate::http;
use crate::server::{search_path, tail};
use crate::wait::eventually;

/// For root alone, so nobody else can plant a socket or a pid file; one for all checkouts of this machine.
const FOLDER: &str = "/var/lib/hostwright-tests/docker";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One user's hold on the shared engine.
#[derive(Debug)]
pub(super) struct DockerDaemon {
    users: File,
}

impl DockerDaemon {
    pub(super) fn acquire() -> Result<Self> {
        if !geteuid().is_root() {
            bail!("no Docker Engine answers at /var/run/docker.sock, and starting a private one needs root");
        }
        fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
        let _turn = lock_turn()?;
        let users = open("users")?;
        users.lock_shared()?;
        if !answers(&socket()) {
            if let Some(pid) = engine_pid() {
                killpg(pid, Signal::SIGKILL).context("killing a private Docker Engine that does not answer")?;
            }
            // After an engine that was cut off, this one takes over its data, and ends its containers.
            start_engine()?;
        }
        Ok(Self { users })
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        let Ok(_turn) = lock_turn() else { return };
        if self.users.unlock().is_ok()
            && self.users.try_lock().is_ok()
            && let Err(error) = stop_engine()
        {
            eprintln!("stopping the private Docker Engine: {error:#}");
        }
    }
}

pub(super) fn socket() -> PathBuf {
    Path::new(FOLDER).join("docker.sock")
}

pub(super) fn answers(socket: &Path) -> bool {
    socket.exists() && http::get(socket, "/_ping").is_ok_and(|answer| answer.status == 200)
}

fn open(name: &str) -> Result<File> {
    let path = Path::new(FOLDER).join(name);
    File::options().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))
}

fn lock_turn() -> Result<File> {
    let turn = open("turn")?;
    turn.lock().context("waiting for another test to start or stop the private Docker Engine")?;
    Ok(turn)
}

/// Detached, because it outlives the test that starts it; containerd runs beneath it.
fn start_engine() -> Result<()> {
    let folder = Path::new(FOLDER);
    // A killed engine that nobody has reaped would count as running.
    for stale in [pidfile(), folder.join("exec/containerd/containerd.pid")] {
        let _ = fs::remove_file(stale);
    }
    let log = folder.join("dockerd.log");
    let out = File::create(&log)?;
    let mut engine = Command::new("setsid")
        .arg("dockerd")
        .arg("--data-root")
        .arg(folder.join("data"))
        .arg("--exec-root")
        .arg(folder.join("exec"))
        .arg("--pidfile")
        .arg(pidfile())
        .arg("--host")
        .arg(format!("unix://{}", socket().display()))
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .context("starting dockerd through setsid (package util-linux)")?;
    let ended_or_answers = eventually("the private Docker Engine", START_TIMEOUT, || {
        let ended = engine.try_wait().ok().flatten();
        ended.map(Some).or_else(|| answers(&socket()).then_some(None))
    });
    let log = || tail(&fs::read_to_string(&log).unwrap_or_default());
    match ended_or_answers {
        Ok(None) => Ok(()),
        Ok(Some(status)) => bail!("dockerd ended ({status}) before it answered; end of its log:\n{}", log()),
        Err(error) => Err(error.context(format!("dockerd does not answer; end of its log:\n{}", log()))),
    }
}

/// Stops containers, engine and containerd, and removes their data.
fn stop_engine() -> Result<()> {
    if let Some(pid) = engine_pid() {
        // Containers are removed first: dockerd would grant each of them ten seconds.
        let remove = format!(
            "docker -H unix://{0} ps -aq | xargs -r docker -H unix://{0} rm --force --volumes",
            socket().display()
        );
        Command::new("sh").args(["-c", &remove]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        kill(pid, Signal::SIGTERM)?;
        let stopped = eventually("the end of dockerd", STOP_TIMEOUT, || engine_pid().is_none());
        if stopped.is_err() {
            killpg(pid, Signal::SIGKILL).context("killing the group of dockerd")?;
        }
    }
    let _ = fs::remove_file(socket());
    for name in ["data", "exec"] {
        let path = Path::new(FOLDER).join(name);
        if path.exists() {
            // Mounts of an engine that was killed must go before the folder; there are none after one that was stopped.
            let unmount =
                format!("awk '$2 ~ \"^{}(/|$)\" {{print $2}}' /proc/mounts | xargs -r umount -l", path.display());
            Command::new("sh").args(["-c", &unmount]).status()?;
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn pidfile() -> PathBuf {
    Path::new(FOLDER).join("dockerd.pid")
}

/// The process of the pid file, if that process is our engine and runs.
fn engine_pid() -> Option<Pid> {
    let pid: i32 = fs::read_to_string(pidfile()).ok()?.trim().parse().ok()?;
    // A process that has ended but was not reaped has an empty command line.
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let ours = String::from_utf8_lossy(&command_line).contains(FOLDER);
    ours.then(|| Pid::from_raw(pid))
}
