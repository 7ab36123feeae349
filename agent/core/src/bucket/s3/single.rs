use super::error::reason;
use super::options::{CustomerKey, is_encrypted, with_customer_key, with_options};
use super::quick::Sent;
use super::{S3, has_md5_etag, stream_of, unquoted};
use crate::bucket::check::{Proof, in_base64};
use crate::bucket::error::Reason;
use crate::bucket::file_body::FileRange;
use crate::bucket::{Object, Put};
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

impl S3 {
    /// Stores an object by one request, and sees that it is there.
    pub(super) async fn put_whole(&self, put: Put<'_>) -> Result<Object, Reason> {
        match self.put_quickly(put).await {
            Sent::Proven(object) => return Ok(object),
            Sent::Exists => return Err(Reason::Exists),
            Sent::Unproven => {}
            Sent::No => {
                let told = self.put_single(put).await?;
                return self.read_back(put, None, told).await;
            }
        }
        self.verify(put, None).await
    }

    async fn put_quickly(&self, put: Put<'_>) -> Sent {
        // What is not known of a store must be asked of it.
        let Some(profile) = self.profile.get() else { return Sent::No };
        let range = self.body(FileRange::whole(put.content), put);
        self.quick.put(put, &range, (profile, &self.patience)).await
    }

    /// The object, where the answer proves that it is what was sent.
    async fn put_single(&self, put: Put<'_>) -> Result<Option<Object>, Reason> {
        match self.send_single(put).await {
            Err(Reason::Damaged { what }) => {
                put.content.is_unchanged().await?;
                log::warn!("{:?} was damaged on its way ({what}): it is sent again", put.key);
                self.send_single(put).await
            }
            other => other,
        }
    }

    async fn send_single(&self, put: Put<'_>) -> Result<Option<Object>, Reason> {
        let customer = CustomerKey::of(put.options.encryption.as_ref())?;
        let range = self.body(FileRange::whole(put.content), put);
        let request = self.client.put_object().bucket(&self.bucket).key(put.key);
        let request = with_customer_key!(with_options!(request, put), customer.as_ref());
        let request = match put.content.proof() {
            Proof::Md5 => request.content_md5(BASE64.encode(put.content.check(0)?.md5()?)),
            Proof::Crc64 => request.set_checksum_crc64_nvme(put.content.crc64().map(in_base64)),
            Proof::Sha256 => request.checksum_sha256(BASE64.encode(put.content.sha256_bytes()?)),
        };
        let request = request.set_if_none_match(put.only_new.then(|| "*".to_owned()));
        let request = request.content_length(put.content.size().cast_signed()).body(stream_of(&range));
        let sent = range.sent_by(&self.patience, async { request.send().await.map_err(|e| reason(&e)) }).await?;
        let ours = BASE64.encode(put.content.sha256_bytes()?);
        let ours_crc64 = put.content.crc64().map(in_base64);
        match (sent.checksum_sha256(), sent.checksum_crc64_nvme()) {
            (Some(told), _) if told != ours => {
                Err(Reason::Damaged { what: format!("the store has the SHA-256 {told}") })
            }
            (_, Some(told)) if ours_crc64.is_some_and(|ours| told != ours) => {
                Err(Reason::Damaged { what: format!("the store has the CRC64NVME {told}") })
            }
            _ => Ok(self.is_told(put, &sent).then(|| {
                let (size, sha256) = (put.content.size(), put.content.sha256().map(str::to_owned));
                Object { key: put.key.to_owned(), size, etag: sent.e_tag().map(unquoted), sha256 }
            })),
        }
    }

    /// Whether an answer has a checksum of what was sent that this store was found to compute itself, and says that it is
    /// encrypted where it was to be.
    fn is_told(&self, put: Put<'_>, answer: &PutObjectOutput) -> bool {
        let Some(profile) = self.profile.get() else { return false };
        let by_customer = answer.sse_customer_algorithm().is_some();
        let plain = has_md5_etag(answer.server_side_encryption()) && !by_customer;
        let by_etag = profile.etag_is_md5 && plain && put.content.etag().is_some_and(|ours| is(answer.e_tag(), &ours));
        let sha256 = put.content.sha256_bytes().map(|ours| BASE64.encode(ours));
        let by_sha256 = profile.tells_sha256 && sha256.is_ok_and(|ours| answer.checksum_sha256() == Some(&ours));
        let crc64 = put.content.crc64().map(in_base64).filter(|_| profile.tells_crc64nvme);
        let by_crc64 = crc64.is_some() && answer.checksum_crc64_nvme() == crc64.as_deref();
        (by_etag || by_sha256 || by_crc64) && is_encrypted(put, answer.server_side_encryption(), by_customer)
    }
}

fn is(told: Option<&str>, etag: &str) -> bool {
    told.map(unquoted).as_deref() == Some(etag)
}
