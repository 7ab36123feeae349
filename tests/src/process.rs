//! The agent as a process: start, signal, kill, ask.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::server::Server;
use crate::wait::eventually;

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The real `hostwright-agent run`, with folders of its own, so that many can run side by side.
///
/// The folders outlive the process: after `kill9` or `terminate`, `start_again` resumes with the same state.
#[derive(Debug)]
pub struct AgentProcess {
    server: Server,
    env: Vec<(String, String)>,
    /// Capabilities that it does not have, as setpriv(1) names them.
    lacks: &'static str,
    folder: TempDir,
}

impl AgentProcess {
    /// Starts the agent with this `agent.yaml`; does not wait until it is ready.
    pub fn start(config: &str) -> Result<Self> {
        Self::start_with_env(config, &[])
    }

    /// The same, with variables for what the configuration refers to.
    pub fn start_with_env(config: &str, env: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(config, env, "")
    }

    /// The same without these capabilities, as setpriv(1) takes them away (`-dac_override,-chown`).
    pub fn start_as(config: &str, env: &[(&str, &str)], lacks: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("state"))?;
        fs::create_dir(folder.path().join("run"))?;
        fs::write(folder.path().join("agent.yaml"), config)?;
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let server = launch(folder.path(), &env, lacks)?;
        Ok(Self { server, env, lacks, folder })
    }

    /// Starts it once more with the same folders, after it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        if !self.server.has_ended()? {
            bail!("the agent still runs: kill9 or terminate it first");
        }
        self.server = launch(self.folder.path(), &self.env, self.lacks)?;
        Ok(())
    }

    /// Replaces `agent.yaml`; the agent reads it after `sighup` or `start_again`.
    pub fn write_config(&self, config: &str) -> Result<()> {
        Ok(fs::write(self.config_file(), config)?)
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("agent.yaml")
    }

    pub fn state_folder(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The API's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    pub fn pid(&self) -> i32 {
        self.server.pid().as_raw()
    }

    /// Everything that all runs of it have written to stdout and stderr.
    pub fn output(&self) -> String {
        self.server.log()
    }

    /// An answer of its API, through the Unix socket.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(self.socket().as_path(), path)
    }

    /// `/v1/status`.
    pub fn status(&self) -> Result<Value> {
        self.get("/v1/status")?.success()?.json()
    }

    /// Waits until `/readyz` answers 200; fails at once, with its output, when the agent ends before.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let socket = self.socket();
        self.server
            .wait_until("the agent is ready", timeout, || http::get(socket.as_path(), "/readyz?verbose")?.success())
            .map(drop)
    }

    /// Waits until the status is as `wanted` says; the error shows the last one.
    pub fn wait_status(&self, what: &str, timeout: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, timeout, || {
            let status = self.status()?;
            if wanted(&status) { Ok(status) } else { bail!("the status is {status}") }
        })
        .with_context(|| format!("the agent's output:\n{}", crate::server::tail(&self.output())))
    }

    pub fn sighup(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.server.signal(signal)
    }

    /// SIGKILL: no drain, no last words.
    pub fn kill9(&mut self) -> Result<()> {
        self.server.kill_group()
    }

    /// SIGTERM; the exit code once it has drained (`None`: a signal ended it).
    pub fn terminate(&mut self) -> Result<Option<i32>> {
        self.server.signal(Signal::SIGTERM)?;
        self.wait_exit(STOP_TIMEOUT)
    }

    /// Waits for it to end by itself; its exit code.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<Option<i32>> {
        Ok(self.server.wait(timeout)?.code())
    }
}

fn launch(folder: &Path, env: &[(String, String)], lacks: &str) -> Result<Server> {
    let mut command = Command::new(binary("hostwright-agent")?);
    if !lacks.is_empty() {
        command = Command::new("setpriv");
        command.arg(format!("--bounding-set={lacks}")).arg(format!("--inh-caps={lacks}"));
        command.arg(binary("hostwright-agent")?);
    }
    command.arg("run").arg("--config").arg(folder.join("agent.yaml"));
    // As systemd would set them, and nothing of a systemd above the tests.
    command.env("STATE_DIRECTORY", folder.join("state")).env("RUNTIME_DIRECTORY", folder.join("run"));
    command.env("MALLOC_ARENA_MAX", "2").env("MALLOC_MMAP_THRESHOLD_", "131072");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Server::start(&command, &folder.join("output"))
}

/// One of our binaries: in `HOSTWRIGHT_BIN_DIR`, else where the tests themselves were built.
pub fn binary(name: &str) -> Result<PathBuf> {
    if let Some(folder) = env::var_os("HOSTWRIGHT_BIN_DIR") {
        let path = PathBuf::from(folder).join(name);
        return if path.is_file() {
            Ok(path)
        } else {
            bail!("{} (from HOSTWRIGHT_BIN_DIR) is not there", path.display())
        };
    }
    // The executable of a test is in `target/release/deps`, the binaries are in `target/release`.
    let own = env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("no {name} near {}: run `cargo build --release` first, or set HOSTWRIGHT_BIN_DIR", own.display())
    })
}
