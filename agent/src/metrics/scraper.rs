use super::compress::{Coding, Compressors};
use super::containers::Containers;
use super::encode::{Encoder, Format, Labels};
use super::openmetrics::openmetrics;
use super::own::Own;
use super::sample::{CONTAINERS, Sampler, Selection};
use anyhow::Context as _;
use hostwright_core::config::metrics::Metrics;
use hostwright_core::config::metrics::containers::Containers as Engine;
use hyper::body::Bytes;
use jiff::Timestamp;
use std::time::{Duration, Instant};
use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

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
}

/// Samples on a thread of its own, one scrape after the other, so that nothing the kernel does delays the other duties.
/// The thread has a runtime: connections that are served there wait for no other thread to be woken, which takes as long
/// as a good part of a scrape.
pub struct Scraper {
    requests: mpsc::UnboundedSender<Request>,
    places: Semaphore,
    runtime: Handle,
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
    /// Starts the thread. It ends with the scraper, and the reports end with the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: &Metrics,
        host: Labels,
        own: Own,
    ) -> anyhow::Result<(Self, watch::Receiver<Option<Report>>)> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (reports, last) = watch::channel(None);
        let places = settings.max_requests.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let (roots, collectors) = (settings.roots.clone(), settings.collectors.clone());
        let engine = match &settings.containers {
            Engine::Of(folders) => Some(folders.clone()),
            Engine::Off => None,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot wait for connections; see that LimitNOFILE allows more open files")?;
        let handle = runtime.handle().clone();
        let work = move || {
            let sampler = Sampler::new(&roots, &collectors);
            let containers = engine.map(|folders| Containers::new(&folders, &roots));
            runtime.block_on(answer(inbox, &reports, (sampler, containers, own, Encoder::new(host))));
        };
        std::thread::Builder::new()
            .name("metrics".into())
            .spawn(work)
            .context("cannot start the thread that samples; see that TasksMax and the limit of processes allow it")?;
        Ok((Self { requests, places: Semaphore::new(places), runtime: handle }, last))
    }

    /// Where to serve those who ask.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A scrape's text.
    ///
    /// # Errors
    /// Too many are under way, or the thread is gone.
    pub async fn scrape(&self, wanted: Wanted) -> Result<Bytes, Refusal> {
        let _place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { wanted, reply }).map_err(|_| Refusal::Gone)?;
        answer.await.map_err(|_| Refusal::Gone)
    }
}

async fn answer(
    mut inbox: mpsc::UnboundedReceiver<Request>,
    reports: &watch::Sender<Option<Report>>,
    (mut sampler, mut containers, mut own, mut out): (Sampler, Option<Containers>, Own, Encoder),
) {
    let (mut compressors, mut scrapes) = (Compressors::default(), 0);
    while let Some(Request { wanted, reply }) = inbox.recv().await {
        // A client that hung up while it waited needs no sample.
        if reply.is_closed() {
            continue;
        }
        let began = Instant::now();
        let mut troubles = sampler.sample(&wanted.selection, &mut out);
        if let Some(containers) = containers.as_mut().filter(|_| wanted.selection.takes(CONTAINERS)) {
            containers.write(&mut out);
        }
        own.write(&mut out);
        sampler.finish(&wanted.selection, &mut out, &mut troubles);
        let text = out.take();
        let bytes = text.len();
        let text = match wanted.format {
            Format::Text => text,
            Format::OpenMetrics => openmetrics(&text),
        };
        // Without memory for it the client is told that there is nothing.
        let Ok(text) = compressors.apply(wanted.coding, text) else { continue };
        scrapes += 1;
        let report = Report { at: Timestamp::now(), scrapes, took: began.elapsed(), bytes, troubles: troubles.0 };
        reports.send_replace(Some(report));
        // Its client may have hung up meanwhile.
        let _ = reply.send(Bytes::from(text));
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Request, Scraper, Wanted};
    use tokio::sync::Semaphore;

    const MOST_AT_ONCE: usize = 3;

    #[tokio::test]
    async fn scrapes_beyond_the_bound_are_refused_at_once_and_those_without_a_sampler_too() {
        let (requests, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        let scraper = Scraper { requests, places: Semaphore::new(MOST_AT_ONCE), runtime };
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
