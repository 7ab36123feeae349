use super::Undelivered;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hostwright_core::config::logs::output::endpoint::{Auth, Compress, Endpoint};
use hostwright_core::config::proxy::{Kind, Proxy};
use hostwright_core::config::values::MaybeSecret;
use hostwright_core::secret::{Secret, SecretRef};
use hostwright_core::tls;
use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::block_in_place;

const CONNECT: Duration = Duration::from_secs(5);
/// Platforms and what stands before them close idle connections after a minute or more: ours is given up before.
const IDLE: Duration = Duration::from_secs(30);
/// A body on its way gets the time that it takes at this rate, beside the time for the answer.
const SLOWEST_BYTES_PER_SECOND: u32 = 64 << 10;
/// The most of an answer that is held in memory.
pub const LONGEST_ANSWER: usize = 16 << 20;
/// The most of an answer that is shown to a person.
const SHOWN: usize = 300;
/// A platform may ask to wait; a wrong clock may not make that a day.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
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
    broken: u32,
}

struct Ready {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    /// Never to be shown, even if the platform says them.
    secrets: Vec<Secret>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
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

/// What a platform answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// The answer was longer than `LONGEST_ANSWER`.
    pub is_cut: bool,
    after: Option<Duration>,
    location: Option<String>,
}

impl Client {
    pub fn new(endpoint: &Endpoint, suffix: String) -> Self {
        let url = &endpoint.url.0;
        let start = url.find("://").map_or(0, |colon| colon + 3);
        let end = url[start..].find(['/', '?']).map_or(url.len(), |length| start + length);
        Self { address: url[..end].to_owned(), endpoint: endpoint.clone(), suffix, ready: None, broken: 0 }
    }

    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and waits for the answer, whatever its status.
    pub async fn post(&mut self, request: Request) -> Result<Answer, Undelivered> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => self.ready().map_err(|why| again(why, None))?,
        };
        let ready = self.ready.insert(ready);
        let (body, encoding) = compressed(self.endpoint.compress, request.body);
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
        let text = self.shown(&String::from_utf8_lossy(&answer.body));
        let colon = if text.is_empty() { "" } else { ": " };
        format!("{} answered {}{colon}{text}", self.address, answer.status)
    }

    /// A text of the platform as far as it can be shown: one line, not too long, without our secrets.
    pub fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.ready.iter().flat_map(|ready| &ready.secrets) {
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

    fn ready(&self) -> Result<Ready, String> {
        let mut secrets = Vec::new();
        let mut headers = headers(&self.endpoint, &mut secrets)?;
        let url = format!("{}{}", self.endpoint.url.0, self.suffix);
        let mut url = Url::parse(&url).map_err(|error| format!("{} is no URL: {error}", self.endpoint.url.0))?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("hostwright-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1);
        let mut builder = match &self.endpoint.proxy {
            Some(proxy) => builder.proxy(through(proxy, &mut secrets)?),
            None => builder,
        };
        if let Some(name) = &self.endpoint.tls.server_name {
            // Connects to the URL's host all the same, and asks there for this name.
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let authority = self.address.split_once("://").map_or("", |(_, authority)| authority);
            headers.entry(HOST).or_insert(value(authority, false)?);
            builder = builder.no_proxy().dns_resolver(Arc::new(Fixed { host }));
            url.set_host(Some(name)).map_err(|error| format!("tls.server_name {name:?}: {error}"))?;
        }
        let tls = match url.scheme() {
            "https" => tls::client(&self.endpoint.tls),
            _ => tls::client_of_nobody(),
        };
        let tls = tls.map_err(|error| error_text(&error))?;
        let client = builder.tls_backend_preconfigured((*tls).clone()).build();
        let client = client.map_err(|error| format!("cannot set up the way to {}: {error}", self.address))?;
        Ok(Ready { client, url, headers, secrets })
    }
}

impl Answer {
    async fn read(mut response: reqwest::Response) -> Result<Self, reqwest::Error> {
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

/// Looks up the same host whatever is asked for.
#[derive(Debug)]
struct Fixed {
    host: String,
}

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

pub fn again(why: String, after: Option<Duration>) -> Undelivered {
    Undelivered::Again { why, after, taken: 0 }
}

/// The header fields of every request; the secrets in them are noted.
fn headers(endpoint: &Endpoint, secrets: &mut Vec<Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(auth) = &endpoint.auth {
        headers.insert(AUTHORIZATION, value(&authorization(auth, secrets)?, true)?);
    }
    for (name, given) in &endpoint.headers {
        let is_secret = matches!(given, MaybeSecret::Secret(_));
        let text = value(resolved(given, secrets)?.expose(), is_secret)?;
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be a header field's name"))?;
        headers.insert(name, text);
    }
    Ok(headers)
}

fn authorization(auth: &Auth, secrets: &mut Vec<Secret>) -> Result<String, String> {
    let mut of = |reference: &SecretRef| resolved(&MaybeSecret::Secret(reference.clone()), secrets);
    match auth {
        Auth::Bearer(token) => Ok(format!("Bearer {}", of(token)?.expose())),
        Auth::ApiKey(key) => Ok(format!("ApiKey {}", of(key)?.expose())),
        Auth::Basic(user, password) => {
            let password = of(password)?;
            let user = resolved(user, secrets)?;
            let pair = STANDARD.encode(format!("{}:{}", user.expose(), password.expose()));
            secrets.push(Secret::new(pair.clone()));
            Ok(format!("Basic {pair}"))
        }
    }
}

fn resolved(given: &MaybeSecret, secrets: &mut Vec<Secret>) -> Result<Secret, String> {
    let secret = given.resolve().map_err(|error| error_text(&error))?;
    if matches!(given, MaybeSecret::Secret(_)) {
        secrets.push(secret.clone());
    }
    Ok(secret)
}

fn value(text: &str, is_secret: bool) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "a secret or header field of the output is not printable ASCII; see what its reference holds")?;
    value.set_sensitive(is_secret);
    Ok(value)
}

fn through(proxy: &Proxy, secrets: &mut Vec<Secret>) -> Result<reqwest::Proxy, String> {
    let scheme = match proxy.kind {
        Kind::Http => "http",
        Kind::Socks5 => "socks5h",
    };
    let unusable = |error: reqwest::Error| format!("the proxy {} cannot be used: {error}", proxy.address.0);
    let mut through = reqwest::Proxy::all(format!("{scheme}://{}", proxy.address.0)).map_err(unusable)?;
    if let Some(login) = &proxy.login {
        let password = resolved(&MaybeSecret::Secret(login.password.clone()), secrets)?;
        through = through.basic_auth(&login.user, password.expose());
    }
    Ok(through)
}

/// An error with its causes.
fn error_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The body as it is sent, and its Content-Encoding.
fn compressed(compress: Compress, body: Bytes) -> (Bytes, Option<&'static str>) {
    match compress {
        Compress::None => (body, None),
        Compress::Gzip => (block_in_place(|| gzip(&body)), Some("gzip")),
        // Memory is all it could lack.
        Compress::Zstd => match block_in_place(|| zstd::bulk::compress(&body, 1)) {
            Ok(compressed) => (compressed.into(), Some("zstd")),
            Err(_) => (body, None),
        },
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
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
    use super::super::canned::Canned;
    use super::{Answer, Client, Request, Undelivered, retry_after};
    use bytes::Bytes;
    use hostwright_core::config::logs::output::endpoint::{Auth, Compress, Endpoint, HttpUrl};
    use hostwright_core::secret::SecretRef;
    use reqwest::header::HeaderMap;
    use std::io::Read;
    use std::time::Duration;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint {
            url: HttpUrl(url.to_owned()),
            tls: Default::default(),
            proxy: None,
            headers: Default::default(),
            auth: None,
            timeout: Duration::from_secs(5),
            compress: Compress::None,
        }
    }

    async fn post(client: &mut Client, items: usize) -> Result<Answer, Undelivered> {
        let body = Bytes::from_static(b"a body");
        client.post(Request { content_type: "text/plain", headers: HeaderMap::new(), body, items }).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_answer_means_is_told_by_its_status() {
        for (answer, meaning) in [
            ("429 Too Many Requests\r\nretry-after: 7", "again after 7 s"),
            ("503 Service Unavailable", "again"),
            ("401 Unauthorized", "again"),
            ("403 Forbidden", "again"),
            ("404 Not Found", "again"),
            ("301 Moved Permanently\r\nlocation: https://elsewhere/", "again"),
            ("413 Payload Too Large", "too large"),
            ("400 Bad Request", "refused"),
            ("422 Unprocessable Content", "refused"),
        ] {
            let server = Canned::start([answer]).await;
            let mut client = Client::new(&endpoint(&server.url), "/x".into());
            let answer = post(&mut client, 2).await.expect("an answer");
            let found = match client.undelivered(&answer) {
                Undelivered::Again { after: Some(after), .. } => format!("again after {} s", after.as_secs()),
                Undelivered::Again { why, .. } => {
                    assert!(why.contains(&server.url), "{why}");
                    "again".to_owned()
                }
                Undelivered::TooLarge(_) => "too large".to_owned(),
                Undelivered::Refused(_) => "refused".to_owned(),
            };
            assert_eq!(found, meaning, "{}", answer.status);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_secret_is_read_again_when_it_was_not_accepted_and_never_shown() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "hunter2\n").expect("written");
        let mut server =
            Canned::start(["401 Unauthorized\r\n\r\nno token\nhunter2\u{7} here", "204 No Content\r\nx: y"]).await;
        let mut settings = endpoint(&server.url);
        settings.auth = Some(Auth::Bearer(SecretRef::File(token.clone())));
        let mut client = Client::new(&settings, String::new());
        let answer = post(&mut client, 1).await.expect("an answer");
        let said = client.said(&answer);
        assert_eq!(said, format!("{} answered 401 Unauthorized: no token (secret)  here", server.url));
        assert!(!format!("{client:?}").contains("hunter2"));
        assert!(matches!(client.undelivered(&answer), Undelivered::Again { .. }));
        std::fs::write(&token, "hunter3").expect("written");
        assert_eq!(post(&mut client, 1).await.expect("an answer").status.as_u16(), 204);
        assert!(server.request().await.head.contains("authorization: bearer hunter2\r\n"));
        assert!(server.request().await.head.contains("authorization: bearer hunter3\r\n"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_is_compressed_as_the_header_says() {
        for (compress, name) in [(Compress::Gzip, "gzip"), (Compress::Zstd, "zstd")] {
            let mut server = Canned::start(["200 OK"]).await;
            let mut client = Client::new(&Endpoint { compress, ..endpoint(&server.url) }, "/p?q".into());
            post(&mut client, 1).await.expect("an answer");
            let seen = server.request().await;
            assert!(seen.head.starts_with("post /p?q http/1.1\r\n"), "{}", seen.head);
            assert!(seen.head.contains(&format!("content-encoding: {name}\r\n")), "{}", seen.head);
            let mut text = String::new();
            match compress {
                Compress::Gzip => flate2::read::GzDecoder::new(&seen.body[..]).read_to_string(&mut text),
                _ => zstd::stream::read::Decoder::new(&seen.body[..]).expect("zstd").read_to_string(&mut text),
            }
            .expect("decompressed");
            assert_eq!(text, "a body");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_breaks_again_and_again_makes_portions_smaller_but_gives_up_no_item() {
        let server = Canned::start([""; 6]).await;
        let mut client = Client::new(&endpoint(&server.url), String::new());
        for attempt in 1..=3 {
            let error = post(&mut client, 2).await.expect_err("broken");
            assert_eq!(matches!(error, Undelivered::TooLarge(_)), attempt == 3, "{error:?}");
        }
        for _ in 1..=3 {
            assert!(matches!(post(&mut client, 1).await, Err(Undelivered::Again { .. })));
        }
    }

    #[tokio::test]
    async fn a_platform_that_is_not_there_is_named_with_the_reason() {
        let url = "http://127.0.0.1:1";
        let error = post(&mut Client::new(&endpoint(url), String::new()), 1).await.expect_err("nobody there");
        let Undelivered::Again { why, .. } = error else { panic!("{error:?}") };
        assert!(why.starts_with("cannot connect to http://127.0.0.1:1: Connection refused"), "{why}");
    }

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
