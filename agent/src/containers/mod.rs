//! A Compose file that converges on a container engine.
//!
//! In: a Compose file with its `.env` and `env_file`s, and what the engine says of the project's containers. Out: calls
//! to the engine. Each round is level-triggered: look at what is there, compare it with what the file wants (`plan`,
//! pure), do what is missing, say how it is, and wait for a change of the files, an event of the engine or the timer.
//!
//! Nothing of ours needs to survive a restart: containers carry the hash of what they were made from as a label, and
//! keep running when the agent stops. After a crash at any moment the next round goes on from what is there.
//! Containers are the project's by their label; no other is ever touched.

mod apply;
mod compose;
mod desired;
mod engine;
mod events;
#[cfg(test)]
mod fixture;
mod hash;
mod memory;
mod observed;
mod plan;
mod publisher;
mod report;

use crate::supervisor::Context;
use apply::{Work, apply};
use compose::Project;
use desired::Desired;
use engine::{Engine, EngineError};
use events::Events;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::ConfigError;
use hostwright_core::config::containers::Containers;
use jiff::Timestamp;
use memory::Memory;
use plan::{Plan, Recent};
use publisher::Publisher;
use std::path::Path;
use std::time::{Duration, Instant};

/// Events come in bursts; one look after a burst is enough.
const BURST: Duration = Duration::from_millis(100);

/// The API version that brought a health check's `start_interval`; older engines ignore it.
const START_INTERVAL_SINCE: (usize, usize) = (1, 44);

/// Checks a Compose file without touching anything.
///
/// # Errors
/// It cannot be read, or has problems: all of them.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    compose::load(path, None).project.map(drop)
}

/// Runs the duty until it is told to stop. Containers go on when it ends.
pub async fn run(settings: Containers, context: Context) -> anyhow::Result<()> {
    let mut reconciler = Reconciler::new(settings, context.clone());
    while !context.stop.is_cancelled() {
        let next = match reconciler.round().await {
            Ok(next) => next,
            Err(error) => reconciler.without_engine(&error),
        };
        reconciler.wait(next).await;
    }
    Ok(())
}

/// When the next round is due, whatever happens.
enum Next {
    Now,
    At(Instant),
}

struct Reconciler {
    settings: Containers,
    context: Context,
    desired: Desired,
    memory: Memory,
    publisher: Publisher,
    /// The engine and its events, while it answers.
    connection: Option<(Engine, Events)>,
    backoff: Backoff,
}

impl Reconciler {
    fn new(settings: Containers, context: Context) -> Self {
        Self {
            desired: Desired::new(&settings),
            settings,
            publisher: Publisher::new(context.status.clone()),
            context,
            memory: Memory::default(),
            connection: None,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(15)),
        }
    }

    /// Snapshot, plan, apply, publish.
    async fn round(&mut self) -> Result<Next, EngineError> {
        if self.desired.refresh() {
            self.memory.clear();
            // The project may have another name now.
            self.connection = None;
        }
        let timer = Instant::now() + self.settings.reconcile;
        let Some(project) = self.desired.project.clone() else {
            self.publisher.degraded(self.desired.problem.clone().unwrap_or_default());
            return Ok(Next::At(timer));
        };
        let stop = self.context.stop.clone();
        let look = async {
            let engine = self.engine(&project).await?;
            let observed = engine.snapshot(&project).await?;
            Ok::<_, EngineError>((engine, observed))
        };
        let Some(looked) = stop.run_until_cancelled(look).await else { return Ok(Next::Now) };
        let (engine, observed) = looked?;
        self.backoff.reset();
        let recent = Recent { held: &self.memory.held(), pulled: &self.memory.pulled };
        let plan = Plan::make(&project, &observed, recent);
        self.memory.settle(&plan, &observed);

        let work = Work { engine: &engine, project: &project, observed: &observed, stop: &stop };
        self.publisher.publish(&work, &plan, &self.memory, self.desired.problem.as_deref()).await;
        if !plan.is_idle() {
            if apply(&work, &plan, &mut self.memory, |now| self.publisher.now(now)).await {
                return Ok(Next::Now);
            }
            self.publisher.publish(&work, &plan, &self.memory, self.desired.problem.as_deref()).await;
        }
        Ok(Next::At(self.memory.next_try().map_or(timer, |retry| retry.min(timer))))
    }

    /// The connected engine; connects, and follows its events, where there is none.
    async fn engine(&mut self, project: &Project) -> Result<Engine, EngineError> {
        if let Some((engine, events)) = &self.connection
            && !events.have_ended()
        {
            return Ok(engine.clone());
        }
        self.connection = None;
        let since = Timestamp::now();
        let engine = Engine::connect(&self.settings.engine).await?;
        let (major, minor) = engine.api_version();
        log::info!("connected to {}, API {major}.{minor}", self.settings.engine.display());
        if (major, minor) < START_INTERVAL_SINCE {
            for service in project.with_start_interval() {
                log::warn!(
                    "{service}: this engine (API {major}.{minor}) does not know start_interval and uses interval"
                );
            }
        }
        let events = Events::follow(&engine, &project.name, since);
        self.connection = Some((engine.clone(), events));
        Ok(engine)
    }

    /// Says that there is no engine, and when to look again.
    fn without_engine(&mut self, error: &EngineError) -> Next {
        self.connection = None;
        let socket = self.settings.engine.display();
        let why = format!(
            "the container engine at {socket} does not answer: {error}; see systemctl status docker. \
             It is tried again by itself"
        );
        let problem = self.desired.problem.iter().map(|problem| format!("; {problem}"));
        self.publisher.degraded(std::iter::once(why).chain(problem).collect());
        Next::At(Instant::now() + self.backoff.next_delay())
    }

    /// Waits for a reason to look again. Each arm only waits, so each is cancel-safe.
    async fn wait(&self, next: Next) {
        let Next::At(next) = next else { return };
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            () = self.desired.changed() => {}
            () = tokio::time::sleep_until(next.into()) => {}
            () = self.event() => tokio::time::sleep(BURST).await,
        }
    }

    async fn event(&self) {
        match &self.connection {
            Some((_, events)) => events.next().await,
            None => std::future::pending().await,
        }
    }
}
