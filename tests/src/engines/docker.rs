//! The Docker Engine, and images made from folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use super::docker_daemon::{self, DockerDaemon};
use crate::http;
use crate::server::search_path;

const SYSTEM_SOCKET: &str = "/var/run/docker.sock";
/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// What `docker compose`, and our agent, put on each container of a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// A Docker Engine that answers: the machine's own, else a private one.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    _private: Option<DockerDaemon>,
}

impl Docker {
    pub fn start() -> Result<Self> {
        let system = Path::new(SYSTEM_SOCKET);
        if docker_daemon::answers(system) {
            return Ok(Self { socket: system.to_owned(), _private: None });
        }
        Ok(Self { _private: Some(DockerDaemon::acquire()?), socket: docker_daemon::socket() })
    }

    /// An engine that somebody else started.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), _private: None }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Runs the `docker` command; its output without the last newline, or an error with what it complained of.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("starting docker (tests/setup.sh installs it)")?;
        if !output.status.success() {
            bail!("docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// `docker inspect` of one container, image or network.
    pub fn inspect(&self, name: &str) -> Result<serde_json::Value> {
        let all: serde_json::Value = serde_json::from_str(&self.docker(&["inspect", name])?)?;
        all.get(0).cloned().with_context(|| format!("docker inspect {name} answered with nothing"))
    }

    /// The Engine API itself, for what the command cannot show.
    pub fn api(&self, path: &str) -> Result<serde_json::Value> {
        http::get(self.socket(), path)?.success()?.json()
    }

    /// Makes the image `name` of Debian's busybox with a link for each applet; the user's folder is `/`.
    pub fn busybox_image(&self, name: &str) -> Result<()> {
        self.busybox_image_with(name, &[])
    }

    /// The same with further Dockerfile instructions, under a name of its own.
    pub fn checked_image(&self, change: &str) -> Result<String> {
        let name = unique("hostwright-checked");
        self.busybox_image_with(&name, &[change])?;
        Ok(name)
    }

    fn busybox_image_with(&self, name: &str, changes: &[&str]) -> Result<()> {
        let tree = tempfile::tempdir()?;
        let bin = tree.path().join("bin");
        for folder in ["bin", "etc", "root", "tmp", "var", "www"] {
            fs::create_dir(tree.path().join(folder))?;
        }
        fs::write(tree.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(tree.path().join("etc/group"), "root:x:0:\n")?;
        fs::copy(BUSYBOX, bin.join("busybox")).context("copying /bin/busybox (tests/setup.sh installs it)")?;
        let applets = Command::new(BUSYBOX).arg("--list").output()?;
        for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", bin.join(applet))?;
        }
        self.image_from_tree(name, tree.path(), &[&[r#"CMD ["sh"]"#], changes].concat())
    }

    /// Makes the image `name` of a folder's content; `changes` are Dockerfile instructions (`CMD`, `ENV`, `EXPOSE`…).
    pub fn image_from_tree(&self, name: &str, tree: &Path, changes: &[&str]) -> Result<()> {
        let mut tar = Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--file=-", "--directory"])
            .arg(tree)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = tar.stdout.take().ok_or_else(|| anyhow!("tar has no output"))?;
        let changes = changes.iter().flat_map(|change| ["--change", change]);
        let arguments: Vec<&str> = ["import"].into_iter().chain(changes).chain(["-", name]).collect();
        let output = self.command(&arguments).stdin(archive).output()?;
        let packed = tar.wait()?;
        if !output.status.success() || !packed.success() {
            bail!("importing {} as {name}: {}", tree.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// A Compose project with a name of its own, whose containers go when it is dropped.
    pub fn project(&self, word: &str) -> Project<'_> {
        Project { docker: self, name: unique(word) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(arguments).env("PATH", search_path());
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command
    }
}

/// A name that no other test has: the engine is shared.
pub fn unique(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{word}-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The containers, networks and volumes of one Compose project, gone with this value.
#[derive(Debug)]
pub struct Project<'a> {
    docker: &'a Docker,
    name: String,
}

impl Project<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the project's containers, stopped ones included, in order.
    pub fn containers(&self) -> Result<Vec<String>> {
        let names = self.docker.docker(&["ps", "--all", "--filter", &self.filter(), "--format", "{{.Names}}"])?;
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn filter(&self) -> String {
        format!("label={PROJECT_LABEL}={}", self.name)
    }

    fn remove(&self) -> Result<()> {
        let filter = self.filter();
        let listings: [(&[&str], &[&str]); 3] = [
            (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ];
        for (list, remove) in listings {
            let found = self.docker.docker(&[list, &["--filter", &filter]].concat())?;
            if !found.is_empty() {
                let found: Vec<&str> = found.lines().collect();
                self.docker.docker(&[remove, &found[..]].concat())?;
            }
        }
        Ok(())
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove()
            && !thread::panicking()
        {
            eprintln!("removing the project {}: {error:#}", self.name);
        }
    }
}
