use nix::errno::Errno;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Between two messages about the same.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Out of descriptors, the next attempt would fail at once, for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that a listener could not take: told at once, then each minute with their number.
#[derive(Debug)]
pub struct Refusals {
    listener: String,
    told: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// Those of a listener, named as its messages are to begin.
    pub fn of(listener: impl Into<String>) -> Self {
        Self { listener: listener.into(), told: None, untold: 0 }
    }

    /// Another one, after which it is better to wait.
    pub async fn wait_after(&mut self, error: &io::Error) {
        if let Some(message) = self.count(error, Instant::now()) {
            log::warn!("{message}");
        }
        tokio::time::sleep(PAUSE).await;
    }

    fn count(&mut self, error: &io::Error, now: Instant) -> Option<String> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        let attempts = match std::mem::take(&mut self.untold) {
            1 => String::new(),
            attempts => format!(" ({attempts} attempts)"),
        };
        Some(format!("{}: cannot accept a connection{attempts}: {error}; {}", self.listener, remedy(error)))
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => {
            "every file descriptor is in use; see who is connected with `ss -tnp`, or raise LimitNOFILE="
        }
        Some(Errno::ENFILE) => "the host has no file descriptor left; see the sysctl fs.file-max",
        _ => "further ones wait until it goes again",
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Errno, Instant, Refusals, io};

    #[test]
    fn the_first_is_told_at_once_and_the_others_each_minute_with_their_number() {
        let (mut refusals, start) = (Refusals::of("api"), Instant::now());
        let error = io::Error::from_raw_os_error(Errno::EMFILE as i32);
        let mut told = |after: u64| refusals.count(&error, start + Duration::from_secs(after));
        let first = told(0).expect("told");
        assert!(first.starts_with("api: cannot accept a connection: ") && first.contains("LimitNOFILE"), "{first}");
        assert!((1..60).all(|second| told(second).is_none()));
        let second = told(60).expect("told");
        assert!(second.contains("a connection (60 attempts): "), "{second}");
        assert_eq!(told(61), None);
    }
}
