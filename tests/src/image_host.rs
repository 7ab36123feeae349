//! An agent with one service and what its configuration says of images, and the images that it is to find.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::container_host::LIMIT;
use crate::engines::Docker;
use crate::engines::docker::Project;
use crate::process::{AgentProcess, binary};
use crate::wait::eventually;

/// An agent whose one service runs `IMAGE`, and what its configuration says of images.
#[derive(Debug)]
pub struct ImageHost<'d> {
    pub agent: AgentProcess,
    pub docker: &'d Docker,
    pub folder: TempDir,
    pub project: Project<'d>,
}

impl<'d> ImageHost<'d> {
    pub fn start(docker: &'d Docker, image: &str, more: &str) -> Result<Self> {
        Self::start_with(docker, image, more, "")
    }

    /// `images` and `buckets` are sections of the configuration.
    pub fn start_with(docker: &'d Docker, image: &str, images: &str, buckets: &str) -> Result<Self> {
        let (project, folder) = (docker.project("images"), tempfile::tempdir()?);
        let compose = folder.path().join("compose.yaml");
        let service = "command: [sleep, '1000'], stop_signal: SIGKILL";
        fs::write(&compose, format!("services:\n  app: {{image: '{image}', {service}}}\n"))?;
        let config = format!(
            "{buckets}\ncontainers:\n  compose: {}\n  project: {}\n  engine: {}\n  reconcile: 1s\n  images: {images}\n",
            compose.display(),
            project.name(),
            docker.socket().display()
        );
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", folder.path().display());
        let env = [("PATH", path.as_str()), ("REGISTRY_PASSWORD", "hunter2")];
        Ok(Self { agent: AgentProcess::start_with_env(&config, &env)?, docker, folder, project })
    }

    /// Has the service run another image.
    pub fn write(&self, image: &str) -> Result<()> {
        let file = self.folder.path().join("compose.yaml");
        let text = fs::read_to_string(&file)?;
        let old = text.split('\'').nth(1).context("no image")?;
        Ok(fs::write(&file, text.replace(old, image))?)
    }

    pub fn running_image(&self) -> Result<String> {
        let container = self.docker.inspect(&format!("{}-app-1", self.project.name()))?;
        ensure!(container["State"]["Running"] == true, "it does not run");
        Ok(container["Image"].as_str().context("no image")?.to_owned())
    }

    pub fn wait_runs(&self, image: &str) -> Result<()> {
        let what = format!("{image} runs");
        eventually(&what, LIMIT, || {
            let running = self.running_image()?;
            if running == image { Ok(()) } else { bail!("{running} runs; the status is {}", self.agent.status()?) }
        })
    }

    pub fn wait_why(&self, words: &str) -> Result<String> {
        let why = |status: &Value| status["duties"]["containers"]["why"].as_str().unwrap_or_default().to_owned();
        let status = self.agent.wait_status(words, LIMIT, |status| why(status).contains(words))?;
        Ok(why(&status))
    }

    pub fn pin(&self, image: &str) -> Result<Value> {
        Ok(self.agent.status()?["duties"]["containers"]["details"]["images"]["pins"][image].clone())
    }

    pub fn deploy(&self) -> Result<String> {
        let mut command = Command::new(binary("hostwright-agent")?);
        let output = command.args(["containers", "deploy", "--socket"]).arg(self.agent.socket()).output()?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }
}

/// An image of its own kind; its id.
pub fn image(docker: &Docker, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
    let tree = tempfile::tempdir()?;
    fs::create_dir(tree.path().join("bin"))?;
    fs::copy("/bin/busybox", tree.path().join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", tree.path().join("bin/sleep"))?;
    fs::write(tree.path().join("content"), content)?;
    docker.image_from_tree(name, tree.path(), &[])?;
    docker.docker(&["inspect", "--format", "{{.Id}}", name])
}

/// Another name of the same registry: the engine that runs images is the one that pushes them, and what it pushes is not
/// what the agent is to find.
pub fn as_run(name: &str) -> String {
    name.replace("127.0.0.1", "localhost")
}
