//! What AWS's store does and none that runs here: CRC64NVME of parts and of the whole, keys that end, errors in answers
//! that are a success. The store is a fake, which says so itself.

/// A bucket of some store behind a front.
mod bucket_site;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bucket_site::{open, reason_of, runtime};
use hostwright_core::bucket::{Bucket, Content, Profile, Put, Reason};
use hostwright_core::config::buckets::{Encryption, ObjectOptions};
use hostwright_tests::aws_like::Mishap::{Damaged, DoneAnd, ErrorInBody, Refused};
use hostwright_tests::aws_like::{AwsLike, Etags};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const CRC64: &str = "x-amz-checksum-crc64nvme";
const BUSY: [hostwright_tests::aws_like::Mishap; 3] = [Refused(503, "SlowDown"); 3];

/// A bucket of the fake.
struct Site {
    store: AwsLike,
    bucket: Bucket,
    settings: String,
    folder: TempDir,
}

impl Site {
    fn start(token: Option<&str>) -> Result<Self> {
        let (store, folder) = (AwsLike::start()?, tempfile::tempdir_in("/var/tmp")?);
        let keys = folder.path().join("keys");
        let session = token.map(|token| format!("SESSION_TOKEN={token}\n")).unwrap_or_default();
        fs::write(&keys, format!("ACCESS_KEY=access\nSECRET_KEY=secret\n{session}"))?;
        let (endpoint, keys) = (store.endpoint(), keys.display().to_string());
        let settings = format!("{{endpoint: '{endpoint}', bucket: products, credentials: {{file: {keys}}}}}");
        let bucket = open(&settings)?;
        if let Some(token) = token {
            store.wants_token(token);
        }
        Ok(Self { bucket, settings, store, folder })
    }

    async fn prepare(&self) -> Result<Profile> {
        let profile = self.bucket.prepare(self.folder.path()).await?;
        ensure!(profile.missing().is_empty(), "{:?}", profile.missing());
        ensure!(self.store.keys().is_empty() && self.store.unfinished() == 0, "the probe leaves something");
        Ok(profile)
    }

    async fn content(&self, bytes: &[u8], options: &ObjectOptions) -> Result<Content> {
        let path = self.folder.path().join("file");
        fs::write(&path, bytes)?;
        Ok(self.bucket.content(fs::File::open(path)?, bytes.len() as u64, options).await?)
    }

    async fn store(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let content = self.content(bytes, &ObjectOptions::default()).await?;
        let put = Put::new(key, &content);
        let upload = self.bucket.begin(put).await?;
        self.bucket.put(put, upload.as_deref()).await?;
        self.holds(key, bytes)
    }

    fn holds(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let held = self.store.object(key).context("it is not there")?;
        ensure!(held == bytes && self.store.unfinished() == 0, "{key:?} is another one, or parts are left");
        ensure!(self.store.left() == 0, "a mishap was not met");
        Ok(())
    }
}

fn random(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::fill(&mut bytes);
    bytes
}

#[test]
fn what_checks_crc64nvme_is_told_it_of_objects_of_parts_and_of_the_whole() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        let profile = site.prepare().await?;
        ensure!(profile.checks.crc64nvme && profile.tells_crc64nvme && profile.parts_by_crc64nvme, "{profile:?}");
        let before = site.store.told(CRC64).len();
        let (small, large) = (random(300_000), random(20 * MIB));
        site.store("small", &small).await?;
        ensure!(site.store.requests().pop().as_deref() == Some("PutObject small"), "one request is enough");
        site.store("large", &large).await?;
        let told = site.store.told(CRC64).split_off(before);
        let of = |operation: &str| told.iter().filter(|head| head.starts_with(operation)).count();
        ensure!((of("PutObject"), of("UploadPart"), of("Complete")) == (1, 4, 1), "{told:?}");
        ensure!(told.iter().all(|head| !head.contains("content-md5")), "{told:?}");
        // What arrives as another one is refused and sent again.
        site.store.fail("PutObject", &[Damaged]);
        site.store("small-damaged", &small).await?;
        site.store.fail("UploadPart", &[Damaged]);
        site.store("large-damaged", &large).await?;
        // All is right with the parts and not with the whole.
        site.store.fail("CompleteMultipartUpload", &[Refused(400, "BadDigest")]);
        site.store("whole-damaged", &large).await?;
        site.store.fail("CompleteMultipartUpload", &[Refused(400, "BadDigest"); 3]);
        let told = site.store("never", &large).await.expect_err("refused").to_string();
        ensure!(told.contains("never") && told.contains("checksum"), "{told}");
        ensure!(site.store.object("never").is_none(), "it is there");
        Ok(())
    })
}

#[test]
fn an_upload_that_was_begun_goes_on_from_its_parts_or_begins_anew_where_the_store_wants_that() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        let large = random(20 * MIB);
        // Begun before it was known what the store looks at.
        let content = Content::open(tempfile_of(&large)?, large.len() as u64)?;
        let unchecked = site.bucket.begin(Put::new("large", &content)).await?.context("an upload")?;
        site.prepare_beside().await?;
        let content = site.content(&large, &ObjectOptions::default()).await?;
        let put = Put::new("large", &content);
        let refused = reason_of(site.bucket.resume(put, &unchecked).await)?;
        ensure!(matches!(refused.reason(), Reason::NoSuchUpload), "{refused}");
        let upload = site.bucket.begin(put).await?.context("an upload")?;
        site.store.fail("CompleteMultipartUpload", &BUSY);
        reason_of(site.bucket.put(put, Some(&upload)).await)?;
        site.store.requests();
        let again = site.content(&large, &ObjectOptions::default()).await?;
        site.bucket.resume(Put::new("large", &again), &upload).await?;
        let sent = site.store.requests().iter().filter(|request| request.starts_with("UploadPart")).count();
        ensure!(sent == 0, "{sent} parts were sent again");
        site.holds("large", &large)
    })
}

impl Site {
    /// Beside an upload that is under way.
    async fn prepare_beside(&self) -> Result<()> {
        ensure!(self.bucket.prepare(self.folder.path()).await?.parts_by_crc64nvme, "it was found to check them");
        Ok(())
    }
}

fn tempfile_of(bytes: &[u8]) -> Result<fs::File> {
    let mut file = tempfile::tempfile()?;
    std::io::Write::write_all(&mut file, bytes)?;
    Ok(file)
}

#[test]
fn answers_that_lie_are_not_believed() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        site.prepare().await?;
        let large = random(20 * MIB);
        // A success with an error in its body, as AWS has it of completions that take long.
        site.store.fail("CompleteMultipartUpload", &[ErrorInBody("InternalError")]);
        site.store("error-in-body", &large).await?;
        // A failure although all was done.
        site.store.fail("CompleteMultipartUpload", &[DoneAnd(500, "InternalError")]);
        site.store("done-and-500", &large).await?;
        site.store.fail("PutObject", &[DoneAnd(500, "InternalError"), Refused(503, "SlowDown")]);
        site.store("small", &large[..MIB]).await?;
        // What lies there with the same size is no proof that the new one does.
        site.store.put("before", &random(20 * MIB));
        let content = site.content(&large, &ObjectOptions::default()).await?;
        let put = Put::new("before", &content);
        let upload = site.bucket.begin(put).await?;
        site.store.fail("CompleteMultipartUpload", &BUSY);
        let busy = reason_of(site.bucket.put(put, upload.as_deref()).await)?;
        ensure!(!busy.is_permanent(), "{busy}");
        site.bucket.resume(put, upload.as_deref().unwrap_or_default()).await?;
        site.holds("before", &large)
    })
}

#[test]
fn under_keys_of_a_key_management_service_an_object_of_the_same_size_is_not_taken_for_the_new_one() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        site.store.encrypts();
        site.prepare().await?;
        let options = ObjectOptions { encryption: Some(Encryption::Kms(None)), ..ObjectOptions::default() };
        let (large, before) = (random(20 * MIB), random(20 * MIB));
        site.store.put("kms", &before);
        let content = site.content(&large, &options).await?;
        let put = Put { options: &options, ..Put::new("kms", &content) };
        let upload = site.bucket.begin(put).await?;
        site.store.fail("CompleteMultipartUpload", &BUSY);
        reason_of(site.bucket.put(put, upload.as_deref()).await)?;
        ensure!(site.store.object("kms").as_deref() == Some(&before[..]), "it was replaced");
        site.bucket.resume(put, upload.as_deref().unwrap_or_default()).await?;
        site.holds("kms", &large)?;
        site.store.fail("CompleteMultipartUpload", &[DoneAnd(500, "InternalError")]);
        let put = Put { key: "kms-lost", ..put };
        let upload = site.bucket.begin(put).await?;
        site.bucket.put(put, upload.as_deref()).await?;
        site.holds("kms-lost", &large)
    })
}

#[test]
fn keys_that_end_in_the_middle_of_an_upload_are_said_and_with_new_ones_it_goes_on() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(Some("first"))?;
        site.prepare().await?;
        let large = random(20 * MIB);
        let content = site.content(&large, &ObjectOptions::default()).await?;
        let put = Put::new("large", &content);
        let upload = site.bucket.begin(put).await?;
        site.store.wants_token("second");
        let ended = reason_of(site.bucket.put(put, upload.as_deref()).await)?;
        ensure!(matches!(ended.reason(), Reason::BadCredentials { .. }), "{ended}");
        ensure!(ended.to_string().contains("ExpiredToken"), "{ended}");
        let keys = "ACCESS_KEY=access\nSECRET_KEY=secret\nSESSION_TOKEN=second\n";
        fs::write(site.folder.path().join("keys"), keys)?;
        // As the agent does after a refusal.
        let again = open(&site.settings)?;
        again.prepare(site.folder.path()).await?;
        again.resume(put, upload.as_deref().unwrap_or_default()).await?;
        site.holds("large", &large)
    })
}

#[test]
fn a_bucket_of_another_region_is_said_and_where_it_is() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        site.store.fail("ListObjectsV2", &[Refused(301, "PermanentRedirect")]);
        let elsewhere = reason_of(site.bucket.check().await)?;
        ensure!(elsewhere.is_permanent() && elsewhere.concerns_bucket(), "{elsewhere}");
        let told = elsewhere.to_string();
        ensure!(told.contains("it is in eu-west-3") && told.contains("set `endpoint` and `region`"), "{told}");
        Ok(())
    })
}

#[test]
fn a_storage_class_and_an_acl_are_told_and_a_class_that_is_not_taken_is_said() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        site.prepare().await?;
        let options = ObjectOptions {
            storage_class: Some("GLACIER_IR".into()),
            acl: Some("bucket-owner-full-control".into()),
            ..ObjectOptions::default()
        };
        for (key, size) in [("small", 1000), ("large", 20 * MIB)] {
            let bytes = random(size);
            let content = site.content(&bytes, &options).await?;
            let put = Put { options: &options, ..Put::new(key, &content) };
            let upload = site.bucket.begin(put).await?;
            site.bucket.put(put, upload.as_deref()).await?;
            site.holds(key, &bytes)?;
        }
        for (name, value) in [("x-amz-storage-class", "GLACIER_IR"), ("x-amz-acl", "bucket-owner-full-control")] {
            let told = site.store.told(name);
            let of = |operation: &str| told.iter().filter(|head| head.starts_with(operation)).count();
            ensure!((of("PutObject"), of("CreateMultipartUpload"), told.len()) == (1, 1, 2), "{told:?}");
            ensure!(told.iter().all(|head| head.contains(value)), "{told:?}");
        }
        site.store.has_one_class();
        let content = site.content(&random(1000), &options).await?;
        let put = Put { options: &options, ..Put::new("other", &content) };
        let refused = reason_of(site.bucket.put(put, None).await)?;
        ensure!(refused.is_permanent() && refused.to_string().contains("the storage class GLACIER_IR"), "{refused}");
        ensure!(site.store.object("other").is_none(), "it lies there in another class");
        Ok(())
    })
}

/// A thousand are told at a time; here it is three.
#[test]
fn parts_and_uploads_that_are_told_a_page_at_a_time_are_all_known() -> Result<()> {
    runtime()?.block_on(async {
        let site = Site::start(None)?;
        site.prepare().await?;
        site.store.tells_at_a_time(3);
        let large = random(60 * MIB);
        let content = site.content(&large, &ObjectOptions::default()).await?;
        let put = Put::new("large", &content);
        let upload = site.bucket.begin(put).await?.context("an upload")?;
        site.store.fail("CompleteMultipartUpload", &BUSY);
        reason_of(site.bucket.put(put, Some(&upload)).await)?;
        for number in 0..7 {
            let key = format!("large-{}", number % 3);
            site.bucket.begin(Put { key: &key, ..put }).await?;
        }
        let all = site.bucket.unfinished("large", jiff::Timestamp::MAX).await?;
        ensure!(all.len() == 8, "{all:?}");
        for one in all.iter().filter(|one| one.key != "large") {
            site.bucket.abort(&one.key, &one.upload).await?;
        }
        site.store.requests();
        let again = site.content(&large, &ObjectOptions::default()).await?;
        site.bucket.resume(Put::new("large", &again), &upload).await?;
        let requests = site.store.requests();
        let of = |operation: &str| requests.iter().filter(|request| request.starts_with(operation)).count();
        ensure!((of("ListParts"), of("UploadPart")) == (4, 0), "{requests:?}");
        site.holds("large", &large)
    })
}

/// Gateways before other stores tell what is no MD5, or leave the quotes away.
#[test]
fn etags_of_any_form_are_compared_only_where_they_are_md5s() -> Result<()> {
    runtime()?.block_on(async {
        for etags in [Etags::Unquoted, Etags::OfOnePart] {
            let site = Site::start(None)?;
            site.store.tells_etags(etags);
            let profile = site.prepare().await?;
            ensure!(profile.etag_is_md5 == (etags == Etags::Unquoted), "{etags:?}: {profile:?}");
            for (key, size) in [("empty", 0), ("small", 1000), ("middle", 3 * MIB), ("large", 20 * MIB)] {
                let bytes = random(size);
                site.store(key, &bytes).await.with_context(|| format!("{key}, {etags:?}"))?;
                // Once more over itself.
                site.store(key, &bytes).await.with_context(|| format!("{key} again, {etags:?}"))?;
            }
        }
        Ok(())
    })
}
