//! A container behind OpenStack Swift's own API.

/// What Swift and Keystone answer.
mod answers;
/// Where the configuration is by reference: `clouds.yaml` and `OS_…`.
mod clouds;
/// Large objects: segments and the manifest that makes them one.
mod large;
/// What the store can do, tried out.
mod probe;
/// Tokens.
mod session;

use super::download::Incoming;
use super::error::Reason;
use super::http::{self, encoded};
use super::limiter::Limiter;
use super::parts::Part;
use super::patience::Patience;
use super::profile::Profile;
use super::read::as_told;
use super::{Object, Put};
use crate::backoff::Backoff;
use crate::config::buckets::SwiftBucket;
use crate::hex::hex;
use answers::{Listed, Report, parsed};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use session::Session;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Attempts of one request.
const ATTEMPTS: usize = 4;
/// Of one that has a body: what was read for it is not to be read again.
const ATTEMPTS_WITH_BODY: usize = 8;
/// What is read of an answer that is not an object.
const MOST_ANSWER: u64 = 16 << 20;
/// Swift's own limit of a listing.
const PAGE: usize = 10_000;

/// A container behind Swift's own API.
#[derive(Debug)]
pub(super) struct Swift {
    http: reqwest::Client,
    session: Session,
    container: String,
    pub(super) patience: Patience,
    limiter: Option<Arc<Limiter>>,
    /// Whether there was no container for segments when one was looked for last.
    without_segments: AtomicBool,
    pub(super) profile: OnceLock<Profile>,
}

impl Swift {
    pub(super) fn open(settings: &SwiftBucket, limiter: Option<Arc<Limiter>>) -> Result<Self, Reason> {
        let mut connection = settings.connection.clone();
        let login = clouds::login(settings)?;
        if connection.tls.ca.is_none() {
            connection.tls.ca.clone_from(&login.ca);
        }
        // The store may be reached over TLS even where Keystone is not, and the other way round.
        let http = http::client(&connection, "https://").or_else(|reason| {
            if login.url.starts_with("http://") { http::client(&connection, "http://") } else { Err(reason) }
        })?;
        Ok(Self {
            session: Session::new(http.clone(), login),
            http,
            container: settings.bucket.clone(),
            patience: Patience::default(),
            limiter,
            without_segments: AtomicBool::new(false),
            profile: OnceLock::new(),
        })
    }

    pub(super) async fn check(&self) -> Result<(), Reason> {
        let answer = self.ask(Method::HEAD, &self.container, "", &HeaderMap::new()).await?;
        expect(answer, &[200, 204]).await.map(drop).map_err(bucket_if_absent)
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Reason> {
        let answer = self.ask(Method::HEAD, &self.path(key), "", &HeaderMap::new()).await?;
        match expect(answer, &[200, 204]).await {
            Ok(answer) => Ok(Some(object(key, answer.headers()))),
            Err(Reason::NoSuchObject) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    pub(super) async fn open_object(&self, object: &Object, from: u64) -> Result<Incoming, Reason> {
        let mut headers = HeaderMap::new();
        if from > 0 {
            insert(&mut headers, "range", &format!("bytes={from}-"))?;
        }
        if let Some(etag) = &object.etag {
            insert(&mut headers, "if-match", &format!("\"{etag}\""))?;
        }
        let answer = self.ask(Method::GET, &self.path(&object.key), "", &headers).await?;
        let answer = expect(answer, &[200, 206]).await?;
        let from = if answer.status().as_u16() == 206 { from } else { 0 };
        Ok(Incoming::of_http(answer, from, self.patience.sending, self.limiter.clone()))
    }

    pub(super) async fn get(&self, key: &str, at_most: u64) -> Result<Vec<u8>, Reason> {
        let answer = self.ask(Method::GET, &self.path(key), "", &HeaderMap::new()).await?;
        let answer = expect(answer, &[200]).await?;
        // The ETag of a large object is that of its segments.
        let large = answer.headers().contains_key("x-static-large-object");
        let told = object(key, answer.headers());
        let all = Incoming::of_http(answer, 0, self.patience.sending, None).collect(at_most).await?;
        as_told(all, told.sha256.as_deref(), told.etag.as_deref().filter(|_| !large))
    }

    pub(super) async fn list(&self, prefix: &str, at_most: usize) -> Result<Vec<Object>, Reason> {
        let listed = self.listing(&self.container, prefix, at_most).await.map_err(bucket_if_absent)?;
        let object = |one: Listed| {
            let etag = one.slo_etag.or(one.hash).map(|etag| etag.trim_matches('"').to_owned());
            Some(Object { key: one.name?, size: one.bytes, etag, sha256: None })
        };
        Ok(listed.into_iter().filter_map(object).collect())
    }

    async fn listing(&self, container: &str, prefix: &str, at_most: usize) -> Result<Vec<Listed>, Reason> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let limit = (at_most - all.len()).min(PAGE);
            let marker = all.last().and_then(|last| last.name.as_deref()).unwrap_or_default();
            let query = format!(
                "format=json&limit={limit}&prefix={}&marker={}",
                encoded(prefix, false),
                encoded(marker, false)
            );
            let answer = self.ask(Method::GET, &encoded(container, false), &query, &HeaderMap::new()).await?;
            let answer = expect(answer, &[200, 204]).await?;
            let text = self.text(answer).await?;
            let page = answers::listing(&text).map_err(|error| strange(&error))?;
            let full = page.told == limit;
            all.extend(page.named);
            if !full || all.len() >= at_most {
                return Ok(all);
            }
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Reason> {
        let head = self.ask(Method::HEAD, &self.path(key), "", &HeaderMap::new()).await?;
        let large = match expect(head, &[200, 204]).await {
            Ok(head) => head.headers().contains_key("x-static-large-object"),
            Err(Reason::NoSuchObject) => return Ok(()),
            Err(reason) => return Err(reason),
        };
        // With their manifest the segments of a large object go too.
        let query = if large { "multipart-manifest=delete" } else { "" };
        let mut headers = HeaderMap::new();
        insert(&mut headers, "accept", "application/json")?;
        let answer = self.ask(Method::DELETE, &self.path(key), query, &headers).await?;
        let answer = match expect(answer, &[200, 204]).await {
            Err(Reason::NoSuchObject) => return Ok(()),
            other => other?,
        };
        // It is done while it is told: whoever does not read the answer to its end stops it.
        let text = self.text(answer).await?;
        let report: Report =
            if text.trim().is_empty() { Report::default() } else { parsed(&text).map_err(|error| strange(&error))? };
        match report.errors.first() {
            None => Ok(()),
            Some(first) => Err(Reason::Busy { code: format!("{} of {:?}", first.1, first.0) }),
        }
    }

    pub(super) async fn put(&self, put: Put<'_>, upload: Option<&str>) -> Result<Object, Reason> {
        match upload {
            Some(upload) => self.put_large(put, upload).await,
            None => {
                self.supports(put)?;
                put.content.learn().await.map_err(Reason::of_reading)?;
                let mut headers = about(put)?;
                let part = Part::whole(put.content)?;
                let md5 = part.check.md5()?;
                insert(&mut headers, "etag", &hex(&md5))?;
                self.send_part(put, &part, &self.path(put.key), &headers).await.map_err(bucket_if_absent)?;
                let stored = self.verify(put, &hex(&md5)).await?;
                self.remove_unused(put.key).await;
                Ok(stored)
            }
        }
    }

    /// Sends a part, again and again where it fails for a time or is damaged on its way.
    async fn send_part(&self, put: Put<'_>, part: &Part, path: &str, headers: &HeaderMap) -> Result<(), Reason> {
        let (_, length) = put.content.part(part.index);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for attempt in 1.. {
            let range = part.range(put.content).limited(self.limiter.clone()).watched(put.progress);
            let sent = range.sent_by(&self.patience, async {
                let request = self.request(Method::PUT, path, "").await?.headers(headers.clone());
                let request = request.header("content-length", length).body(reqwest::Body::wrap(range.body()));
                let answer = request.send().await.map_err(|error| http::no_answer(&error))?;
                self.session.heard(answer.status().as_u16()).await;
                expect(answer, &[201]).await.map(drop)
            });
            match sent.await {
                Err(reason) if attempt < ATTEMPTS_WITH_BODY && (reason.may_pass() || reason.is_expired()) => {
                    log::info!("{:?} is sent again: {reason}", put.key);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(Reason::Damaged { what }) if attempt < ATTEMPTS_WITH_BODY => {
                    part.is_unchanged(put.content).await?;
                    log::warn!("{:?} was damaged on its way ({what}): it is sent again", put.key);
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// Refuses by name what Swift has not.
    fn supports(&self, put: Put<'_>) -> Result<(), Reason> {
        let options = put.options;
        let not_there = [
            (!options.tags.is_empty(), "tags (metadata does the same)"),
            (options.storage_class.is_some(), "storage classes (a container has its policy)"),
            (options.encryption.is_some(), "encryption by object"),
            (options.acl.is_some(), "ACLs of objects (a container has them)"),
        ];
        match not_there.into_iter().find(|(asked, _)| *asked) {
            Some((_, what)) => Err(Reason::Unsupported { what: format!("{what}: it is Swift") }),
            None => self.profile.get().map_or(Ok(()), |profile| profile.supports(put)),
        }
    }

    /// Asks the store what it holds now.
    async fn verify(&self, put: Put<'_>, etag: &str) -> Result<Object, Reason> {
        let damaged = |what: String| Err(Reason::Damaged { what });
        match self.head(put.key).await? {
            None => damaged("it is not there although the store said so".into()),
            Some(stored) if stored.size != put.content.size() => {
                damaged(format!("{} bytes in place of {}", stored.size, put.content.size()))
            }
            Some(stored) if stored.etag.as_deref() != Some(etag) => {
                damaged(format!("ETag {:?} in place of {etag}", stored.etag))
            }
            Some(stored) => Ok(Object { sha256: put.content.sha256().map(str::to_owned), ..stored }),
        }
    }

    /// A request without a body, sent again where it fails for a time and with another token where that has ended.
    async fn ask(&self, method: Method, path: &str, query: &str, headers: &HeaderMap) -> Result<Response, Reason> {
        self.ask_with(method, path, query, (headers, "")).await
    }

    async fn ask_with(
        &self,
        method: Method,
        path: &str,
        query: &str,
        (headers, body): (&HeaderMap, &str),
    ) -> Result<Response, Reason> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let limit = if body.is_empty() { self.patience.sending } else { self.patience.answer };
        for attempt in 1.. {
            let request = self.request(method.clone(), path, query).await?.headers(headers.clone());
            // Swift wants to know that there is no body.
            let request = if method == Method::PUT { request.header("content-length", body.len()) } else { request };
            let sent = tokio::time::timeout(limit, request.body(body.to_owned()).send()).await;
            let failed = match sent {
                Ok(Ok(answer)) => {
                    let status = answer.status().as_u16();
                    self.session.heard(status).await;
                    if attempt >= ATTEMPTS || !may_pass(status) {
                        return Ok(answer);
                    }
                    continue_after(&mut backoff, status).await;
                    continue;
                }
                Ok(Err(error)) => http::no_answer(&error),
                Err(_) => Reason::Stalled { after: limit },
            };
            if attempt >= ATTEMPTS || !failed.may_pass() {
                return Err(failed);
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        Err(Reason::Stalled { after: limit })
    }

    async fn request(&self, method: Method, path: &str, query: &str) -> Result<RequestBuilder, Reason> {
        let granted = self.session.granted().await?;
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}/{path}{mark}{query}", granted.url);
        let mut token = HeaderValue::from_str(granted.token.expose())
            .map_err(|_| Reason::BadCredentials { code: "the token is not printable".into() })?;
        token.set_sensitive(true);
        Ok(self.http.request(method, url).header("x-auth-token", token))
    }

    async fn text(&self, answer: Response) -> Result<String, Reason> {
        let bytes = Incoming::of_http(answer, 0, self.patience.sending, None).collect(MOST_ANSWER).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn path(&self, key: &str) -> String {
        format!("{}/{}", encoded(&self.container, false), encoded(key, true))
    }
}

/// Whether the same request may well be answered otherwise; 498 is the answer of Swift's own rate limit.
fn may_pass(status: u16) -> bool {
    matches!(status, 401 | 408 | 429 | 498 | 500..)
}

async fn continue_after(backoff: &mut Backoff, status: u16) {
    // Another token is there at once.
    if status != 401 {
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// The one place that knows what Swift's statuses mean.
async fn expect(answer: Response, wanted: &[u16]) -> Result<Response, Reason> {
    let status = answer.status().as_u16();
    if wanted.contains(&status) {
        return Ok(answer);
    }
    let text = answer.text().await.unwrap_or_default();
    let words: String = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let code = format!("{status} {}", words.trim());
    Err(match status {
        401 => Reason::BadCredentials { code },
        403 => Reason::Denied { code },
        404 => Reason::NoSuchObject,
        412 => Reason::Exists,
        413 if words.contains("quota") => Reason::Full { code },
        422 => Reason::Damaged { what: "the store found another MD5 than the file had when it was read".into() },
        507 => Reason::Full { code },
        408 | 409 | 425 | 429 | 498 | 499 | 500..=599 => Reason::Busy { code },
        _ => Reason::Refused { code },
    })
}

/// Where no object is asked for, or one is to be made, it is the container that is not there.
fn bucket_if_absent(reason: Reason) -> Reason {
    if matches!(reason, Reason::NoSuchObject) { Reason::NoSuchBucket } else { reason }
}

/// Type and metadata of an object, as headers.
fn about(put: Put<'_>) -> Result<HeaderMap, Reason> {
    let mut headers = HeaderMap::new();
    insert(&mut headers, "content-type", put.content_type())?;
    for (name, value) in put.all_metadata() {
        insert(&mut headers, &format!("x-object-meta-{name}"), &value)?;
    }
    Ok(headers)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Reason> {
    let refused = || Reason::Unsupported { what: format!("the metadata {name:?}: it cannot be a header") };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    headers.insert(name, HeaderValue::from_str(value).map_err(|_| refused())?);
    Ok(())
}

fn object(key: &str, headers: &HeaderMap) -> Object {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Object {
        key: key.to_owned(),
        size: text("content-length").and_then(|length| length.parse().ok()).unwrap_or_default(),
        etag: text("etag").map(|etag| etag.trim_matches('"').to_owned()),
        sha256: text("x-object-meta-sha256").map(str::to_owned),
    }
}

fn strange(error: &str) -> Reason {
    Reason::Busy { code: format!("an answer that is not Swift's ({error})") }
}
