use super::compress::{Coding, Compressors};
use super::containers::Containers;
use super::encode::{Encoder, Format};
use super::openmetrics::openmetrics;
use super::own::Own;
use super::sample::{CONTAINERS, Sampler, Selection};
use super::stages::Stages;
use anyhow::{Context as _, ensure};
use hostwright_core::config::metrics::Metrics;
use hyper::body::Bytes;
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A stage of a scrape has this long beside what mounts may take: with the usual 2 s, half of Prometheus' timeout.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether one takes longer.
const LOOK: Duration = Duration::from_secs(1);
/// The stage of the agent's own metrics.
const OWN: &str = "agent";

/// How the last scrape went.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it ended.
    pub at: Timestamp,
    /// How many there were.
    pub scrapes: u64,
    /// How long it took.
    pub took: Duration,
    /// How long its text is.
    pub bytes: usize,
    /// Collectors that have trouble, each with its reason.
    pub troubles: Vec<(&'static str, String)>,
}

/// Why there is no sample.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many as may be are under way.
    Busy,
    /// The sampling thread is gone.
    Gone,
    /// The kernel did not answer in this stage.
    Hung(&'static str),
}

/// A sentence of what hung.
pub fn hung(stage: &str) -> String {
    format!("the kernel did not answer in time when {stage} was read; sampling goes on without it until it answers")
}

/// Samples on a thread of its own, one scrape after the other, so that nothing the kernel does delays the other duties.
/// The thread has a runtime: connections that are served there wait for no other thread to be woken, which takes as long
/// as a good part of a scrape. Where the kernel does not answer, the thread is left to it and another one takes its
/// place, which leaves out what the first one hangs in; so at most one hangs for each stage of a scrape.
pub struct Scraper {
    places: Semaphore,
    sampling: Arc<dyn Fn() -> Sampling + Send + Sync>,
    reports: Arc<watch::Sender<Option<Report>>>,
    thread: Mutex<SamplingThread>,
    /// How long a stage may take.
    patience: Duration,
}

/// All that a thread samples with.
pub struct Sampling {
    pub sampler: Sampler,
    pub containers: Option<Containers>,
    pub own: Own,
    pub out: Encoder,
}

/// The thread that samples now.
#[derive(Clone)]
struct SamplingThread {
    requests: mpsc::UnboundedSender<Request>,
    runtime: Handle,
    stages: Arc<Stages>,
    given_up: CancellationToken,
}

/// What is asked for, and in which form.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which collectors.
    pub selection: Selection,
    /// In which format.
    pub format: Format,
    /// How it is coded.
    pub coding: Coding,
}

struct Request {
    wanted: Wanted,
    reply: oneshot::Sender<Bytes>,
}

impl Scraper {
    /// Starts the thread, which makes by itself what it samples with. It ends with the scraper.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: &Metrics,
        sampling: impl Fn() -> Sampling + Send + Sync + 'static,
    ) -> anyhow::Result<(Self, watch::Receiver<Option<Report>>)> {
        let (reports, last) = watch::channel(None);
        let places = settings.max_requests.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let (sampling, reports) = (Arc::new(sampling), Arc::new(reports));
        let thread = SamplingThread::start(sampling.clone(), reports.clone())?;
        let patience = PATIENCE + settings.collectors.options.filesystem.mount_timeout;
        Ok((Self { places: Semaphore::new(places), sampling, reports, thread: Mutex::new(thread), patience }, last))
    }

    /// Where to serve those who ask.
    pub fn runtime(&self) -> Handle {
        self.thread().runtime
    }

    /// A scrape's text.
    ///
    /// # Errors
    /// Too many are under way, or the thread is gone or hangs.
    pub async fn scrape(&self, wanted: Wanted) -> Result<Bytes, Refusal> {
        let _place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let thread = self.thread();
        let (reply, answer) = oneshot::channel();
        thread.requests.send(Request { wanted, reply }).map_err(|_| Refusal::Gone)?;
        tokio::select! {
            answer = answer => answer.map_err(|_| thread.refusal()),
            () = thread.given_up.cancelled() => Err(thread.refusal()),
        }
    }

    /// Waits until a stage of a scrape hangs, and names it.
    ///
    /// # Errors
    /// The thread ended.
    pub async fn hung(&self) -> anyhow::Result<&'static str> {
        loop {
            sleep(LOOK).await;
            let thread = self.thread();
            ensure!(!thread.requests.is_closed(), "the thread that samples ended, which is a defect of this program");
            if let Some(stage) = thread.stages.overdue(self.patience) {
                return Ok(stage);
            }
        }
    }

    /// Leaves the thread to the stage that it hangs in, and starts another one.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn replace(&self, stage: &'static str) -> anyhow::Result<()> {
        self.give_up(stage);
        let new = SamplingThread::start(self.sampling.clone(), self.reports.clone())?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Leaves the thread to the stage that it hangs in.
    pub fn give_up(&self, stage: &'static str) {
        let thread = self.thread();
        thread.stages.give_up(stage);
        thread.given_up.cancel();
    }

    fn thread(&self) -> SamplingThread {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SamplingThread {
    fn start(
        sampling: Arc<dyn Fn() -> Sampling + Send + Sync>,
        reports: Arc<watch::Sender<Option<Report>>>,
    ) -> anyhow::Result<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot wait for connections; see that LimitNOFILE allows more open files")?;
        let stages = Arc::<Stages>::default();
        let thread = Self {
            requests,
            runtime: runtime.handle().clone(),
            stages: stages.clone(),
            given_up: CancellationToken::new(),
        };
        let work = move || runtime.block_on(answer(inbox, &reports, (sampling(), stages)));
        std::thread::Builder::new()
            .name("metrics".into())
            .spawn(work)
            .context("cannot start the thread that samples; see that TasksMax and the limit of processes allow it")?;
        Ok(thread)
    }

    /// Why a scrape has no answer.
    fn refusal(&self) -> Refusal {
        self.stages.given_up().map_or(Refusal::Gone, Refusal::Hung)
    }
}

async fn answer(
    mut inbox: mpsc::UnboundedReceiver<Request>,
    reports: &watch::Sender<Option<Report>>,
    (sampling, stages): (Sampling, Arc<Stages>),
) {
    let Sampling { sampler, mut containers, mut own, mut out } = sampling;
    let (mut sampler, mut compressors) = (sampler.watched(stages.clone()), Compressors::default());
    while let Some(Request { wanted, reply }) = inbox.recv().await {
        // A client that hung up while it waited needs no sample.
        if reply.is_closed() {
            continue;
        }
        let began = Instant::now();
        let mut troubles = sampler.sample(&wanted.selection, &mut out);
        if let Some(containers) = containers.as_mut().filter(|_| wanted.selection.takes(CONTAINERS)) {
            match stages.begin(CONTAINERS) {
                Ok(()) => containers.write(&mut out),
                Err(why) => troubles.0.push((CONTAINERS, why.to_owned())),
            }
        }
        match stages.begin(OWN) {
            Ok(()) => own.write(&mut out),
            Err(why) => troubles.0.push((OWN, why.to_owned())),
        }
        stages.end();
        sampler.finish(&wanted.selection, &mut out, &mut troubles);
        if stages.came_back() {
            return;
        }
        let text = out.take();
        let bytes = text.len();
        let text = match wanted.format {
            Format::Text => text,
            Format::OpenMetrics => openmetrics(&text),
        };
        // Without memory for it the client is told that there is nothing.
        let Ok(text) = compressors.apply(wanted.coding, text) else { continue };
        let scrapes = reports.borrow().as_ref().map_or(0, |last| last.scrapes) + 1;
        let report = Report { at: Timestamp::now(), scrapes, took: began.elapsed(), bytes, troubles: troubles.0 };
        reports.send_replace(Some(report));
        // Its client may have hung up meanwhile.
        let _ = reply.send(Bytes::from(text));
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Mutex, Refusal, Request, SamplingThread, Scraper, Wanted, watch};
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    const MOST_AT_ONCE: usize = 3;

    #[tokio::test]
    async fn scrapes_beyond_the_bound_are_refused_at_once_and_those_without_a_sampler_too() {
        let (requests, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        let thread = SamplingThread { requests, runtime, stages: Arc::default(), given_up: Default::default() };
        let scraper = Scraper {
            places: Semaphore::new(MOST_AT_ONCE),
            sampling: Arc::new(|| unreachable!("nothing is sampled")),
            reports: Arc::new(watch::channel(None).0),
            thread: Mutex::new(thread),
            patience: Duration::ZERO,
        };
        let mut waiting: Vec<_> = (0..MOST_AT_ONCE).map(|_| Box::pin(scraper.scrape(Wanted::default()))).collect();
        for scrape in &mut waiting {
            assert!(futures_util::poll!(scrape).is_pending());
        }
        assert_eq!(scraper.scrape(Wanted::default()).await, Err(Refusal::Busy));
        drop(waiting);
        while let Ok(request) = inbox.try_recv() {
            assert!(request.reply.is_closed(), "who hung up is not sampled for");
        }
        drop(inbox);
        assert_eq!(scraper.scrape(Wanted::default()).await, Err(Refusal::Gone));
    }
}
