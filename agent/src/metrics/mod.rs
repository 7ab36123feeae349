//! To be written: the metrics duty.

use crate::supervisor::Context;
use hostwright_core::config::metrics::Metrics;

/// Runs the duty until it is told to stop.
pub async fn run(_settings: Metrics, context: Context) -> anyhow::Result<()> {
    context.status.ok("nothing to do yet");
    context.stop.cancelled().await;
    Ok(())
}
