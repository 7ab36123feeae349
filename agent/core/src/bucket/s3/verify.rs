use super::{S3, has_md5_etag, is_md5, object, options};
use crate::bucket::check::{Proof, in_base64};
use crate::bucket::error::Reason;
use crate::bucket::{Object, Put};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;

impl S3 {
    /// Asks the store what it holds now: a success that was answered is not yet an object that is whole. `etag` is the one
    /// that the parts make, where it is not known of the content.
    pub(super) async fn verify(&self, put: Put<'_>, etag: Option<&str>) -> Result<Object, Reason> {
        self.looked_at(put, etag).await.map(|(stored, _)| stored)
    }

    /// Who may only write may not ask what is stored (HEAD takes `s3:GetObject`): then it counts that the answer to the
    /// request told its checksum, and its encryption where there was to be one. `told` is the object that proves.
    pub(super) async fn read_back(
        &self,
        put: Put<'_>,
        etag: Option<&str>,
        told: Option<Object>,
    ) -> Result<Object, Reason> {
        match (self.verify(put, etag).await, told) {
            (Err(Reason::Denied { code }), Some(stored)) => {
                let unseen = if put.options.storage_class.is_some() { "; its storage class is not seen" } else { "" };
                log::info!(
                    "{:?} may not be read back ({code}): the checksum in the store's answer is its proof{unseen}",
                    put.key
                );
                Ok(stored)
            }
            (verified, _) => verified,
        }
    }

    /// Whether the store holds this very content, by a checksum: what else lies there may have its size.
    pub(super) async fn is_stored(&self, put: Put<'_>, etag: Option<&str>) -> bool {
        self.looked_at(put, etag).await.is_ok_and(|(_, proven)| proven)
    }

    async fn looked_at(&self, put: Put<'_>, etag: Option<&str>) -> Result<(Object, bool), Reason> {
        let head = match self.head_with_checksum(put).await {
            Err(Reason::NoSuchObject) => {
                return Err(Reason::Damaged { what: "it is not there although the store said so".into() });
            }
            Err(Reason::Denied { code }) => {
                return Err(Reason::Denied {
                    code: format!("{code}, on reading back what was stored, which takes s3:GetObject"),
                });
            }
            other => other?,
        };
        let stored = object(put.key, &head);
        let proven = is_ours(put, etag, (&head, &stored))?;
        match options::are_applied(put, &head) {
            Ok(()) => Ok((Object { sha256: put.content.sha256().map(str::to_owned), ..stored }, proven)),
            Err(reason) => {
                // What was to be encrypted and is not must not lie there.
                self.delete(put.key).await?;
                Err(reason)
            }
        }
    }

    async fn head_with_checksum(&self, put: Put<'_>) -> Result<HeadObjectOutput, Reason> {
        let encryption = put.options.encryption.as_ref();
        if put.content.proof() == Proof::Crc64 {
            match self.head_with(put.key, encryption, Some(ChecksumMode::Enabled)).await {
                // Of an object under a key of a key management service, it takes a right to use that key.
                Err(Reason::Denied { .. }) => {}
                other => return other,
            }
        }
        self.head_output(put.key, encryption).await
    }
}

/// Whether what the store tells of an object is what was sent: an error where it is not, and no where nothing proves it.
fn is_ours(put: Put<'_>, etag: Option<&str>, (head, stored): (&HeadObjectOutput, &Object)) -> Result<bool, Reason> {
    let damaged = |what: String| Err(Reason::Damaged { what });
    if stored.size != put.content.size() {
        return damaged(format!("{} bytes in place of {}", stored.size, put.content.size()));
    }
    let crc64 = put.content.crc64().map(in_base64);
    let told = head.checksum_crc64_nvme().filter(|_| crc64.is_some());
    if let Some(told) = told.filter(|told| crc64.as_deref() != Some(told)) {
        return damaged(format!("the CRC64NVME {told}, which is of another content"));
    }
    let plain = has_md5_etag(head.server_side_encryption()) && head.sse_customer_algorithm().is_none();
    let ours = put.content.etag().or_else(|| etag.map(str::to_owned)).filter(|_| plain);
    let theirs = stored.etag.as_deref().filter(|etag| is_md5(etag, put.content.parts()));
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            damaged(format!("the ETag {theirs}, which is of another content"))
        }
        (Some(_), Some(_)) => Ok(true),
        _ => Ok(told.is_some() || stored.sha256.is_some() && stored.sha256.as_deref() == put.content.sha256()),
    }
}
