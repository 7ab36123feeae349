//! A container with systemd as PID 1, made from the image's root file system: a boot in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::binary;
use crate::server::Server;
use crate::wait::eventually;

/// systemd's own limit for a unit that does not stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);

/// A root file system that boots as often as wanted; it goes with this value.
pub struct Machine {
    root: TempDir,
    boots: usize,
}

/// A boot of it, which ends with this value.
pub struct Boot {
    server: Server,
}

impl Machine {
    /// Unpacks `rootfs.tar` of `packaging/build-image` and puts the binaries and units under test into it.
    pub fn new() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "containers with systemd need root: run the tests as root");
        let archive = root_archive()?;
        let root = tempfile::Builder::new().prefix("hostwright-nspawn-").tempdir()?;
        let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(root.path()).status()?;
        ensure!(status.success(), "unpacking {} failed: {status}", archive.display());
        for name in ["hostwright-bootstrap", "hostwright-agent"] {
            fs::copy(binary(name)?, root.path().join("usr/bin").join(name))?;
        }
        for unit in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd"))? {
            let unit = unit?;
            fs::copy(unit.path(), root.path().join("usr/lib/systemd/system").join(unit.file_name()))?;
        }
        // No network is there to ask for packages.
        let _ = fs::remove_file(root.path().join("etc/apt/sources.list"));
        Ok(Self { root, boots: 0 })
    }

    /// Where a path of the machine is to be found.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.path().join(absolute.trim_start_matches('/'))
    }

    /// The text of one of its files.
    pub fn read(&self, absolute: &str) -> Result<String> {
        let path = self.path(absolute);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Writes one of its files.
    pub fn write(&self, absolute: &str, content: &str) -> Result<()> {
        let path = self.path(absolute);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        Ok(fs::write(path, content)?)
    }

    /// Puts a NoCloud seed where bootstrap looks for one.
    pub fn seed(&self, instance_id: &str, user_data: &str) -> Result<()> {
        self.write("/var/lib/cloud/seed/nocloud/meta-data", &format!("instance-id: {instance_id}\n"))?;
        self.write("/var/lib/cloud/seed/nocloud/user-data", user_data)
    }

    /// Starts systemd in it, without a network.
    pub fn boot(&mut self) -> Result<Boot> {
        self.start(&["--private-network"])
    }

    /// Starts systemd in it, in the network of the thread that calls, which is to be one of its own.
    pub fn boot_in_own_network(&mut self) -> Result<Boot> {
        self.start(&[])
    }

    /// Starts systemd in it, with an interface `host0` whose other end is in the network of the thread that calls.
    pub fn boot_with_interface(&mut self) -> Result<Boot> {
        self.start(&["--network-veth"])
    }

    fn start(&mut self, network: &[&str]) -> Result<Boot> {
        self.boots += 1;
        let log = self.path(&format!("/console-{}.log", self.boots));
        let name = format!("hostwright-{}-{}", std::process::id(), self.boots);
        let mut command = Command::new("systemd-nspawn");
        command.arg("--directory").arg(self.root.path()).args(["--boot", "--quiet", "--register=no", "--keep-unit"]);
        command.args(["--console=read-only", "--machine", &name]).args(network);
        // A VM may ask how its clock is kept, and so may what runs here.
        command.arg("--system-call-filter=adjtimex clock_adjtime");
        // What runs this test may itself be in a container with an older hierarchy.
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        Ok(Boot { server: Server::start(&command, &log)? })
    }

    /// The boot report that is kept beside the instance's journal.
    pub fn report(&self, instance_id: &str) -> Result<Value> {
        let text = self.read(&format!("/var/lib/hostwright/bootstrap/{instance_id}/report.json"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Boot {
    /// Waits for a line on the console that contains this.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let log = || self.server.log();
        eventually(&format!("{text:?} on the console"), timeout, || log().contains(text))
            .with_context(|| format!("the console says:\n{}", self.console()))
    }

    /// Everything that came to the console.
    pub fn console(&self) -> String {
        self.server.log()
    }

    /// Shuts it down as `systemctl poweroff` does.
    pub fn power_off(mut self) -> Result<()> {
        self.server.signal(Signal::SIGTERM)?;
        self.server.wait(STOP_TIMEOUT)?;
        Ok(())
    }

    /// Pulls the plug.
    pub fn power_cut(mut self) -> Result<()> {
        self.kill_init()?;
        self.server.wait(STOP_TIMEOUT)?;
        Ok(())
    }

    /// Sends its first process a signal.
    pub fn signal_init(&self, signal: Signal) -> Result<()> {
        for child in self.children()? {
            kill(Pid::from_raw(child), signal)?;
        }
        Ok(())
    }

    /// Runs a shell command in it, as root, and gives what it printed; an error when it fails.
    pub fn shell(&self, script: &str) -> Result<String> {
        let init = self.children()?.first().copied().context("it has no first process")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script]);
        let output = command.output().context("starting nsenter")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{script}` ended with {}: {error}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn children(&self) -> Result<Vec<i32>> {
        let nspawn = self.server.pid();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))?;
        Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// The kernel kills everything in a container whose first process ends; killing nspawn would leave it running.
    fn kill_init(&mut self) -> Result<()> {
        if self.server.has_ended()? { Ok(()) } else { self.signal_init(Signal::SIGKILL) }
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // A test that failed has nothing to say to a container that cannot be killed.
        let _ = self.kill_init();
    }
}

/// The same root file system as a folder, which nobody may write to.
pub fn root_folder() -> Result<PathBuf> {
    Ok(root_archive()?.with_file_name("rootfs"))
}

fn root_archive() -> Result<PathBuf> {
    let beside_binaries =
        binary("hostwright-agent")?.parent().and_then(Path::parent).map(|target| target.join("image"));
    let in_checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image");
    let candidates = beside_binaries.into_iter().chain([in_checkout]).map(|folder| folder.join("rootfs.tar"));
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("there is no target/image/rootfs.tar: run packaging/build-image first")
}
