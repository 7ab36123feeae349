//! Products: finished files that reach buckets whole.
//!
//! What enters: files in watched folders that nobody writes any more ([`find`]). What leaves: objects under the key
//! that the template gives ([`key`]), sealed with checksums while they are read ([`seal`]), uploaded until the bucket
//! confirms size and checksum ([`upload`]), then kept or deleted here. What survives a restart: the [`ledger`] of what
//! is confirmed and of uploads in parts that were begun, one file for each product in the state folder; a file that
//! is confirmed is not sent again unless it changes, and then under the key of the same path again. A bucket that
//! cannot be reached, a folder that is missing, a file that cannot be read: said in the status and tried again for as
//! long as it takes, each without harm to the others.

/// Keys that are taken, over all products.
mod claims;
/// Finished files among those in a folder.
mod find;
/// A watched folder, in which links are never followed.
mod folder;
/// Whether a bucket is used at present, and when it is tried next.
mod gate;
/// Which files of a folder are to be uploaded, and under which keys.
mod intake;
/// Keys from templates.
mod key;
/// What is confirmed, durable.
mod ledger;
/// Who has a file open for writing.
mod open_files;
/// How the products are, for the status.
mod overview;
/// One product from folder to bucket.
mod pipeline;
/// What waits to be uploaded, and which comes next.
mod queue;
/// Files read once for their checksums.
mod seal;
/// One file into a bucket.
mod upload;
/// The kernel's word that something happened in a folder.
mod watch;

use crate::supervisor::Context;
use claims::Claims;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::{buckets::Bucket, products::Product};
use overview::{Overviews, Row};
use pipeline::{Pipeline, Setting};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

/// Runs a pipeline for each product until told to stop.
pub async fn run(
    (products, buckets): (BTreeMap<String, Product>, BTreeMap<String, Bucket>),
    context: Context,
) -> anyhow::Result<()> {
    let claims = Arc::new(Claims::default());
    let overviews = Sender::new(Overviews::default());
    let settings: Vec<_> = products
        .into_iter()
        .filter_map(|(name, product)| Setting::new(name, product, &buckets, &context.environment))
        .collect();
    // All ledgers before the first upload: a key belongs to the file that is confirmed under it.
    let mut pipelines = Vec::new();
    for setting in settings {
        let row = Row::new(&setting.name, overviews.clone());
        let opened = Pipeline::open(setting.clone(), &context.state, claims.clone(), row.clone());
        pipelines.push((setting, row, opened));
    }
    let mut running = JoinSet::new();
    for (setting, row, opened) in pipelines {
        running.spawn(keep_running(setting, row, opened, claims.clone(), context.clone()));
    }
    let mut changes = overviews.subscribe();
    overviews.send_modify(|_| {});
    loop {
        tokio::select! {
            // All are cancel-safe (tokio documents it so).
            Some(ended) = running.join_next() => ended?,
            Ok(()) = changes.changed() => overview::publish(&changes.borrow_and_update(), &context.status),
            () = context.stop.cancelled(), if running.is_empty() => return Ok(()),
        }
    }
}

/// A pipeline whose state cannot be read or written is opened again, while the others go on.
async fn keep_running(
    setting: Setting,
    row: Row,
    mut opened: anyhow::Result<Pipeline>,
    claims: Arc<Claims>,
    context: Context,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    while !context.stop.is_cancelled() {
        let ended = match opened {
            Ok(pipeline) => pipeline.run(&context.stop).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            row.update(|overview| overview.sick = Some(format!("{error:#}")));
            tokio::select! {
                () = context.stop.cancelled() => {}
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
        opened = Pipeline::open(setting.clone(), &context.state, claims.clone(), row.clone());
    }
}
