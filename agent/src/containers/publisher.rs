use super::apply::Work;
use super::memory::Memory;
use super::plan::Plan;
use super::report::{Round, Verdict};
use hostwright_duty::supervisor::Reporter;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// How many of a sick container's last lines are shown.
const LAST_LINES: u32 = 5;

/// Says how the duty is, with the details of each service.
#[derive(Debug)]
pub struct Publisher {
    status: Reporter,
    details: Value,
    said: Said,
    rounds: u64,
    /// Where the engine is, for those who ask it for logs.
    engine: String,
    began: Instant,
    /// What is to be known of the published ports.
    pub ports: Option<String>,
}

/// What the duty last said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// Degraded, and it has not been well since the start.
    Degraded,
    /// All was well once: what is underway since then is an update or a repair.
    WellOnce,
}

impl Publisher {
    pub fn new(status: Reporter, engine: &Path) -> Self {
        let engine = engine.display().to_string();
        Self {
            status,
            details: Value::Null,
            said: Said::Nothing,
            rounds: 0,
            engine,
            began: Instant::now(),
            ports: None,
        }
    }

    /// A round begins.
    pub fn begin(&mut self) {
        self.rounds += 1;
        self.began = Instant::now();
    }

    /// How many have begun.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Says what a round has found; `file` is what is wrong with the Compose file.
    pub async fn publish(&mut self, work: &Work<'_>, plan: &Plan, memory: &Memory, file: Option<&str>) {
        let last_lines = last_lines(work, memory).await;
        let (project, observed) = (work.project, work.observed);
        let round = Round { project, observed, plan, memory, last_lines: &last_lines };
        self.details = round.details();
        self.details["round"] = self.rounds.into();
        self.details["engine"] = self.engine.clone().into();
        self.details["round_ms"] = (self.began.elapsed().as_secs_f64() * 1e3).into();
        self.details["images"] = work.images.details();
        self.details["jobs"] = work.jobs.details();
        if let Some(note) = &self.ports {
            match self.details["notes"].as_array_mut() {
                Some(notes) => notes.push(note.clone().into()),
                None => self.details["notes"] = vec![note.clone()].into(),
            }
        }
        let mut measures = round.measures();
        work.images.measure(&mut measures);
        self.status.measures(measures);
        match round.verdict(file) {
            Verdict::Ok(summary) => {
                self.said = Said::WellOnce;
                self.status.ok(summary);
            }
            Verdict::Underway(summary) => self.underway(summary),
            Verdict::Degraded(why) => self.degraded(why),
        }
        self.status.details(self.details.clone());
    }

    /// Says what is being done just now.
    pub fn now(&self, now: String) {
        let mut details = self.details.clone();
        details["now"] = now.into();
        self.status.details(details);
    }

    /// Says that something is wrong.
    pub fn degraded(&mut self, why: String) {
        if self.said == Said::Nothing {
            self.said = Said::Degraded;
        }
        self.status.degraded(why);
    }

    /// Until all was well once the agent is not ready, and the duty stays "starting".
    fn underway(&mut self, summary: String) {
        match self.said {
            Said::Nothing => self.details["now"] = summary.into(),
            Said::Degraded => self.status.degraded(summary),
            Said::WellOnce => self.status.ok(summary),
        }
    }
}

async fn last_lines(work: &Work<'_>, memory: &Memory) -> BTreeMap<String, Vec<String>> {
    let mut lines = BTreeMap::new();
    for service in work.project.services.keys() {
        let Some(container) = work.observed.of_service(service) else { continue };
        if Round::is_sick(work.project, memory, service, container) {
            lines.insert(service.clone(), work.engine.last_lines(&container.id, LAST_LINES).await);
        }
    }
    lines
}
