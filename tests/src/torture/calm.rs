use std::sync::atomic::{AtomicBool, Ordering};

/// When the storm is over, and when everything is.
#[derive(Debug, Default)]
pub struct Calm {
    begun: AtomicBool,
    over: AtomicBool,
}

impl Calm {
    /// Nobody writes, breaks or ends anything any more; what was written is still to arrive.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Everybody goes home.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
