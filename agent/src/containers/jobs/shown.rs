use super::book::{Run, State};
use hostwright_core::config::containers::jobs::Jobs as Settings;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// So many runs are shown in the status.
const MOST_SHOWN: usize = 100;

/// How the jobs are, for whoever asks.
#[derive(Debug, Default)]
pub struct Shown {
    now: Mutex<(Value, Vec<String>)>,
    changed: Notify,
}

impl Shown {
    /// Returns when something has changed. Cancel-safe, as `Notify` documents.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// For the JSON status.
    pub fn details(&self) -> Value {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What an operator should know.
    pub fn complaints(&self) -> Vec<String> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Shows the runs as they are now, and what is wrong beside them.
    pub fn show(&self, settings: &Settings, runs: &BTreeMap<String, Run>, problems: &[String]) {
        let mut rows: Vec<(&String, &Run)> = runs.iter().collect();
        rows.sort_by_key(|(_, run)| std::cmp::Reverse(run.asked));
        let shown = (details(settings, &rows), complaints(settings, &rows, problems));
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != shown {
            *now = shown;
            self.changed.notify_one();
        }
    }
}

fn details(settings: &Settings, rows: &[(&String, &Run)]) -> Value {
    let services = settings.services.iter().map(|(name, job)| {
        let own = || rows.iter().filter(|(_, run)| run.service == *name);
        let next = job.schedule.as_ref().and_then(|schedule| schedule.next(Timestamp::now()));
        let row = json!({
            "schedule": job.schedule.as_ref().map(|schedule| schedule.text()),
            "next": next.map(|time| time.to_string()),
            "running": own().filter(|(_, run)| run.state == State::Running).count(),
            "queued": own().filter(|(_, run)| run.state == State::Queued).count(),
            "last": own().find(|(_, run)| run.state.has_ended()).map(|(id, _)| id),
        });
        (name.clone(), row)
    });
    json!({
        "services": services.collect::<serde_json::Map<_, _>>(),
        "runs": rows.iter().take(MOST_SHOWN).map(|(id, run)| row(id, run)).collect::<Vec<_>>(),
    })
}

fn complaints(settings: &Settings, rows: &[(&String, &Run)], problems: &[String]) -> Vec<String> {
    let mut complaints = problems.to_vec();
    for name in settings.services.keys() {
        let last = rows.iter().find(|(_, run)| run.service == *name && run.state.has_ended());
        if let Some((id, run)) = last.filter(|(_, run)| run.state == State::Failed) {
            complaints.push(format!("the job {id} has failed: {}", run.why.as_deref().unwrap_or_default()));
        }
    }
    complaints
}

fn row(id: &str, run: &Run) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": id,
        "service": run.service,
        "state": run.state.name(),
        "trigger": run.trigger,
        "attempt": run.attempt,
        "asked": run.asked.to_string(),
        "started": time(run.started),
        "ended": time(run.ended),
        "exit_code": run.exit_code,
        "why": run.why,
        "image": run.image,
        "image_digest": run.digest,
        "container": run.container,
        "not_before": time(run.not_before),
    })
}
