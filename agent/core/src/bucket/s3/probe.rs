use super::error::reason;
use super::multipart::not_found_is_bucket;
use super::{S3, unquoted};
use crate::bucket::check::{crc64_of, in_base64};
use crate::bucket::download::Incoming;
use crate::bucket::error::Reason;
use crate::bucket::part_size::MOST_PARTS;
use crate::bucket::profile::{Checks, Profile, Rights};
use crate::hex::hex;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use sha2::Sha256;

const CONTENT: &[u8] = b"hostwright tries out what this store does";
/// MD5, SHA-256 and CRC64 in base64 of something else.
const WRONG_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const WRONG_SHA256: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const WRONG_CRC64: &str = "AAAAAAAAAAA=";
const MOST_INFO: u64 = 1 << 20;

impl S3 {
    /// Tries out what the store does, with small objects that are deleted again.
    pub(in crate::bucket) async fn probe(&self, place: &str) -> Result<Profile, Reason> {
        let key = format!("{}-{:016x}", self.probe_key, fastrand::u64(..));
        let list = allowed(self.check().await)?;
        let put = allowed(self.done(self.probe_put(&key)).await.map_err(not_found_is_bucket))?;
        let mut profile = Profile {
            place: place.to_owned(),
            probed: Timestamp::now(),
            server: None,
            rights: Rights { list, put, head: put, multipart: put, delete: put },
            checks: Checks { md5: false, sha256: false, crc64nvme: false },
            etag_is_md5: false,
            tells_sha256: false,
            tells_crc64nvme: false,
            parts_by_crc64nvme: false,
            most_parts: if self.aws { MOST_PARTS } else { self.most_parts().await },
            conditional_writes: false,
            tags: false,
            batch_delete: false,
            object_lock: self.has_object_lock().await?,
            lists_uploads: false,
        };
        if put {
            self.probe_rights(&key, &mut profile).await?;
            self.probe_writes(&key, &mut profile).await?;
            if profile.tells_crc64nvme && profile.rights.multipart {
                profile.parts_by_crc64nvme = self.checks_parts(&key).await?;
            }
            profile.batch_delete = self.deletes_many(&key).await?;
            profile.rights.delete = allowed(self.delete(&key).await)?;
        }
        Ok(profile)
    }

    async fn probe_rights(&self, key: &str, profile: &mut Profile) -> Result<(), Reason> {
        profile.rights.head = allowed(self.head_output(key, None).await.map(|_| ()))?;
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        let begun = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
        let upload = match &begun {
            Ok(begun) => begun.upload_id().unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        };
        profile.rights.multipart = allowed(begun.map(|_| ()))?;
        if profile.rights.multipart {
            let listed = self.unfinished(key, Timestamp::MAX).await;
            profile.lists_uploads = sure(listed.map(|all| all.iter().any(|one| one.upload == upload)))?;
            profile.rights.multipart = allowed(self.abort(key, &upload).await)?;
        }
        Ok(())
    }

    async fn probe_writes(&self, key: &str, profile: &mut Profile) -> Result<(), Reason> {
        // There is an object: only a refusal tells that the condition is looked at.
        let second = self.done(self.probe_put(key).if_none_match("*")).await;
        profile.conditional_writes = matches!(second, Err(Reason::Exists));
        sure(second.map(|()| true))?;
        let refused = |result: Result<(), Reason>| match result {
            Err(Reason::Damaged { .. } | Reason::Refused { .. }) => Ok(true),
            other => sure(other.map(|()| false)),
        };
        profile.checks = Checks {
            md5: refused(self.done(self.probe_put(key).content_md5(WRONG_MD5)).await)?,
            sha256: refused(self.done(self.probe_put(key).checksum_sha256(WRONG_SHA256)).await)?,
            crc64nvme: refused(self.done(self.probe_put(key).checksum_crc64_nvme(WRONG_CRC64)).await)?,
        };
        let (md5, sha256) = (hex(&Md5::digest(CONTENT)), BASE64.encode(Sha256::digest(CONTENT)));
        let told = match self.told(self.probe_put(key).checksum_sha256(&sha256)).await {
            // Some refuse any checksum that they do not know.
            Ok(None) => self.told(self.probe_put(key)).await?,
            other => other?,
        };
        if let Some(told) = told {
            profile.etag_is_md5 = told.e_tag().map(unquoted).as_deref() == Some(&md5);
            // What repeats whatever it is told has checked nothing.
            profile.tells_sha256 = profile.checks.sha256 && told.checksum_sha256() == Some(&sha256);
        }
        if profile.checks.crc64nvme {
            let crc64 = in_base64(crc64_of(CONTENT));
            let told = self.told(self.probe_put(key).checksum_crc64_nvme(&crc64)).await?;
            profile.tells_crc64nvme = told.is_some_and(|told| told.checksum_crc64_nvme() == Some(&crc64));
        }
        let tagged = self.done(self.probe_put(key).tagging("probe=a%20b")).await;
        if sure(tagged.map(|()| true))? {
            let request = self.client.get_object_tagging().bucket(&self.bucket).key(key);
            let tags = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
            let read = tags.map(|tags| tags.tag_set().iter().any(|tag| tag.key() == "probe" && tag.value() == "a b"));
            profile.tags = sure(read)?;
        }
        Ok(())
    }

    /// Whether a part under a wrong CRC64NVME is refused, and a completion under a wrong one of the whole.
    async fn checks_parts(&self, key: &str) -> Result<bool, Reason> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        let begun = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
        let upload = match begun {
            Ok(begun) => begun.upload_id().unwrap_or_default().to_owned(),
            Err(reason) => return sure(Err(reason)),
        };
        let checks = self.refuses_wrong_parts(key, &upload).await;
        self.abort(key, &upload).await?;
        checks
    }

    async fn refuses_wrong_parts(&self, key: &str, upload: &str) -> Result<bool, Reason> {
        let (crc64, part) = (in_base64(crc64_of(CONTENT)), CompletedPart::builder().part_number(1));
        let send = async |crc64: &str| {
            let request = self.client.upload_part().bucket(&self.bucket).key(key).upload_id(upload).part_number(1);
            let request = request.checksum_crc64_nvme(crc64).body(ByteStream::from_static(CONTENT));
            self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await
        };
        let wrong = send(WRONG_CRC64).await.map(|_| ());
        if !matches!(wrong, Err(Reason::Damaged { .. } | Reason::Refused { .. })) {
            return sure(wrong.map(|()| false));
        }
        let sent = match send(&crc64).await {
            Ok(sent) if sent.checksum_crc64_nvme() == Some(&crc64) => sent,
            other => return sure(other.map(|_| false)),
        };
        let part = part.checksum_crc64_nvme(&crc64).set_e_tag(sent.e_tag().map(str::to_owned)).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        let request = request.checksum_crc64_nvme(WRONG_CRC64).checksum_type(ChecksumType::FullObject);
        let request = request.multipart_upload(parts);
        let completed = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
        match completed {
            Err(Reason::Damaged { .. } | Reason::Refused { .. }) => Ok(true),
            other => sure(other.map(|_| false)),
        }
    }

    /// OpenStack Swift tells at `/info` how many parts it takes; it is asked without credentials.
    async fn most_parts(&self) -> u32 {
        let url = format!("{}/info", self.endpoint);
        let asked = async {
            let answer = self.http.get(url).send().await.ok()?;
            let text = Incoming::of_http(answer, 0, self.patience.sending, None).collect(MOST_INFO).await.ok()?;
            let info: serde_json::Value = serde_json::from_slice(&text).ok()?;
            info.get("swift")?;
            let told = [&info["s3api"]["max_upload_part_num"], &info["slo"]["max_manifest_segments"]];
            told.into_iter().filter_map(serde_json::Value::as_u64).min().and_then(|most| u32::try_from(most).ok())
        };
        tokio::time::timeout(self.patience.sending, asked).await.ok().flatten().unwrap_or(MOST_PARTS)
    }

    async fn has_object_lock(&self) -> Result<bool, Reason> {
        let request = self.client.get_object_lock_configuration().bucket(&self.bucket);
        let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
        sure(answer.map(|answer| {
            let settings = answer.object_lock_configuration();
            settings.and_then(|settings| settings.object_lock_enabled()).is_some_and(|on| on.as_str() == "Enabled")
        }))
    }

    async fn deletes_many(&self, key: &str) -> Result<bool, Reason> {
        let refused = |error: aws_sdk_s3::error::BuildError| Reason::Refused { code: error.to_string() };
        let one = ObjectIdentifier::builder().key(key).build().map_err(refused)?;
        let delete = Delete::builder().objects(one).build().map_err(refused)?;
        let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let answer = self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await;
        if !sure(answer.map(|answer| answer.errors().is_empty()))? {
            return Ok(false);
        }
        Ok(matches!(self.head_output(key, None).await, Err(Reason::NoSuchObject)))
    }

    fn probe_put(&self, key: &str) -> PutObjectFluentBuilder {
        self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from_static(CONTENT))
    }

    /// What the store answers, if it takes the request.
    async fn told(&self, request: PutObjectFluentBuilder) -> Result<Option<PutObjectOutput>, Reason> {
        match self.answered(async { request.send().await.map_err(|e| reason(&e)) }).await {
            Ok(told) => Ok(Some(told)),
            Err(reason) => sure(Err(reason)).map(|_| None),
        }
    }

    async fn done(&self, request: PutObjectFluentBuilder) -> Result<(), Reason> {
        self.answered(async { request.send().await.map(|_| ()).map_err(|e| reason(&e)) }).await
    }
}

/// Whether something may be done; whatever else stands in the way is an error of the probe.
fn allowed(result: Result<(), Reason>) -> Result<bool, Reason> {
    match result {
        Ok(()) => Ok(true),
        Err(Reason::Denied { .. }) => Ok(false),
        Err(reason) => Err(reason),
    }
}

/// What is known of an answer: a refusal, of whatever kind, is a no. What may pass says nothing of the store.
fn sure(result: Result<bool, Reason>) -> Result<bool, Reason> {
    match result {
        // Some stores answer with a 500 to what they do not know.
        Err(reason @ (Reason::Unreachable { .. } | Reason::Stalled { .. } | Reason::BadCredentials { .. })) => {
            Err(reason)
        }
        Err(_) => Ok(false),
        Ok(known) => Ok(known),
    }
}
