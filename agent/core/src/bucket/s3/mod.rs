//! A bucket behind an S3 API.

/// The time that requests are signed with.
pub(super) mod clock;
/// The SDK's requests over the bucket's own HTTP client.
mod connector;
/// Where keys come from.
mod credentials;
/// What the SDK's errors mean.
pub(super) mod error;
/// Uploads in parts.
mod multipart;
/// Tags, encryption and the like.
mod options;
/// What the store can do, tried out.
mod probe;
/// Objects of one request without the SDK.
mod quick;
/// Objects of one request.
mod single;
/// Whether what was stored is whole.
mod verify;

use super::download::Incoming;
use super::error::Reason;
use super::file_body::FileRange;
use super::http;
use super::limiter::Limiter;
use super::patience::Patience;
use super::profile::Profile;
use super::read::as_told;
use super::{Object, Put};
use crate::config::buckets::{Encryption, ObjectOptions, S3Bucket};
use crate::hex::hex;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumMode, EncodingType, ServerSideEncryption};
use clock::{Clock, SignAnew};
use connector::Connector;
use error::reason;
use futures_util::future::BoxFuture;
use options::{CustomerKey, with_customer_key};
use quick::Quick;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A bucket behind an S3 API.
#[derive(Debug)]
pub(super) struct S3 {
    client: Client,
    http: reqwest::Client,
    endpoint: String,
    bucket: String,
    pub(super) patience: Patience,
    limiter: Option<Arc<Limiter>>,
    clock: Arc<Clock>,
    quick: Quick,
    probe_key: String,
    aws: bool,
    pub(super) profile: OnceLock<Profile>,
}

impl S3 {
    pub(super) fn open(settings: &S3Bucket, limiter: Option<Arc<Limiter>>) -> Result<Self, Reason> {
        let clock = Arc::new(Clock::default());
        let http = http::client(&settings.connection, &settings.endpoint)?;
        let connector = Connector { client: http.clone(), clock: clock.clone() };
        // Built from nothing, so that no environment variable, profile or instance role is ever used for a bucket.
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(connector)
            .region(Region::new(settings.region.clone()))
            .endpoint_url(&settings.endpoint)
            .force_path_style(settings.path_style)
            // OpenStack Swift before 2.31 (501) and Ceph before 18 (400) refuse the SDK's checksum trailers.
            // Content-MD5 on every body is the check that every store enforces.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Its 5 s are too few for a store that writes to slow disks; `Patience` takes its place.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .time_source(ClockOf(clock.clone()))
            .retry_classifier(SignAnew)
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_max_backoff(Duration::from_secs(5)));
        let provider = credentials::provider(&settings.credentials)?;
        let quick = Quick::new(settings, http.clone(), clock.clone(), provider.clone());
        let config = match provider {
            Some(provider) => config.credentials_provider(provider),
            None => config.allow_no_auth(),
        };
        Ok(Self {
            client: Client::from_conf(config.build()),
            http,
            endpoint: settings.endpoint.clone(),
            bucket: settings.bucket.clone(),
            patience: Patience::default(),
            limiter,
            clock,
            quick,
            probe_key: settings.probe_key.clone(),
            aws: settings.is_aws(),
            profile: OnceLock::new(),
        })
    }

    /// Seconds that the store's clock is ahead of this host's, if they differ much.
    pub(super) fn clock_ahead(&self) -> i64 {
        self.clock.ahead()
    }

    pub(super) async fn check(&self) -> Result<(), Reason> {
        // Listing, because an error that answers HEAD has no body and so no code that tells one 403 from another.
        let request = self.client.list_objects_v2().bucket(&self.bucket).max_keys(1);
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Err(Reason::NoSuchObject) => Err(Reason::NoSuchBucket),
            other => other.map(|_| ()),
        }
    }

    pub(super) async fn head(&self, key: &str, encryption: Option<&Encryption>) -> Result<Option<Object>, Reason> {
        match self.head_output(key, encryption).await {
            Ok(head) => Ok(Some(object(key, &head))),
            Err(Reason::NoSuchObject) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    async fn head_output(&self, key: &str, encryption: Option<&Encryption>) -> Result<HeadObjectOutput, Reason> {
        self.head_with(key, encryption, None).await
    }

    async fn head_with(
        &self,
        key: &str,
        encryption: Option<&Encryption>,
        checksum: Option<ChecksumMode>,
    ) -> Result<HeadObjectOutput, Reason> {
        let customer = CustomerKey::of(encryption)?;
        let request = self.client.head_object().bucket(&self.bucket).key(key).set_checksum_mode(checksum);
        let request = with_customer_key!(request, customer.as_ref());
        self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await
    }

    /// Opens an object from a byte on, if it is still the one that has this ETag.
    pub(super) async fn open_object(
        &self,
        object: &Object,
        from: u64,
        encryption: Option<&Encryption>,
    ) -> Result<Incoming, Reason> {
        let customer = CustomerKey::of(encryption)?;
        let request = self.client.get_object().bucket(&self.bucket).key(&object.key);
        let request = with_customer_key!(request, customer.as_ref())
            .set_range((from > 0).then(|| format!("bytes={from}-")))
            .set_if_match(object.etag.as_ref().map(|etag| format!("\"{etag}\"")));
        let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
        // A store that does not know ranges begins at the beginning.
        let from = if answer.content_range().is_some() { from } else { 0 };
        Ok(Incoming::of_s3(answer.body, from, self.patience.sending, self.limiter.clone()))
    }

    pub(super) async fn get(
        &self,
        key: &str,
        at_most: u64,
        encryption: Option<&Encryption>,
    ) -> Result<Vec<u8>, Reason> {
        let customer = CustomerKey::of(encryption)?;
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = with_customer_key!(request, customer.as_ref());
        let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
        let sha256 = answer.metadata().and_then(|metadata| metadata.get("sha256")).cloned();
        let plain = has_md5_etag(answer.server_side_encryption()) && answer.sse_customer_algorithm().is_none();
        let md5 = answer.e_tag().map(unquoted).filter(|etag| plain && is_md5(etag, 1));
        let all = Incoming::of_s3(answer.body, 0, self.patience.sending, None).collect(at_most).await?;
        as_told(all, sha256.as_deref(), md5.as_deref())
    }

    pub(super) async fn list(&self, prefix: &str, at_most: usize) -> Result<Vec<Object>, Reason> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = i32::try_from(at_most - all.len()).unwrap_or(1000).min(1000);
            // Encoded, because XML cannot carry every character that a key can.
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).max_keys(page);
            let request = request.encoding_type(EncodingType::Url).set_continuation_token(token);
            let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
            for listed in answer.contents() {
                let key = decode(listed.key().unwrap_or_default(), answer.encoding_type());
                let size = u64::try_from(listed.size().unwrap_or_default()).unwrap_or_default();
                all.push(Object { key, size, etag: listed.e_tag().map(unquoted), sha256: None });
            }
            token = answer.next_continuation_token().map(str::to_owned);
            if token.is_none() || all.len() >= at_most {
                all.truncate(at_most);
                return Ok(all);
            }
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Reason> {
        // One by one: Swift's batch delete wants a Content-MD5 that the SDK does not send.
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Ok(_) | Err(Reason::NoSuchObject) => Ok(()),
            Err(reason) => Err(reason),
        }
    }

    pub(super) async fn put(&self, put: Put<'_>, upload: Option<&str>) -> Result<Object, Reason> {
        if let Some(upload) = upload {
            return self.put_parts(put, upload, multipart::Held::new()).await;
        }
        self.supports(put)?;
        put.content.learn().await.map_err(Reason::of_reading)?;
        self.put_whole(put).await
    }

    /// Whether ETags tell of objects that are stored under these options: then the SHA-256 need not be told beforehand.
    pub(super) fn tells_md5(&self, options: &ObjectOptions) -> bool {
        let plain = matches!(options.encryption, None | Some(Encryption::Store));
        plain && self.profile.get().is_some_and(|profile| profile.etag_is_md5)
    }

    /// The body of a request.
    fn body(&self, range: FileRange, put: Put<'_>) -> FileRange {
        range.limited(self.limiter.clone()).watched(put.progress)
    }

    /// Refuses by name what the store is known not to do, before anything is sent.
    fn supports(&self, put: Put<'_>) -> Result<(), Reason> {
        let Some(profile) = self.profile.get() else { return Ok(()) };
        profile.supports(put)?;
        profile.can_prove(put)
    }

    /// Waits for a request without a body, but not for ever.
    fn answered<'f, T>(
        &self,
        request: impl Future<Output = Result<T, Reason>> + Send + 'f,
    ) -> BoxFuture<'f, Result<T, Reason>> {
        let limit = self.patience.sending;
        // Boxed, because the SDK's futures are of several kilobytes.
        Box::pin(
            async move { tokio::time::timeout(limit, request).await.unwrap_or(Err(Reason::Stalled { after: limit })) },
        )
    }
}

/// The SDK wants a clock of its own.
#[derive(Debug)]
struct ClockOf(Arc<Clock>);

impl aws_smithy_async::time::TimeSource for ClockOf {
    fn now(&self) -> std::time::SystemTime {
        self.0.now()
    }
}

/// The body of a request, read anew for each attempt.
fn stream_of(range: &FileRange) -> ByteStream {
    let range = range.clone();
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(range.body())))
}

/// Under keys of a key management service an ETag is no MD5.
fn has_md5_etag(encryption: Option<&ServerSideEncryption>) -> bool {
    matches!(encryption, None | Some(ServerSideEncryption::Aes256))
}

fn object(key: &str, head: &HeadObjectOutput) -> Object {
    Object {
        key: key.to_owned(),
        size: u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default(),
        etag: head.e_tag().map(unquoted),
        sha256: head.metadata().and_then(|metadata| metadata.get("sha256")).cloned(),
    }
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Whether an ETag has the form of an MD5 (with the number of parts where there are several).
fn is_md5(etag: &str, parts: usize) -> bool {
    let digits = match etag.split_once('-') {
        Some((digits, number)) if parts > 1 && number == parts.to_string() => digits,
        None if parts == 1 => etag,
        _ => return false,
    };
    digits.len() == hex(&[0; 16]).len() && digits.chars().all(|c| c.is_ascii_hexdigit())
}

/// Undoes `encoding-type=url`, in which a space is `+` or `%20`, where the store says that it did it.
fn decode(key: &str, encoding: Option<&EncodingType>) -> String {
    // Some say so and do not do it, which shows in what cannot stand in a URL.
    if encoding != Some(&EncodingType::Url) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return key.to_owned();
    }
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        rest = match (first, code.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &tail[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            (byte, _) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{EncodingType, S3, decode, is_md5};
    use crate::bucket::patience::Patience;
    use crate::bucket::{Content, Put, Reason};
    use crate::config::buckets::{Connection, Credentials, S3Bucket};
    use crate::secret::SecretRef;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// A client of a server that takes connections and never says a word.
    async fn client_of_a_silent_server() -> (S3, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let folder = tempfile::tempdir().expect("temporary folder");
        let key = folder.path().join("key");
        std::fs::write(&key, "k").expect("written");
        let settings = S3Bucket {
            endpoint: format!("http://{}", listener.local_addr().expect("address")),
            bucket: "images".into(),
            region: "us-east-1".into(),
            path_style: true,
            credentials: Credentials::Keys {
                access_key: SecretRef::File(key.clone()),
                secret_key: SecretRef::File(key),
                session_token: None,
            },
            connection: Connection::default(),
            probe_key: "probe".into(),
        };
        let mut s3 = S3::open(&settings, None).expect("opened");
        s3.patience = Patience::new(Duration::from_millis(300), Duration::from_millis(600));
        (s3, listener)
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_or_does_not_answer_is_given_up() {
        let (mut s3, listener) = client_of_a_silent_server().await;
        assert!(matches!(s3.check().await, Err(Reason::Stalled { .. })));
        // The kernel's buffers swallow a small body whole, never a large one.
        for (size, after) in [(1000, 600), (16 << 20, 300)] {
            let file = tempfile::tempfile().expect("temporary file");
            file.set_len(size).expect("sized");
            let content = Content::read(file, size).await.expect("read");
            let put = Put::new("k", &content);
            let stalled = Box::pin(s3.put(put, None)).await;
            let Err(Reason::Stalled { after: waited }) = stalled else { panic!("{stalled:?}") };
            assert_eq!(waited, Duration::from_millis(after), "{size} bytes");
        }
        drop(listener);
        s3.patience = Patience::default();
        assert!(matches!(s3.check().await, Err(Reason::Unreachable { .. })));
    }

    #[test]
    fn encoded_keys_are_decoded_and_only_md5s_are_compared() {
        assert_eq!(decode("a+b%20c%2Bd%0A%C3%A9%", Some(&EncodingType::Url)), "a b c+d\n\u{e9}%");
        assert_eq!(decode("a+b%20", None), "a+b%20");
        assert!(is_md5("d41d8cd98f00b204e9800998ecf8427e", 1));
        assert!(is_md5("d41d8cd98f00b204e9800998ecf8427e-3", 3));
        assert!(!is_md5("d41d8cd98f00b204e9800998ecf8427e-3", 2) && !is_md5("opaque", 1));
    }
}
