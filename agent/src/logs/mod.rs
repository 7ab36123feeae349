//! Log files that reach log platforms: sources → lines → records → outputs; positions move on acknowledgement.
//!
//! In: files that applications write and somebody rotates. Out: every line of them, in order, to each output of its
//! source. What survives a restart: for each output and file, up to where the output acknowledged, in
//! `positions-<output>.json` of the duty's state folder. A line that no output has yet is in its file: there is no
//! other buffer.

/// What operators ask for.
mod operator;
/// Where lines go: encoders, transports and the loop that ships.
pub mod output;
/// Durable positions.
pub mod positions;
/// A line on its way, and what it says of itself.
pub mod record;
/// Deletes what is old and shipped.
pub mod retention;
/// Rotates, compresses and deletes, for applications that have nobody who does.
pub mod rotate;
/// Where lines come from: files, their identity, their lines.
pub mod source;
/// Counters, health, and the status made of them.
pub mod status;

use crate::memory::Heaps;
use anyhow::Context as _;
use hostwright_core::config::logs::output::{Output, Platform};
use hostwright_core::config::logs::{self as config, Logs};
use hostwright_duty::supervisor::Context;
use operator::Operator;
use output::Origin;
use output::shipping::{self, Task};
use positions::Positions;
use source::discover::Discovery;
use source::intakes::Intakes;
use source::known::Earlier;
use source::{Source, spool};
use status::Reporting;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Between looks at all folders and files, which cover what inotify missed.
const SCAN: Duration = Duration::from_secs(1);
/// Hints of the kernel are gathered for this long: a busy writer gives thousands a second.
const GATHER: Duration = Duration::from_millis(40);

/// What is being rotated at the end has so long: it is gone on with at the next start.
const FINISH: Duration = Duration::from_secs(1);

/// Follows the sources' files and ships their lines until it is told to stop, then for up to two seconds more.
///
/// # Errors
/// Positions cannot be read, a pattern is not valid, or an output ended by a defect.
pub async fn run(settings: Logs, context: Context) -> anyhow::Result<()> {
    let origin = Arc::new(origin(&context));
    let sources = sources(&settings, &origin, &context.state)?;
    let mut positions = BTreeMap::new();
    for name in settings.outputs.keys() {
        let mut of_output = Positions::open(&context.state, name)?;
        of_output.adopt(name, &sources);
        positions.insert(name.clone(), of_output);
    }
    let mut discovery = Discovery::new(&sources, earlier(&positions), written_by_us(&settings), &context.state)?;
    block_in_place(|| discovery.scan());

    // Outputs stop after the last scan, so that what was written until then is still shipped.
    let stop_outputs = CancellationToken::new();
    let mut intakes = Intakes::start(&settings, &sources, &context.state, context.stop.clone());
    let mut rotation = JoinSet::new();
    let jobs = rotate::jobs(&settings, &sources);
    let _listening = AbortOnDropHandle::new(tokio::spawn(discovery.names().listen()));
    rotation.spawn(rotate::run(jobs, discovery.files(), context.state.clone(), context.stop.clone()));
    let names = settings.sources.into_keys().collect();
    let mut operator = Operator { outputs: settings.outputs, sources: names, origin, resends: BTreeMap::new() };
    let tasks = tasks(&mut operator, (&context, &sources), &discovery, positions, &stop_outputs);
    let mut reporting =
        Reporting::new(sources, tasks.iter().map(|task| (task.name.clone(), task.health.clone())).collect());
    let mut outputs: JoinSet<_> = tasks.into_iter().map(shipping::run).collect();
    let followed = tokio::select! {
        followed = follow(&mut discovery, &mut reporting, &mut outputs, &operator, &context) => followed,
        defect = intakes.failed() => Err(defect),
        Some(ended) = rotation.join_next() => ended?,
    };
    intakes.finish().await;
    let _ = timeout(FINISH, rotation.join_next()).await;
    block_in_place(|| discovery.scan());
    stop_outputs.cancel();
    while let Some(ended) = outputs.join_next().await {
        ended??;
    }
    followed
}

/// Keeps the list of files true and tells how it goes, until told to stop or an output ends, which none should.
async fn follow(
    discovery: &mut Discovery,
    reporting: &mut Reporting,
    outputs: &mut JoinSet<anyhow::Result<()>>,
    operator: &Operator,
    context: &Context,
) -> anyhow::Result<()> {
    let mut ticks = interval(SCAN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heaps = Heaps::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // Once: each is handed to another thread, which costs more than a look at a few files.
                block_in_place(|| {
                    discovery.tick();
                    let files = discovery.files().borrow().clone();
                    retention::apply(&files);
                    spool::remove_acknowledged(&files);
                    heaps.hold(files.len());
                    if let Some(report) = reporting.report(&files, &discovery.problems()) {
                        tell(context, report);
                    }
                });
            }
            () = discovery.hinted() => {
                sleep(GATHER).await;
                block_in_place(|| discovery.follow_hints());
            }
            order = context.orders.next() => operator.take(order),
            Some(ended) = outputs.join_next() => {
                return ended?.and_then(|()| anyhow::bail!("an output ended without being asked to"));
            }
            () = context.stop.cancelled() => return Ok(()),
        }
    }
}

/// What earlier runs left.
fn earlier(positions: &BTreeMap<String, Positions>) -> Vec<Earlier> {
    let mut all = Vec::new();
    for (output, positions) in positions {
        let output: Arc<str> = output.as_str().into();
        all.extend(
            positions.unclaimed().map(|position| Earlier { output: output.clone(), position: position.clone() }),
        );
    }
    all
}

fn origin(context: &Context) -> Origin {
    Origin { host: context.environment.host_name.clone(), labels: context.environment.host.labels.0.clone() }
}

fn sources(settings: &Logs, origin: &Origin, state: &Path) -> anyhow::Result<Vec<Arc<Source>>> {
    let meaning =
        |name: &str| if name == "host" { Some(origin.host.clone()) } else { origin.labels.get(name).cloned() };
    let source = |(name, settings): (&String, &config::Source)| {
        let mut settings = settings.clone();
        settings.filters.iter_mut().for_each(|filter| filter.resolve(meaning));
        Source::new(name, &settings, state).map(Arc::new).with_context(|| format!("logs.sources.{name}"))
    };
    settings.sources.iter().map(source).collect()
}

fn written_by_us(settings: &Logs) -> HashSet<PathBuf> {
    let path = |output: &Output| match &output.platform {
        Platform::File(path) => Some(path.clone()),
        _ => None,
    };
    settings.outputs.values().filter_map(path).collect()
}

/// The loops of the outputs, to which the operator gets a line.
fn tasks(
    operator: &mut Operator,
    (context, sources): (&Context, &[Arc<Source>]),
    discovery: &Discovery,
    positions: BTreeMap<String, Positions>,
    stop: &CancellationToken,
) -> Vec<Task> {
    let task = |(name, positions): (String, Positions)| {
        let (resend, resends) = mpsc::channel(1);
        operator.resends.insert(name.clone(), resend);
        Some(Task {
            settings: operator.outputs.get(&name)?.clone(),
            name,
            origin: operator.origin.clone(),
            sources: sources.to_vec(),
            files: discovery.files(),
            positions,
            health: Arc::default(),
            resends,
            state: context.state.clone(),
            stop: stop.clone(),
        })
    };
    positions.into_iter().filter_map(task).collect()
}

fn tell(context: &Context, report: status::Report) {
    context.status.details(report.details);
    context.status.measures(report.measures);
    match (report.trouble, report.summary) {
        (Some(why), _) => context.status.degraded(why),
        (None, Some(summary)) => context.status.ok(summary),
        (None, None) => {}
    }
}
