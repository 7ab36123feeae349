//! Starts duties, restarts each alone with backoff, drains them; knows no duty by name.
//!
//! A duty is `async fn run(settings, context) -> anyhow::Result<()>` that ends when `context.stop` is cancelled. One
//! that ends in an error, or panics, is started again after a jittered delay while the others go on. What duties say
//! of themselves flows over one `watch` channel, which the API, systemd's STATUS and the metrics read.

use crate::measures::Measures;
use crate::orders::{Desk, Orders};
use anyhow::anyhow;
use futures_util::future::BoxFuture;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::host::Host;
use hostwright_core::status::{DutyStatus, Status};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A duty that ran this long is taken for well: its next restart is quick again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// What every duty is given, the same for all.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The host's name.
    pub host_name: String,
    /// Labels and name as configured.
    pub host: Host,
    /// Where duties keep durable state, each in a folder of its name.
    pub state: PathBuf,
    /// Where sockets are.
    pub runtime: PathBuf,
}

/// What a running duty is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Says how the duty is.
    pub status: Reporter,
    /// How all duties are.
    pub statuses: watch::Receiver<Statuses>,
    /// What operators ask of it. A duty that takes none leaves them alone.
    pub orders: Orders,
    /// Where orders for any duty are handed in.
    pub desk: Desk,
    /// The duty's own folder for durable state; it exists.
    pub state: PathBuf,
    /// What is the same for all duties.
    pub environment: Arc<Environment>,
    /// Cancelled when the duty is to finish what it has begun and end.
    pub stop: CancellationToken,
}

/// How all duties are.
#[derive(Clone, Debug)]
pub struct Statuses {
    /// When the agent started.
    pub started: Timestamp,
    /// A row for each duty.
    pub duties: BTreeMap<&'static str, DutyStatus>,
    /// What duties measure of themselves.
    pub measures: BTreeMap<&'static str, Arc<Measures>>,
    /// The latch of readiness: the duties that have not been ok yet since they came with the configuration.
    pub not_yet_ok: BTreeSet<&'static str>,
    /// Whether the agent is on its way out.
    pub draining: bool,
}

impl Statuses {
    /// Whether every duty has been ok since the start. It stays so when one falls ill later.
    pub fn ready(&self) -> bool {
        self.not_yet_ok.is_empty() && !self.draining
    }
}

type Run = Arc<dyn Fn(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// A duty with its settings, ready to be started, as often as needed.
#[derive(Clone)]
pub struct Duty {
    name: &'static str,
    /// The settings as text, to tell at a reload whether they changed. Secrets are in it by reference only.
    settings: String,
    run: Run,
}

impl Duty {
    /// Its name: the same word in the configuration, the status, metrics and logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Binds a duty's `run` to its settings.
    pub fn new<S, F>(name: &'static str, settings: S, run: fn(S, Context) -> F) -> Self
    where
        S: Clone + std::fmt::Debug + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let text = format!("{settings:?}");
        Self { name, settings: text, run: Arc::new(move |context| Box::pin(run(settings.clone(), context))) }
    }
}

/// Says how a duty is.
#[derive(Clone, Debug)]
pub struct Reporter {
    name: &'static str,
    statuses: watch::Sender<Statuses>,
}

impl Reporter {
    /// It does its work.
    pub fn ok(&self, summary: impl Into<String>) {
        self.set(Status::Ok { summary: summary.into() });
    }

    /// It goes on, but not as it should; `why` says what an operator can do.
    pub fn degraded(&self, why: impl Into<String>) {
        self.set(Status::Degraded { why: why.into() });
    }

    /// Further facts, shown in the JSON status under `details`.
    pub fn details(&self, details: serde_json::Value) {
        self.update(|row, _| {
            let changed = row.details != details;
            row.details = details;
            changed
        });
    }

    /// What it measures of itself; nobody is woken for it.
    pub fn measures(&self, measures: Measures) {
        self.statuses.send_if_modified(|statuses| {
            if statuses.duties.contains_key(self.name) {
                statuses.measures.insert(self.name, Arc::new(measures));
            }
            false
        });
    }

    fn set(&self, status: Status) {
        self.update(|row, not_yet_ok| {
            let unlatched = matches!(status, Status::Ok { .. }) && not_yet_ok.remove(self.name);
            if row.status == status {
                return unlatched;
            }
            if row.status.name() != status.name() {
                row.since = Timestamp::now();
                log_change(self.name, &status);
            }
            row.status = status;
            true
        });
    }

    fn update(&self, change: impl FnOnce(&mut DutyStatus, &mut BTreeSet<&'static str>) -> bool) {
        self.statuses.send_if_modified(|statuses| {
            let Some(row) = statuses.duties.get_mut(self.name) else { return false };
            change(row, &mut statuses.not_yet_ok)
        });
    }
}

fn log_change(duty: &str, status: &Status) {
    let (name, explanation) = (status.name(), status.explanation());
    match status {
        Status::Starting | Status::Ok { .. } => log::info!(duty, state = name; "{duty}: {name} {explanation}"),
        Status::Degraded { .. } => log::warn!(duty, state = name; "{duty}: {name}: {explanation}"),
        Status::Failed { .. } => log::error!(duty, state = name; "{duty}: {name}: {explanation}"),
    }
}

struct Running {
    duty: Duty,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The running duties.
pub struct Supervisor {
    environment: Arc<Environment>,
    statuses: watch::Sender<Statuses>,
    desk: Desk,
    running: BTreeMap<&'static str, Running>,
}

impl Supervisor {
    /// A supervisor without duties.
    pub fn new(environment: Environment) -> Self {
        let statuses = Statuses {
            started: Timestamp::now(),
            duties: BTreeMap::new(),
            measures: BTreeMap::new(),
            not_yet_ok: BTreeSet::new(),
            draining: false,
        };
        Self {
            environment: Arc::new(environment),
            statuses: watch::Sender::new(statuses),
            desk: Desk::default(),
            running: BTreeMap::new(),
        }
    }

    /// How all duties are, now and at every change.
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// Makes `duties` the ones that run: starts new ones, ends those that are gone, restarts those whose settings
    /// changed, and leaves the others untouched. Returns the names that it touched.
    pub async fn apply(&mut self, environment: Environment, duties: Vec<Duty>, grace: Duration) -> Vec<&'static str> {
        let everything = format!("{:?}", *self.environment) != format!("{environment:?}");
        self.environment = Arc::new(environment);
        let unchanged = |running: &Running| {
            !everything
                && duties.iter().any(|duty| duty.name == running.duty.name && duty.settings == running.duty.settings)
        };
        let gone: Vec<_> = self.running.values().filter(|running| !unchanged(running)).map(|r| r.duty.name).collect();
        let ended: Vec<_> = gone.iter().filter_map(|name| self.running.remove(name)).collect();
        drain(ended, grace).await;
        gone.iter().for_each(|name| self.desk.close(name));
        self.statuses.send_modify(|statuses| {
            statuses.duties.retain(|name, _| !gone.contains(name));
            statuses.measures.retain(|name, _| !gone.contains(name));
            statuses.not_yet_ok.retain(|name| !gone.contains(name));
            // All at once: one that is ok before the next one is started would make the agent ready for a moment.
            let new = duties.iter().map(|duty| duty.name).filter(|name| !self.running.contains_key(name));
            statuses.not_yet_ok.extend(new);
        });
        let mut touched = gone;
        for duty in duties {
            if !self.running.contains_key(duty.name) {
                if !touched.contains(&duty.name) {
                    touched.push(duty.name);
                }
                self.start(duty);
            }
        }
        touched
    }

    /// Asks every duty to finish, waits up to `grace`, and returns the names of those that did not.
    pub async fn drain(mut self, grace: Duration) -> Vec<&'static str> {
        self.statuses.send_modify(|statuses| statuses.draining = true);
        drain(std::mem::take(&mut self.running).into_values().collect(), grace).await
    }

    fn start(&mut self, duty: Duty) {
        let starting = DutyStatus {
            status: Status::Starting,
            since: Timestamp::now(),
            restarts: 0,
            details: serde_json::Value::Null,
        };
        self.statuses.send_modify(|statuses| {
            statuses.duties.insert(duty.name, starting);
        });
        let stop = CancellationToken::new();
        let context = Context {
            status: Reporter { name: duty.name, statuses: self.statuses.clone() },
            statuses: self.statuses.subscribe(),
            orders: self.desk.open(duty.name),
            desk: self.desk.clone(),
            state: self.environment.state.join(duty.name),
            environment: self.environment.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(keep_running(duty.clone(), context));
        self.running.insert(duty.name, Running { duty, stop, task });
    }
}

/// Runs a duty until it is told to stop, however often it fails.
async fn keep_running(duty: Duty, context: Context) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        let began = Instant::now();
        let why = match run_once(&duty, context.clone()).await {
            Ok(()) if context.stop.is_cancelled() => return,
            Ok(()) => anyhow!("ended without being asked to"),
            Err(error) => error,
        };
        if context.stop.is_cancelled() {
            log::warn!(duty = duty.name; "{}: while stopping: {why:#}", duty.name);
            return;
        }
        if began.elapsed() >= WELL_AFTER {
            backoff.reset();
        }
        let delay = backoff.next_delay();
        let retry_at = Timestamp::now() + delay;
        context.status.update(|row, _| {
            row.restarts += 1;
            true
        });
        context.status.set(Status::Failed { why: format!("{why:#}"), retry_at });
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

async fn run_once(duty: &Duty, context: Context) -> anyhow::Result<()> {
    let state = &context.state;
    // The unit's StateDirectoryMode says the same; whoever runs the agent by hand is no worse off.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(|e| {
        anyhow!("cannot create the state folder {}: {e}; see that it can be written and has space", state.display())
    })?;
    // A task of its own, so that a panic becomes one more failure to restart.
    let mut task = AbortOnDrop(tokio::spawn((duty.run)(context)));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(anyhow!("panicked, which is a defect of this program: {}", panic_text(error.into_panic())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Aborting the outer task aborts the duty in it.
struct AbortOnDrop(JoinHandle<anyhow::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    payload.downcast::<String>().map_or_else(
        |payload| payload.downcast::<&str>().map_or_else(|_| "no message".into(), |text| (*text).to_owned()),
        |text| *text,
    )
}

async fn drain(running: Vec<Running>, grace: Duration) -> Vec<&'static str> {
    for one in &running {
        one.stop.cancel();
    }
    let deadline = tokio::time::Instant::now() + grace;
    let mut laggards = Vec::new();
    for mut one in running {
        if tokio::time::timeout_at(deadline, &mut one.task).await.is_err() {
            one.task.abort();
            log::error!(duty = one.duty.name; "{}: did not finish within {} s and was cut off", one.duty.name, grace.as_secs());
            laggards.push(one.duty.name);
        }
    }
    laggards
}

#[cfg(test)]
mod tests {
    use super::{Context, Duty, Environment, Supervisor};
    use hostwright_core::config::host::Host;
    use hostwright_core::status::Status;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    const GRACE: Duration = Duration::from_secs(5);

    fn environment() -> Environment {
        let folder = tempfile::tempdir().expect("temporary folder").keep();
        Environment { host_name: "test".into(), host: Host::default(), state: folder.clone(), runtime: folder }
    }

    async fn well(_: u32, context: Context) -> anyhow::Result<()> {
        context.status.ok("well");
        context.stop.cancelled().await;
        Ok(())
    }

    async fn panics(_: u32, _: Context) -> anyhow::Result<()> {
        panic!("on purpose");
    }

    async fn hangs(_: u32, context: Context) -> anyhow::Result<()> {
        context.status.ok("hangs");
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_duty_that_panics_is_restarted_and_harms_no_other() {
        let mut supervisor = Supervisor::new(environment());
        let mut statuses = supervisor.statuses();
        supervisor.apply(environment(), vec![Duty::new("sick", 0, panics), Duty::new("well", 0, well)], GRACE).await;
        let seen = statuses.wait_for(|s| s.duties["sick"].restarts >= 3).await.expect("supervisor lives").clone();
        assert!(matches!(&seen.duties["sick"].status, Status::Failed { why, .. } if why.contains("on purpose")));
        assert_eq!(seen.duties["well"].restarts, 0);
        assert!(!seen.ready(), "a duty that was never ok keeps the agent unready");
        assert!(supervisor.drain(GRACE).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_laggard_is_named_and_cut_off_after_the_grace_period() {
        let mut supervisor = Supervisor::new(environment());
        supervisor.apply(environment(), vec![Duty::new("hangs", 0, hangs), Duty::new("well", 0, well)], GRACE).await;
        supervisor.statuses().wait_for(|s| s.ready()).await.expect("supervisor lives");
        assert_eq!(supervisor.drain(GRACE).await, ["hangs"]);
    }

    static STARTS: AtomicU32 = AtomicU32::new(0);

    async fn counted(_: u32, context: Context) -> anyhow::Result<()> {
        STARTS.fetch_add(1, Ordering::SeqCst);
        context.status.ok("counted");
        context.stop.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_touches_only_what_changed() {
        let same = environment();
        let mut supervisor = Supervisor::new(same.clone());
        supervisor.apply(same.clone(), vec![Duty::new("kept", 1, counted), Duty::new("changed", 1, well)], GRACE).await;
        supervisor.statuses().wait_for(|s| s.ready()).await.expect("supervisor lives");
        let duties = vec![Duty::new("kept", 1, counted), Duty::new("changed", 2, well), Duty::new("new", 1, well)];
        let touched = supervisor.apply(same.clone(), duties, GRACE).await;
        assert_eq!(touched, ["changed", "new"]);
        let touched = supervisor.apply(same, vec![Duty::new("kept", 1, counted)], GRACE).await;
        assert_eq!(touched, ["changed", "new"]);
        assert_eq!(supervisor.statuses().borrow().duties.keys().collect::<Vec<_>>(), [&"kept"]);
        assert_eq!(STARTS.load(Ordering::SeqCst), 1);
    }
}
