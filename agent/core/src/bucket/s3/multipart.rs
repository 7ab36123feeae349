use super::error::reason;
use super::options::{CustomerKey, is_encrypted, with_customer_key, with_options};
use super::{S3, decode, is_md5, unquoted};
use crate::backoff::Backoff;
use crate::bucket::check::{Check, Proof, in_base64};
use crate::bucket::error::Reason;
use crate::bucket::parts::{self, Part};
use crate::bucket::sums::etag_of;
use crate::bucket::{Object, Put, Unfinished};
use crate::hex::hex;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Attempts of one request, before the caller decides what becomes of the upload.
const ATTEMPTS: usize = 4;
/// How often an upload is put together whose parts the store loses.
const COMPLETIONS: usize = 3;

/// Parts that the store has, by their numbers.
pub(super) type Held = BTreeMap<i32, HeldPart>;

/// What the store tells of a part that it has.
#[derive(Debug)]
pub(super) struct HeldPart {
    /// As it tells it.
    etag: String,
    size: u64,
    crc64: Option<String>,
}

/// An upload in parts that was begun.
#[derive(Clone, Copy)]
struct Begun<'u> {
    put: Put<'u>,
    upload: &'u str,
    key: Option<&'u CustomerKey>,
    keyed: &'u Keyed,
}

/// Whether the store says of parts that they are encrypted by their customer's key.
#[derive(Debug, Default)]
struct Keyed {
    of_some: AtomicBool,
    not_of_all: AtomicBool,
}

impl Keyed {
    fn note(&self, is_told: bool) {
        if is_told { &self.of_some } else { &self.not_of_all }.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.of_some.load(Ordering::Relaxed) && !self.not_of_all.load(Ordering::Relaxed)
    }
}

impl S3 {
    pub(in crate::bucket) async fn begin(&self, put: Put<'_>) -> Result<String, Reason> {
        self.supports(put)?;
        let key = CustomerKey::of(put.options.encryption.as_ref())?;
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(put.key);
        let request = with_options!(request, put);
        // The answer's key goes with the parts, not here, but algorithm and key are needed to open it.
        let mut request = with_customer_key!(request, key.as_ref());
        if put.content.proof() == Proof::Crc64 {
            request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let answer = self.answered(async { request.send().await.map_err(|e| not_found_is_bucket(reason(&e))) }).await?;
        let id = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
        id.ok_or_else(|| Reason::Busy { code: "it gave no id for the upload".into() })
    }

    /// Goes on with an upload from the parts that the store has.
    pub(in crate::bucket) async fn resume(&self, put: Put<'_>, upload: &str) -> Result<Object, Reason> {
        let held = self.held(put, upload).await;
        // A file that is not read yet is read for this where nothing is left of the upload; some stores tell no parts of
        // what they do not know.
        let may_be_done = match &held {
            Ok(held) => held.is_empty(),
            Err(reason) => !reason.may_pass(),
        };
        if (may_be_done || put.content.sha256().is_some())
            && let Some(object) = self.done_unheard(put, upload).await
        {
            return Ok(object);
        }
        match held {
            Ok(held) => match self.put_parts(put, upload, held).await {
                // It was begun under another checksum, before the store was found to look at this one.
                Err(Reason::Refused { code }) if put.content.proof() == Proof::Crc64 => {
                    log::info!("the upload of {:?} begins anew: {code}", put.key);
                    self.abort(put.key, upload).await?;
                    Err(Reason::NoSuchUpload)
                }
                other => other,
            },
            Err(Reason::NoSuchObject) => Err(Reason::NoSuchUpload),
            Err(reason) => Err(reason),
        }
    }

    /// The object, if the upload was completed without our hearing of it.
    async fn done_unheard(&self, put: Put<'_>, upload: &str) -> Option<Object> {
        let object = self.head(put.key, put.options.encryption.as_ref()).await.ok()??;
        if !put.content.is_that_of(&object).await.ok()? {
            return None;
        }
        let object = self.verify(put, None).await.ok()?;
        // Another attempt may have sent parts that the store has not written yet.
        self.patience.outlast_requests().await;
        // Mostly it is gone with that; if not, it is one of the unfinished uploads that are looked for anyway.
        if let Err(reason) = self.abort(put.key, upload).await {
            log::info!("the parts of {:?}, which is stored, could not be cleared: {reason}", put.key);
        }
        if let Some(progress) = put.progress {
            progress.add(put.content.size());
        }
        Some(object)
    }

    /// Sends the parts that are not held and has all put together; until then a reader sees nothing of the object.
    pub(super) async fn put_parts(&self, put: Put<'_>, upload: &str, mut held: Held) -> Result<Object, Reason> {
        let key = CustomerKey::of(put.options.encryption.as_ref())?;
        let keyed = Keyed::default();
        let begun = Begun { put, upload, key: key.as_ref(), keyed: &keyed };
        let mut attempts = COMPLETIONS;
        loop {
            attempts -= 1;
            let parts = self.send_missing(begun, &held).await?;
            let etag = composed(&parts);
            held = match self.complete(begun, (parts, etag.as_deref())).await {
                Ok(proof) => return self.read_back(put, etag.as_deref(), proof).await,
                Err(Reason::PartsLost { code }) if attempts > 0 => {
                    log::warn!("the store has lost parts of {:?} ({code}): they are sent again", put.key);
                    self.held(put, upload).await?
                }
                Err(Reason::Damaged { what }) if attempts > 0 => {
                    log::warn!("the parts of {:?} do not make it up ({what}): all are sent again", put.key);
                    Held::new()
                }
                Err(reason) => return Err(reason),
            };
            put.progress.inspect(|progress| progress.take_back(put.content.size()));
        }
    }

    async fn send_missing(&self, begun: Begun<'_>, held: &Held) -> Result<Vec<CompletedPart>, Reason> {
        parts::in_order(begun.put.content, &|part| self.put_unless_held(begun, held, part)).await
    }

    async fn put_unless_held(&self, begun: Begun<'_>, held: &Held, part: Part) -> Result<CompletedPart, Reason> {
        let number = number_of(part.index);
        let (_, length) = begun.put.content.part(part.index);
        if let Some(there) = held.get(&number).filter(|there| there.size == length) {
            let same = match (part.check, &there.crc64) {
                (Check::Crc64(ours), Some(told)) => *told == in_base64(ours),
                _ => unquoted(&there.etag) == hex(&part.md5(begun.put.content).await?),
            };
            if same {
                begun.put.progress.inspect(|progress| progress.add(length));
                return Ok(completed(&part, Some(&there.etag)));
            }
        }
        self.put_part_at_last(begun, &part).await
    }

    /// Sends a part, again and again where it fails for a time.
    async fn put_part_at_last(&self, begun: Begun<'_>, part: &Part) -> Result<CompletedPart, Reason> {
        let (put, number) = (begun.put, number_of(part.index));
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for _ in 1..ATTEMPTS {
            match self.put_part(begun, part).await {
                Err(reason) if reason.may_pass() => {
                    log::info!("part {number} of {:?} is sent again: {reason}", put.key);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(Reason::Damaged { what }) => {
                    part.is_unchanged(put.content).await?;
                    log::warn!("part {number} of {:?} was damaged on its way ({what}): it is sent again", put.key);
                }
                other => return other,
            }
        }
        self.put_part(begun, part).await
    }

    async fn put_part(
        &self,
        Begun { put, upload, key, keyed }: Begun<'_>,
        part: &Part,
    ) -> Result<CompletedPart, Reason> {
        let number = number_of(part.index);
        let (_, length) = put.content.part(part.index);
        let range = self.body(part.range(put.content), put);
        let request = self.client.upload_part().bucket(&self.bucket).key(put.key).upload_id(upload);
        let request = with_customer_key!(request.part_number(number), key)
            .content_length(length.cast_signed())
            .body(super::stream_of(&range));
        let request = match part.check {
            Check::Md5(md5) => request.content_md5(BASE64.encode(md5)),
            Check::Crc64(crc64) => request.checksum_crc64_nvme(in_base64(crc64)),
        };
        let answer = range.sent_by(&self.patience, async { request.send().await.map_err(|e| reason(&e)) }).await?;
        if key.is_some() {
            keyed.note(answer.sse_customer_algorithm().is_some());
        }
        let plain = key.is_none() && super::has_md5_etag(answer.server_side_encryption());
        let told = answer.e_tag().map(unquoted).filter(|etag| plain && is_md5(etag, 1));
        let (ours, told) = match part.check {
            Check::Md5(md5) => (hex(&md5), told),
            Check::Crc64(crc64) => (in_base64(crc64), answer.checksum_crc64_nvme().map(str::to_owned)),
        };
        match told {
            Some(told) if told != ours => {
                Err(Reason::Damaged { what: format!("part {number} has the checksum {told} in place of {ours}") })
            }
            _ => Ok(completed(part, answer.e_tag())),
        }
    }

    /// The object, where the answer proves that it is what was sent.
    async fn complete(
        &self,
        Begun { put, upload, keyed, .. }: Begun<'_>,
        (parts, etag): (Vec<CompletedPart>, Option<&str>),
    ) -> Result<Option<Object>, Reason> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(put.key);
        let request = request.upload_id(upload).multipart_upload(parts);
        let mut request = request.set_if_none_match(put.only_new.then(|| "*".to_owned()));
        let whole = put.content.crc64().map(in_base64);
        if whole.is_some() {
            request = request.set_checksum_crc64_nvme(whole.clone()).checksum_type(ChecksumType::FullObject);
        }
        let limit = self.patience.answer;
        let answer = tokio::time::timeout(limit, Box::pin(request.send())).await;
        let failed = match answer {
            Ok(Ok(answer)) => {
                let plain = super::has_md5_etag(answer.server_side_encryption());
                let told = answer.e_tag().map(unquoted).filter(|etag| plain && is_md5(etag, put.content.parts()));
                let proven = whole.is_some() && answer.checksum_crc64_nvme() == whole.as_deref()
                    || told.is_some() && told.as_deref() == etag;
                let proven = proven && is_encrypted(put, answer.server_side_encryption(), keyed.is_told());
                let (key, size) = (put.key.to_owned(), put.content.size());
                let sha256 = put.content.sha256().map(str::to_owned);
                return Ok(proven.then_some(Object { key, size, etag: told, sha256 }));
            }
            Ok(Err(error)) => reason(&error),
            Err(_) => Reason::Stalled { after: limit },
        };
        // An answer may be lost although all was done; the next one says, in one way or another, that there is no such
        // upload any more.
        if !matches!(failed, Reason::PartsLost { .. } | Reason::Damaged { .. }) && self.is_stored(put, etag).await {
            return Ok(None);
        }
        Err(if matches!(failed, Reason::NoSuchObject) { Reason::NoSuchUpload } else { failed })
    }

    /// The parts of an upload that the store has.
    async fn held(&self, put: Put<'_>, upload: &str) -> Result<Held, Reason> {
        let mut held = Held::new();
        let mut after: Option<String> = None;
        loop {
            let request = self.client.list_parts().bucket(&self.bucket).key(put.key).upload_id(upload);
            let request = request.set_part_number_marker(after);
            let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await?;
            let told = answer.parts().iter().filter_map(|part| {
                let (etag, crc64) = (part.e_tag()?.to_owned(), part.checksum_crc64_nvme().map(str::to_owned));
                Some((part.part_number()?, HeldPart { etag, size: part.size()?.cast_unsigned(), crc64 }))
            });
            held.extend(told);
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

/// What a completion tells of a part.
fn completed(part: &Part, etag: Option<&str>) -> CompletedPart {
    let crc64 = match part.check {
        Check::Crc64(crc64) => Some(in_base64(crc64)),
        Check::Md5(_) => None,
    };
    let completed = CompletedPart::builder().part_number(number_of(part.index));
    completed.set_e_tag(etag.map(str::to_owned)).set_checksum_crc64_nvme(crc64).build()
}

/// The ETag that an object of these parts has, where theirs are MD5s.
fn composed(parts: &[CompletedPart]) -> Option<String> {
    let md5s = parts.iter().map(|part| {
        let etag = part.e_tag().map(unquoted).filter(|etag| is_md5(etag, 1))?;
        u128::from_str_radix(&etag, 16).ok().map(u128::to_be_bytes)
    });
    match &md5s.collect::<Option<Vec<_>>>()?[..] {
        // One part gives another ETag than no parts.
        [_] => None,
        several => etag_of(several),
    }
}

fn number_of(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

/// Where no object is asked for, a bare 404 can only mean the bucket.
pub(super) fn not_found_is_bucket(reason: Reason) -> Reason {
    match reason {
        Reason::NoSuchObject => Reason::NoSuchBucket,
        other => other,
    }
}
