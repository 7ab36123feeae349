use super::error::reason;
use super::options::{CustomerKey, with_customer_key, with_options};
use super::{S3, decode, unquoted};
use crate::backoff::Backoff;
use crate::bucket::content::hex;
use crate::bucket::error::Reason;
use crate::bucket::{Content, Object, Put, Unfinished};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;
/// Attempts of one request, before the caller decides what becomes of the upload.
const ATTEMPTS: usize = 4;
/// How often an upload is put together whose parts the store loses.
const COMPLETIONS: usize = 3;

/// Parts that the store has, with their ETags, by their numbers.
pub(super) type Held = BTreeMap<i32, CompletedPart>;

/// An upload in parts that was begun.
#[derive(Clone, Copy)]
struct Begun<'u> {
    put: Put<'u>,
    upload: &'u str,
    key: Option<&'u CustomerKey>,
}

impl S3 {
    pub(in crate::bucket) async fn begin(&self, put: Put<'_>) -> Result<String, Reason> {
        self.supports(put)?;
        let key = CustomerKey::of(put.options.encryption.as_ref())?;
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(put.key);
        let request = with_options!(request, put);
        // The answer's key goes with the parts, not here, but algorithm and key are needed to open it.
        let request = with_customer_key!(request, key.as_ref());
        let answer = self.answered(async { request.send().await.map_err(|e| not_found_is_bucket(reason(&e))) }).await?;
        let id = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
        id.ok_or_else(|| Reason::Busy { code: "it gave no id for the upload".into() })
    }

    /// Goes on with an upload from the parts that the store has.
    pub(in crate::bucket) async fn resume(&self, put: Put<'_>, upload: &str) -> Result<Object, Reason> {
        // It may have been completed without our hearing of it.
        if let Ok(object) = self.verify(put).await {
            // Mostly it is gone with that; if not, it is one of the unfinished uploads that are looked for anyway.
            if let Err(reason) = self.abort(put.key, upload).await {
                log::info!("the parts of {:?}, which is stored, could not be cleared: {reason}", put.key);
            }
            return Ok(object);
        }
        match self.held(put, upload).await {
            Ok(held) => {
                self.put_parts(put, upload, held).await?;
                self.verify(put).await
            }
            Err(Reason::NoSuchObject) => Err(Reason::NoSuchUpload),
            Err(reason) => Err(reason),
        }
    }

    /// Sends the parts that are not held and has all put together; until then a reader sees nothing of the object.
    pub(super) async fn put_parts(&self, put: Put<'_>, upload: &str, mut held: Held) -> Result<(), Reason> {
        let key = CustomerKey::of(put.options.encryption.as_ref())?;
        let begun = Begun { put, upload, key: key.as_ref() };
        for _ in 1..COMPLETIONS {
            let parts = self.send_missing(begun, held).await?;
            match self.complete(put, upload, parts).await {
                Err(Reason::PartsLost { code }) => {
                    log::warn!("the store has lost parts of {:?} ({code}): they are sent again", put.key);
                    held = self.held(put, upload).await?;
                }
                other => return other,
            }
        }
        let parts = self.send_missing(begun, held).await?;
        self.complete(put, upload, parts).await
    }

    async fn send_missing(&self, begun: Begun<'_>, mut held: Held) -> Result<Vec<CompletedPart>, Reason> {
        let missing = (0..begun.put.content.parts()).filter(|index| !held.contains_key(&number_of(*index)));
        let sending: Vec<_> = missing.map(|index| self.put_part_at_last(begun, index)).collect();
        let sent: Vec<_> = stream::iter(sending).buffer_unordered(PARTS_AT_ONCE).try_collect().await?;
        held.extend(sent.into_iter().filter_map(|part| Some((part.part_number()?, part))));
        Ok(held.into_values().collect())
    }

    /// Sends a part, again and again where it fails for a time.
    async fn put_part_at_last(&self, begun: Begun<'_>, index: usize) -> Result<CompletedPart, Reason> {
        let put = begun.put;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for _ in 1..ATTEMPTS {
            match self.put_part(begun, index).await {
                Err(reason) if reason.may_pass() => {
                    log::info!("part {} of {:?} is sent again: {reason}", index + 1, put.key);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(Reason::Damaged { what }) => {
                    put.content.part_is_unchanged(index).await?;
                    log::warn!("part {} of {:?} was damaged on its way ({what}): it is sent again", index + 1, put.key);
                }
                other => return other,
            }
        }
        self.put_part(begun, index).await
    }

    async fn put_part(&self, Begun { put, upload, key }: Begun<'_>, index: usize) -> Result<CompletedPart, Reason> {
        let number = number_of(index);
        let ((_, length), md5) = (put.content.part(index), put.content.md5(index)?);
        let range = self.range(put, index);
        let request = self.client.upload_part().bucket(&self.bucket).key(put.key).upload_id(upload);
        let request = with_customer_key!(request.part_number(number), key)
            .content_length(length.cast_signed())
            .content_md5(BASE64.encode(md5))
            .body(super::stream_of(&range));
        let answer = range.sent_by(self.patience, async { request.send().await.map_err(|e| reason(&e)) }).await?;
        let etag = answer.e_tag().map(str::to_owned);
        let plain = key.is_none() && super::has_md5_etag(answer.server_side_encryption());
        match etag.as_deref().map(unquoted).filter(|etag| plain && super::is_md5(etag, 1)) {
            Some(told) if told != hex(&md5) => {
                Err(Reason::Damaged { what: format!("part {number} has the ETag {told}") })
            }
            _ => Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build()),
        }
    }

    async fn complete(&self, put: Put<'_>, upload: &str, parts: Vec<CompletedPart>) -> Result<(), Reason> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(put.key);
        let request = request.upload_id(upload).multipart_upload(parts);
        let request = request.set_if_none_match(put.only_new.then(|| "*".to_owned()));
        let limit = self.patience.answer;
        let answer = tokio::time::timeout(limit, Box::pin(request.send())).await;
        let failed = match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => reason(&error),
            Err(_) => Reason::Stalled { after: limit },
        };
        // An answer may be lost although all was done; the next one says, in one way or another, that there is no such
        // upload any more.
        if !matches!(failed, Reason::PartsLost { .. }) && self.verify(put).await.is_ok() {
            return Ok(());
        }
        Err(if matches!(failed, Reason::NoSuchObject) { Reason::NoSuchUpload } else { failed })
    }

    /// The parts of an upload that the store has and that are as they should be.
    async fn held(&self, put: Put<'_>, upload: &str) -> Result<Held, Reason> {
        let mut held = Held::new();
        let mut after: Option<String> = None;
        loop {
            let request = self.client.list_parts().bucket(&self.bucket).key(put.key).upload_id(upload);
            let request = request.set_part_number_marker(after);
            let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
            for part in answer.parts() {
                let Some(number) = part.part_number() else { continue };
                let Some((etag, size)) = part.e_tag().zip(part.size()) else { continue };
                if is_part(put.content, number, &unquoted(etag), size) {
                    let completed = CompletedPart::builder().part_number(number).e_tag(etag).build();
                    if held.insert(number, completed).is_none()
                        && let Some(progress) = put.progress
                    {
                        progress.add(size.cast_unsigned());
                    }
                }
            }
            after = answer.next_part_number_marker().map(str::to_owned);
            if after.is_none() || answer.is_truncated() != Some(true) {
                return Ok(held);
            }
        }
    }

    /// Uploads in parts under a prefix that were begun before a time and never completed.
    pub(in crate::bucket) async fn unfinished(
        &self,
        prefix: &str,
        before: Timestamp,
    ) -> Result<Vec<Unfinished>, Reason> {
        let mut all = Vec::new();
        let (mut key, mut upload) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let request = request.encoding_type(EncodingType::Url).set_key_marker(key).set_upload_id_marker(upload);
            let answer =
                self.answered(async { request.send().await.map_err(|e| not_found_is_bucket(reason(&e))) }).await?;
            for listed in answer.uploads() {
                let begun = listed.initiated().and_then(|time| Timestamp::from_second(time.secs()).ok());
                let (Some(listed_key), Some(id), Some(begun)) = (listed.key(), listed.upload_id(), begun) else {
                    continue;
                };
                if begun < before {
                    all.push(Unfinished {
                        key: decode(listed_key, answer.encoding_type()),
                        upload: id.to_owned(),
                        begun,
                    });
                }
            }
            let key_marker = answer.next_key_marker().filter(|key| !key.is_empty());
            key = key_marker.map(|key| decode(key, answer.encoding_type()));
            upload = answer.next_upload_id_marker().filter(|id| !id.is_empty()).map(str::to_owned);
            if answer.is_truncated() != Some(true) || key.is_none() {
                return Ok(all);
            }
        }
    }

    pub(in crate::bucket) async fn abort(&self, key: &str, upload: &str) -> Result<(), Reason> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Ok(_) | Err(Reason::NoSuchUpload | Reason::NoSuchObject) => Ok(()),
            Err(reason) => Err(reason),
        }
    }
}

fn number_of(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

/// Whether what the store tells of a part is what the content has there.
fn is_part(content: &Content, number: i32, etag: &str, size: i64) -> bool {
    let Some(index) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else { return false };
    if index >= content.parts() {
        return false;
    }
    let (_, length) = content.part(index);
    size.cast_unsigned() == length && content.md5(index).is_ok_and(|md5| etag == hex(&md5))
}

/// Where no object is asked for, a bare 404 can only mean the bucket.
pub(super) fn not_found_is_bucket(reason: Reason) -> Reason {
    match reason {
        Reason::NoSuchObject => Reason::NoSuchBucket,
        other => other,
    }
}
