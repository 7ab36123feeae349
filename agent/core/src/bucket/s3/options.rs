use crate::bucket::error::Reason;
use crate::bucket::http::encoded;
use crate::bucket::put::Put;
use crate::config::buckets::{Encryption, ObjectOptions};
use crate::secret::Secret;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};

/// A key of the customer's, as requests carry it (SSE-C).
#[derive(Debug)]
pub(super) struct CustomerKey {
    pub(super) key: Secret,
    pub(super) md5: String,
}

impl CustomerKey {
    /// The key of these options, if they have one.
    pub(super) fn of(encryption: Option<&Encryption>) -> Result<Option<Self>, Reason> {
        let Some(Encryption::Customer(reference)) = encryption else { return Ok(None) };
        let secret = reference.resolve().map_err(Reason::Credentials)?;
        let text = secret.expose().trim();
        match BASE64.decode(text) {
            Ok(bytes) if bytes.len() == 32 => {
                let md5 = BASE64.encode(Md5::digest(&bytes));
                Ok(Some(Self { key: Secret::new(text.to_owned()), md5 }))
            }
            _ => Err(Reason::Unsupported { what: "a customer's key that is not 32 bytes in base64".into() }),
        }
    }
}

/// Options of an object on the request that creates it. The builders of a PUT and of an upload in parts have the same
/// methods, and no trait that says so.
macro_rules! with_options {
    ($request:expr, $put:expr) => {{
        let mut request = $request.content_type($put.content_type());
        for (name, value) in $put.all_metadata() {
            request = request.metadata(name, value);
        }
        let options = $put.options;
        request = request
            .set_tagging($crate::bucket::s3::options::tagging(options))
            .set_storage_class(options.storage_class.as_deref().map(Into::into))
            .set_acl(options.acl.as_deref().map(Into::into));
        match &options.encryption {
            Some($crate::config::buckets::Encryption::Store) => {
                request = request.server_side_encryption(aws_sdk_s3::types::ServerSideEncryption::Aes256);
            }
            Some($crate::config::buckets::Encryption::Kms(key)) => {
                request = request.server_side_encryption(aws_sdk_s3::types::ServerSideEncryption::AwsKms);
                request = request.set_ssekms_key_id(key.clone());
            }
            Some($crate::config::buckets::Encryption::Customer(_)) | None => {}
        }
        request
    }};
}
pub(super) use with_options;

/// The customer's key on any request that touches the content.
macro_rules! with_customer_key {
    ($request:expr, $key:expr) => {{
        let key: Option<&$crate::bucket::s3::options::CustomerKey> = $key;
        let request = $request.set_sse_customer_algorithm(key.map(|_| "AES256".to_owned()));
        let request = request.set_sse_customer_key(key.map(|key| key.key.expose().to_owned()));
        request.set_sse_customer_key_md5(key.map(|key| key.md5.clone()))
    }};
}
pub(super) use with_customer_key;

/// Tags as the header has them: a query string.
pub(super) fn tagging(options: &ObjectOptions) -> Option<String> {
    let pairs = options.tags.iter().map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false)));
    let pairs: Vec<_> = pairs.collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// Whether an object is encrypted as it was asked for, by what an answer tells of that.
pub(super) fn is_encrypted(put: Put<'_>, by_store: Option<&ServerSideEncryption>, by_customer: bool) -> bool {
    match &put.options.encryption {
        None => true,
        Some(Encryption::Customer(_)) => by_customer,
        Some(Encryption::Store | Encryption::Kms(_)) => by_store.is_some(),
    }
}

/// A store may answer 200 to what it does not know: what was asked for is looked for in what it tells afterwards.
pub(super) fn are_applied(put: Put<'_>, head: &HeadObjectOutput) -> Result<(), Reason> {
    let missing =
        |what: &str| Err(Reason::Unsupported { what: format!("{what} (it answered success and did not do it)") });
    let options = put.options;
    if !is_encrypted(put, head.server_side_encryption(), head.sse_customer_algorithm().is_some()) {
        return missing("encryption");
    }
    // The default class is not named in an answer.
    match options.storage_class.as_deref() {
        Some(class) if class != "STANDARD" && head.storage_class().map(|c| c.as_str()) != Some(class) => {
            missing(&format!("the storage class {class}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{CustomerKey, tagging};
    use crate::config::buckets::{Encryption, ObjectOptions};
    use crate::secret::SecretRef;

    #[test]
    fn tags_are_a_query_string() {
        let mut options = ObjectOptions::default();
        assert_eq!(tagging(&options), None);
        options.tags.insert("a b".into(), "x&y=\u{e9}".into());
        options.tags.insert("c".into(), String::new());
        assert_eq!(tagging(&options).as_deref(), Some("a%20b=x%26y%3D%C3%A9&c="));
    }

    #[test]
    fn a_customers_key_has_32_bytes_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            CustomerKey::of(Some(&Encryption::Customer(SecretRef::File(path.clone()))))
        };
        let key = read("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n").expect("fits").expect("a key");
        assert_eq!(key.md5, "KYvwGXoFFJ42a2u2GDWhwQ==".to_owned(), "{}", key.md5);
        assert!(!format!("{key:?}").contains("MDEy"));
        assert!(read("aHVudGVyMg==").expect_err("too short").to_string().contains("32 bytes"));
    }
}
