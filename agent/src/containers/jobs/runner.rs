use super::attempt::{Attempt, Began, Outcome};
use super::book::{Book, Run, State};
use super::calls::{appeared, due, seen_inside};
use super::outputs::{self, Outputs};
use super::record::record;
use super::shown::Shown;
use crate::containers::compose::Project;
use crate::containers::engine::Engine;
use crate::containers::images::Images;
use hostwright_core::config::containers::jobs::{Job, Jobs as Settings};
use hostwright_duty::orders::Order;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two looks at times, files and the queue.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks for containers of runs that are over.
const SWEEP: Duration = Duration::from_secs(60);
/// Retries are no further apart than this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3600);
/// So many may wait; files beyond wait in their folder.
const MOST_QUEUED: usize = 1000;
/// The file that called for a run, as the container sees it.
const FILE: &str = "HOSTWRIGHT_JOB_FILE";

/// What jobs run with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub images: Arc<Images>,
    pub socket: PathBuf,
    /// The duty's own folder for durable state.
    pub state: PathBuf,
    /// The host's name and labels.
    pub host: BTreeMap<String, String>,
    pub stop: CancellationToken,
}

/// A handle on the jobs, which run beside the reconciler.
#[derive(Debug)]
pub struct Jobs {
    pub project: watch::Sender<Option<Arc<Project>>>,
    orders: UnboundedSender<Order>,
    shown: Arc<Shown>,
}

struct Runner {
    settings: Settings,
    around: Surroundings,
    project: watch::Receiver<Option<Arc<Project>>>,
    book: Book,
    attempts: JoinSet<(String, Outcome)>,
    /// Runs that an attempt is underway for.
    underway: BTreeSet<String>,
    began: (UnboundedSender<Began>, UnboundedReceiver<Began>),
    problems: Vec<String>,
    shown: Arc<Shown>,
    sweep: Instant,
}

impl Jobs {
    /// Starts them. They end when `around.stop` is cancelled; containers go on.
    ///
    /// # Errors
    /// The state of an earlier run cannot be read.
    pub fn start(settings: &Settings, around: Surroundings) -> anyhow::Result<Self> {
        let (project, receiver) = watch::channel(None);
        let (orders, mut taken) = unbounded_channel();
        let shown = Arc::new(Shown::default());
        let stop = around.stop.clone();
        let mut runner = Runner {
            settings: settings.clone(),
            book: Book::open(&around.state)?,
            around,
            project: receiver,
            attempts: JoinSet::new(),
            underway: BTreeSet::new(),
            began: unbounded_channel(),
            problems: Vec::new(),
            shown: shown.clone(),
            sweep: Instant::now(),
        };
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                runner.step(&mut taken).await;
            }
        });
        Ok(Self { project, orders, shown })
    }

    /// Hands an operator's order on.
    pub fn order(&self, order: Order) {
        if let Err(refused) = self.orders.send(order) {
            refused.0.answer(Err("the jobs have ended".into()));
        }
    }

    /// Returns when something has changed. Cancel-safe, as `Notify` documents.
    pub async fn changed(&self) {
        self.shown.changed().await;
    }

    /// For the JSON status.
    pub fn details(&self) -> Value {
        self.shown.details()
    }

    /// What an operator should know.
    pub fn complaints(&self) -> Vec<String> {
        self.shown.complaints()
    }
}

impl Runner {
    /// Waits for something to happen and does what is to be done then. Each arm only waits, so each is cancel-safe.
    async fn step(&mut self, orders: &mut UnboundedReceiver<Order>) {
        let stop = self.around.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            Some(order) = orders.recv() => self.take(order),
            Some(began) = self.began.1.recv() => self.note(began),
            Some(ended) = self.attempts.join_next() => match ended {
                Ok((id, outcome)) => self.ended(&id, &outcome),
                Err(error) => {
                    log::error!("an attempt of a job broke: {error}");
                    // Whose it was does not matter: what has no attempt is begun with again.
                    self.attempts.abort_all();
                    self.underway.clear();
                }
            },
            () = tokio::time::sleep(TICK) => {}
        }
        let project = self.project.borrow().clone();
        if let Some(project) = project {
            self.call(&project);
            self.begin(&project);
            if self.sweep <= Instant::now() {
                self.sweep = Instant::now() + SWEEP;
                self.remove_old(&project.name).await;
            }
        }
        self.publish();
    }

    /// Makes the book durable; what could not be written is tried again at the next change.
    fn store(&mut self) -> bool {
        let stored = self.book.store(self.settings.history);
        if let Err(error) = &stored {
            log::error!("{error}");
        }
        stored.is_ok()
    }

    /// Looks which times have come and which files have appeared.
    fn call(&mut self, project: &Project) {
        let now = Timestamp::now();
        let mut problems = Vec::new();
        let before = self.book.content.clone();
        for (name, job) in &self.settings.services.clone() {
            let Some(service) = project.services.get(name) else {
                problems.push(format!(
                    "the job {name} is no service of {}: name it there, without profiles",
                    project.file.display()
                ));
                continue;
            };
            if let Some(schedule) = &job.schedule
                && let Some(due) = due(&mut self.book.content, name, schedule, now)
            {
                let id = format!("{}-{}", self.prefix(project, name), due.at.strftime("%Y%m%dT%H%M%SZ"));
                let mut run = Run::new(name, "schedule".into(), &service.image);
                if due.missed > 0 {
                    let missed = due.missed;
                    run.why = Some(format!("{missed} earlier times were missed; it runs once for all of them"));
                    log::warn!(job_id = id.as_str(); "the job {name} missed {missed} times of its schedule");
                }
                self.book.content.runs.entry(id).or_insert(run);
            }
            let queued = self.book.content.runs.values().filter(|run| run.state == State::Queued).count();
            if let Some(when) = job.when.as_ref().filter(|_| queued < MOST_QUEUED) {
                match appeared(&mut self.book.content, name, when) {
                    Ok(files) => files.iter().for_each(|file| self.call_for(project, name, file)),
                    Err(why) => problems.push(why),
                }
            }
        }
        self.problems = problems;
        if self.book.content != before && !self.store() {
            // What is not durable is not begun with: it would be called for again.
            self.book.content = before;
        }
    }

    fn call_for(&mut self, project: &Project, name: &str, file: &Path) {
        let mut run = Run::new(name, format!("file {}", file.display()), &project.services[name].image);
        run.environment.push((FILE.into(), seen_inside(project, name, file).display().to_string()));
        let id = self.fresh_id(project, name);
        self.book.content.runs.insert(id, run);
    }

    fn prefix(&self, project: &Project, service: &str) -> String {
        let value = |place: &str| match place {
            "service" => Some(service.to_owned()),
            "compose_project" => Some(project.name.clone()),
            place => self.around.host.get(place).cloned(),
        };
        let name = self.settings.name.fill(value);
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
        name.trim_start_matches(['_', '.', '-']).to_owned()
    }

    fn fresh_id(&self, project: &Project, service: &str) -> String {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        format!("{}-{now}-{:06x}", self.prefix(project, service), fastrand::u32(..1 << 24))
    }

    /// Starts what may be started now, and goes on with what ran when an earlier process ended.
    fn begin(&mut self, project: &Arc<Project>) {
        let now = Timestamp::now();
        let mut waiting: Vec<(Timestamp, String)> = Vec::new();
        let mut by_service: BTreeMap<String, u64> = BTreeMap::new();
        let mut running = 0;
        for (id, run) in &self.book.content.runs {
            match run.state {
                State::Running => {
                    running += 1;
                    *by_service.entry(run.service.clone()).or_default() += 1;
                    if !self.underway.contains(id) {
                        waiting.push((Timestamp::MIN, id.clone()));
                    }
                }
                State::Queued if run.not_before.is_none_or(|at| at <= now) => waiting.push((run.asked, id.clone())),
                _ => {}
            }
        }
        waiting.sort();
        let mut chosen = Vec::new();
        for (_, id) in waiting {
            let run = &self.book.content.runs[&id];
            let Some(job) = self.settings.services.get(&run.service) else { continue };
            if !project.services.contains_key(&run.service) {
                continue;
            }
            if run.state == State::Queued {
                let own = by_service.entry(run.service.clone()).or_default();
                if running >= self.settings.concurrency || *own >= job.concurrency {
                    continue;
                }
                (running, *own) = (running + 1, *own + 1);
            }
            chosen.push((id, job.clone()));
        }
        if chosen.is_empty() {
            return;
        }
        for (id, _) in &chosen {
            if let Some(run) = self.book.content.runs.get_mut(id) {
                run.state = State::Running;
                run.image.clone_from(&project.services[&run.service].image);
            }
        }
        // Durable before its container is made: an agent that dies in between finds it again.
        if self.store() {
            chosen.into_iter().for_each(|(id, job)| self.attempt(project, id, &job));
        }
    }

    fn attempt(&mut self, project: &Arc<Project>, id: String, job: &Job) {
        let Some(run) = self.book.content.runs.get(&id).cloned() else { return };
        let outputs = self.outputs(&id, &run, job);
        let attempt = Attempt {
            id: id.clone(),
            run,
            project: project.clone(),
            images: self.around.images.clone(),
            socket: self.around.socket.clone(),
            outputs,
            timeout: job.timeout,
            tell: self.began.0.clone(),
        };
        self.underway.insert(id);
        self.attempts.spawn(attempt.run());
    }

    fn outputs(&self, id: &str, run: &Run, job: &Job) -> Option<Outputs> {
        let inside = job.outputs.clone()?;
        Some(Outputs { folder: outputs::of(&self.settings.outputs, &run.service, id), inside })
    }

    fn note(&mut self, began: Began) {
        if let Some(run) = self.book.content.runs.get_mut(&began.id).filter(|run| run.state == State::Running) {
            run.container = Some(began.container);
            run.started = began.started;
            run.digest = began.digest.or(run.digest.take());
            self.store();
        }
    }

    /// Records how an attempt ended; what failed is tried again as often as its job says.
    fn ended(&mut self, id: &str, outcome: &Outcome) {
        // What it told before its end comes first.
        while let Ok(began) = self.began.1.try_recv() {
            self.note(began);
        }
        self.underway.remove(id);
        let Some(run) = self.book.content.runs.get(id).cloned() else { return };
        let job = self.settings.services.get(&run.service).cloned();
        let mut run = record(run, outcome);
        let outputs = job.as_ref().and_then(|job| self.outputs(id, &run, job));
        if run.state == State::Succeeded
            && let Some(Err(error)) = outputs.map(|outputs| outputs.finish(id, &run))
        {
            run.state = State::Failed;
            run.why = Some(format!("its outputs cannot be handed on: {error}"));
        }
        let retries = job.as_ref().map_or(0, |job| job.retries);
        let why = run.why.clone().unwrap_or_default();
        if run.state == State::Failed && run.attempt <= retries {
            let backoff = job.map_or(TICK, |job| job.backoff);
            let wait = backoff.saturating_mul(1 << (run.attempt - 1).min(16)).min(LONGEST_BACKOFF);
            log::warn!(job_id = id; "the job {id}: {why}; it is tried again in {} s", wait.as_secs());
            run.not_before = Some(Timestamp::now() + SignedDuration::try_from(wait).unwrap_or_default());
            (run.state, run.container, run.attempt) = (State::Queued, None, run.attempt + 1);
        } else if run.state == State::Failed {
            log::error!(job_id = id; "the job {id} has failed: {why}");
        } else {
            log::info!(job_id = id; "the job {id} has ended well");
        }
        self.book.content.runs.insert(id.to_owned(), run);
        self.store();
    }

    fn take(&mut self, order: Order) {
        let answer = match order.verb.as_str() {
            "job-run" => self.run_now(&order.arguments),
            other => Err(format!("there is no order {other:?} for jobs")),
        };
        order.answer(answer);
    }

    fn run_now(&mut self, arguments: &Value) -> Result<Value, String> {
        let project = self.project.borrow().clone().ok_or("there is no Compose file yet")?;
        let name = arguments["service"].as_str().unwrap_or_default();
        let service = project.services.get(name).filter(|_| self.settings.services.contains_key(name));
        let service = service.ok_or_else(|| {
            let names: Vec<&str> = self.settings.services.keys().map(String::as_str).collect();
            format!("there is no job {name:?}; there are {}", names.join(", "))
        })?;
        let mut run = Run::new(name, "order".into(), &service.image);
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        for pair in texts(&arguments["environment"]) {
            let (name, value) = pair.split_once('=').ok_or("--env takes NAME=VALUE")?;
            run.environment.push((name.to_owned(), value.to_owned()));
        }
        run.arguments = texts(&arguments["arguments"]);
        let id = self.fresh_id(&project, name);
        self.book.content.runs.insert(id.clone(), run);
        if !self.store() {
            self.book.content.runs.remove(&id);
            return Err("the run cannot be noted; see the agent's log".into());
        }
        Ok(json!({"id": id}))
    }

    /// Removes containers of runs that ended long ago, or that nobody remembers.
    async fn remove_old(&self, project: &str) {
        let Ok(engine) = Engine::connect(&self.around.socket).await else { return };
        let Ok(containers) = engine.jobs(project).await else { return };
        let keep = SignedDuration::try_from(self.settings.keep).unwrap_or(SignedDuration::MAX);
        for (container, id) in containers {
            let is_old = match self.book.content.runs.get(&id) {
                Some(run) if run.state.has_ended() => {
                    run.ended.is_none_or(|ended| Timestamp::now().duration_since(ended) > keep)
                }
                Some(_) => false,
                // Another agent's, perhaps: one that still runs is left alone.
                None => engine.job(&container).await.is_ok_and(|state| state.is_some_and(|state| !state.is_running)),
            };
            if is_old && let Err(error) = engine.stop_and_remove(&container).await {
                log::warn!(job_id = id.as_str(); "cannot remove the container of the job {id}: {error}");
            }
        }
    }

    fn publish(&self) {
        self.shown.show(&self.settings, &self.book.content.runs, &self.problems);
    }
}
