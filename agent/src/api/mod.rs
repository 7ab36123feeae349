//! To be written: the api duty.

use crate::supervisor::Context;
use hostwright_core::config::api::Api;

/// Runs the duty until it is told to stop.
pub async fn run(_settings: Option<Api>, context: Context) -> anyhow::Result<()> {
    context.status.ok("nothing to do yet");
    context.stop.cancelled().await;
    Ok(())
}
