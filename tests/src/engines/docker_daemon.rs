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
            // Whatever is left of an engine that was cut off is of no use to anyone.
            stop_engine()?;
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
    let log = folder.join("dockerd.log");
    let out = File::create(&log)?;
    let started = Command::new("setsid")
        .args(["--fork", "dockerd"])
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
        .status()
        .context("starting dockerd through setsid (package util-linux)")?;
    if !started.success() {
        bail!("setsid could not start dockerd: {started}");
    }
    eventually("the private Docker Engine", START_TIMEOUT, || answers(&socket())).map_err(|error| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        error.context(format!("dockerd: end of its log:\n{}", tail(&log)))
    })
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
            // Mounts that a killed engine left behind must go before the folder; none is the normal case.
            let unmount = format!("awk '$2 ~ \"^{}/\" {{print $2}}' /proc/mounts | xargs -r umount -l", path.display());
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
