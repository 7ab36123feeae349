//! An agent with the containers duty alone, its Compose file, and who asks its services.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tempfile::TempDir;

use crate::engines::Docker;
use crate::engines::docker::{Project, unique};
use crate::http;
use crate::process::{AgentProcess, binary};

/// Within this time, everything that is to happen has happened.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An agent with the containers duty alone, and its Compose file.
#[derive(Debug)]
pub struct Host<'d> {
    pub agent: AgentProcess,
    pub docker: &'d Docker,
    pub image: String,
    pub folder: TempDir,
    // Last, so that the agent is gone before its containers go.
    pub project: Project<'d>,
}

impl<'d> Host<'d> {
    /// In the file `IMAGE` stands for a busybox.
    pub fn start(docker: &'d Docker, word: &str, compose: &str) -> Result<Self> {
        Self::start_with_env(docker, word, compose, &[])
    }

    pub fn start_with_env(docker: &'d Docker, word: &str, compose: &str, env: &[(&str, &str)]) -> Result<Self> {
        let (project, image) = (docker.project(word), unique("hostwright-busybox"));
        docker.busybox_image(&image)?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("compose.yaml"), compose.replace("IMAGE", &image))?;
        let config = format!(
            "containers: {{compose: {}, project: {}, engine: {}, reconcile: 5s}}\n",
            folder.path().join("compose.yaml").display(),
            project.name(),
            docker.socket().display()
        );
        Ok(Self { agent: AgentProcess::start_with_env(&config, env)?, docker, image, folder, project })
    }

    pub fn write(&self, compose: &str) -> Result<()> {
        let (path, new) = (self.folder.path().join("compose.yaml"), self.folder.path().join("new"));
        fs::write(&new, compose.replace("IMAGE", &self.image))?;
        Ok(fs::rename(new, path)?)
    }

    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.project.name())
    }

    pub fn inspect(&self, service: &str) -> Result<Value> {
        self.docker.inspect(&self.container(service))
    }

    pub fn id(&self, service: &str) -> Result<String> {
        Ok(self.inspect(service)?["Id"].as_str().context("no id")?.to_owned())
    }

    pub fn is_running(&self, service: &str) -> bool {
        self.inspect(service).is_ok_and(|container| container["State"]["Running"] == true)
    }

    pub fn wait_state(&self, state: &str) -> Result<Value> {
        self.agent.wait_status(state, LIMIT, |status| status["duties"]["containers"]["state"] == state)
    }

    /// Waits for "degraded" with these words in its reason.
    pub fn wait_why(&self, words: &str) -> Result<String> {
        let why = |status: &Value| status["duties"]["containers"]["why"].as_str().unwrap_or_default().to_owned();
        let status = self.agent.wait_status(words, LIMIT, |status| why(status).contains(words))?;
        Ok(why(&status))
    }

    /// Waits for "ok" with these words.
    pub fn wait_summary(&self, words: &str) -> Result<()> {
        self.agent.wait_status(words, LIMIT, |status| status["duties"]["containers"]["summary"] == words).map(drop)
    }

    /// Runs `hostwright-agent` with these arguments against this agent's socket.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary("hostwright-agent")?);
        command.args(arguments).arg("--socket").arg(self.agent.socket());
        Ok(command.output()?)
    }
}

/// Asks a service every 10 ms, from two threads, each request on a connection of its own.
#[derive(Debug)]
pub struct Prober {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Probes>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Probes {
    /// How often each answer came.
    pub answers: BTreeMap<String, usize>,
    pub failures: Vec<String>,
    pub slowest: Duration,
}

impl Prober {
    pub fn start(address: SocketAddr) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let ended = ended.clone();
            thread::spawn(move || {
                let mut probes = Probes::default();
                while !ended.load(Ordering::Relaxed) {
                    probes.ask(address);
                    thread::sleep(Duration::from_millis(10));
                }
                probes
            })
        };
        Self { threads: (0..2).map(thread).collect(), ended }
    }

    /// Ends the asking.
    pub fn finish(self) -> Result<Probes> {
        self.ended.store(true, Ordering::Relaxed);
        let mut all = Probes::default();
        for thread in self.threads {
            let probes = thread.join().map_err(|_| anyhow!("a prober panicked"))?;
            for (answer, count) in probes.answers {
                *all.answers.entry(answer).or_default() += count;
            }
            all.failures.extend(probes.failures);
            all.slowest = all.slowest.max(probes.slowest);
        }
        Ok(all)
    }
}

impl Probes {
    fn ask(&mut self, address: SocketAddr) {
        let began = Instant::now();
        match http::get(address, "/").and_then(http::Response::success) {
            Ok(answer) => *self.answers.entry(answer.text().trim().to_owned()).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
        self.slowest = self.slowest.max(began.elapsed());
    }
}
