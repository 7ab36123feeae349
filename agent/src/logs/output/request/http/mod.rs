//! Requests to platforms behind HTTP.
//!
//! In: a body and what it is. Out: the answer, or why there is none, as a sentence. What an answer means is for the
//! platform's module to say, or for [`Client::undelivered`] where nothing is special. Nothing survives.

/// What platforms answer.
mod answer;
/// Bodies, compressed.
mod body;
/// Secrets, certificates and proxies.
mod ready;

pub use answer::{Answer, LONGEST_ANSWER};

use super::Undelivered;
use bytes::Bytes;
use hostwright_core::config::logs::output::endpoint::Endpoint;
use hostwright_core::secret::Secret;
use ready::Ready;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::error::Error;
use std::time::Duration;

/// A body on its way gets the time that it takes at this rate, beside the time for the answer.
const SLOWEST_BYTES_PER_SECOND: u32 = 64 << 10;
/// The most of an answer that is shown to a person, and that is looked at for that.
const SHOWN: usize = 300;
const LOOKED_AT: usize = 16 << 10;
/// Connections that broke one after the other while a body was sent: perhaps it is too large for somebody on the way,
/// who does not say so.
const BROKEN: u32 = 3;

/// A way to one platform behind HTTP. Secrets and certificates are read when they are needed first, and again after a
/// connection failed or the platform did not know us, so that a new one takes effect by itself.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// What follows the endpoint's URL.
    suffix: String,
    /// Scheme, host and port, for sentences.
    address: String,
    ready: Option<Ready>,
    /// Those that were read last.
    secrets: Vec<Secret>,
    broken: u32,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub content_type: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Of how many items the body is made: one alone cannot be sent in parts.
    pub items: usize,
}

impl Client {
    pub fn new(endpoint: &Endpoint, suffix: String) -> Self {
        Self {
            address: address(endpoint).to_owned(),
            endpoint: endpoint.clone(),
            suffix,
            ready: None,
            secrets: Vec::new(),
            broken: 0,
        }
    }

    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and waits for the answer, whatever its status.
    pub async fn post(&mut self, request: Request) -> Result<Answer, Undelivered> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => {
                let ready = Ready::new(&self.endpoint, &self.suffix).map_err(|why| again(why, None))?;
                self.secrets.clone_from(&ready.secrets);
                ready
            }
        };
        let ready = self.ready.insert(ready);
        let (body, encoding) = body::compressed(self.endpoint.compress, request.body);
        let length = body.len();
        let sending = Duration::from_secs((length / SLOWEST_BYTES_PER_SECOND as usize) as u64);
        let mut headers = ready.headers.clone();
        headers.extend(request.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let sent = ready.client.post(ready.url.clone()).timeout(self.endpoint.timeout + sending).headers(headers);
        let answered = match sent.body(body).send().await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => {
                self.broken = 0;
                Ok(answer)
            }
            Err(error) => Err(self.failed(&error, length, request.items)),
        }
    }

    /// What an answer means that is no success, for a platform that has nothing special to say of it.
    pub fn undelivered(&mut self, answer: &Answer) -> Undelivered {
        let said = self.said(answer);
        let status = answer.status.as_u16();
        if matches!(status, 401 | 403 | 407) {
            self.ready = None;
        }
        match status {
            413 => Undelivered::TooLarge(said),
            300..=399 => {
                let to = answer.location.as_deref().unwrap_or("nowhere");
                again(format!("{said}, which leads to {to}; set url to where the platform is"), None)
            }
            401 | 403 => again(
                format!(
                    "{said}; see that the output's credentials are right and may write there (lines wait in their files)"
                ),
                answer.after,
            ),
            404 => again(
                format!("{said}; see that the output's url and names are right (lines wait in their files)"),
                answer.after,
            ),
            407 => again(format!("{said}; see that the proxy's user and password are right"), answer.after),
            415 => again(format!("{said}; see whether it takes what compress says"), answer.after),
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

    /// "https://logs.example.org answered 400 Bad Request: …"
    pub fn said(&self, answer: &Answer) -> String {
        let text = self.shown(&String::from_utf8_lossy(&answer.body[..answer.body.len().min(LOOKED_AT)]));
        let colon = if text.is_empty() { "" } else { ": " };
        format!("{} answered {}{colon}{text}", self.address, answer.status)
    }

    /// A text of the platform as far as it can be shown: one line, not too long, without our secrets.
    pub fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if !secret.expose().is_empty() {
                text = text.replace(secret.expose(), "(secret)");
            }
        }
        let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut shown: String = printable.take(SHOWN + 1).collect();
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }

    fn failed(&mut self, error: &reqwest::Error, length: usize, items: usize) -> Undelivered {
        self.ready = None;
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let (address, cause) = (self.address.clone(), self.shown(&cause.to_string()));
        if error.is_connect() {
            let remedy = match cause.contains("certificate") {
                true => "see that tls: {ca: …} names the authority of its certificate",
                false => "see that it runs and a firewall lets it through",
            };
            return again(
                format!("cannot connect to {}: {cause}; {remedy} (lines wait in their files)", self.way()),
                None,
            );
        }
        if error.is_timeout() {
            let seconds = self.endpoint.timeout.as_secs();
            return again(format!("{address} gave no answer within {seconds} s; see whether it is overloaded"), None);
        }
        self.broken += 1;
        let why = format!("the connection to {address} broke: {cause}");
        if self.broken >= BROKEN && items > 1 {
            self.broken = 0;
            return Undelivered::TooLarge(format!(
                "{why}, {BROKEN} times while {length} bytes were sent: less is tried"
            ));
        }
        again(why, None)
    }

    /// The address, and what stands before it.
    fn way(&self) -> String {
        match &self.endpoint.proxy {
            Some(proxy) => format!("{} through the proxy {}", self.address, proxy.address.0),
            None => self.address.clone(),
        }
    }
}

/// Scheme, host and port of an endpoint.
fn address(endpoint: &Endpoint) -> &str {
    let url = &endpoint.url.0;
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |length| start + length);
    &url[..end]
}

/// The same again, after a while.
pub fn again(why: String, after: Option<Duration>) -> Undelivered {
    Undelivered::Again { why, after, taken: 0 }
}

/// Requests to servers that answer as told.
#[cfg(test)]
mod tests;
