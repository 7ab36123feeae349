use super::manifest::{self, Manifest, ManifestFile};
use futures_util::{StreamExt as _, stream};
use hostwright_core::bucket::{Bucket, BucketError, Object, Reason};
use hostwright_core::config::buckets::Encryption;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

/// So many objects under a prefix are listed.
const MOST_LISTED: usize = 1_000_000;
/// So many findings are kept; the rest is counted.
const MOST_FINDINGS: usize = 1000;
/// So many objects are asked for at once.
const AT_ONCE: usize = 16;
const ABSENT: &str = "it is in the manifest, and not in the bucket";

/// What came of comparing manifests with the objects that they speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether it has ended.
    pub ended: bool,
    /// Why it came to no end.
    pub failed: Option<String>,
    /// Manifests that were read.
    pub manifests: u64,
    /// Files that were compared.
    pub files: u64,
    /// And their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub wrong: u64,
    /// The first of that: keys, and what is wrong with them.
    pub findings: Vec<(String, String)>,
}

/// Where to look, and how.
pub(super) struct Place {
    pub(super) bucket: Bucket,
    /// The customer's key of what products put there, if they have one.
    pub(super) encryption: Option<Encryption>,
    /// Whether every object is read again.
    pub(super) deep: bool,
}

impl Place {
    /// What has no customer's key is refused with one: then it is asked for without.
    async fn either<T>(
        &self,
        with_key: impl Future<Output = Result<T, BucketError>>,
        without: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, String> {
        let asked = match with_key.await {
            Err(error)
                if self.encryption.is_some()
                    && matches!(error.reason(), Reason::Refused { .. } | Reason::Denied { .. }) =>
            {
                without.await
            }
            asked => asked,
        };
        asked.map_err(|error| error.to_string())
    }
}

/// Compares all manifests under a prefix with the bucket.
pub(super) async fn verify(place: &Place, prefix: &str, report: &Mutex<Report>) {
    let failed = Box::pin(compare(place, prefix, report)).await.err();
    note(report, |report| (report.failed, report.ended) = (failed, true));
}

async fn compare(place: &Place, prefix: &str, report: &Mutex<Report>) -> Result<(), String> {
    let bucket = &place.bucket;
    let listed = bucket.list(prefix, MOST_LISTED).await.map_err(|error| error.to_string())?;
    let keys: BTreeSet<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    let mut known = BTreeSet::new();
    let mut prefixes = Vec::new();
    for object in listed.iter().filter(|object| manifest::is_key(&object.key)) {
        let key = object.key.as_str();
        let bytes = {
            let with_key = bucket.get_encrypted(key, manifest::LARGEST, place.encryption.as_ref());
            place.either(with_key, bucket.get(key, manifest::LARGEST)).await?
        };
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(why) => {
                wrong(report, &object.key, why);
                continue;
            }
        };
        note(report, |report| report.manifests += 1);
        known.insert(object.key.clone());
        prefixes.push(format!("{}/", manifest.key));
        let compared = stream::iter(manifest.files).map(async |file| {
            // What was not listed needs not be asked for.
            let is_listed = keys.contains(file.key.as_str()) || !file.key.starts_with(prefix);
            let why = if is_listed { differs(place, &file).await } else { Ok(Some(ABSENT.into())) };
            (file, why)
        });
        let mut compared = pin!(compared.buffered(AT_ONCE));
        while let Some((file, why)) = compared.next().await {
            if let Some(why) = why? {
                wrong(report, &file.key, why);
            }
            note(report, |report| (report.files, report.bytes) = (report.files + 1, report.bytes + file.size));
            known.insert(file.key);
        }
    }
    for key in keys.into_iter().filter(|key| !known.contains(*key)) {
        if prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())) {
            wrong(report, key, "it is in the bucket, and not in the manifest".into());
        }
    }
    if report.lock().unwrap_or_else(PoisonError::into_inner).manifests == 0 {
        return Err(format!("there is no manifest under {prefix:?} in {}", bucket.place()));
    }
    Ok(())
}

/// What is wrong with an object.
async fn differs(place: &Place, file: &ManifestFile) -> Result<Option<String>, String> {
    let (bucket, key) = (&place.bucket, place.encryption.as_ref());
    let Some(object) = place.either(bucket.head_encrypted(&file.key, key), bucket.head(&file.key)).await? else {
        return Ok(Some(ABSENT.into()));
    };
    if let Some(why) = told(&object, file) {
        return Ok(Some(why));
    }
    if !place.deep {
        return Ok(None);
    }
    let sha256 = place.either(bucket.reread(&object, key), bucket.reread(&object, None)).await?;
    Ok((sha256 != file.sha256).then(|| format!("its content has the SHA-256 {sha256}, the manifest {}", file.sha256)))
}

/// What is wrong by what the bucket tells of an object.
fn told(object: &Object, file: &ManifestFile) -> Option<String> {
    if object.size != file.size {
        return Some(format!("it has {} bytes, the manifest {}", object.size, file.size));
    }
    if let (Some(now), Some(then)) = (&object.etag, &file.etag)
        && now != then
    {
        return Some(format!("it has the ETag {now}, the manifest {then}"));
    }
    let sha256 = object.sha256.as_ref().filter(|sha256| **sha256 != file.sha256)?;
    Some(format!("it has the SHA-256 {sha256}, the manifest {}", file.sha256))
}

fn wrong(report: &Mutex<Report>, key: &str, why: String) {
    note(report, |report| {
        report.wrong += 1;
        if report.findings.len() < MOST_FINDINGS {
            report.findings.push((key.to_owned(), why));
        }
    });
}

fn note(report: &Mutex<Report>, change: impl FnOnce(&mut Report)) {
    change(&mut report.lock().unwrap_or_else(PoisonError::into_inner));
}
