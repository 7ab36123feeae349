//! Requests to servers behind HTTP, for every duty that sends some.
//!
//! In: a body and what it is. Out: the answer, or why there is none, as a sentence. What an answer means is for the duty
//! to say. Nothing survives.

/// What servers answer.
mod answer;
/// Bodies, compressed.
mod body;
/// Secrets, certificates and proxies.
mod ready;
/// How long a server asks to wait.
mod retry_after;
/// A server's words, for people.
mod shown;

pub use answer::{Answer, LONGEST_ANSWER};

use bytes::Bytes;
use hostwright_core::config::endpoint::Endpoint;
use hostwright_core::secret::Secret;
use ready::Ready;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use shown::shown;
use std::error::Error;
use std::time::Duration;

/// A body on its way gets the time that it takes at this rate, beside the time for the answer.
const SLOWEST_BYTES_PER_SECOND: u32 = 64 << 10;
/// The most of an answer that is looked at for what is shown of it.
const LOOKED_AT: usize = 16 << 10;

/// A way to one server behind HTTP. Secrets and certificates are read when they are needed first, and again after a
/// connection failed or [`Self::read_again`], so that a new one takes effect by itself.
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
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub content_type: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why a request has no answer.
#[derive(Debug)]
pub struct NoAnswer {
    pub cause: Cause,
    /// A sentence with the address, the reason and the remedy.
    pub why: String,
    /// How many bytes the body had on its way.
    pub length: usize,
}

/// What was missing for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A secret or certificate, or the way is not usable: nothing was sent.
    Unready,
    /// A connection.
    Connection,
    /// The answer within the time.
    Time,
    /// The connection broke.
    Broken,
}

impl Client {
    pub fn new(endpoint: &Endpoint, suffix: String) -> Self {
        let address = address(endpoint).to_owned();
        Self { address, endpoint: endpoint.clone(), suffix, ready: None, secrets: Vec::new() }
    }

    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads secrets and certificates again before the next request: the server did not know us.
    pub fn read_again(&mut self) {
        self.ready = None;
    }

    /// Sends a request and waits for the answer, whatever its status.
    ///
    /// # Errors
    /// There is none.
    pub async fn post(&mut self, request: Request) -> Result<Answer, NoAnswer> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => {
                let ready = Ready::new(&self.endpoint, &self.suffix);
                ready.map_err(|why| NoAnswer { cause: Cause::Unready, why, length: 0 })?
            }
        };
        let ready = self.ready.insert(ready);
        let of_this_one = request.headers.values().filter(|value| value.is_sensitive());
        let of_this_one = of_this_one.filter_map(|value| value.to_str().ok().map(|text| Secret::new(text.to_owned())));
        self.secrets = ready.secrets.iter().cloned().chain(of_this_one).collect();
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
        answered.map_err(|error| self.failed(&error, length))
    }

    /// "https://logs.example.org answered 400 Bad Request: …"
    pub fn said(&self, answer: &Answer) -> String {
        let text = self.shown(&String::from_utf8_lossy(&answer.body[..answer.body.len().min(LOOKED_AT)]));
        let colon = if text.is_empty() { "" } else { ": " };
        format!("{} answered {}{}{colon}{text}", self.address, answer.status, self.elsewhere(answer))
    }

    /// Where it says to go instead, as far as that can be shown: what it was told may be in the query.
    fn elsewhere(&self, answer: &Answer) -> String {
        if !answer.status.is_redirection() {
            return String::new();
        }
        let place = answer.location.as_deref().and_then(|place| place.split(['?', '#']).next());
        format!(", which leads to {}", self.shown(place.unwrap_or("nowhere")))
    }

    /// A text of the server as far as it can be shown.
    pub fn shown(&self, text: &str) -> String {
        shown(text, self.secrets.iter().map(Secret::expose))
    }

    fn failed(&mut self, error: &reqwest::Error, length: usize) -> NoAnswer {
        self.ready = None;
        let mut innermost: &dyn Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let (address, reason) = (&self.address, self.shown(&innermost.to_string()));
        let (cause, why) = if error.is_connect() {
            let remedy = match reason.contains("certificate") {
                true => "see that tls: {ca: …} names the authority of its certificate",
                false => "see that it runs and a firewall lets it through",
            };
            (Cause::Connection, format!("cannot connect to {}: {reason}; {remedy}", self.way()))
        } else if error.is_timeout() {
            let seconds = self.endpoint.timeout.as_secs();
            (Cause::Time, format!("{address} gave no answer within {seconds} s; see whether it is overloaded"))
        } else {
            (Cause::Broken, format!("the connection to {address} broke: {reason}"))
        };
        NoAnswer { cause, why, length }
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
pub fn address(endpoint: &Endpoint) -> &str {
    let url = &endpoint.url.0;
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |length| start + length);
    &url[..end]
}

/// Requests to servers that answer as told.
#[cfg(test)]
mod tests;
