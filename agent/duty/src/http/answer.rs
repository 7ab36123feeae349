use super::retry_after::retry_after;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use std::time::Duration;

/// The most of an answer that is held in memory.
pub const LONGEST_ANSWER: usize = 16 << 20;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// The answer was longer than `LONGEST_ANSWER`.
    pub is_cut: bool,
    pub headers: HeaderMap,
    /// How long the server asks to wait.
    pub after: Option<Duration>,
    /// Where it says to go instead.
    pub location: Option<String>,
}

impl Answer {
    pub async fn read(mut response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after = text("retry-after").and_then(|text| retry_after(text, Timestamp::now()));
        let location = text("location").map(str::to_owned);
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Self { status, headers, body: Vec::new(), is_cut: false, after, location };
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
