use std::time::{Duration, Instant};

/// What somebody sets is no measurement, and most never change: of a thousand containers it is six thousand files.
const EVERY: Duration = Duration::from_secs(60);

/// When a device's or a container's settings are read again.
#[derive(Debug, Default)]
pub struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is time; then the next time is a minute later. After the first time it is any moment of the minute,
    /// so that a scrape reads the settings of a few and not of all.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let next = match self.0 {
            Some(next) if now < next => return false,
            Some(_) => EVERY,
            None => EVERY.mul_f64(fastrand::f64()),
        };
        self.0 = Some(now + next);
        true
    }

    /// It is time the next time.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{EVERY, Seldom};
    use std::time::Instant;

    #[test]
    fn it_is_due_at_first_within_the_first_minute_and_every_minute_after() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert!(seldom.is_due(start) && !seldom.is_due(start));
        assert!(seldom.is_due(start + EVERY), "the second time");
        assert!(!seldom.is_due(start + EVERY * 2 - EVERY / 100), "a minute later at the earliest");
        assert!(seldom.is_due(start + EVERY * 2));
        seldom.forget();
        assert!(seldom.is_due(start + EVERY * 2));
    }
}
