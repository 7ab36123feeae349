use crate::boot::http::{self, Answer, Ask, Bounds};
use anyhow::Context as _;
use hostwright_core::backoff::Backoff;
use hyper::{Method, StatusCode, Uri};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// For each request; a service on the same host answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);
/// To one of several addresses, of which one may lead nowhere.
const CONNECT: Duration = Duration::from_secs(1);
/// A service that starts together with this machine, or a route that comes late, may need a moment.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of one document.
const MAX_BYTES: usize = 4 << 20;

/// A cloud's metadata service.
#[derive(Clone)]
pub struct Service {
    /// `http://169.254.169.254`, without a slash at the end.
    pub base: String,
    /// Where it is asked if nobody takes a connection there.
    further: Vec<String>,
    /// Sent with each request.
    pub headers: Vec<(&'static str, String)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Refusal {
    /// It may pass by itself: no connection, no answer in time, a server's error.
    Passing(anyhow::Error),
    /// The service's last word.
    Final(StatusCode, anyhow::Error),
}

impl Service {
    /// A service at the first of its addresses that takes a connection. It is not tried out before it is asked: each
    /// question costs a round trip to connect and one for the answer.
    pub fn at(addresses: &[String]) -> Self {
        let mut addresses = addresses.iter().map(|address| address.trim_end_matches('/').to_owned());
        let base = addresses.next().unwrap_or_default();
        Self { base, further: addresses.collect(), headers: Vec::new() }
    }

    /// A document, or nothing where the service has none (404).
    ///
    /// # Errors
    /// It cannot be had within the patience of a boot, or is no document.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let answered = patiently(|| self.ask(Method::GET, path, &[])).await;
        match answered {
            Ok(body) => Ok(Some(body)),
            Err(Refusal::Final(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(Refusal::Final(_, why) | Refusal::Passing(why)) => {
                Err(why).with_context(|| format!("cannot read {}{path}", self.base))
            }
        }
    }

    /// A document as text.
    ///
    /// # Errors
    /// As [`Self::get`], or it is not UTF-8.
    pub async fn text(&self, path: &str) -> anyhow::Result<Option<String>> {
        let Some(body) = self.get(path).await? else { return Ok(None) };
        String::from_utf8(body).map(Some).with_context(|| format!("{}{path} is not UTF-8", self.base))
    }

    /// One request, once.
    pub async fn ask(&self, method: Method, path: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let url = format!("{}{path}", self.base);
        let uri: Uri =
            url.parse().map_err(|_| Refusal::Final(StatusCode::BAD_REQUEST, anyhow::anyhow!("{url} is no URL")))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let ask = Ask { method, host, target, headers: &self.headers, body };
        let bounds = Bounds { deadline: DEADLINE.min(patience()), bytes: MAX_BYTES };
        let answer = http::send(self.connect(), ask, bounds).await.map_err(Refusal::Passing)?;
        judged(answer)
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let mut refusal = None;
        for address in std::iter::once(&self.base).chain(&self.further) {
            let connecting = connect(address);
            let connected = if self.further.is_empty() {
                connecting.await
            } else {
                tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
    }
}

fn judged(answer: Answer) -> Result<Vec<u8>, Refusal> {
    let start = answer.body.trim_ascii_start();
    let is_page = start
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"<html") || start.eq_ignore_ascii_case(b"<!doc"));
    let said = |why: &str| Refusal::Final(answer.status, anyhow::anyhow!("{why}"));
    match answer.status {
        _ if is_page && answer.status.is_success() => {
            Err(said("the answer is a page of HTML: this is some other server"))
        }
        status if status.is_success() => Ok(answer.body),
        status if status.is_redirection() => Err(said(&format!(
            "the service answered {status}: it is not where it should be, and redirects are not followed"
        ))),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Refusal::Passing(anyhow::anyhow!("the service answered {status}")))
        }
        status => Err(said(&format!("the service answered {status}"))),
    }
}

/// Tries again what may pass by itself.
pub async fn patiently<F>(mut ask: impl FnMut() -> F) -> Result<Vec<u8>, Refusal>
where
    F: Future<Output = Result<Vec<u8>, Refusal>>,
{
    let until = Instant::now() + patience();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match ask().await {
            Err(Refusal::Passing(why)) => {
                let delay = backoff.next_delay();
                if Instant::now() + delay > until {
                    return Err(Refusal::Passing(
                        why.context(format!("no answer in {} s of trying", patience().as_secs())),
                    ));
                }
                tokio::time::sleep(delay).await;
            }
            answer => return answer,
        }
    }
}

/// Shorter in tests of outages.
fn patience() -> Duration {
    let seconds = std::env::var("HOSTWRIGHT_METADATA_PATIENCE").ok().and_then(|text| text.parse().ok());
    seconds.map_or(PATIENCE, Duration::from_secs)
}

async fn connect(base: &str) -> std::io::Result<TcpStream> {
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(80)),
        _ => (authority, 80),
    };
    TcpStream::connect((name.trim_matches(['[', ']']), port)).await
}
