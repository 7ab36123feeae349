use hostwright_core::config::buckets::Bucket;
use hostwright_core::config::products::Afterwards;
use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What clocks may differ by without anything being wrong.
const TOLERATED: SignedDuration = SignedDuration::from_secs(60);
/// A store that can tell its time is waited for so long after the start: a disk that is full cannot wait for ever.
const UNTOLD: SignedDuration = SignedDuration::from_mins(10);

/// How old confirmed products are, whatever becomes of this host's clock: what is kept for a time is never deleted early.
///
/// Where the store tells its time, that clock counts by which less time has passed. Else a clock that jumps ahead by an
/// hour has everything kept for an hour more: nobody knows which of its times was wrong.
#[derive(Debug)]
pub(super) struct Ages(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// None: nothing is kept for a time.
    keep: Option<SignedDuration>,
    tells_time: bool,
    compared: Clocks,
    /// Nothing is old enough before, by the time since the host's start.
    not_before: SignedDuration,
    /// Seconds that the store's clock is ahead.
    ahead: i64,
}

/// This host's clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: Timestamp,
    /// Since the host's start, with the time that it slept. Nobody sets it.
    since_start: SignedDuration,
}

impl Clocks {
    fn now() -> Self {
        let since_start = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Self { wall: Timestamp::now(), since_start: SignedDuration::try_from(since_start).unwrap_or_default() }
    }
}

impl Ages {
    pub(super) fn new(afterwards: &Afterwards, bucket: &Bucket) -> Self {
        let keep = match afterwards {
            Afterwards::KeepFor(keep) => SignedDuration::try_from(*keep).ok(),
            _ => None,
        };
        let tells_time = matches!(bucket, Bucket::S3(_));
        Self(Mutex::new(Inner::new(keep, tells_time, Clocks::now())))
    }

    /// Whether a product that was confirmed then was kept for as long as it is to be.
    pub(super) fn is_over(&self, confirmed: Timestamp) -> bool {
        self.lock().is_over(confirmed, Clocks::now())
    }

    /// Whether a product was confirmed by a clock that was ahead, and what is to count in place of that.
    pub(super) fn counts_anew(&self, confirmed: Timestamp) -> Option<Timestamp> {
        let latest = later(Timestamp::now(), self.lock().ahead.max(0));
        (confirmed.duration_since(latest) > TOLERATED).then_some(latest)
    }

    /// Whether the store is to be asked for its time.
    pub(super) fn doubts(&self) -> bool {
        let (mut inner, now) = (self.lock(), Clocks::now());
        inner.compare(now);
        inner.keep.is_some() && inner.tells_time && now.since_start < inner.not_before
    }

    /// The store has just told its time.
    pub(super) fn told(&self, ahead: i64) {
        self.lock().told(ahead, Clocks::now());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(keep: Option<SignedDuration>, tells_time: bool, now: Clocks) -> Self {
        let not_before = now.since_start + if tells_time { UNTOLD } else { SignedDuration::ZERO };
        Self { keep, tells_time, compared: now, not_before, ahead: 0 }
    }

    fn is_over(&mut self, confirmed: Timestamp, now: Clocks) -> bool {
        self.compare(now);
        let earliest = later(now.wall, self.ahead.min(0));
        let Some(keep) = self.keep else { return false };
        now.since_start >= self.not_before && earliest.duration_since(confirmed) >= keep
    }

    /// Sees whether the clock was set since this was called last.
    fn compare(&mut self, now: Clocks) {
        let passed = now.since_start - self.compared.since_start;
        let jump = now.wall.duration_since(self.compared.wall) - passed;
        self.compared = now;
        if let Some(keep) = self.keep
            && jump.abs() > TOLERATED
        {
            // What is set back again was wrong in between.
            let held = self.not_before.max(now.since_start) - now.since_start;
            self.not_before = now.since_start + (held + jump).clamp(SignedDuration::ZERO, keep.max(held));
        }
    }

    fn told(&mut self, ahead: i64, now: Clocks) {
        if self.tells_time {
            self.compare(now);
            (self.ahead, self.not_before) = (ahead, now.since_start);
        }
    }
}

/// A time that is so many seconds later, or the same where none could be.
pub(super) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::{Clocks, Inner};
    use jiff::{SignedDuration, Timestamp};

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn at(wall: i64, since_start: i64) -> Clocks {
        let wall = Timestamp::from_second(1_790_000_000 + wall).expect("a time");
        Clocks { wall, since_start: SignedDuration::from_secs(since_start) }
    }

    fn kept_for(days: i64, tells_time: bool) -> Inner {
        Inner::new(Some(SignedDuration::from_secs(days * DAY)), tells_time, at(0, 0))
    }

    #[test]
    fn a_clock_that_is_set_deletes_nothing_early_and_holds_nothing_up_for_ever() {
        let (mut ages, confirmed) = (kept_for(7, false), at(0, 0).wall);
        assert!(!ages.is_over(confirmed, at(7 * DAY - 1, 7 * DAY - 1)));
        assert!(ages.is_over(confirmed, at(7 * DAY, 7 * DAY)));
        let mut ages = kept_for(7, false);
        assert!(!ages.is_over(confirmed, at(8 * DAY, HOUR)), "ahead by eight days");
        assert!(!ages.is_over(confirmed, at(14 * DAY - HOUR, 6 * DAY)));
        assert!(ages.is_over(confirmed, at(15 * DAY, 7 * DAY + HOUR)));
        let mut ages = kept_for(7, false);
        assert!(!ages.is_over(confirmed, at(3 * DAY, HOUR)));
        assert!(!ages.is_over(confirmed, at(2 * HOUR, 2 * HOUR)), "and back");
        assert!(ages.is_over(confirmed, at(7 * DAY, 7 * DAY)), "as if nothing had been");
        let mut ages = kept_for(7, false);
        assert!(!ages.is_over(confirmed, at(-20 * DAY, HOUR)), "twenty days back");
    }

    #[test]
    fn the_stores_time_settles_what_this_hosts_clock_cannot() {
        let (mut ages, confirmed) = (kept_for(7, true), at(0, 0).wall);
        let late = at(8 * DAY, HOUR / 12);
        assert!(!ages.is_over(confirmed, late), "the store is not heard yet");
        ages.told(-8 * DAY, late);
        assert!(!ages.is_over(confirmed, late), "the store says that no day has passed");
        ages.told(0, late);
        assert!(ages.is_over(confirmed, late), "the store agrees");
        let mut silent = kept_for(7, true);
        assert!(silent.is_over(at(-8 * DAY, 0).wall, at(HOUR, HOUR)), "it never says anything");
    }
}
