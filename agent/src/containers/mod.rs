//! To be written: the containers duty.

use crate::supervisor::Context;
use hostwright_core::config::containers::Containers;

/// Runs the duty until it is told to stop.
pub async fn run(_settings: Containers, context: Context) -> anyhow::Result<()> {
    context.status.ok("nothing to do yet");
    context.stop.cancelled().await;
    Ok(())
}
