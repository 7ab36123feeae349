use super::Undelivered;
use bytes::Bytes;
use hostwright_core::config::endpoint::Endpoint;
use hostwright_duty::http::{self, Cause, NoAnswer};
use reqwest::header::HeaderMap;
use std::time::Duration;

pub use hostwright_duty::http::{Answer, LONGEST_ANSWER};

const ENCODING: &str = "see whether it takes what compress says";
const PAGE: &str = "see that url is the platform's own: a proxy, a portal or a firewall on the way may have answered (lines wait in their files)";
const CREDENTIALS: &str = "see that the output's credentials are right and may write there (lines wait in their files)";

/// A way to one platform behind HTTP, and what its answers mean for a batch.
#[derive(Debug)]
pub struct Client {
    way: http::Client,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub content_type: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(endpoint: &Endpoint, suffix: String) -> Self {
        Self { way: http::Client::new(endpoint, suffix) }
    }

    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        self.way.address()
    }

    /// "https://logs.example.org answered 400 Bad Request: …"
    pub fn said(&self, answer: &Answer) -> String {
        self.way.said(answer)
    }

    /// A text of the platform as far as it can be shown.
    pub fn shown(&self, text: &str) -> String {
        self.way.shown(text)
    }

    /// Sends a request and waits for the answer, whatever its status.
    pub async fn post(&mut self, request: Request) -> Result<Answer, Undelivered> {
        let Request { content_type, headers, body } = request;
        let answer = self.way.post(http::Request { content_type, headers, body }).await.map_err(failed)?;
        match answer.status.is_success() && is_page(&answer.body) {
            true => Err(Undelivered::Unanswered {
                why: format!("{} with a page for people; {PAGE}", self.said(&answer)),
                taken: 0,
            }),
            false => Ok(answer),
        }
    }

    /// What an answer means that is no success, for a platform that has nothing special to say of it.
    pub fn undelivered(&mut self, answer: &Answer) -> Undelivered {
        let said = self.said(answer);
        let status = answer.status.as_u16();
        if matches!(status, 401 | 403 | 407) {
            self.way.read_again();
        }
        match status {
            413 => Undelivered::TooLarge(said),
            300..=399 => again(format!("{said}; set url to where the platform is"), None),
            401 => again(format!("{said}; {CREDENTIALS}"), answer.after),
            403 => Undelivered::Forbidden { why: said, remedy: CREDENTIALS, after: answer.after },
            404 => again(
                format!("{said}; see that the output's url and names are right (lines wait in their files)"),
                answer.after,
            ),
            407 => again(format!("{said}; see that the proxy's user and password are right"), answer.after),
            // What Apache's mod_security answers to a line that it dislikes, too.
            406 => Undelivered::Forbidden { why: said, remedy: ENCODING, after: answer.after },
            415 => again(format!("{said}; {ENCODING}"), answer.after),
            408 | 429 | 500..=599 => {
                again(format!("{said}; see whether it is overloaded or ill (lines wait in their files)"), answer.after)
            }
            // Of the way or the protocol, not of the content.
            402 | 405 | 410 | 411 | 421 | 425 | 426 | 431 | 451 => {
                again(format!("{said}; see that the output's url is right"), answer.after)
            }
            _ => Undelivered::Refused(said),
        }
    }
}

fn failed(NoAnswer { cause, why, length }: NoAnswer) -> Undelivered {
    match cause {
        Cause::Unready | Cause::Time => again(why, None),
        Cause::Connection => again(format!("{why} (lines wait in their files)"), None),
        Cause::Broken => Undelivered::Unanswered { why: format!("{why}, while {length} bytes were sent"), taken: 0 },
    }
}

/// Whether a body is HTML: no platform acknowledges with that. (Its Content-Type tells less: that is HTML where the author of
/// a server did not think of it.)
fn is_page(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let begins = |with: &str| body.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    begins("<!doctype html") || begins("<html")
}

/// The same again, after a while.
pub fn again(why: String, after: Option<Duration>) -> Undelivered {
    Undelivered::Again { why, after, taken: 0 }
}

#[cfg(test)]
mod tests {
    use super::{Client, Request, Undelivered};
    use bytes::Bytes;
    use hostwright_duty::http::Answer;
    use hostwright_testing::canned::{Canned, endpoint};
    use reqwest::header::HeaderMap;

    async fn post(client: &mut Client) -> Result<Answer, Undelivered> {
        let body = Bytes::from_static(b"a body");
        client.post(Request { content_type: "text/plain", headers: HeaderMap::new(), body }).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_answer_means_is_told_by_its_status() {
        for (answer, meaning) in [
            ("429 Too Many Requests\r\nretry-after: 7", "again after 7 s"),
            ("503 Service Unavailable", "again"),
            ("401 Unauthorized", "again"),
            ("403 Forbidden", "forbidden"),
            ("406 Not Acceptable", "forbidden"),
            ("404 Not Found", "again"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere/", "again"),
            ("413 Payload Too Large", "too large"),
            ("400 Bad Request", "refused"),
            ("422 Unprocessable Content", "refused"),
        ] {
            let server = Canned::start([answer]).await;
            let mut client = Client::new(&endpoint(&server.url), "/x".into());
            let answer = post(&mut client).await.expect("an answer");
            let found = match client.undelivered(&answer) {
                Undelivered::Again { after: Some(after), .. } => format!("again after {} s", after.as_secs()),
                Undelivered::Again { why, .. } => {
                    assert!(why.contains(&server.url), "{why}");
                    "again".to_owned()
                }
                Undelivered::Forbidden { .. } => "forbidden".to_owned(),
                Undelivered::TooLarge(_) => "too large".to_owned(),
                Undelivered::Unanswered { .. } => "unanswered".to_owned(),
                Undelivered::Refused(_) => "refused".to_owned(),
            };
            assert_eq!(found, meaning, "{}", answer.status);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_breaks_and_a_page_for_people_are_no_answers() {
        let pages = [
            "",
            "200 OK\r\n\r\n<!DOCTYPE HTML><html>",
            "200 OK\r\n\r\n\n<html lang=en>",
            "204 No Content",
            "200 OK\r\n\r\nok",
        ];
        let server = Canned::start(pages).await;
        let mut client = Client::new(&endpoint(&server.url), String::new());
        for part in ["while 6 bytes were sent", "page for people", "page for people"] {
            match post(&mut client).await {
                Err(Undelivered::Unanswered { why, taken: 0 }) => {
                    assert!(why.contains(part) && why.contains(&server.url), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        for _ in 0..2 {
            post(&mut client).await.expect("an answer");
        }
    }
}
