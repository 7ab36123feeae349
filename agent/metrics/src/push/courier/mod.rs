//! Takes batches to a receiver, each until it is settled.
//!
//! In: batches, one after the other. Out: what there is to tell of the one on its way, at last how it ended. Nothing
//! survives: a batch that was not settled is made again.

/// Which version of the protocol the receiver knows, and what its answers mean.
mod negotiation;

pub use negotiation::Version;

use super::batch::Batch;
use super::message;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::metrics::remote_write::RemoteWrite;
use hostwright_duty::http::{Client, NoAnswer, Request};
use negotiation::{Negotiation, Verdict};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, sleep};

/// Between attempts; a receiver that is back is found soon.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A receiver of 1.0 is told of the families this often, as Prometheus does it by default.
const METADATA: Duration = Duration::from_secs(60);

const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const SNAPPY: HeaderValue = HeaderValue::from_static("snappy");

/// What there is to tell of a batch on its way.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// It has to be sent again, after a while; a sentence.
    Hindered(String),
    /// It is over with.
    Settled(Settled),
}

/// How a batch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Samples that the receiver took.
    pub written: usize,
    /// Samples that it will never take.
    pub refused: usize,
    /// What it said of these.
    pub why: Option<String>,
    /// It takes no more than this at once.
    pub most: Option<usize>,
    pub version: Option<Version>,
}

/// The way to one receiver.
#[derive(Debug)]
pub struct Courier {
    client: Client,
    negotiation: Negotiation,
    metadata_sent: Option<Instant>,
}

impl Courier {
    pub fn new(settings: &RemoteWrite) -> Self {
        let client = Client::new(&settings.endpoint, String::new());
        Self { client, negotiation: Negotiation::new(settings.protocol), metadata_sent: None }
    }

    /// Runs until there are no more batches to come.
    pub async fn run(mut self, mut batches: Receiver<Batch>, told: Sender<Told>) {
        while let Some(batch) = batches.recv().await {
            let settled = self.settle(&batch, &told).await;
            if told.send(Told::Settled(settled)).await.is_err() {
                return;
            }
        }
    }

    async fn settle(&mut self, batch: &Batch, told: &Sender<Told>) -> Settled {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        let mut settled = Settled::default();
        // The next portion is the last one here.
        let mut portions: Vec<_> = Some(0..batch.series.len()).into_iter().filter(|all| !all.is_empty()).collect();
        while let Some(portion) = portions.pop() {
            let samples = samples_of(batch, &portion);
            match self.send(batch, &portion).await {
                Verdict::Over(written, why) => {
                    settled.written += written.min(samples);
                    settled.refused += samples.saturating_sub(written);
                    settled.why = why.or(settled.why.take());
                    settled.version = Some(self.negotiation.version());
                    backoff.reset();
                }
                Verdict::Again(why, after) => {
                    // Nobody listens any more: the duty has ended.
                    if told.send(Told::Hindered(why)).await.is_err() {
                        return settled;
                    }
                    sleep(backoff.next_delay().max(after.unwrap_or_default())).await;
                    portions.push(portion);
                }
                Verdict::Older => portions.push(portion),
                Verdict::Smaller(why) if portion.len() == 1 => {
                    settled.refused += samples;
                    settled.why = Some(why);
                }
                Verdict::Smaller(_) => {
                    let middle = portion.start + portion.len() / 2;
                    settled.most = Some((samples / 2).max(1).min(settled.most.unwrap_or(usize::MAX)));
                    portions.push(middle..portion.end);
                    portions.push(portion.start..middle);
                }
            }
        }
        settled
    }

    async fn send(&mut self, batch: &Batch, portion: &Range<usize>) -> Verdict {
        let with_metadata = self.metadata_sent.is_none_or(|sent| sent.elapsed() >= METADATA);
        let (content_type, version, body) = match self.negotiation.version() {
            Version::V1 => {
                ("application/x-protobuf", "0.1.0", message::write_request(batch, portion.clone(), with_metadata))
            }
            Version::V2 => (
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "2.0.0",
                message::request(batch, portion.clone()),
            ),
        };
        let Ok(body) = snap::raw::Encoder::new().compress_vec(&body) else {
            return Verdict::Smaller("a message has at most 4 GiB".to_owned());
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, SNAPPY);
        headers.insert(VERSION, HeaderValue::from_static(version));
        match self.client.post(Request { content_type, headers, body: body.into() }).await {
            Ok(answer) => {
                if matches!(answer.status.as_u16(), 401 | 403 | 407) {
                    self.client.read_again();
                }
                let said = self.client.said(&answer);
                let verdict = self.negotiation.judge(&answer, said, samples_of(batch, portion));
                if with_metadata && matches!(verdict, Verdict::Over(_, None)) {
                    self.metadata_sent = Some(Instant::now());
                }
                verdict
            }
            Err(NoAnswer { why, .. }) => {
                self.negotiation.begin_again();
                Verdict::Again(why, None)
            }
        }
    }
}

fn samples_of(batch: &Batch, portion: &Range<usize>) -> usize {
    batch.series[portion.clone()].iter().map(|series| series.points.len()).sum()
}

/// Receivers that answer as told.
#[cfg(test)]
mod tests;
