use hostwright_core::config::metrics::web::RateLimit;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket of tokens: full at first, each request takes one, and each interval brings one.
#[derive(Debug)]
pub struct Limiter {
    limit: RateLimit,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> Self {
        let state = State { tokens: limit.burst as f64, at: Instant::now() };
        Self { limit, state: Mutex::new(state) }
    }

    /// What it was made for.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Whether there is a token for a request now, which takes it.
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.at);
        let brought = since.as_secs_f64() / self.limit.interval.as_secs_f64();
        state.tokens = (state.tokens + brought).min(self.limit.burst as f64);
        state.at = now.max(state.at);
        let admitted = state.tokens >= 1.0;
        if admitted {
            state.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::Limiter;
    use hostwright_core::config::metrics::web::RateLimit;
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_is_let_through_and_then_one_an_interval() {
        let limiter = Limiter::new(RateLimit { interval: Duration::from_secs(1), burst: 3 });
        let start = Instant::now();
        let at = |milliseconds| limiter.admits(start + Duration::from_millis(milliseconds));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(900), at(1100), at(1200)], [false, true, false]);
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
    }

    #[test]
    fn without_a_burst_nothing_is_let_through_as_in_the_original() {
        let limiter = Limiter::new(RateLimit { interval: Duration::from_secs(1), burst: 0 });
        assert!(!limiter.admits(Instant::now() + Duration::from_secs(9)));
    }
}
