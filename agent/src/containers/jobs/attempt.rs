use super::book::Run;
use super::outputs::Outputs;
use crate::containers::compose::{Project, Service};
use crate::containers::engine::{Blueprint, Engine, EngineError, JobContainer, JobState};
use crate::containers::images::Images;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The engine may be restarting.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);

/// What one attempt of a run takes.
pub struct Attempt {
    pub id: String,
    pub run: Run,
    pub project: Arc<Project>,
    pub images: Arc<Images>,
    pub socket: PathBuf,
    pub outputs: Option<Outputs>,
    pub timeout: Option<Duration>,
    /// Is told what is to be remembered before the end.
    pub tell: UnboundedSender<Began>,
}

/// A container of a run was made and started.
#[derive(Debug)]
pub struct Began {
    pub id: String,
    pub container: String,
    pub digest: Option<String>,
    pub started: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    Ended(JobState),
    /// After so long.
    TimedOut(JobState, Duration),
    /// No container ran to its end.
    Failed(String),
}

impl Attempt {
    /// The name of its container: the first attempt has the run's own.
    fn name(&self) -> String {
        match self.run.attempt {
            1 => self.id.clone(),
            number => format!("{}-{number}", self.id),
        }
    }

    /// Goes on from whatever is there, until the container has ended; an engine that does not answer is waited for.
    pub async fn run(self) -> (String, Outcome) {
        loop {
            match self.go().await {
                Ok(outcome) => return (self.id, outcome),
                Err(EngineError::Unreachable(why)) => {
                    log::warn!(job_id = self.id.as_str(); "the job {} waits for the engine: {why}", self.id);
                    tokio::time::sleep(ENGINE_PAUSE).await;
                }
                Err(error) => return (self.id, Outcome::Failed(error.to_string())),
            }
        }
    }

    async fn go(&self) -> Result<Outcome, EngineError> {
        let engine = Engine::connect(&self.socket).await?;
        let found = engine.job(&self.name()).await?;
        let container = match found {
            Some(found) if found.job_id == self.id => found,
            Some(_) => return Ok(Outcome::Failed(format!("another container has the name {}", self.name()))),
            None if self.run.container.is_some() => {
                return Ok(Outcome::Failed("its container was removed before its end was seen".into()));
            }
            None => match self.create(&engine).await? {
                Ok(created) => created,
                Err(why) => return Ok(Outcome::Failed(why)),
            },
        };
        if container.is_created {
            engine.start(&container.id).await?;
        }
        let started = engine.job(&container.id).await?.and_then(|state| state.started).or(container.started);
        let (id, digest) = (self.id.clone(), self.images.digest(&self.run.image));
        // Whoever listens is gone only when this task is too.
        let _ = self.tell.send(Began { id, container: container.id.clone(), digest, started });
        self.wait(&engine, &container.id, started).await
    }

    async fn wait(&self, engine: &Engine, id: &str, started: Option<Timestamp>) -> Result<Outcome, EngineError> {
        let gone = || Outcome::Failed("its container was removed before its end was seen".into());
        let Some(timeout) = self.timeout else {
            return Ok(engine.job_end(id).await?.map_or_else(gone, Outcome::Ended));
        };
        let so_far = started.map_or(Duration::ZERO, |started| {
            Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default()
        });
        match tokio::time::timeout(timeout.saturating_sub(so_far), engine.job_end(id)).await {
            Ok(end) => Ok(end?.map_or_else(gone, Outcome::Ended)),
            Err(_) => {
                // With its grace, then by force.
                engine.stop(id).await?;
                Ok(engine.job_end(id).await?.map_or_else(gone, |state| Outcome::TimedOut(state, timeout)))
            }
        }
    }

    async fn create(&self, engine: &Engine) -> Result<Result<JobState, String>, EngineError> {
        let service = &self.project.services[&self.run.service];
        let image_id = match self.image(engine, service).await? {
            Ok(id) => id,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(outputs) = &self.outputs
            && let Err(error) = outputs.make(service.user.as_deref())
        {
            return Ok(Err(format!("cannot make the outputs folder {}: {error}", outputs.folder.display())));
        }
        let blueprint = Blueprint::of(&self.project, &self.run.service, &image_id);
        let own = ("HOSTWRIGHT_JOB_ID".to_owned(), self.id.clone());
        let job = JobContainer {
            name: &self.name(),
            job_id: &self.id,
            environment: self.run.environment.iter().cloned().chain([own]).collect(),
            arguments: &self.run.arguments,
            outputs: self.outputs.as_ref().map(|outputs| (outputs.folder.as_path(), outputs.inside.as_path())),
        };
        let id = engine.create_job(&blueprint, &job).await?;
        log::info!(job_id = self.id.as_str(); "the job {} begins, attempt {}", self.id, self.run.attempt);
        Ok(engine.job(&id).await?.ok_or_else(|| "its container was removed at once".to_owned()))
    }

    async fn image(&self, engine: &Engine, service: &Service) -> Result<Result<String, String>, EngineError> {
        let image = &service.image;
        let is_due = self.images.is_due(image, service.pull_policy);
        let here = engine.image_id(image).await?;
        if let Some(id) = here.filter(|_| !is_due) {
            return Ok(Ok(id));
        }
        if let Err(why) = self.images.bring(engine, image, &|_| {}).await {
            return Ok(Err(why));
        }
        Ok(engine.image_id(image).await?.ok_or_else(|| format!("the engine does not have {image}")))
    }
}
