//! An application that writes numbered lines, the agent that follows them, and what arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::engines::rsyslog::Rsyslog;
use crate::process::AgentProcess;
use crate::wait::eventually;

/// Within this time, everything that is to happen has happened.
pub const SOON: Duration = Duration::from_secs(40);

/// An application that writes numbered JSON lines, the agent that follows them, and a receiver.
#[derive(Debug)]
pub struct Host {
    pub folder: TempDir,
    pub receiver: Rsyslog,
    /// How many lines were written.
    pub written: usize,
}

impl Host {
    pub fn new() -> Result<Self> {
        let host = Self { folder: tempfile::tempdir()?, receiver: Rsyslog::start()?, written: 0 };
        fs::create_dir(host.folder.path().join("log"))?;
        Ok(host)
    }

    /// The agent, following `files` (in the log folder) with these further settings of the source.
    pub fn agent(&self, files: &str, more: &str) -> Result<AgentProcess> {
        AgentProcess::start(&self.config(files, more))
    }

    pub fn config(&self, files: &str, more: &str) -> String {
        format!(
            "host: {{name: testhost, labels: {{environment: prod}}}}\n\
             logs:\n  sources:\n    backend: {{files: ['{}'], parse: json, outputs: [platform, archive]{more}}}\n  \
             outputs:\n    platform: {{syslog: {{address: '{}'}}}}\n    archive: {{file: {{path: '{}'}}}}\n",
            self.log(files).display(),
            self.receiver.address(),
            self.archive().display(),
        )
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("archive.ndjson")
    }

    /// Appends the next lines, whose tails are all the same.
    pub fn write(&mut self, name: &str, count: usize) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.log(name))?;
        self.write_to(&mut file, count)
    }

    pub fn write_to(&mut self, file: &mut File, count: usize) -> Result<()> {
        let mut text = String::new();
        for _ in 0..count {
            text.push_str(&line(self.written));
            self.written += 1;
        }
        Ok(file.write_all(text.as_bytes())?)
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        Ok(fs::rename(self.log(from), self.log(to))?)
    }

    /// Waits until everything that was written has reached both outputs; what came of it.
    pub fn wait_complete(&self) -> Result<(Arrived, Arrived)> {
        let arrived = eventually("every line at both outputs", SOON, || {
            let both = (self.at_platform()?, self.at_archive()?);
            let missing = (both.0.missing(self.written), both.1.missing(self.written));
            if missing.0.is_empty() && missing.1.is_empty() {
                return Ok(both);
            }
            let shown = |all: &[usize]| format!("{} ({:?}...)", all.len(), all.first());
            anyhow::bail!("of {} lines, missing: {} and {}", self.written, shown(&missing.0), shown(&missing.1))
        })?;
        Ok(arrived)
    }

    /// Both outputs have every line once and in order, also after the agent had time to notice more files.
    pub fn complete(&self) -> Result<()> {
        let (platform, archive) = self.wait_complete()?;
        exactly_once_in_order(&platform).context("platform")?;
        exactly_once_in_order(&archive).context("archive")
    }

    /// Waits until the positions of these outputs at the end of a file are durable.
    pub fn wait_stored(&self, agent: &AgentProcess, name: &str, outputs: &[&str]) -> Result<()> {
        let at = format!("\"offset\":{},", fs::metadata(self.log(name))?.len());
        let is_stored = |output: &&str| {
            let journals = fs::read_dir(agent.state_folder().join("logs")).into_iter().flatten().flatten();
            let own =
                journals.filter(|file| file.file_name().to_string_lossy().starts_with(&format!("positions-{output}")));
            own.filter_map(|file| fs::read(file.path()).ok())
                .any(|journal| String::from_utf8_lossy(&journal).contains(&at))
        };
        eventually("the positions are durable", SOON, || outputs.iter().all(is_stored))
    }

    pub fn wait_archived(&self) -> Result<()> {
        eventually("the archive is complete", SOON, || {
            self.at_archive().is_ok_and(|arrived| arrived.missing(self.written).is_empty())
        })
    }

    /// Has written lines of which the platform has some and the archive all, then takes the platform away.
    pub fn with_backlog(&mut self, pattern: &str, more: &str) -> Result<AgentProcess> {
        self.write("log.json", 500)?;
        let agent = self.agent(pattern, more)?;
        self.complete()?;
        self.receiver.stop()?;
        self.write("log.json", 3000)?;
        self.wait_archived()?;
        Ok(agent)
    }

    pub fn copy_and_truncate(&self, copy: &str) -> Result<()> {
        fs::copy(self.log("log.json"), self.log(copy))?;
        Ok(File::options().write(true).open(self.log("log.json"))?.set_len(0)?)
    }

    pub fn at_platform(&self) -> Result<Arrived> {
        Arrived::of(&self.receiver.messages()?)
    }

    pub fn at_archive(&self) -> Result<Arrived> {
        let text = match fs::read_to_string(self.archive()) {
            Ok(text) => text,
            Err(_) => return Arrived::of(&[]),
        };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Arrived::of(&whole.lines().map(str::to_owned).collect::<Vec<_>>())
    }
}

pub fn line(number: usize) -> String {
    format!("{{\"seq\":{number},\"level\":\"info\",\"tail\":\"{}\"}}\n", "the same in every line ".repeat(4))
}

/// The numbers of the lines that arrived, in order.
#[derive(Debug)]
pub struct Arrived(pub Vec<usize>);

impl Arrived {
    pub fn of(lines: &[String]) -> Result<Self> {
        let numbers = lines.iter().filter(|line| line.contains("\"seq\"")).map(|line| {
            let value: Value = serde_json::from_str(line.trim()).with_context(|| format!("no JSON: {line}"))?;
            value["seq"].as_u64().map(|seq| seq as usize).context("no number")
        });
        numbers.collect::<Result<_>>().map(Self)
    }

    pub fn missing(&self, written: usize) -> Vec<usize> {
        let there: BTreeSet<_> = self.0.iter().collect();
        (0..written).filter(|number| !there.contains(number)).collect()
    }

    pub fn duplicates(&self) -> usize {
        self.0.len() - self.0.iter().collect::<BTreeSet<_>>().len()
    }

    /// The first line that came again.
    fn first_duplicate(&self) -> Option<usize> {
        let mut seen = BTreeSet::new();
        self.0.iter().copied().find(|number| !seen.insert(*number))
    }

    /// Whether the first arrivals of the lines are in the order in which they were written.
    pub fn in_order(&self) -> bool {
        self.misplaced().is_none()
    }

    /// The first line that came before an earlier one.
    pub fn misplaced(&self) -> Option<usize> {
        let mut first = BTreeMap::new();
        for (place, number) in self.0.iter().enumerate() {
            first.entry(number).or_insert(place);
        }
        first.iter().zip(first.iter().skip(1)).find(|(a, b)| a.1 > b.1).map(|(_, (number, _))| **number)
    }
}

pub fn exactly_once_in_order(arrived: &Arrived) -> Result<()> {
    ensure!(arrived.duplicates() == 0, "{} duplicates, first {:?}", arrived.duplicates(), arrived.first_duplicate());
    ensure!(arrived.in_order(), "not in order: {:?} came too early", arrived.misplaced());
    Ok(())
}
