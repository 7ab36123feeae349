use hostwright_core::backoff::Backoff;
use hostwright_core::bucket::{Bucket, BucketError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The slowest pace. What uploads are refused for until somebody changes it is tried again at this one.
const SLOW: Duration = Duration::from_secs(60);

/// Whether a bucket is used at present. After a failure that concerns the whole bucket nothing is sent until a probe
/// has gone well, so that a queue of ten thousand files asks a sick store one question at a time.
#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    backoff: Backoff,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
enum State {
    Held { until: Instant },
    Probing,
    Open(Arc<Bucket>),
}

#[derive(Debug)]
struct Trouble {
    why: String,
    /// A probe that goes well does not end the trouble of an upload: only an upload does.
    of_upload: bool,
}

impl Gate {
    /// Closed, and to be probed at once.
    pub(super) fn new() -> Self {
        Self {
            state: State::Held { until: Instant::now() },
            backoff: Backoff::new(Duration::from_secs(1), SLOW),
            trouble: None,
        }
    }

    /// The bucket, if it can be used.
    pub(super) fn bucket(&self) -> Option<Arc<Bucket>> {
        match &self.state {
            State::Open(bucket) => Some(bucket.clone()),
            State::Held { .. } | State::Probing => None,
        }
    }

    /// What is wrong with the bucket.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.why.as_str())
    }

    /// When it is to be probed.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Held { until } => Some(until),
            State::Probing | State::Open(_) => None,
        }
    }

    /// Somebody has put something right, maybe: it is probed at once.
    pub(super) fn hurry(&mut self) {
        if let State::Held { until } = &mut self.state {
            *until = Instant::now();
        }
    }

    /// A probe is under way.
    pub(super) fn probing(&mut self) {
        self.state = State::Probing;
    }

    /// A probe has ended.
    pub(super) fn probed(&mut self, result: Result<Arc<Bucket>, BucketError>) {
        match result {
            Ok(bucket) => {
                self.state = State::Open(bucket);
                if self.trouble.as_ref().is_some_and(|trouble| !trouble.of_upload) {
                    self.well();
                }
            }
            Err(error) => self.hold(&error, false),
        }
    }

    /// An upload has failed for a reason that concerns the whole bucket.
    pub(super) fn failed(&mut self, error: &BucketError) {
        // Several uploads that were under way fail together: one trouble.
        if matches!(self.state, State::Open(_)) {
            self.hold(error, true);
        }
    }

    /// An upload went well, or there is nothing left that could.
    pub(super) fn well(&mut self) {
        if self.trouble.take().is_some() {
            self.backoff.reset();
        }
    }

    fn hold(&mut self, error: &BucketError, of_upload: bool) {
        // What was just put right (keys that were changed, a bucket that was made) need not wait for the slow pace: a probe
        // is one small question, an upload is not.
        let is_slow = of_upload && error.is_permanent() && self.trouble.is_some();
        let delay = if is_slow { SLOW } else { self.backoff.next_delay() };
        self.state = State::Held { until: Instant::now() + delay };
        let of_upload = of_upload || self.trouble.as_ref().is_some_and(|trouble| trouble.of_upload);
        self.trouble = Some(Trouble { why: error.to_string(), of_upload });
    }
}
