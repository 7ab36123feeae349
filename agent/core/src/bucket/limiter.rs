use crate::config::buckets::Bandwidth;
use jiff::Zoned;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// A pause is over after this long, so that a change of the timetable is seen.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The limiters in use, so that all uploads to one place share one.
static SHARED: Mutex<Vec<(String, Bandwidth, Weak<Limiter>)>> = Mutex::new(Vec::new());

/// Lets as many bytes pass as a timetable says, over everything that shares it.
#[derive(Debug)]
pub struct Limiter {
    timetable: Bandwidth,
    /// When the bytes that were let pass so far are paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl Limiter {
    /// One of its own.
    pub fn new(timetable: Bandwidth) -> Self {
        Self { timetable, paid_at: Mutex::new(None) }
    }

    /// The one of a place: two buckets opened of one configuration share it.
    pub(super) fn of_place(place: &str, timetable: &Bandwidth) -> Arc<Self> {
        let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(.., limiter)| limiter.strong_count() > 0);
        let same = all.iter().find(|(other, table, _)| other == place && table == timetable);
        if let Some(limiter) = same.and_then(|(.., limiter)| limiter.upgrade()) {
            return limiter;
        }
        let limiter = Arc::new(Self::new(timetable.clone()));
        all.push((place.to_owned(), timetable.clone(), Arc::downgrade(&limiter)));
        limiter
    }

    /// The bytes a second that may go now, or nothing where there is no limit.
    pub(super) fn rate(&self) -> Option<u64> {
        self.timetable.at(Zoned::now().datetime())
    }

    /// Waits until `bytes` may go.
    pub(super) async fn pass(&self, bytes: u64) {
        let Some(rate) = self.rate() else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let from = {
            let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let from = paid_at.map_or_else(Instant::now, |paid_at| paid_at.max(Instant::now()));
            *paid_at = Some(from + cost);
            from
        };
        while Instant::now() < from && self.rate().is_some() {
            tokio::time::sleep_until(from.min(Instant::now() + LONGEST_PAUSE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limiter;
    use crate::config::Config;
    use crate::config::buckets::{Bandwidth, Bucket};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn table(text: &str) -> Bandwidth {
        let text = format!(
            "buckets: {{b: {{endpoint: 'http://h', bucket: b, bandwidth: '{text}', credentials: {{env_prefix: X}}}}}}"
        );
        match Config::parse(&text, "agent.yaml").expect("valid").buckets.remove("b") {
            Some(Bucket::S3(s3)) => s3.connection.bandwidth.expect("read"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_the_rate_over_all_that_share_it() {
        let limiter = Arc::new(Limiter::new(table("1MiB")));
        let begun = Instant::now();
        let all: Vec<_> = (0..4)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        limiter.pass(128 << 10).await;
                    }
                })
            })
            .collect();
        for one in all {
            one.await.expect("ended");
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(9_700) && took < Duration::from_millis(10_100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits_and_one_place_has_one_limiter() {
        let begun = Instant::now();
        Limiter::new(table("off")).pass(1 << 40).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let (one, same) = (Limiter::of_place("p", &table("1M")), Limiter::of_place("p", &table("1M")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &Limiter::of_place("q", &table("1M"))));
    }
}
