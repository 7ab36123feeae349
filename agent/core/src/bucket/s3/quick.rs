use super::clock::Clock;
use super::{has_md5_etag, unquoted};
use crate::bucket::check::{Proof, in_base64};
use crate::bucket::error::Reason;
use crate::bucket::file_body::FileRange;
use crate::bucket::http::{encoded, no_answer};
use crate::bucket::patience::Patience;
use crate::bucket::profile::Profile;
use crate::bucket::{Object, Put};
use crate::config::buckets::S3Bucket;
use aws_sdk_s3::config::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_s3::types::ServerSideEncryption;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::TimeSource as _;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Keys that end are had anew so long before.
const LEFT: Duration = Duration::from_secs(60);
const SHA256: &str = "x-amz-checksum-sha256";
const CRC64: &str = "x-amz-checksum-crc64nvme";

/// Objects of one request each, signed and sent without the SDK, whose way takes several times the CPU time of all
/// the rest. It tries once: whatever is not a plain success goes the SDK's way, which knows what to do about it.
#[derive(Debug)]
pub(super) struct Quick {
    http: reqwest::Client,
    clock: Arc<Clock>,
    /// What a key is appended to.
    base: String,
    region: String,
    provider: Option<SharedCredentialsProvider>,
    identity: Mutex<Option<Identity>>,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Sent {
    /// The store's answer has the checksum of what was sent.
    Proven(Object),
    /// It was a success that proves nothing.
    Unproven,
    /// There is an object, and it was to be a new one.
    Exists,
    /// It is not done, or nobody knows.
    No,
}

impl Quick {
    pub(super) fn new(
        settings: &S3Bucket,
        http: reqwest::Client,
        clock: Arc<Clock>,
        provider: Option<SharedCredentialsProvider>,
    ) -> Self {
        let base = match (settings.path_style, settings.endpoint.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}/", settings.bucket),
            _ => format!("{}/{}/", settings.endpoint, encoded(&settings.bucket, false)),
        };
        Self { http, clock, base, region: settings.region.clone(), provider, identity: Mutex::new(None) }
    }

    /// Sends an object, if it is of the kind that goes this way.
    pub(super) async fn put(
        &self,
        put: Put<'_>,
        range: &FileRange,
        (profile, patience): (&Profile, &Patience),
    ) -> Sent {
        let options = put.options;
        let is_plain = options.encryption.is_none() && options.storage_class.is_none() && options.acl.is_none();
        // Whatever prepares URLs takes these for a way up.
        let climbs = put.key.split('/').any(|part| matches!(part, "." | ".."));
        if !is_plain || !options.tags.is_empty() || climbs {
            return Sent::No;
        }
        let Some(request) = self.request(put, range).await else { return Sent::No };
        let sent = range.sent_by(patience, async {
            let answer = self.http.execute(request).await.map_err(|error| no_answer(&error))?;
            if let Some(date) = answer.headers().get("date").and_then(|date| date.to_str().ok()) {
                self.clock.heard(date);
            }
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            // Read to its end, a connection serves again.
            answer.bytes().await.map_err(|error| no_answer(&error))?;
            match status {
                200 => Ok(headers),
                412 => Err(Reason::Exists),
                _ => Err(Reason::Busy { code: status.to_string() }),
            }
        });
        match sent.await {
            Ok(headers) => proven(put, &headers, profile),
            Err(Reason::Exists) if put.only_new => Sent::Exists,
            Err(_) => {
                *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Sent::No
            }
        }
    }

    async fn request(&self, put: Put<'_>, range: &FileRange) -> Option<reqwest::Request> {
        let identity = self.identity().await?;
        let url = format!("{}{}", self.base, encoded(put.key, true));
        let headers = headers(put)?;
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder().identity(&identity).region(&self.region).name("s3");
        let params = params.time(self.clock.now()).settings(settings).build().ok()?;
        let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        // Where the store was found to check a checksum in its own header, which is signed, it is not asked to compute the
        // SHA-256 for the signature, which some do only when they have all of the body.
        let body = match put.content.proof() {
            Proof::Sha256 | Proof::Crc64 => SignableBody::UnsignedPayload,
            Proof::Md5 => SignableBody::Precomputed(put.content.sha256()?.to_owned()),
        };
        let signable = SignableRequest::new("PUT", &url, texts, body).ok()?;
        let (instructions, _) = sign(signable, &params.into()).ok()?.into_parts();
        let mut request = self.http.put(&url).headers(headers);
        for (name, value) in instructions.headers() {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            request = request.header(HeaderName::try_from(name).ok()?, value);
        }
        let length = put.content.size();
        request.header("content-length", length).body(reqwest::Body::wrap(range.body())).build().ok()
    }

    async fn identity(&self) -> Option<Identity> {
        let provider = self.provider.as_ref()?;
        let known = self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let holds = |identity: &Identity| identity.expiration().is_none_or(|ends| ends > SystemTime::now() + LEFT);
        if let Some(identity) = known.filter(holds) {
            return Some(identity);
        }
        let identity: Identity = provider.provide_credentials().await.ok()?.into();
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.clone());
        Some(identity)
    }
}

/// What is signed beside the host and the time.
fn headers(put: Put<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &str, value: &str| {
        headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?);
        Some(())
    };
    insert("content-type", put.content_type())?;
    for (name, value) in put.all_metadata() {
        insert(&format!("x-amz-meta-{name}"), &value)?;
    }
    match put.content.proof() {
        Proof::Sha256 => insert(SHA256, &BASE64.encode(put.content.sha256_bytes().ok()?))?,
        Proof::Md5 => insert("content-md5", &BASE64.encode(put.content.check(0).ok()?.md5().ok()?))?,
        Proof::Crc64 => insert(CRC64, &in_base64(put.content.crc64()?))?,
    }
    if put.only_new {
        insert("if-none-match", "*")?;
    }
    Some(headers)
}

/// Whether an answer says what the store has: by a checksum that this store was found to compute itself.
fn proven(put: Put<'_>, answer: &HeaderMap, profile: &Profile) -> Sent {
    let text = |name: &str| answer.get(name).and_then(|value| value.to_str().ok());
    let etag = text("etag").map(unquoted);
    let encryption = text("x-amz-server-side-encryption").map(ServerSideEncryption::from);
    let is_ours = |told: &str| put.content.sha256_bytes().is_ok_and(|ours| told == BASE64.encode(ours));
    let by_sha256 = profile.tells_sha256 && text(SHA256).is_some_and(is_ours);
    let by_etag = profile.etag_is_md5
        && has_md5_etag(encryption.as_ref())
        && put.content.etag().is_some_and(|ours| etag.as_ref() == Some(&ours));
    let by_crc64 = profile.tells_crc64nvme
        && put.content.crc64().is_some_and(|ours| text(CRC64).is_some_and(|told| told == in_base64(ours)));
    if !by_sha256 && !by_crc64 && !by_etag {
        return Sent::Unproven;
    }
    let (size, sha256) = (put.content.size(), put.content.sha256().map(str::to_owned));
    Sent::Proven(Object { key: put.key.to_owned(), size, etag, sha256 })
}
