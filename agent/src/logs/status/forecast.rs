use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// Over so long growth is smoothed: a burst says nothing about when a limit is reached.
const SMOOTH: f64 = 60.0;
/// Growth of a shorter time is not told.
const SEEN: Duration = Duration::from_secs(15);
/// What lies further ahead says nothing.
const AHEAD: f64 = 30.0 * 86400.0;

/// When a source's unread lines will begin to be lost if it goes on like this: outputs that do not keep up, and a limit
/// to what is kept for them.
#[derive(Debug)]
pub struct Forecast {
    began: Instant,
    at: Instant,
    unread: u64,
    /// Bytes per second.
    growth: f64,
}

impl Forecast {
    pub fn new(unread: u64, now: Instant) -> Self {
        Self { began: now, at: now, unread, growth: 0.0 }
    }

    /// Takes in how much is unread now. In so many seconds it will be more than the limit, if it will.
    pub fn update(&mut self, unread: u64, limit: u64, now: Instant) -> Option<f64> {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        if seconds >= 1.0 {
            let growth = (unread as f64 - self.unread as f64) / seconds;
            // What is known of a short time counts as much as it is long.
            let known = now.saturating_duration_since(self.began).as_secs_f64().min(SMOOTH);
            let share = 1.0 - (-seconds / known).exp();
            self.growth += share * (growth - self.growth);
            (self.at, self.unread) = (now, unread);
        }
        let left = limit.saturating_sub(unread) as f64;
        let is_seen = now.saturating_duration_since(self.began) >= SEEN;
        (is_seen && unread > 0 && self.growth >= 1.0).then(|| left / self.growth).filter(|seconds| *seconds <= AHEAD)
    }
}

/// The time that is so many seconds ahead, to the minute: more is not known.
pub fn time_ahead(seconds: f64, now: Timestamp) -> Timestamp {
    let ahead = now + SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::ZERO);
    let second = ahead.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(ahead).max(now)
}

#[cfg(test)]
mod tests {
    use super::{Forecast, time_ahead};
    use std::time::{Duration, Instant};

    const MIB: u64 = 1 << 20;

    /// What is forecast at last when so much is unread each second.
    fn forecast(unread: impl Iterator<Item = u64>) -> Option<f64> {
        let start = Instant::now();
        let mut forecast = Forecast::new(0, start);
        let mut last = None;
        for (second, unread) in (1..).zip(unread) {
            last = forecast.update(unread, 1024 * MIB, start + Duration::from_secs(second));
        }
        last
    }

    #[test]
    fn what_grows_evenly_reaches_the_limit_when_it_does() {
        let seconds = forecast((1..=100).map(|second| second * MIB)).expect("it grows");
        assert!((seconds - 924.0).abs() < 30.0, "{seconds}");
    }

    #[test]
    fn what_shrinks_stays_or_grew_for_a_moment_is_not_lost() {
        assert_eq!(forecast((1..=100).rev().map(|second| second * MIB)), None);
        assert_eq!(forecast((1..=100).map(|_| 0)), None);
        assert_eq!(forecast((1..=5).map(|second| second * MIB)), None, "too short a time");
        assert_eq!(forecast((0..3600).map(|second| 500 * MIB + second / 100)), None, "in years");
    }

    #[test]
    fn beyond_the_limit_it_is_now() {
        assert_eq!(forecast((1..=2000).map(|second| second * MIB)), Some(0.0));
        let now = "2026-11-21T10:00:30Z".parse().expect("a time");
        assert_eq!(time_ahead(0.0, now), now);
        assert_eq!(time_ahead(3645.0, now).to_string(), "2026-11-21T11:01:00Z");
    }
}
