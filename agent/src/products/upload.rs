use super::folder::Folder;
use super::ledger::{Begun, Ledger, Record};
use super::queue::Entry;
use super::seal::{Unsealed, seal, unchanged};
use hostwright_core::bucket::{Bucket, BucketError, Content, Put, Reason};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What a failed upload may take to clear its parts; the ledger remembers those that it does not get to.
const CLEARING: Duration = Duration::from_secs(10);

/// Uploads the files of one product.
#[derive(Clone, Debug)]
pub(super) struct Uploader {
    pub(super) folder: Folder,
    pub(super) ledger: Arc<Ledger>,
    /// The bucket.
    pub(super) place: Arc<str>,
    /// Of every object: the host and its labels.
    pub(super) metadata: Arc<Vec<(String, String)>>,
}

/// How an upload ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The bucket has confirmed this content.
    Confirmed(Record),
    /// The file is gone or is being changed: the next walk says what becomes of it.
    NotAsFound,
    /// The file cannot be read.
    Unreadable(String),
    /// The bucket did not take it.
    Failed(BucketError),
}

impl Uploader {
    /// Seals a file and stores it under its key.
    pub(super) async fn upload(&self, bucket: &Bucket, entry: &Entry) -> Outcome {
        let content = match seal(&self.folder, &entry.found).await {
            Ok(content) => content,
            Err(Unsealed::Gone | Unsealed::Changed) => return Outcome::NotAsFound,
            Err(Unsealed::Unreadable(error)) => {
                let path = self.folder.root().join(&*entry.found.path);
                return Outcome::Unreadable(format!("{} cannot be read: {error}", path.display()));
            }
        };
        if entry.may_be_there
            && let Some(record) = self.already_there(bucket, entry, &content).await
        {
            return Outcome::Confirmed(record);
        }
        let stored = self.store(bucket, entry, &content).await;
        // A change explains any failure, and asks for another upload after any success.
        if unchanged(&self.folder, &entry.found).is_err() {
            return Outcome::NotAsFound;
        }
        match stored {
            Ok(etag) => Outcome::Confirmed(self.record(entry, etag, &content)),
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn store(&self, bucket: &Bucket, entry: &Entry, content: &Content) -> Result<Option<String>, BucketError> {
        let put = Put { metadata: &self.metadata, ..Put::new(&entry.key, content) };
        if let Some(earlier) = self.ledger.begun(&entry.found.path) {
            self.clear(bucket, &entry.found.path, &earlier.key, &earlier.upload).await;
        }
        let upload = bucket.begin(put).await?;
        if let Some(upload) = &upload {
            let begun = Begun {
                fingerprint: entry.found.stamp.fingerprint,
                key: entry.key.clone(),
                place: self.place.clone(),
                upload: upload.clone(),
                sha256: content.sha256().to_owned(),
            };
            if let Err(error) = self.ledger.begin(&entry.found.path, begun).await {
                // Parts that a crash would leave behind are a lesser evil than products that stay.
                log::warn!("an upload in parts could not be noted: {error}");
            }
        }
        let stored = Box::pin(bucket.put(put, upload.as_deref())).await;
        if let (Err(_), Some(upload)) = (&stored, &upload) {
            self.clear(bucket, &entry.found.path, &entry.key, upload).await;
        }
        stored.map(|object| object.etag)
    }

    async fn clear(&self, bucket: &Bucket, path: &str, key: &str, upload: &str) {
        let cleared = tokio::time::timeout(CLEARING, bucket.abort(key, upload)).await;
        if matches!(cleared, Ok(Ok(()))) {
            self.ledger.ended(path);
        }
    }

    /// Settles uploads in parts that were cut off, but those of `under_way`: those that were completed are recorded,
    /// the parts of the others are cleared.
    pub(super) async fn settle(&self, bucket: &Bucket, under_way: &HashSet<Arc<str>>) -> Result<(), BucketError> {
        let cut_off = self.ledger.all_begun().into_iter().filter(|(path, _)| !under_way.contains(path.as_str()));
        for (path, begun) in cut_off {
            if begun.place != self.place {
                log::warn!(
                    "parts of {:?} were left in {}, which is not this product's bucket any more",
                    begun.key,
                    begun.place
                );
                self.ledger.ended(&path);
                continue;
            }
            let object = match bucket.head(&begun.key).await {
                // Some stores say so of what is not there.
                Err(error) if matches!(error.reason(), Reason::Denied { .. }) => None,
                other => other?,
            };
            match object.filter(|object| object.sha256.as_ref() == Some(&begun.sha256)) {
                Some(object) if object.size == begun.fingerprint.size => {
                    let Begun { fingerprint, key, place, sha256, .. } = begun;
                    let etag = object.etag;
                    self.ledger.record(&path, Record { fingerprint, key, place, etag, sha256, time: Timestamp::now() });
                }
                _ => {
                    bucket.abort(&begun.key, &begun.upload).await?;
                    log::info!("cleared the parts of an upload of {:?} that was cut off", begun.key);
                    self.ledger.ended(&path);
                }
            }
        }
        Ok(())
    }

    /// Whether the bucket has this very content under the key: then an earlier upload got through, unrecorded.
    async fn already_there(&self, bucket: &Bucket, entry: &Entry, content: &Content) -> Option<Record> {
        // Rights to write alone do not stop an upload here; what else is wrong, the upload itself will say.
        let object = bucket.head(&entry.key).await.ok().flatten()?;
        let same = object.size == content.size() && object.sha256.as_deref() == Some(content.sha256());
        same.then(|| self.record(entry, object.etag, content))
    }

    fn record(&self, entry: &Entry, etag: Option<String>, content: &Content) -> Record {
        Record {
            fingerprint: entry.found.stamp.fingerprint,
            key: entry.key.clone(),
            place: self.place.clone(),
            etag,
            sha256: content.sha256().to_owned(),
            time: Timestamp::now(),
        }
    }
}
