use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a store is waited for.
#[derive(Debug)]
pub(super) struct Patience {
    /// How long a request may go without anything moving while its body is sent.
    pub(super) sending: Duration,
    /// The same when all of it is sent: stores write it to several disks, and put parts together, before they answer.
    pub(super) answer: Duration,
    /// When a request with a body was last left without an answer.
    left: Mutex<Instant>,
}

/// A store has what it will ever get of a request that was left, and writes that down in moments.
const CARRIED_OUT: Duration = Duration::from_secs(5);

impl Patience {
    pub(super) fn new(sending: Duration, answer: Duration) -> Self {
        // The process before this one may have been killed a moment ago, with requests under way.
        Self { sending, answer, left: Mutex::new(Instant::now()) }
    }

    /// A request with a body begins.
    pub(super) fn unanswered(&self) -> Unanswered<'_> {
        Unanswered(Some(self))
    }

    /// Waits until no request that was left can still be carried out: what is deleted before that may come again. An
    /// S3 API need not even tell of a part that arrives after its upload was aborted (OpenStack Swift's does not).
    pub(super) async fn outlast_requests(&self) {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(left + CARRIED_OUT).await;
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::from_secs(60), Duration::from_secs(300))
    }
}

/// A request that its store may carry out without our hearing of it, if this is dropped.
#[derive(Debug)]
pub(super) struct Unanswered<'p>(Option<&'p Patience>);

impl Unanswered<'_> {
    /// The store has done what it was asked.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(patience) = self.0 {
            *patience.left.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CARRIED_OUT, Patience};
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn what_was_left_is_outlasted_and_what_was_answered_is_not_waited_for() {
        let (patience, moment) = (Patience::default(), Duration::from_millis(1));
        let began = Instant::now();
        patience.outlast_requests().await;
        let of_the_process_before = began.elapsed();
        assert!(of_the_process_before >= CARRIED_OUT, "{of_the_process_before:?}");
        let (answered, left) = (patience.unanswered(), patience.unanswered());
        advance(CARRIED_OUT).await;
        answered.answered();
        let began = Instant::now();
        patience.outlast_requests().await;
        assert!(began.elapsed() <= moment, "{:?}", began.elapsed());
        drop(left);
        patience.outlast_requests().await;
        assert!(began.elapsed() >= CARRIED_OUT, "{:?}", began.elapsed());
    }
}
