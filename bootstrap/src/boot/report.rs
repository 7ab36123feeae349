use super::host::Host;
use super::steps::journal::{Journal, State};
use super::steps::{Stage, Step};
use hostwright_core::atomic_file;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What became of a boot: `/run/hostwright/boot.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The instance's id; nothing where no datasource was found.
    pub instance_id: Option<String>,
    /// The datasource and its place, or "none".
    pub datasource: String,
    /// The number of this boot among the instance's, from 1.
    pub boot: u64,
    /// Which version did it.
    pub version: String,
    /// When this was written.
    pub written: Timestamp,
    /// The last stage that it tells of.
    pub stage: Stage,
    /// Every step of the instance.
    pub steps: Vec<StepReport>,
    /// What was odd or left out; each a sentence.
    pub warnings: Vec<String>,
    /// How it ended.
    pub result: Verdict,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: Stage,
    /// In which of the instance's boots this was; nothing for one whose turn has not come.
    pub boot: Option<u64>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Seconds since the machine started until then, whatever was done to the clock meanwhile.
    #[serde(default)]
    pub uptime: Option<f64>,
    /// How long it took.
    pub seconds: f64,
    /// How it ended; "waiting" for one whose turn has not come.
    pub outcome: String,
    /// Why it did not simply succeed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As wanted.
    Ok,
    /// Every step succeeded, but something was left out.
    Degraded,
    /// Something failed.
    Failed,
}

/// How many steps ended how, of those whose turn has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In this boot.
    pub done: usize,
    /// In an earlier boot.
    pub earlier: usize,
    /// Failed, or not run because of one that did.
    pub failed: usize,
}

impl Report {
    /// A boot in which nothing was to be done, or could be.
    pub fn without_steps(datasource: String, stage: Stage, warnings: Vec<String>, result: Verdict) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let written = Timestamp::now();
        Self { instance_id: None, datasource, boot: 0, version, written, stage, steps: Vec::new(), warnings, result }
    }

    /// Adds the steps as the journal knows them.
    pub fn with_steps(mut self, instance_id: &str, steps: &[Step], journal: &Journal) -> Self {
        self.instance_id = Some(instance_id.to_owned());
        self.boot = journal.boot();
        self.steps = steps.iter().map(|step| of_step(step, journal)).collect();
        if self.counts().failed > 0 {
            self.result = Verdict::Failed;
        }
        self
    }

    /// How many steps ended how, of those that the stage could do something about.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in self.steps.iter().filter(|step| step.stage <= self.stage) {
            let Some(boot) = step.boot else { continue };
            match step.outcome.as_str() {
                "done" | "skipped" if boot == self.boot => counts.done += 1,
                "done" | "skipped" => counts.earlier += 1,
                _ => counts.failed += 1,
            }
        }
        counts
    }

    /// How long the steps of this boot took.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().filter(|step| step.boot == Some(self.boot)).map(|step| step.seconds).sum()
    }

    /// Writes it where the agent and people look, and beside the journal. Root's alone: reasons quote the output of
    /// commands.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, host: &Host, folder: Option<&Path>) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        let run = host.path("/run/hostwright");
        std::fs::create_dir_all(&run)?;
        atomic_file::replace(&run.join("boot.json"), &bytes, 0o600)?;
        folder.map_or(Ok(()), |folder| atomic_file::replace(&folder.join("report.json"), &bytes, 0o600))
    }
}

fn of_step(step: &Step, journal: &Journal) -> StepReport {
    let (name, stage) = (step.name.clone(), step.stage);
    let Some(record) = journal.record(&step.name) else {
        let (why, remedy) = (String::new(), String::new());
        return StepReport {
            name,
            stage,
            boot: None,
            started: None,
            uptime: None,
            seconds: 0.0,
            outcome: "waiting".into(),
            why,
            remedy,
        };
    };
    StepReport {
        name,
        stage,
        boot: Some(record.boot).filter(|_| record.state != State::Running),
        started: Some(record.started),
        uptime: record.uptime,
        seconds: record.seconds,
        outcome: record.state.name().to_owned(),
        why: record.why.clone(),
        remedy: record.remedy.clone(),
    }
}
