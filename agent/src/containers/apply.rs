use super::compose::Project;
use super::engine::{Engine, EngineError};
use super::memory::Memory;
use super::observed::Observed;
use super::plan::{Action, Plan, Preparation};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

/// Services worked on at the same time: one that stops slowly must not hold the others up.
const AT_ONCE: usize = 4;

/// What applying a plan needs.
#[derive(Debug)]
pub struct Work<'a> {
    pub engine: &'a Engine,
    pub project: &'a Project,
    pub observed: &'a Observed,
    /// No new action begins after it is cancelled; one that has begun is finished, as far as the drain allows.
    pub stop: &'a CancellationToken,
}

/// Carries a plan out; a failure stops nothing but its own service. Returns whether anything was done.
///
/// A crash between any two calls to the engine leaves a state from which the next plan goes on.
pub async fn apply(work: &Work<'_>, plan: &Plan, memory: &mut Memory, pulling: impl Fn(String)) -> bool {
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
            result = pull(work.engine, image, &pulling) => result,
        };
        progressed |= result.is_ok();
        match result {
            Ok(()) => {
                memory.pulled.insert(image.clone());
            }
            Err(why) => services.iter().for_each(|service| memory.tried(service, Err(why.clone()))),
        }
    }
    let actions: Vec<_> =
        plan.actions.iter().map(|(service, action)| act_unless_stopped(work, service, action)).collect();
    let results: Vec<_> = stream::iter(actions).buffer_unordered(AT_ONCE).collect().await;
    for (service, result) in results.into_iter().flatten() {
        progressed |= result.is_ok();
        memory.tried(service, result.map_err(|error| error.to_string()));
    }
    progressed
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

async fn pull(engine: &Engine, image: &str, pulling: &impl Fn(String)) -> Result<(), String> {
    log::info!(image; "pulling {image}");
    pulling(format!("pulling {image}"));
    let result = engine.pull(image, |done, of| pulling(format!("pulling {image}: {done} of {of} layers"))).await;
    match result {
        Ok(()) => {
            log::info!(image; "pulled {image}");
            Ok(())
        }
        Err(error) => {
            let why = format!("cannot pull {image}: {error}");
            log::warn!(image; "{why}");
            Err(why)
        }
    }
}

async fn act_unless_stopped<'p>(
    work: &Work<'_>,
    service: &'p str,
    action: &Action,
) -> Option<(&'p str, Result<(), EngineError>)> {
    if work.stop.is_cancelled() {
        return None;
    }
    let result = act(work, service, action).await;
    log_result(service, action.done(), &result);
    Some((service, result))
}

async fn act(work: &Work<'_>, service: &str, action: &Action) -> Result<(), EngineError> {
    let Work { engine, project, observed, .. } = work;
    if let Action::Start { id } = action {
        return engine.start(id).await;
    }
    if let Action::Replace { id, why } = action {
        log::info!(service; "replacing the container of {service}: {why}");
        engine.stop_and_remove(id).await?;
    }
    let image_id = observed.images.get(&project.services[service].image).map_or("", String::as_str);
    let id = engine.create(project, service, image_id).await?;
    engine.start(&id).await
}

fn log_result(what: &str, done: &str, result: &Result<(), EngineError>) {
    match result {
        Ok(()) => log::info!(what; "{what}: {done}"),
        Err(error) => log::warn!(what; "{what}: not {done}: {error}"),
    }
}
