use jiff::Timestamp;
use reqwest::StatusCode;
use std::time::Duration;

/// The most of an answer that is held in memory.
pub const LONGEST_ANSWER: usize = 16 << 20;
/// A server may ask to wait; a wrong clock may not make that a day.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// The answer was longer than `LONGEST_ANSWER`.
    pub is_cut: bool,
    /// How long the server asks to wait.
    pub after: Option<Duration>,
    /// Where it says to go instead.
    pub location: Option<String>,
}

impl Answer {
    /// One that was made up.
    #[cfg(test)]
    pub fn of(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body, is_cut: false, after: None, location: None }
    }

    pub async fn read(mut response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after = text("retry-after").and_then(|text| retry_after(text, Timestamp::now()));
        let location = text("location").map(str::to_owned);
        let mut answer = Self { status: response.status(), body: Vec::new(), is_cut: false, after, location };
        while let Some(chunk) = response.chunk().await? {
            if answer.body.len() + chunk.len() > LONGEST_ANSWER {
                answer.is_cut = true;
                break;
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
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
