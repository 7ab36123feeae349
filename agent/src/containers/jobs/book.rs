use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const VERSION: u32 = 1;

/// Every run, until it leaves the history.
#[derive(Debug)]
pub struct Book {
    file: StateFile<Content>,
    pub content: Content,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// By id.
    pub runs: BTreeMap<String, Run>,
    /// Until when schedules have been looked at, by service.
    pub scheduled: BTreeMap<String, Timestamp>,
    /// Files that had their run, by service and path, with what tells a new version of them.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
}

/// One run of a job.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub service: String,
    /// `schedule`, `file PATH` or `order`.
    pub trigger: String,
    pub state: State,
    /// From 1.
    pub attempt: u64,
    pub asked: Timestamp,
    /// Of the present attempt.
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub exit_code: Option<i64>,
    /// Why the last attempt failed, or what else there is to say.
    pub why: Option<String>,
    pub image: String,
    pub digest: Option<String>,
    /// The container of the present attempt.
    pub container: Option<String>,
    /// No attempt before this time.
    pub not_before: Option<Timestamp>,
    /// Beside the service's own. May hold secrets: it is never shown.
    pub environment: Vec<(String, String)>,
    /// In place of the service's command.
    pub arguments: Vec<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its turn, or for its next attempt.
    Queued,
    Running,
    Succeeded,
    Failed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("service", &self.service).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Run {
    /// One that nobody has begun with.
    pub fn new(service: &str, trigger: String, image: &str) -> Self {
        Self {
            service: service.to_owned(),
            trigger,
            state: State::Queued,
            attempt: 1,
            asked: Timestamp::now(),
            started: None,
            ended: None,
            exit_code: None,
            why: None,
            image: image.to_owned(),
            digest: None,
            container: None,
            not_before: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl Book {
    /// Opens it in the duty's state folder.
    ///
    /// # Errors
    /// It cannot be read, or is of a newer version.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let mut file = StateFile::new(folder.join("jobs.json"), VERSION);
        let content = file.load()?.unwrap_or_default();
        Ok(Self { file, content })
    }

    /// Makes it durable, without the oldest of more ended runs than `history`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&mut self, history: u64) -> Result<(), StateError> {
        let ended = self.content.runs.iter().filter(|(_, run)| run.state.has_ended());
        let mut ended: Vec<(Timestamp, String)> =
            ended.map(|(id, run)| (run.ended.unwrap_or(run.asked), id.clone())).collect();
        ended.sort();
        let surplus = ended.len().saturating_sub(usize::try_from(history).unwrap_or(usize::MAX));
        for (_, id) in &ended[..surplus] {
            self.content.runs.remove(id);
        }
        self.file.store(&self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::{Book, Run, State};
    use jiff::Timestamp;

    #[test]
    fn runs_survive_a_restart_and_the_oldest_ended_ones_leave_the_history() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut book = Book::open(folder.path()).expect("opened");
        for number in 0..5 {
            let mut run = Run::new("s", "order".into(), "i");
            run.state = if number == 0 { State::Running } else { State::Succeeded };
            run.ended = Some(Timestamp::from_second(number).expect("a time"));
            book.content.runs.insert(format!("r{number}"), run);
        }
        book.store(2).expect("stored");
        let book = Book::open(folder.path()).expect("opened again");
        assert_eq!(book.content.runs.keys().collect::<Vec<_>>(), ["r0", "r3", "r4"]);
    }

    #[test]
    fn what_was_given_to_a_run_is_not_shown() {
        let mut run = Run::new("s", "order".into(), "i");
        run.environment.push(("TOKEN".into(), "hunter2".into()));
        assert!(!format!("{run:?}").contains("hunter2"));
    }
}
