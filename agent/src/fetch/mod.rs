//! Fetching: objects of buckets that are kept as files of this host.
//!
//! What enters: what `buckets: NAME: fetch:` names, and what the buckets tell at an interval or when an operator asks.
//! What leaves: files that appear whole, verified and under their names at once. What survives a restart: of which object
//! each file is (`core/fetch`). A bucket that cannot be reached is said in the status and asked again for as long as it
//! takes, without harm to the others. It is a duty of its own, because it shares nothing with products but buckets.

/// How it is, for the status.
mod overview;

use hostwright_core::backoff::Backoff;
use hostwright_core::bucket::Bucket;
use hostwright_core::config::buckets::{self, fetch::Fetch};
use hostwright_core::fetch::{FetchError, Fetcher, Synced};
use hostwright_duty::orders::Order;
use hostwright_duty::supervisor::Context;
use overview::{Overview, Row};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the duty is given: buckets, and what is brought down from them.
pub type Settings = (BTreeMap<String, buckets::Bucket>, BTreeMap<String, Vec<Fetch>>);

/// One entry with what it needs.
struct Keeper {
    bucket_name: String,
    settings: buckets::Bucket,
    number: usize,
    fetch: Fetch,
    row: Row,
    /// Changes when an operator asks.
    now: watch::Receiver<u64>,
}

/// Keeps every entry until told to stop.
///
/// # Errors
/// A defect of this program.
pub async fn run((buckets, fetches): Settings, context: Context) -> anyhow::Result<()> {
    let overview = watch::Sender::new(Overview::default());
    let (ask, now) = watch::channel(0);
    let mut running = JoinSet::new();
    for (bucket_name, entries) in fetches {
        let Some(settings) = buckets.get(&bucket_name) else { continue };
        for (number, fetch) in entries.into_iter().enumerate() {
            let row = Row::new(&overview, &bucket_name, &fetch);
            let (bucket_name, settings) = (bucket_name.clone(), settings.clone());
            let keeper = Keeper { bucket_name, settings, number, fetch, row, now: now.clone() };
            running.spawn(keeper.keep(context.state.clone(), context.stop.clone()));
        }
    }
    drop(now);
    let mut changes = overview.subscribe();
    overview.send_modify(|_| {});
    loop {
        tokio::select! {
            // All are cancel-safe: tokio documents it so, and orders are not lost.
            Some(ended) = running.join_next() => ended?,
            Ok(()) = changes.changed() => {
                let overview = changes.borrow_and_update().clone();
                overview.publish(&context.status);
            }
            order = context.orders.next() => take(order, &ask, &overview),
            () = context.stop.cancelled() => break,
        }
    }
    // Half a file is gone on with by the next process.
    running.shutdown().await;
    Ok(())
}

/// Has every entry looked at now (`now`), or says whether each has been (`reached`): that may take as long as downloads do.
fn take(order: Order, ask: &watch::Sender<u64>, overview: &watch::Sender<Overview>) {
    let now = overview.borrow();
    let answer = match order.verb.as_str() {
        "now" => Ok(json!({"rounds": now.next_rounds()})),
        "reached" => serde_json::from_value(order.arguments["rounds"].clone())
            .map(|wanted| json!({"ended": now.has_reached(&wanted), "entries": now.details()}))
            .map_err(|_| "rounds: expected what \"now\" has answered".to_owned()),
        verb => Err(format!("fetching takes no order {verb:?}; it takes \"now\" and \"reached\"")),
    };
    drop(now);
    if order.verb == "now" {
        ask.send_modify(|number| *number += 1);
    }
    order.answer(answer);
}

impl Keeper {
    async fn keep(mut self, state: PathBuf, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(300));
        let mut open: Option<(Arc<Bucket>, Fetcher)> = None;
        while !stop.is_cancelled() {
            self.row.begun();
            let pause = match self.round(&mut open, &state).await {
                Ok(synced) => {
                    let well = synced.failed.is_empty();
                    self.say(&synced);
                    self.row.synced(synced);
                    if well {
                        backoff.reset();
                    }
                    if well { self.fetch.every } else { backoff.next_delay().min(self.fetch.every) }
                }
                Err(error) => {
                    self.row.failed(error.to_string());
                    log::warn!("{error}");
                    // Keys that were changed are read anew.
                    open = None;
                    backoff.next_delay()
                }
            };
            tokio::select! {
                // Both are cancel-safe (tokio documents it so).
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.now.changed() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn round(&self, open: &mut Option<(Arc<Bucket>, Fetcher)>, state: &Path) -> Result<Synced, FetchError> {
        if open.is_none() {
            let bucket = Arc::new(Bucket::open(&self.bucket_name, &self.settings)?);
            *open = Some((bucket, Fetcher::open(&self.bucket_name, self.number, self.fetch.clone(), state)?));
        }
        let Some((bucket, fetcher)) = open else { return Ok(Synced::default()) };
        Box::pin(fetcher.sync(bucket)).await
    }

    fn say(&self, synced: &Synced) {
        for path in &synced.fetched {
            log::info!("fetched {} from the bucket {:?}", path.display(), self.bucket_name);
        }
        for path in &synced.removed {
            log::info!("removed {}: its object is gone from the bucket {:?}", path.display(), self.bucket_name);
        }
        for why in &synced.failed {
            log::warn!("{why}");
        }
        if synced.unverified > 0 {
            let number = synced.unverified;
            log::warn!(
                "{number} files of the bucket {:?} have no checksum to compare but their size",
                self.bucket_name
            );
        }
    }
}
