//! A Compose file that converges on a container engine.
//!
//! In: a Compose file with its `.env` and `env_file`s, and what the engine says of the project's containers. Out: calls
//! to the engine. Each round is level-triggered: look at what is there, compare it with what the file wants (`plan`,
//! pure), do what is missing, say how it is, and wait for a change of the files, an event of the engine or the timer.
//!
//! Containers carry the hash of what they were made from as a label, and keep running when the agent stops; after a
//! crash at any moment the next round goes on from what is there. What survives a restart in the duty's folder is which
//! version of each service was good, which was refused, and which images names stand for. Published ports are held by another process (`host_ports`).
//! Containers are the project's by their label; no other is ever touched.

mod apply;
mod compose;
mod desired;
mod engine;
mod events;
#[cfg(test)]
mod fixture;
mod hash;
mod images;
mod jobs;
mod leftovers;
mod made;
mod memory;
mod observed;
mod orders;
mod plan;
mod publisher;
mod report;
mod update;

use anyhow::Context as _;
use apply::{Work, apply};
pub use compose::Request as ComposeRequest;
use compose::{Project, PullPolicy};
use desired::Desired;
pub use engine::LogQuery;
use engine::{Blueprint, Engine, EngineError, Prefixed};
use events::Events;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::ConfigError;
use hostwright_core::config::containers::Containers;
use hostwright_duty::orders::Order;
use hostwright_duty::supervisor::Context;
use hostwright_duty::supervisor::Reporter;
use images::Images;
use jiff::Timestamp;
use jobs::{Jobs, Surroundings};
use made::Made;
use memory::Memory;
use observed::Observed;
use plan::{Plan, Recent, all_places};
use publisher::Publisher;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use update::held_ports;
use update::switchboard::Switchboard;
use update::traffic;
pub(crate) use update::versions::Refused;
use update::versions::Versions;

/// Events come in bursts; one look after a burst is enough.
const BURST: Duration = Duration::from_millis(100);

/// How often is looked at a container that is to leave its traffic.
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// A look takes milliseconds, and seconds on a busy host.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// The API version that brought a health check's `start_interval`; older engines ignore it.
const START_INTERVAL_SINCE: (usize, usize) = (1, 44);

/// Checks a Compose file without touching anything.
///
/// # Errors
/// It cannot be read, or has problems: all of them.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    compose::load(path, None).project.map(drop)
}

/// Writes the logs of containers to this process' output, side by side where there are several, each line behind its
/// container's prefix.
///
/// # Errors
/// The engine does not answer, or has no such container.
pub async fn write_logs(socket: &Path, containers: &[(String, String)], query: LogQuery) -> anyhow::Result<()> {
    let engine = Engine::connect(socket)
        .await
        .with_context(|| format!("cannot ask the engine at {}; members of its group and root may", socket.display()))?;
    let logs = containers.iter().map(|(prefix, container)| {
        let engine = engine.clone();
        async move {
            let (mut out, mut err) =
                (Prefixed::new(prefix, std::io::stdout()), Prefixed::new(prefix, std::io::stderr()));
            engine.write_log(container, query, (&mut out, &mut err)).await
        }
    });
    for result in futures_util::future::join_all(logs).await {
        result?;
    }
    Ok(())
}

/// The canonical model of Compose files as JSON, and what was odd in them.
///
/// # Errors
/// They cannot be read, or have problems.
pub fn canonical(request: &ComposeRequest) -> Result<(String, Vec<String>), ConfigError> {
    compose::canonical(request)
}

/// Runs the duty until it is told to stop. Containers go on when it ends.
///
/// # Errors
/// The state of an earlier run cannot be read.
pub async fn run(settings: Containers, context: Context) -> anyhow::Result<()> {
    let memory = Memory::new(Versions::open(&context.state)?, Made::open(&context.state)?);
    let images = Arc::new(Images::open(&settings.images, &context.state)?);
    let jobs = Arc::new(Jobs::start(&settings.jobs, surroundings(&settings, &context, &images))?);
    let mut reconciler = Reconciler::new(settings, context.clone(), (memory, images, jobs));
    while !context.stop.is_cancelled() {
        let next = match reconciler.round().await {
            Ok(next) => next,
            Err(error) => {
                reconciler.switchboard.withdraw().await;
                reconciler.without_engine(&error)
            }
        };
        if let Some(order) = reconciler.wait(next).await {
            reconciler.take(order);
        }
    }
    Ok(())
}

fn surroundings(settings: &Containers, context: &Context, images: &Arc<Images>) -> Surroundings {
    let mut host = context.environment.host.labels.0.clone();
    host.insert("host".into(), context.environment.host_name.clone());
    Surroundings {
        images: images.clone(),
        socket: settings.engine.clone(),
        state: context.state.clone(),
        host,
        stop: context.stop.clone(),
    }
}

/// When the next round is due, whatever happens.
enum Next {
    Now,
    At(Instant),
}

/// Says so when the engine lets somebody wait who only looks. It has more time than that, and may answer yet.
async fn tell_if_hung<T>(socket: &Path, status: &Reporter) -> T {
    tokio::time::sleep(HUNG_AFTER).await;
    status.degraded(format!(
        "the container engine takes connections at {} and has not answered for {} s; what runs goes on, and the agent waits \
         for it (see systemctl status docker)",
        socket.display(),
        HUNG_AFTER.as_secs()
    ));
    std::future::pending().await
}

struct Reconciler {
    settings: Containers,
    context: Context,
    desired: Desired,
    images: Arc<Images>,
    jobs: Arc<Jobs>,
    memory: Memory,
    switchboard: Switchboard,
    publisher: Publisher,
    /// The engine and its events, while it answers.
    connection: Option<(Engine, Events)>,
    backoff: Backoff,
    /// Whether nothing unused was left after the last change.
    is_tidy: bool,
}

impl Reconciler {
    fn new(settings: Containers, context: Context, (memory, images, jobs): (Memory, Arc<Images>, Arc<Jobs>)) -> Self {
        Self {
            desired: Desired::new(&settings, context.state.join("files")),
            images,
            jobs,
            publisher: Publisher::new(context.status.clone(), &settings.engine),
            memory,
            switchboard: Switchboard::new(&context.environment.runtime),
            context,
            settings,
            connection: None,
            is_tidy: false,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(15)),
        }
    }

    /// Snapshot, plan, apply, publish.
    async fn round(&mut self) -> Result<Next, EngineError> {
        self.publisher.begin();
        if self.desired.refresh() {
            self.memory.clear();
            self.is_tidy = false;
            // The project may have another name now.
            self.connection = None;
        }
        self.jobs.project.send_if_modified(|known| {
            let is_new = known.as_ref().map(Arc::as_ptr) != self.desired.jobs.as_ref().map(Arc::as_ptr);
            known.clone_from(&self.desired.jobs);
            is_new
        });
        let timer = Instant::now() + self.settings.reconcile;
        let Some(project) = self.desired.project.clone() else {
            self.publisher.degraded(self.desired.problem.clone().unwrap_or_default());
            return Ok(Next::At(timer));
        };
        let stop = self.context.stop.clone();
        let (images, jobs) = (self.images.clone(), self.jobs.clone());
        let (socket, status) = (self.settings.engine.clone(), self.context.status.clone());
        let look = async {
            let engine = self.engine(&project).await?;
            let mut observed = engine.snapshot(&project).await?;
            images.hold(&engine, &mut observed.images).await?;
            Ok::<_, EngineError>((engine, observed))
        };
        let looked = tokio::select! {
            looked = stop.run_until_cancelled(look) => looked,
            never = tell_if_hung(&socket, &status) => never,
        };
        let Some(looked) = looked else { return Ok(Next::Now) };
        let (engine, observed) = looked?;
        let project = self.desired.with_checks(project, &observed.checked);
        self.backoff.reset();
        self.memory.versions.settle(|name| {
            let service = project.services.get(name)?;
            Some((hash::service(&project, service), observed.images.get(&service.image).map(String::as_str)))
        });
        let plan = self.plan(&project, &observed).await;
        self.memory.settle(&plan, &observed);
        self.note_good(&project, &observed, &plan);

        let work =
            Work { engine: &engine, images: &images, jobs: &jobs, project: &project, observed: &observed, stop: &stop };
        self.publisher.ports = self.switchboard.refusal();
        self.publisher.publish(&work, &plan, &self.memory, self.problem().as_deref()).await;
        if !plan.is_idle() {
            self.switchboard.leave(&plan.ends()).await;
            if apply(&work, &plan, &mut self.memory, |now| self.publisher.now(now)).await {
                return Ok(Next::Now);
            }
            self.publisher.publish(&work, &plan, &self.memory, self.problem().as_deref()).await;
        }
        if let Some(cleaned) = stop.run_until_cancelled(self.clean_up(&engine, &project)).await {
            cleaned?;
        }
        if let Some(tidied) = stop.run_until_cancelled(self.tidy(&engine, &plan)).await {
            tidied?;
        }
        let soon = plan.next_look.map(|wait| Instant::now() + wait);
        let next = self.memory.next_try().into_iter().chain(soon).fold(timer, Instant::min);
        Ok(Next::At(next))
    }

    /// Sends traffic where it belongs now, then finds out what is to be done.
    async fn plan(&mut self, project: &Project, observed: &Observed) -> Plan {
        let (held, due, now) = (self.memory.held(), self.due_images(project), Timestamp::now());
        let (paused, next_pause) = self.memory.long_paused(observed);
        let (nobody, edited, starts) = (BTreeSet::new(), self.memory.made.edited(observed), self.memory.starts());
        // The places borrow the versions, and the drain changes the memory beside them.
        let (busy, is_draining) = {
            let recent = Recent {
                held: &held,
                due: &due,
                versions: &self.memory.versions,
                edited: &edited,
                paused: &paused,
                starts: &starts,
                busy: &nobody,
                exchanged: &self.memory.exchanged,
                now,
            };
            let places = all_places(project, observed, recent);
            let attached = self.switchboard.send(project, (observed, &places)).await;
            let held = places.iter().filter(|place| held_ports::is_held(project, &project.services[place.service]));
            let draining: Vec<String> = held.filter_map(traffic::draining).map(|old| old.id.clone()).collect();
            let busy = self.memory.busy(draining.iter().map(String::as_str), attached.as_ref());
            (busy, !draining.is_empty())
        };
        let recent = Recent {
            busy: &busy,
            exchanged: &self.memory.exchanged,
            edited: &edited,
            paused: &paused,
            starts: &starts,
            held: &held,
            due: &due,
            versions: &self.memory.versions,
            now,
        };
        let mut plan = Plan::make(project, observed, &all_places(project, observed, recent), recent);
        let looks = is_draining.then_some(DRAIN_LOOK).into_iter().chain(next_pause);
        plan.next_look = looks.chain(plan.next_look).min();
        plan
    }

    /// Makes durable what has shown that it is good: at once, for the file may say something else at the next look.
    fn note_good(&mut self, project: &Project, observed: &Observed, plan: &Plan) {
        for name in &plan.proven {
            let Some(container) = observed.of_service(name) else { continue };
            if self.memory.versions.is_good(name, &container.hash, &container.image_id) {
                continue;
            }
            let blueprint = Blueprint::of(project, name, &container.image_id);
            // One that only stays because nothing better is known is not what the file says.
            if blueprint.hash == container.hash {
                self.memory.versions.good(name, blueprint);
                self.is_tidy = false;
            }
        }
        if let Err(error) = self.memory.versions.store() {
            log::error!("{error}; what was good is not known after a restart");
        }
    }

    /// What is wrong with what everything stands on.
    fn problem(&self) -> Option<String> {
        let own = [&self.desired.problem, &self.switchboard.problem].into_iter().flatten().cloned();
        let problems: Vec<String> = own.chain(self.images.complaints()).chain(self.jobs.complaints()).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Images whose names are to be resolved again.
    fn due_images(&self, project: &Project) -> BTreeSet<String> {
        let services = project.services.values();
        let always = services.clone().filter(|service| service.pull_policy == PullPolicy::Always);
        self.images.deploy(&self.desired.version(), always.map(|service| service.image.clone()));
        let due = services.filter(|service| self.images.is_due(&service.image, service.pull_policy));
        due.map(|service| service.image.clone()).collect()
    }

    /// A deployment resolves names again, whatever their policy, unless they are never pulled.
    fn resolve_images_of(&self, services: &[String]) {
        let Some(project) = &self.desired.project else { return };
        let services = services.iter().filter_map(|name| project.services.get(name));
        let pulled = services.filter(|service| service.pull_policy != PullPolicy::Never);
        self.images.ask_again(pulled.map(|service| service.image.clone()));
    }

    /// Removes images that nobody uses, when it is time for it.
    async fn clean_up(&self, engine: &Engine, project: &Project) -> Result<(), EngineError> {
        let jobs = self.desired.jobs.iter().flat_map(|project| project.services.values());
        let wanted = project.services.values().chain(jobs).map(|service| service.image.clone()).collect();
        self.images.clean_up(engine, &wanted, self.memory.versions.image_ids()).await
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
    async fn wait(&self, next: Next) -> Option<Order> {
        // An order that is there is taken between any two rounds.
        let next = match next {
            Next::Now => Instant::now(),
            Next::At(next) => next,
        };
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => {}
            order = self.context.orders.next() => return Some(order),
            () = self.desired.changed() => {}
            () = self.jobs.changed() => {}
            () = tokio::time::sleep_until(next.into()) => {}
            () = self.event() => tokio::time::sleep(BURST).await,
        }
        None
    }

    async fn event(&self) {
        match &self.connection {
            Some((_, events)) => events.next().await,
            None => std::future::pending().await,
        }
    }
}
