use super::compose::{OnFailure, Project, PullPolicy};
use super::engine::{Blueprint, Engine, EngineError, Make};
use super::hash;
use super::images::Images;
use super::jobs::Jobs;
use super::memory::Memory;
use super::observed::Observed;
use super::plan::{Action, Plan, Preparation, Step};
use super::update::versions::{Refused, Versions, Wanted};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

/// Services worked on at the same time: one that stops slowly must not hold the others up.
const AT_ONCE: usize = 4;
/// How much of a refused container's log is kept.
const LAST_LINES: u32 = 10;

/// What applying a plan needs.
#[derive(Debug)]
pub struct Work<'a> {
    pub engine: &'a Engine,
    pub images: &'a Images,
    pub jobs: &'a Jobs,
    pub project: &'a Project,
    pub observed: &'a Observed,
    /// No new action begins after it is cancelled; one that has begun is finished, as far as the drain allows.
    pub stop: &'a CancellationToken,
}

/// Carries a plan out; a failure stops nothing but its own service. Returns whether anything was done.
///
/// A crash between any two calls to the engine leaves a state from which the next plan goes on.
pub async fn apply(work: &Work<'_>, plan: &Plan, memory: &mut Memory, tell: impl Fn(String) + Send + Sync) -> bool {
    let mut progressed = false;
    for preparation in &plan.preparations {
        if work.stop.is_cancelled() {
            return progressed;
        }
        let result = prepare(work, preparation).await;
        progressed |= result.is_ok();
        log_result(&preparation.name(), "prepared", &result);
        if let Err(error) = result {
            memory.tried(&preparation.name(), Err(error.to_string()));
        }
    }
    for (image, services) in &plan.pulls {
        let result = tokio::select! {
            () = work.stop.cancelled() => return progressed,
            // What was pulled so far stays with the engine.
            result = work.images.bring(work.engine, image, &tell) => result,
        };
        progressed |= result.is_ok();
        if let Err(why) = result {
            log::warn!(image; "{why}");
            services.iter().for_each(|service| memory.tried(service, Err(why.clone())));
        }
    }
    for step in &plan.steps {
        if let Action::GiveUp { id, why } = &step.action {
            refuse(work, step, (id, why), &mut memory.versions).await;
        }
    }
    let remembered = &*memory;
    let steps: Vec<_> = plan.steps.iter().map(|step| act_unless_stopped(work, step, remembered)).collect();
    let results: Vec<_> = stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
    memory.made.store();
    for (step, result) in results.into_iter().flatten() {
        progressed |= result.is_ok();
        if result.is_ok() && matches!(step.action, Action::Remove { .. }) {
            memory.exchanged.insert(step.service.clone(), Timestamp::now());
        }
        if result.is_err() || step.action.is_repeated() {
            memory.tried(&step.service, result.map_err(|error| error.to_string()));
        } else if matches!(step.action, Action::GiveUp { .. }) {
            // The one that goes on need not wait for the attempts of the other.
            memory.forget(&step.service);
        }
    }
    progressed
}

/// Notes, before anything is done, that a version is not to be tried again: a crash must not make it new.
async fn refuse(work: &Work<'_>, step: &Step, (id, why): (&str, &str), versions: &mut Versions) {
    let service = &step.service;
    let Some(container) = work.observed.containers.iter().find(|container| container.id == id) else { return };
    let last_lines = work.engine.last_lines(id, LAST_LINES).await;
    log::error!(service = service.as_str(); "{service}: the new version is not good, {why}; its log ends: {}", last_lines.join(" | "));
    let (hash, image_id) = (container.hash.clone(), container.image_id.clone());
    let pace = work.project.services.get(service).map(|service| service.rollout.pace(false));
    let is_paused = pace.is_some_and(|pace| pace.on_failure == OnFailure::Pause);
    let why = why.to_owned();
    versions.refuse(service, Refused { hash, image_id, why, is_paused, last_lines, at: Timestamp::now() });
    if let Err(error) = versions.store() {
        log::error!("{error}; after a restart the agent will try {service}'s refused version again");
    }
}

async fn prepare(work: &Work<'_>, preparation: &Preparation) -> Result<(), EngineError> {
    let Work { engine, project, .. } = work;
    match preparation {
        Preparation::RemoveContainer { id, name, why } => {
            log::info!(container = name.as_str(); "removing the container {name}: {why}");
            engine.stop_and_remove(id).await
        }
        Preparation::RemoveNetwork { name } => engine.remove_network(name).await,
        Preparation::CreateNetwork(key) => engine.create_network(project, key, &project.networks[key]).await,
        Preparation::CreateVolume(key) => engine.create_volume(project, key, &project.volumes[key]).await,
    }
}

async fn act_unless_stopped<'p>(
    work: &Work<'_>,
    step: &'p Step,
    memory: &Memory,
) -> Option<(&'p Step, Result<(), EngineError>)> {
    if work.stop.is_cancelled() {
        return None;
    }
    let result = act(work, step, memory).await;
    log_result(&step.service, step.action.done(), &result);
    Some((step, result))
}

async fn act(work: &Work<'_>, step: &Step, memory: &Memory) -> Result<(), EngineError> {
    let (engine, service) = (work.engine, step.service.as_str());
    match &step.action {
        Action::Create { name, why } => {
            log::info!(service; "making {name}: {why}");
            let (blueprint, by_image_id) = blueprint(work, service, &memory.versions);
            let make = Make { name, number: step.number, by_image_id };
            let id = engine.create(&blueprint, make).await?;
            memory.made.note(id.clone(), engine.settings(&id).await?);
            engine.start(&id).await
        }
        Action::Start { id } => start(engine, id).await,
        Action::Restart { id, why } => {
            log::info!(service; "restarting {service}: {why}");
            engine.stop(id).await?;
            engine.start(id).await
        }
        Action::Resume { id } => {
            log::info!(service; "{service} was paused; it goes on");
            engine.resume(id).await
        }
        Action::Stop { id, why } => {
            log::info!(service; "stopping {service} before its new container is made: {why}");
            engine.stop(id).await
        }
        Action::Remove { id } | Action::GiveUp { id, .. } => engine.stop_and_remove(id).await,
        Action::Rename { id, name } => engine.rename(id, name).await,
        Action::Correct { id } => engine.correct(id, &Blueprint::of(work.project, service, "")).await,
    }
}

/// Starts a container that is there. After an engine that was killed while it started one, that one can never be started
/// again ("task … already exists", "id already in use"): it goes, and is made anew in the next round.
async fn start(engine: &Engine, id: &str) -> Result<(), EngineError> {
    match engine.start(id).await {
        Err(EngineError::Refused { message, .. })
            if ["already exists", "id already in use"].iter().any(|words| message.contains(words)) =>
        {
            log::warn!("the engine has lost hold of a container ({message}); it is made anew");
            engine.stop_and_remove(id).await
        }
        started => started,
    }
}

/// What a service's container is made from now, and whether by its image's id.
fn blueprint(work: &Work<'_>, name: &str, versions: &Versions) -> (Blueprint, bool) {
    let service = &work.project.services[name];
    let image = work.observed.images.get(&service.image).map(String::as_str);
    let must_be_image = service.pull_policy != PullPolicy::Never;
    match versions.wanted(name, hash::service(work.project, service), (image, must_be_image)) {
        Wanted::Earlier(version) | Wanted::WhatIsThere(Some(version)) => (version.blueprint.clone(), true),
        Wanted::File { .. } | Wanted::WhatIsThere(None) => {
            (Blueprint::of(work.project, name, image.unwrap_or_default()), false)
        }
    }
}

fn log_result(what: &str, done: &str, result: &Result<(), EngineError>) {
    match result {
        Ok(()) => log::info!(what; "{what}: {done}"),
        Err(error) => log::warn!(what; "{what}: not {done}: {error}"),
    }
}
