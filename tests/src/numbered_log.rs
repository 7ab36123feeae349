//! A log of numbered lines, an agent that ships it, and the question whether all of them arrived.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::AgentProcess;
use crate::wait::eventually;

const SOON: Duration = Duration::from_secs(40);

/// An application that writes numbered JSON lines into one file.
#[derive(Debug)]
pub struct NumberedLog {
    folder: TempDir,
    /// How many lines there are.
    pub written: u64,
}

impl NumberedLog {
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, written: 0 })
    }

    /// A folder that goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log.json")
    }

    pub fn write(&mut self, count: u64) -> Result<()> {
        let line = |seq| {
            format!("{{\"seq\":{seq},\"time\":\"2026-11-20T10:11:12.5Z\",\"level\":\"warn\",\"message\":\"m\"}}\n")
        };
        let text: String = (self.written..self.written + count).map(line).collect();
        self.written += count;
        self.append(&text)
    }

    pub fn append(&self, text: &str) -> Result<()> {
        Ok(File::options().create(true).append(true).open(self.log())?.write_all(text.as_bytes())?)
    }

    /// The agent's configuration with one output.
    pub fn config(&self, parse: &str, output: &str) -> String {
        format!(
            "host: {{name: testhost, labels: {{environment: prod}}}}\n\
             logs:\n  sources:\n    backend: {{files: ['{}'], parse: {parse}, outputs: [platform]}}\n  \
             outputs:\n    platform: {output}\n",
            self.log().display()
        )
    }

    pub fn agent(&self, output: &str) -> Result<AgentProcess> {
        AgentProcess::start(&self.config("json", output))
    }

    /// Waits until each line that was written is among the numbers that arrived; how many came more than once.
    pub fn wait_complete(&self, arrived: impl Fn() -> Vec<Value>) -> Result<usize> {
        eventually("every line has arrived", SOON, || {
            let all: Vec<_> = arrived().iter().filter_map(Value::as_u64).collect();
            let numbers: BTreeSet<_> = all.iter().copied().collect();
            let missing = (0..self.written).filter(|number| !numbers.contains(number)).count();
            ensure!(missing == 0, "{missing} of {} are missing", self.written);
            Ok(all.len() - numbers.len())
        })
    }
}

/// Waits until the output says that it is hindered, and why.
pub fn wait_hindered(agent: &AgentProcess, part: &str) -> Result<()> {
    agent.wait_status(&format!("the status says {part:?}"), SOON, |status| {
        status["duties"]["logs"]["why"].as_str().is_some_and(|why| why.contains(part))
    })?;
    Ok(())
}

pub fn wait_well(agent: &AgentProcess) -> Result<()> {
    agent.wait_status("the duty is well", SOON, |status| status["duties"]["logs"]["state"] == "ok")?;
    Ok(())
}
