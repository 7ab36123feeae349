use super::content::hex;
use super::error::Reason;
use super::file_body::{FileRange, Patience};
use super::s3_error::reason;
use super::{Object, Put};
use crate::config::buckets::S3Bucket;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{EncodingType, ServerSideEncryption};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// A bucket behind an S3 API.
#[derive(Debug)]
pub(super) struct S3 {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) patience: Patience,
}

impl S3 {
    pub(super) fn open(settings: &S3Bucket) -> Result<Self, Reason> {
        let access_key = settings.credentials.access_key.resolve().map_err(Reason::Credentials)?;
        let secret_key = settings.credentials.secret_key.resolve().map_err(Reason::Credentials)?;
        let credentials = Credentials::new(access_key.expose(), secret_key.expose(), None, None, "hostwright");
        // Built from nothing, so that no environment variable, profile or instance role is ever used for a bucket.
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new(settings.region.clone()))
            .endpoint_url(&settings.endpoint)
            .force_path_style(settings.path_style)
            // OpenStack Swift before 2.31 (501) and Ceph before 18 (400) refuse the SDK's checksum trailers.
            // Content-MD5 on every body is the check that every store enforces.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Its 5 s are too few for a store that writes to slow disks; `Patience` takes its place.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).build())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_max_backoff(Duration::from_secs(5)))
            .build();
        Ok(Self { client: Client::from_conf(config), bucket: settings.bucket.clone(), patience: Patience::default() })
    }

    pub(super) async fn check(&self) -> Result<(), Reason> {
        // Listing, because an error that answers HEAD has no body and so no code that tells one 403 from another.
        let request = self.client.list_objects_v2().bucket(&self.bucket).max_keys(1);
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Err(Reason::NoSuchObject) => Err(Reason::NoSuchBucket),
            other => other.map(|_| ()),
        }
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Reason> {
        match self.head_output(key).await {
            Ok(head) => Ok(Some(object(key, &head))),
            Err(Reason::NoSuchObject) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    async fn head_output(&self, key: &str) -> Result<HeadObjectOutput, Reason> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await
    }

    pub(super) async fn get(&self, key: &str, at_most: u64) -> Result<Vec<u8>, Reason> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let mut answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
        let mut all = Vec::new();
        loop {
            let piece = tokio::time::timeout(self.patience.sending, answer.body.next()).await;
            let piece = piece.map_err(|_| Reason::Stalled { after: self.patience.sending })?;
            match piece.transpose().map_err(|e| Reason::Unreachable { cause: e.to_string() })? {
                Some(piece) if (all.len() + piece.len()) as u64 > at_most => return Err(Reason::TooLarge { at_most }),
                Some(piece) => all.extend_from_slice(&piece),
                None => return Ok(all),
            }
        }
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
                let key = decode(listed.key().unwrap_or_default());
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
        match upload {
            Some(upload) => self.put_parts(put, upload).await?,
            None => self.put_single(put).await?,
        }
        self.verify(put).await
    }

    async fn put_single(&self, put: Put<'_>) -> Result<(), Reason> {
        let (offset, length, md5) = put.content.part(0);
        let range = FileRange::new(put.content.file().clone(), offset, length);
        let mut request = self.client.put_object().bucket(&self.bucket).key(put.key);
        for (name, value) in metadata(put) {
            request = request.metadata(name, value);
        }
        let request = request.content_length(length.cast_signed()).content_md5(BASE64.encode(md5)).body(range.body());
        range.sent_by(self.patience, async { request.send().await.map_err(|e| reason(&e)) }).await?;
        Ok(())
    }

    /// Asks the store what it holds now: a success that was answered is not yet an object that is whole.
    async fn verify(&self, put: Put<'_>) -> Result<Object, Reason> {
        let head = match self.head_output(put.key).await {
            Err(Reason::NoSuchObject) => {
                return Err(Reason::Damaged { what: "it is not there although the store said so".into() });
            }
            Err(Reason::Denied { code }) => {
                return Err(Reason::Denied { code: format!("{code}, on reading back what was stored") });
            }
            other => other?,
        };
        let stored = object(put.key, &head);
        if stored.size != put.content.size() {
            let what = format!("{} bytes in place of {}", stored.size, put.content.size());
            return Err(Reason::Damaged { what });
        }
        // With keys of KMS or the customer's, and on stores with their own idea of it, the ETag is no MD5.
        let plain = !matches!(head.server_side_encryption(), Some(ServerSideEncryption::AwsKms))
            && head.sse_customer_algorithm().is_none();
        match stored.etag.as_deref() {
            Some(etag) if plain && is_md5(etag, put.content.parts()) && etag != put.content.etag() => {
                Err(Reason::Damaged { what: format!("ETag {etag} in place of {}", put.content.etag()) })
            }
            _ => Ok(stored),
        }
    }

    /// Waits for a request without a body, but not for ever.
    pub(super) fn answered<'f, T>(
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

/// The metadata of an object: ours, then the caller's.
pub(super) fn metadata(put: Put<'_>) -> impl Iterator<Item = (String, String)> {
    let ours = ("sha256".to_owned(), put.content.sha256().to_owned());
    std::iter::once(ours).chain(put.metadata.iter().cloned())
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

/// Undoes `encoding-type=url`, in which a space is `+` or `%20`.
fn decode(key: &str) -> String {
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
    use super::{S3, decode, is_md5};
    use crate::bucket::file_body::Patience;
    use crate::bucket::{Content, Put, Reason};
    use crate::config::buckets::{Credentials, S3Bucket};
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
            credentials: Credentials { access_key: SecretRef::File(key.clone()), secret_key: SecretRef::File(key) },
        };
        let mut s3 = S3::open(&settings).expect("opened");
        s3.patience = Patience { sending: Duration::from_millis(300), answer: Duration::from_millis(600) };
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
            let put = Put { key: "k", content: &content, metadata: &[] };
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
        assert_eq!(decode("a+b%20c%2Bd%0A%C3%A9%"), "a b c+d\n\u{e9}%");
        assert!(is_md5("d41d8cd98f00b204e9800998ecf8427e", 1));
        assert!(is_md5("d41d8cd98f00b204e9800998ecf8427e-3", 3));
        assert!(!is_md5("d41d8cd98f00b204e9800998ecf8427e-3", 2) && !is_md5("opaque", 1));
    }
}
