//! A Docker Engine that one test alone uses, so that it can be stopped and killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::Docker;
use crate::server::{Server, search_path};

const LIMIT: Duration = Duration::from_secs(60);

/// What it has of the machine's network.
#[derive(Debug)]
enum Network {
    None,
    Bridge(String),
    Whole,
}

/// The engine. It leaves the packet filter, which all engines of a machine share, alone, unless it has a network of its own.
#[derive(Debug)]
pub struct OwnEngine {
    folder: TempDir,
    network: Network,
    /// Whether containers go on while it is away.
    live_restore: bool,
    server: Option<Server>,
}

impl OwnEngine {
    /// In a network of its own, so without published ports.
    pub fn without_network() -> Result<Self> {
        Self::start(Network::None, None)
    }

    /// On the host's network, with a bridge of its own; the host reaches the containers.
    pub fn with_network() -> Result<Self> {
        Self::start(Self::bridge()?, None)
    }

    /// The same, with its data on a disk of so many MiB.
    pub fn with_small_disk(mebibytes: u32) -> Result<Self> {
        Self::start(Self::bridge()?, Some(mebibytes))
    }

    fn bridge() -> Result<Network> {
        let bridge = format!("hwt{}", id() % 1_000_000);
        // A subnet that is a test's alone, out of 10.128.0.0/9.
        let subnet = format!("10.{}.{}.1/24", 128 + id() % 100, id() / 100 % 250);
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &subnet, "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        Ok(Network::Bridge(bridge))
    }

    /// On the network of the calling thread, which no other engine uses (`Wire`), with a packet filter of its own.
    pub fn with_packet_filter() -> Result<Self> {
        Self::start(Network::Whole, None)
    }

    fn start(network: Network, mebibytes: Option<u32>) -> Result<Self> {
        let mut own = Self { folder: tempfile::tempdir()?, network, live_restore: false, server: None };
        if let Some(mebibytes) = mebibytes {
            let (data, size) = (own.path("data"), format!("size={mebibytes}m"));
            fs::create_dir(&data)?;
            mount(Some("tmpfs"), &data, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
        }
        own.start_again()?;
        Ok(own)
    }

    /// From the next start on, containers go on while it is away.
    pub fn set_live_restore(&mut self) {
        self.live_restore = true;
    }

    pub fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        // What a killed one left would count as running.
        for stale in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.path(stale));
        }
        let mut command = match &self.network {
            // An engine without a bridge removes docker0, which belongs to the shared one.
            Network::None => {
                let mut command = Command::new("unshare");
                command.args(["--net", "dockerd", "--bridge=none", "--iptables=false"]);
                command
            }
            Network::Bridge(bridge) => {
                let mut command = Command::new("dockerd");
                command.args(["--iptables=false", "--bridge", bridge]);
                command
            }
            Network::Whole => Command::new("dockerd"),
        };
        command.env("PATH", search_path());
        if self.live_restore {
            command.arg("--live-restore");
        }
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(option).arg(self.path(name));
        }
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        let mut server = Server::start(&command, &self.path("log"))?;
        let docker = Docker::at(&self.socket());
        server.wait_until("the engine answers", LIMIT, || docker.docker(&["version"]))?;
        self.server = Some(server);
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        let mut server = self.server.take().context("not running")?;
        server.signal(Signal::SIGTERM)?;
        server.wait(LIMIT)?;
        Ok(())
    }

    /// To the engine alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.server.as_ref().context("not running")?.signal(signal)
    }

    /// SIGKILL: containers go on without it.
    pub fn kill9(&mut self) -> Result<()> {
        self.server.take().context("not running")?.kill_group()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let docker = Docker::at(&self.socket());
            let all = docker.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
            if !all.is_empty() {
                let arguments: Vec<&str> = ["rm", "--force", "--volumes"].into_iter().chain(all.lines()).collect();
                let _ = docker.docker(&arguments);
            }
            let _ = docker.docker(&["network", "prune", "--force"]);
            let _ = server.stop();
        }
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(self.folder.path()) {
                let _ = Command::new("umount").args(["--lazy", mount]).status();
            }
        }
        if let Network::Bridge(bridge) = &self.network {
            let _ = ip(&["link", "delete", bridge]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").env("PATH", search_path()).args(arguments).output().context("starting ip")?;
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
