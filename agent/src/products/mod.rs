//! To be written: the products duty.

use crate::supervisor::Context;
use hostwright_core::config::{buckets::Bucket, products::Product};

/// Runs the duty until it is told to stop.
pub async fn run(
    _settings: (std::collections::BTreeMap<String, Product>, std::collections::BTreeMap<String, Bucket>),
    context: Context,
) -> anyhow::Result<()> {
    context.status.ok("nothing to do yet");
    context.stop.cancelled().await;
    Ok(())
}
