//! Products: finished files that reach buckets whole.
//!
//! What enters: files in watched folders that nobody writes any more ([`find`]). What leaves: objects under the key
//! that the template gives ([`key`]), sealed with checksums while they are read ([`seal`]), uploaded until the bucket
//! confirms size and checksum ([`upload`]), then kept or deleted here. What survives a restart: the [`ledger`] of what
//! is confirmed and of uploads in parts that were begun, one file for each product in the state folder; a file that
//! is confirmed is not sent again unless it changes, and then under the key of the same path again. A bucket that
//! cannot be reached, a folder that is missing, a file that cannot be read: said in the status and tried again for as
//! long as it takes, each without harm to the others.

/// What happens to local products that are confirmed.
mod after;
/// How long ago products were confirmed.
mod ages;
/// What others ask of a pipeline, answered.
mod answers;
/// The ways to pipelines, and what they are asked.
mod ask;
/// Keys that are taken, over all products.
mod claims;
/// Notices on their way, durable.
mod courier;
/// What folders are called while they are deleted.
mod deletion;
/// Products among what is in a folder.
mod find;
/// A watched folder, in which links are never followed.
mod folder;
/// A product as it was found: a file, or a folder with all in it.
mod found;
/// Whether a bucket is used at present, and when it is tried next.
mod gate;
/// Which products are finished, and under which keys they are to be uploaded.
mod intake;
/// Keys from templates.
mod key;
/// What is confirmed, durable.
mod ledger;
/// What folders leave in a bucket that did not become whole.
mod leftovers;
/// What is told of a product, and its signature.
mod letter;
/// What a product is made of: its last object.
mod manifest;
/// Whom a confirmed product is told, and how.
mod notice;
/// A finished product with its keys.
mod offer;
/// Who has a file open for writing, as far as `/proc` tells.
mod open_files;
/// What operators order.
mod operator;
/// How the products are, for the status.
mod overview;
/// The files of a product on their way.
mod piece;
/// One product folder from events to objects.
mod pipeline;
/// What waits to be uploaded, and which comes next.
mod queue;
/// What is known of a product, and as a line of the ledger.
mod record;
/// Renames that overwrite nothing.
mod rename;
/// Which paths are products, and how they are said to be finished.
mod rule;
/// Files read once for their checksums.
mod seal;
/// A product folder with what it needs of the configuration.
mod setting;
/// What a pipeline says of itself, and how it ends.
mod shown;
/// Looks at paths, and what they bring.
mod sighting;
/// Objects of folders that are not whole.
mod strewn;
/// One product into a bucket.
mod upload;
/// The uploads of a pipeline: which begin, and what becomes of those that end.
mod uploads;
/// Manifests compared with what is in a bucket.
mod verify;
/// Products that are not finished.
mod waiting;
/// The looks of a pipeline at its folder, and what they bring.
mod walks;
/// The kernel's word on what happened in a folder.
mod watch;
/// Whether anybody writes a file.
mod writers;

use ask::{Ask, Desk};
use claims::Claims;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::buckets::{Bucket, Encryption};
use hostwright_core::config::products::Product;
use hostwright_duty::supervisor::Context;
use operator::Operator;
use overview::{Overviews, Row};
use pipeline::Pipeline;
use setting::Setting;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

/// Runs a pipeline for each product until told to stop.
pub async fn run(
    (products, buckets): (BTreeMap<String, Product>, BTreeMap<String, Bucket>),
    context: Context,
) -> anyhow::Result<()> {
    let claims = Arc::new(Claims::default());
    let overviews = Sender::new(Overviews::default());
    let (desk, mut boxes) = Desk::open(&products);
    let keys = products.values().filter_map(|product| {
        let encryption = product.object.encryption.clone();
        Some((product.bucket.clone(), encryption.filter(|one| matches!(one, Encryption::Customer(_)))?))
    });
    let keys: BTreeMap<_, _> = keys.collect();
    let mut settings = Vec::new();
    for (name, product) in products {
        let setting = Setting::new(&name, product, (&buckets, &desk), &context.environment)?;
        settings.extend(setting.map(Arc::new));
    }
    // All ledgers before the first upload: a key belongs to the product that is confirmed under it.
    let mut pipelines = Vec::new();
    for setting in settings {
        let row = Row::new(&setting.name, overviews.clone());
        let opened = Pipeline::open(setting.clone(), &context.state, claims.clone(), row.clone());
        pipelines.push((setting, row, opened));
    }
    let mut running = JoinSet::new();
    for (setting, row, opened) in pipelines {
        let Some(asks) = boxes.remove(&*setting.name) else { continue };
        running.spawn(keep_running((setting, row, opened), asks, claims.clone(), context.clone()));
    }
    let mut operator = Operator::new(desk, buckets, keys);
    let mut changes = overviews.subscribe();
    overviews.send_modify(|_| {});
    loop {
        tokio::select! {
            // All are cancel-safe (tokio documents it so, and orders are not lost).
            Some(ended) = running.join_next() => ended?,
            Ok(()) = changes.changed() => overview::publish(&changes.borrow_and_update(), &context.status),
            order = context.orders.next() => operator.take(order),
            () = context.stop.cancelled(), if running.is_empty() => return Ok(()),
        }
    }
}

/// A pipeline whose state cannot be read or written is opened again, while the others go on.
async fn keep_running(
    (setting, row, mut opened): (Arc<Setting>, Row, anyhow::Result<Pipeline>),
    mut asks: Receiver<Ask>,
    claims: Arc<Claims>,
    context: Context,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    while !context.stop.is_cancelled() {
        let ended = match opened {
            Ok(pipeline) => Box::pin(pipeline.run(&mut asks, &context.stop)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            row.update(|overview| overview.sick = Some(format!("{error:#}")));
            tokio::select! {
                () = context.stop.cancelled() => {}
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
        if !context.stop.is_cancelled() {
            opened = Pipeline::open(setting.clone(), &context.state, claims.clone(), row.clone());
        } else {
            return;
        }
    }
}
