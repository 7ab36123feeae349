use jiff::Timestamp;
use std::time::Duration;

/// A server may ask to wait; a wrong clock may not make that a day.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Seconds or a date (RFC 9110, 10.2.3).
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::retry_after;
    use std::time::Duration;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = "1994-11-06T08:49:07Z".parse().expect("a time");
        for (text, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("9999999", Some(600)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
