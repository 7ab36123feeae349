use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::Docker;
use hostwright_tests::engines::docker::Project;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// `docker-compose up` of a file, as an operator or a CI job runs it.
#[derive(Debug)]
pub struct Compose<'d> {
    docker: &'d Docker,
    pub project: Project<'d>,
}

impl<'d> Compose<'d> {
    pub fn new(docker: &'d Docker, word: &str) -> Self {
        Self { docker, project: docker.project(word) }
    }

    /// Brings the file up; wall and CPU milliseconds of the program.
    pub fn up(&self, file: &Path) -> Result<(f64, f64)> {
        // Another version than the one on the path is tried with this variable.
        let program = env::var("DOCKER_COMPOSE").unwrap_or_else(|_| "docker-compose".into());
        let mut command = Command::new(&program);
        command.env("DOCKER_HOST", self.docker.host()).arg("--project-name").arg(self.project.name());
        command.arg("--file").arg(file).args(["up", "--detach"]).stdout(Stdio::null());
        let (began, before) = (Instant::now(), children_ms()?);
        let output = command
            .output()
            .with_context(|| format!("starting {program}: apt-get install docker-compose, or set DOCKER_COMPOSE"))?;
        ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok((began.elapsed().as_secs_f64() * 1e3, children_ms()? - before))
    }
}

/// CPU time of all child processes that have ended, in milliseconds.
fn children_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e3)
}
