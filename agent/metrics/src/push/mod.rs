//! Prometheus remote_write: the same samples as a scrape, sent to receivers.
//!
//! In: a sample at an interval, from the scraper, for each receiver. Out: messages of version 2.0 of the protocol, or of
//! 1.0 for a receiver that knows no other, each sample once and in the order of time. A sample is kept on the disk until
//! the receiver has it, the oldest going first when the buffer is full. What survives a restart: the buffer, and how far
//! it was acknowledged.

/// Samples of records, by series.
mod batch;
/// Takes batches to a receiver until they are settled.
mod courier;
/// A text of the encoder, read again.
mod exposition;
/// The labels that tell this host's series from others'.
mod identity;
/// The protocol's messages.
mod message;
/// Samples at an interval and hands over in order.
mod pusher;
/// What waits for a receiver, on the disk.
mod queue;
/// How it goes with a receiver.
mod report;
/// `hostwright_remote_write_*`.
pub mod samples;
/// How it goes with all of them.
pub mod watch;

use super::scraper::Scraper;
use anyhow::bail;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::metrics::remote_write as config;
use hostwright_duty::supervisor::Context;
use pusher::Pusher;
use queue::Queue;
use report::Report;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watch::Watch;

/// The folder of the buffers in the duty's state.
const FOLDER: &str = "remote_write";

/// Between attempts to open a buffer.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The receivers of a configuration, and what is told of them.
#[derive(Debug)]
pub struct Receivers(Vec<(config::RemoteWrite, Sender<Report>)>);

impl Receivers {
    pub fn new(settings: Vec<config::RemoteWrite>) -> Self {
        let one = |settings: config::RemoteWrite| {
            let address = hostwright_duty::http::address(&settings.endpoint).to_owned();
            let report = Report { name: settings.name.clone(), address, ..Report::default() };
            (settings, Sender::new(report))
        };
        Self(settings.into_iter().map(one).collect())
    }

    /// How it goes with each.
    pub fn watch(&self) -> Watch {
        Watch::new(self.0.iter().map(|(_, reports)| reports.subscribe()).collect())
    }

    /// Sends to all of them, each from a buffer below the duty's state, until told to stop.
    ///
    /// # Errors
    /// The sampling thread ended.
    pub async fn serve(self, scraper: Arc<Scraper>, context: &Context, stop: &CancellationToken) -> anyhow::Result<()> {
        let folder = context.state.join(FOLDER);
        self.tell_strangers(&folder);
        let mut all = JoinSet::new();
        for (settings, reports) in self.0 {
            let (folder, host_name) = (folder.join(&settings.name), context.environment.host_name.clone());
            let (scraper, stop) = (scraper.clone(), stop.clone());
            all.spawn(async move {
                let Some(queue) = opened(&settings, &folder, &reports, &stop).await else { return Ok(()) };
                Pusher::new(settings, &host_name, queue, (scraper, reports)).run(stop).await
            });
        }
        drop(scraper);
        while let Some(ended) = all.join_next().await {
            match ended {
                Ok(ended) => ended?,
                Err(error) => bail!("a task of remote_write ended, which is a defect of this program: {error}"),
            }
        }
        stop.cancelled().await;
        Ok(())
    }

    /// Buffers of receivers that are no longer configured stay, and are named.
    fn tell_strangers(&self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let known = |(settings, _): &(config::RemoteWrite, _)| path.file_name() == Some(settings.name.as_ref());
            if !self.0.iter().any(known) {
                let path = path.display();
                log::warn!(
                    "metrics: {path} belongs to no receiver of remote_write; delete it if nobody needs its samples"
                );
            }
        }
    }
}

/// The buffer of a receiver, however often it takes; nothing if the duty is to stop before. Who scrapes is not hindered.
async fn opened(
    settings: &config::RemoteWrite,
    folder: &Path,
    reports: &Sender<Report>,
    stop: &CancellationToken,
) -> Option<Queue> {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let error = match block_in_place(|| Queue::open(folder, settings.buffer.0)) {
            Ok(queue) => {
                reports.send_modify(|report| report.disk = None);
                return Some(queue);
            }
            Err(error) => error,
        };
        let folder = folder.display();
        let why = format!("cannot use its buffer in {folder}: {error}; see that it can be written and has space");
        if reports.borrow().disk.is_none() {
            log::warn!("metrics: remote_write {}: {why}", settings.name);
        }
        reports.send_modify(|report| report.disk = Some(why));
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(backoff.next_delay()) => {}
        }
    }
}
