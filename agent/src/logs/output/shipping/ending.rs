use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long an output goes on after it was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// When to stop: at once if there is nothing to do, else after a while.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) stop: CancellationToken,
    pub(super) deadline: OnceLock<Instant>,
}

impl Ending {
    pub(super) fn has_begun(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(super) async fn begun(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until there is no more time.
    pub(super) async fn over(&self) {
        self.stop.cancelled().await;
        sleep_until(self.deadline()).await;
    }

    pub(super) fn is_over(&self, nothing_to_do: bool) -> bool {
        self.has_begun() && (nothing_to_do || Instant::now() >= self.deadline())
    }

    pub(super) fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + DRAIN)
    }
}

pub(super) async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => sleep(delay).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn at(time: Option<std::time::Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
