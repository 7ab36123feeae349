//! An image registry: Debian's docker-registry.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::Docker;
use crate::http;
use crate::port::Port;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A registry that holds what tests push. The Docker Engine trusts it because it is on 127.0.0.0/8.
#[derive(Debug)]
pub struct Registry {
    _server: Server,
    port: Port,
    _folder: TempDir,
}

impl Registry {
    pub fn start() -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let config = folder.path().join("config.yml");
        let (root, address) = (folder.path().join("images"), port.address());
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: \"{address}\"}}\n\
                 storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n",
                root.display()
            ),
        )?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let mut server = Server::start(&command, &folder.path().join("registry.log"))?;
        server.wait_until("GET /v2/ answers 200", START_TIMEOUT, || http::get(address, "/v2/")?.success())?;
        Ok(Self { _server: server, port, _folder: folder })
    }

    /// `127.0.0.1:PORT`, the first part of the name of each image here.
    pub fn host(&self) -> String {
        self.port.address().to_string()
    }

    /// Copies a local image into the registry as `name` (`folder/image:tag`); its full name, fit for a Compose file.
    pub fn push(&self, docker: &Docker, local: &str, name: &str) -> Result<String> {
        let full = format!("{}/{name}", self.host());
        docker.docker(&["tag", local, &full])?;
        docker.docker(&["push", "--quiet", &full])?;
        // Only the registry's copy stays, so that whoever runs the image must pull it.
        docker.docker(&["rmi", &full])?;
        Ok(full)
    }
}
