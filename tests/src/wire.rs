//! Two hosts on a wire, each a network of its own: what one of them publishes is asked for by the other.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

use crate::engines::docker::unique;
use crate::server::search_path;

/// Of the host that publishes; its wire's and another of its own.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The two hosts. The thread that laid the wire is on the first of them, and so are all threads and programs that it
/// starts, until this is dropped.
#[derive(Debug)]
pub struct Wire {
    host: String,
    neighbour: String,
    before: File,
}

impl Wire {
    pub fn lay() -> Result<Self> {
        let before = File::open("/proc/thread-self/ns/net")?;
        let (host, neighbour) = (unique("hwt-host"), unique("hwt-neighbour"));
        for name in [&host, &neighbour] {
            ip(&["netns", "add", name])?;
        }
        let wire = Self { host, neighbour, before };
        ip(&[
            "-n",
            &wire.host,
            "link",
            "add",
            "wire",
            "type",
            "veth",
            "peer",
            "name",
            "wire",
            "netns",
            &wire.neighbour,
        ])?;
        for (name, address) in [(&wire.host, HOST), (&wire.neighbour, NEIGHBOUR)] {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "wire"])?;
            ip(&["-n", name, "link", "set", "wire", "up"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        ip(&["-n", &wire.host, "address", "add", &format!("{SECOND}/32"), "dev", "lo"])?;
        ip(&["-n", &wire.neighbour, "route", "add", "default", "via", &HOST.to_string()])?;
        enter(&wire.host)?;
        Ok(wire)
    }

    /// Does something as the other host.
    pub fn as_neighbour<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let work = || {
            enter(&self.neighbour)?;
            act()
        };
        thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow!("the neighbour panicked"))?)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = setns(&self.before, CloneFlags::CLONE_NEWNET);
        for name in [&self.host, &self.neighbour] {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// A port of the host, as its neighbour knows it.
pub fn at(port: &crate::port::Port) -> SocketAddr {
    (HOST, port.number()).into()
}

fn enter(name: &str) -> Result<()> {
    let namespace = File::open(format!("/run/netns/{name}")).with_context(|| format!("opening the network {name}"))?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering the network {name}"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).map(drop)
}

/// Runs a program of the administrator on the host where the calling thread is.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).env("PATH", search_path()).args(arguments).output();
    let output = output.with_context(|| format!("starting {program} (tests/setup.sh installs it)"))?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{program} {}: {complaint}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
