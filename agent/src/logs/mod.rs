//! To be written: the logs duty.

use crate::supervisor::Context;
use hostwright_core::config::logs::Logs;

/// Runs the duty until it is told to stop.
pub async fn run(_settings: Logs, context: Context) -> anyhow::Result<()> {
    context.status.ok("nothing to do yet");
    context.stop.cancelled().await;
    Ok(())
}
