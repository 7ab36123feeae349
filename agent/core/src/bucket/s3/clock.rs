use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Stores take signatures of a quarter of an hour around their time; what is beyond this is a clock that is wrong.
const TOLERATED: i64 = 60;

/// The time that requests are signed with: this host's, unless the store's differs much from it.
#[derive(Debug, Default)]
pub(in crate::bucket) struct Clock {
    /// Seconds that the store is ahead.
    ahead: AtomicI64,
}

impl Clock {
    /// Takes the store's time from an answer (RFC 9110, 6.6.1).
    pub(super) fn heard(&self, date: &str) {
        let Some(theirs) = http_date(date) else { return };
        let ahead = match theirs - Timestamp::now().as_second() {
            difference if difference.abs() <= TOLERATED => 0,
            difference => difference,
        };
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if ahead != 0 && (ahead - before).abs() > TOLERATED {
            let (by, way) = (ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
            log::warn!(
                "this host's clock is {by} s {way} the store's: requests are signed with the store's time; see that time is synchronised"
            );
        }
    }

    /// Seconds that the store's clock is ahead of this host's, if they differ much.
    pub(in crate::bucket) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.ahead());
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(by).unwrap_or(now) } else { now.checked_add(by).unwrap_or(now) }
    }
}

/// Has a request signed anew that was refused because its time was wrong: [`Clock::heard`] knows the right one now.
#[derive(Debug)]
pub(super) struct SignAnew;

impl ClassifyRetry for SignAnew {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response() else { return RetryAction::NoActionIndicated };
        let about_time = match response.body().bytes() {
            Some(body) if !body.is_empty() => memmem(body, b"RequestTimeTooSkewed"),
            // The answer to a HEAD has no body that could say why.
            _ => response.headers().get("date").and_then(http_date).is_some_and(differs),
        };
        if about_time && matches!(response.status().as_u16(), 400 | 401 | 403) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "sign anew with the store's time"
    }
}

fn http_date(text: &str) -> Option<i64> {
    rfc2822::parse(text).ok().map(|time| time.timestamp().as_second())
}

fn differs(theirs: i64) -> bool {
    (theirs - Timestamp::now().as_second()).abs() > TOLERATED
}

fn memmem(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::{Clock, http_date};
    use aws_smithy_async::time::TimeSource as _;
    use jiff::{Timestamp, ToSpan as _};
    use std::time::SystemTime;

    #[test]
    fn a_clock_that_is_wrong_follows_the_stores_and_one_that_is_right_is_kept() {
        let clock = Clock::default();
        let told = |seconds: i64| {
            let time = (Timestamp::now() + seconds.seconds()).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            clock.heard(&time);
            match clock.now().duration_since(SystemTime::now()) {
                Ok(ahead) => ahead.as_secs_f64().round() as i64,
                Err(behind) => -(behind.duration().as_secs_f64().round() as i64),
            }
        };
        assert!((3599..=3600).contains(&told(3600)));
        assert!((-86_401..=-86_399).contains(&told(-86_400)));
        assert_eq!(told(30), 0);
    }

    #[test]
    fn dates_of_answers_are_read() {
        assert_eq!(http_date("Sat, 21 Nov 2026 11:41:20 GMT"), Some(1_795_261_280));
        assert_eq!(http_date("yesterday"), None);
    }
}
