//! Podman's service, which answers as a Docker Engine does.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::Docker;
use super::docker_daemon::answers;
use crate::server::{Server, search_path};

const LIMIT: Duration = Duration::from_secs(60);

/// `podman system service` with folders of its own.
#[derive(Debug)]
pub struct Podman {
    server: Server,
    folder: TempDir,
}

impl Podman {
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        // Its own default of open files is more than a test may have.
        std::fs::write(
            at("containers.conf"),
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
        )?;
        // As Docker does: registries on the host itself are asked without TLS.
        std::fs::write(
            at("registries.conf"),
            "[[registry]]\nprefix = \"127.0.0.1\"\nlocation = \"127.0.0.1\"\ninsecure = true\n",
        )?;
        let mut command = Command::new("podman");
        command.env("CONTAINERS_REGISTRIES_CONF", at("registries.conf"));
        command.env("CONTAINERS_CONF", at("containers.conf"));
        command.env("PATH", search_path()).arg("--root").arg(at("root")).arg("--runroot").arg(at("run"));
        // Networks of its own too: they are files.
        std::fs::create_dir(at("networks"))?;
        command.arg("--network-config-dir").arg(at("networks"));
        // Neither systemd nor its journal is where tests run.
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file", "system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", at("sock").display()));
        let mut server = Server::start(&command, &at("log"))?;
        let socket = at("sock");
        server.wait_until("Podman answers", LIMIT, || answers(&socket))?;
        Ok(Self { server, folder })
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// Where it keeps its containers.
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// What its service wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let docker = Docker::at(&self.socket());
        let all = docker.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        if !all.is_empty() {
            let arguments: Vec<&str> = ["rm", "--force", "--volumes"].into_iter().chain(all.lines()).collect();
            let _ = docker.docker(&arguments);
        }
        let _ = self.server.stop();
        // Its storage is mounted upon itself.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path().join("root/overlay")).status();
    }
}
