//! How far a scrape is, for another thread to see where it hangs: reading one of the kernel's files may take for ever.
//!
//! In: each stage that begins. Out: which one takes too long, and which are left out because a thread hangs in them.
//! What hangs is the whole process' knowledge, so that a duty that starts again does not hang in it too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What has hung is not asked again at once when it answers after all.
const PAUSE: Duration = Duration::from_secs(60);

/// Stages in which a thread hangs, or has until a moment ago.
static LEFT_OUT: Mutex<BTreeMap<&'static str, LeftOut>> = Mutex::new(BTreeMap::new());

/// A stage that is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    /// A thread hangs in it.
    Hangs,
    /// None does any more, and it may be asked from then on.
    Rests(Instant),
}

/// Where the scrape of one thread is.
#[derive(Debug, Default)]
pub struct Stages {
    now: Mutex<Option<(&'static str, Instant)>>,
    given_up: OnceLock<&'static str>,
}

impl Stages {
    /// A stage begins, and the one before it ends.
    ///
    /// # Errors
    /// It must be left out: why.
    pub fn begin(&self, stage: &'static str) -> Result<(), &'static str> {
        if self.given_up.get().is_some() {
            return Err("another thread goes on in place of this one");
        }
        let now = Instant::now();
        if let Some(why) = left_out(stage, now) {
            return Err(why);
        }
        *lock(&self.now) = Some((stage, now));
        Ok(())
    }

    /// The scrape is over.
    pub fn end(&self) {
        *lock(&self.now) = None;
    }

    /// The stage that has taken longer than this.
    pub fn overdue(&self, patience: Duration) -> Option<&'static str> {
        lock(&self.now).filter(|(_, began)| began.elapsed() > patience).map(|(stage, _)| stage)
    }

    /// The thread hangs in the stage: it is not waited for, and no other one begins that stage.
    pub fn give_up(&self, stage: &'static str) {
        // A second time changes nothing.
        let _ = self.given_up.set(stage);
        lock(&LEFT_OUT).insert(stage, LeftOut::Hangs);
    }

    /// What the thread hangs in, or did, if it was given up.
    pub fn given_up(&self) -> Option<&'static str> {
        self.given_up.get().copied()
    }

    /// Whether another thread goes on in place of this one. Its own stage may be asked again after a while.
    pub fn came_back(&self) -> bool {
        let Some(stage) = self.given_up.get() else { return false };
        lock(&LEFT_OUT).insert(stage, LeftOut::Rests(Instant::now() + PAUSE));
        true
    }
}

/// Always in the same words, so that the status changes only with what it is about.
fn left_out(stage: &str, now: Instant) -> Option<&'static str> {
    let mut all = lock(&LEFT_OUT);
    match *all.get(stage)? {
        LeftOut::Hangs => Some("the kernel does not answer; it is left out until it does"),
        LeftOut::Rests(until) if now < until => {
            Some("the kernel took too long to answer; it is asked again after a minute")
        }
        LeftOut::Rests(_) => {
            all.remove(stage);
            None
        }
    }
}

/// Whatever panicked, what is kept here is whole.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{LEFT_OUT, LeftOut, PAUSE, Stages, left_out, lock};
    use std::time::{Duration, Instant};

    #[test]
    fn a_stage_that_hangs_is_left_out_by_all_until_a_while_after_it_came_back() {
        let (hung, other) = (Stages::default(), Stages::default());
        assert_eq!(hung.overdue(Duration::ZERO), None);
        assert_eq!((hung.begin("test"), hung.overdue(Duration::from_secs(600))), (Ok(()), None));
        assert_eq!(hung.overdue(Duration::ZERO), Some("test"));
        hung.give_up("test");
        let why = other.begin("test").expect_err("left out");
        assert!(why.contains("does not answer"), "{why}");
        assert_eq!(other.begin("another"), Ok(()));
        assert!(hung.begin("another").is_err(), "who is given up goes no further");
        assert!(hung.came_back() && !other.came_back());
        assert!(other.begin("test").expect_err("rests").contains("asked again after a minute"));
        let later = Instant::now() + PAUSE;
        assert!(matches!(lock(&LEFT_OUT).get("test"), Some(LeftOut::Rests(_))));
        assert_eq!(left_out("test", later), None);
        assert_eq!(other.begin("test"), Ok(()));
    }
}
