use super::error::Reason;
use super::file_body::FileRange;
use super::s3::{S3, metadata};
use super::s3_error::reason;
use super::{Content, Put};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;

impl S3 {
    pub(super) async fn begin(&self, put: Put<'_>) -> Result<String, Reason> {
        let mut request = self.client.create_multipart_upload().bucket(&self.bucket).key(put.key);
        for (name, value) in metadata(put) {
            request = request.metadata(name, value);
        }
        let answer = self.answered(async { request.send().await.map_err(|e| not_found_is_bucket(reason(&e))) }).await?;
        let id = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
        id.ok_or_else(|| Reason::Busy { code: "it gave no id for the upload".into() })
    }

    /// Sends the parts and has them put together; until then a reader sees nothing of the object.
    pub(super) async fn put_parts(&self, put: Put<'_>, upload: &str) -> Result<(), Reason> {
        let sending = (0..put.content.parts()).map(|index| self.put_part(put.key, upload, put.content, index));
        let mut parts: Vec<_> = stream::iter(sending).buffer_unordered(PARTS_AT_ONCE).try_collect().await?;
        parts.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(put.key);
        let request = request.upload_id(upload).multipart_upload(parts);
        let limit = self.patience.answer;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(answer) => answer.map(|_| ()).map_err(|e| reason(&e)),
            Err(_) => Err(Reason::Stalled { after: limit }),
        }
    }

    async fn put_part(
        &self,
        key: &str,
        upload: &str,
        content: &Content,
        index: usize,
    ) -> Result<CompletedPart, Reason> {
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let (offset, length, md5) = content.part(index);
        let range = FileRange::new(content.file().clone(), offset, length);
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .content_length(length.cast_signed())
            .content_md5(BASE64.encode(md5))
            .body(range.body());
        let answer = range.sent_by(self.patience, async { request.send().await.map_err(|e| reason(&e)) }).await?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag().map(str::to_owned)).build())
    }

    pub(super) async fn abort(&self, key: &str, upload: &str) -> Result<(), Reason> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Ok(_) | Err(Reason::NoSuchUpload | Reason::NoSuchObject) => Ok(()),
            Err(reason) => Err(reason),
        }
    }
}

/// Where no object is asked for, a bare 404 can only mean the bucket.
fn not_found_is_bucket(reason: Reason) -> Reason {
    match reason {
        Reason::NoSuchObject => Reason::NoSuchBucket,
        other => other,
    }
}
