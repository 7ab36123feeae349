//! Waiting for a condition, with a name and a limit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What a probe may answer: `bool`, `Option` or `Result`. An unmet `Result` is named when the wait gives up.
pub trait Probe {
    type Value;
    /// The value, or why it is not there yet.
    fn met(self) -> Result<Self::Value, String>;
}

impl Probe for bool {
    type Value = ();
    fn met(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<T> Probe for Option<T> {
    type Value = T;
    fn met(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

impl<T> Probe for Result<T> {
    type Value = T;
    fn met(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Asks `probe` until it answers `true`, `Some` or `Ok`, for at most `timeout`.
pub fn eventually<P: Probe>(what: &str, timeout: Duration, mut probe: impl FnMut() -> P) -> Result<P::Value> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let unmet = match probe().met() {
            Ok(value) => return Ok(value),
            Err(unmet) => unmet,
        };
        if start.elapsed() >= timeout {
            let last = if unmet.is_empty() { String::new() } else { format!("; last answer: {unmet}") };
            bail!("waited {:.1} s in vain for: {what}{last}", start.elapsed().as_secs_f32());
        }
        thread::sleep(pause);
        // Quick at first, then gentle: two cores are shared with the servers that are awaited.
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}
