//! An agent with one job, and what became of its runs.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::container_host::LIMIT;
use crate::engines::Docker;
use crate::engines::docker::{Project, unique};
use crate::process::{AgentProcess, binary};
use crate::wait::eventually;

/// An agent whose Compose file has the one service `job`.
#[derive(Debug)]
pub struct JobHost<'d> {
    pub agent: AgentProcess,
    pub docker: &'d Docker,
    pub folder: TempDir,
    pub project: Project<'d>,
}

impl<'d> JobHost<'d> {
    /// `job` are the settings of the job; its service runs `script` in a shell and sees the folder `in` as `/in`.
    pub fn start(docker: &'d Docker, job: &str, script: &str) -> Result<Self> {
        let (project, image, folder) = (docker.project("jobs"), unique("hostwright-busybox"), tempfile::tempdir()?);
        docker.busybox_image(&image)?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(path("in"))?;
        let compose = format!(
            "services:\n  job:\n    image: {image}\n    stop_signal: SIGKILL\n    volumes: ['{}:/in:ro']\n    \
             command: [sh, -c, {}]\n",
            path("in"),
            serde_json::to_string(&script.replace('$', "$$"))?
        );
        fs::write(path("compose.yaml"), compose)?;
        let config = format!(
            "host: {{labels: {{owner: dse, project: infra, environment: qa}}}}\ncontainers:\n  compose: {}\n  project: \
             {}\n  engine: {}\n  reconcile: 5s\n  jobs:\n    outputs: {}\n    \
             name: '{{owner}}-{{project}}-{{environment}}-{{service}}'\n    services: {{job: {job}}}\n",
            path("compose.yaml"),
            project.name(),
            docker.socket().display(),
            path("outputs")
        );
        let mut host = Self { agent: AgentProcess::start(&config)?, docker, folder, project };
        host.agent.wait_ready(LIMIT)?;
        Ok(host)
    }

    pub fn jobs(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary("hostwright-agent")?);
        Ok(command.arg("jobs").arg("--socket").arg(self.agent.socket()).args(arguments).output()?)
    }

    pub fn runs(&self) -> Result<Vec<Value>> {
        let status = self.agent.status()?;
        let runs = &status["duties"]["containers"]["details"]["jobs"]["runs"];
        Ok(runs.as_array().cloned().unwrap_or_default())
    }

    /// Waits until a run is in this state.
    pub fn wait(&self, state: &str) -> Result<Value> {
        eventually(&format!("a run has {state}"), LIMIT, || {
            let runs = self.runs()?;
            runs.iter().find(|run| run["state"] == state).cloned().with_context(|| format!("the runs are {runs:?}"))
        })
    }

    pub fn containers(&self) -> Result<usize> {
        Ok(self.project.containers()?.len())
    }
}
