use super::found::Body;
use super::manifest::{self, Manifest};
use super::queue::Entry;
use super::record::Strewn;
use super::upload::{Outcome, Uploader};
use hostwright_core::bucket::{Bucket, BucketError, Content, Moved, Reason};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a failed upload may take to delete what it has left; the ledger remembers the rest.
const DELETING: Duration = Duration::from_secs(30);

/// Objects of folders that did not become whole, or of contents that were replaced: without a manifest that names them
/// they would lie there for ever.
impl Uploader {
    /// Notes that files of a folder are in the bucket, or will be in a moment.
    pub(super) async fn note_strewn(&self, entry: &Entry, keys: impl Iterator<Item = String>) {
        if matches!(entry.found.body, Body::Folder(_)) {
            self.strew(entry, keys.collect(), false).await;
        }
    }

    async fn strew(&self, entry: &Entry, keys: BTreeSet<String>, of_earlier: bool) {
        let (path, place) = (entry.found.path.to_string(), self.origin.bucket.to_string());
        if let Err(error) = self.ledger.strew(&entry.key, &Strewn { path, place, keys, of_earlier }).await {
            // Objects that a crash would leave behind are a lesser evil than products that stay.
            log::warn!("what is sent of {:?} could not be noted: {error}", entry.found.path);
        }
    }

    /// Notes what an earlier content has in the bucket, durable before its manifest goes.
    pub(super) async fn note_earlier(&self, entry: &Entry, earlier: &Manifest) {
        // A manifest that somebody else wrote must not make us delete what is not of this product.
        let inside = format!("{}/", entry.key);
        let keys = earlier.files.iter().map(|file| file.key.clone());
        self.strew(entry, keys.filter(|key| key.starts_with(&inside)).collect(), true).await;
    }

    /// Deletes what lies under a folder's key of which its content has nothing.
    pub(super) async fn remove_leftovers(&self, bucket: &Bucket, now: &Manifest) -> Result<(), Outcome> {
        let strewn = self.ledger.strewn(&now.key);
        if *strewn.place != *self.origin.bucket {
            return Ok(());
        }
        let kept: HashSet<&str> = now.files.iter().map(|file| file.key.as_str()).collect();
        for key in strewn.keys.iter().filter(|key| !kept.contains(key.as_str())) {
            bucket.delete(key).await?;
        }
        Ok(())
    }

    /// Whether a file's object counts although the file has gone from its path since it was sent. It does: the product was
    /// finished, and is whole. But what has another name in the watched folder is another product now: what was
    /// stored under its old name goes, unless an earlier content of it was confirmed there.
    pub(super) async fn outlives(&self, bucket: &Bucket, entry: &Entry, (content, is_new): (&Content, bool)) -> bool {
        let now = match content.moved_to() {
            _ if matches!(entry.found.body, Body::Folder(_)) => return false,
            Moved::Changed => return false,
            Moved::Deleted => return true,
            Moved::To(path) => path,
        };
        let watched = self.finder.folder.root().canonicalize().unwrap_or_default();
        let inside = now.strip_prefix(watched).ok().and_then(Path::to_str);
        if inside.is_none_or(|path| self.finder.rule.product_of(path).is_none()) {
            return true;
        }
        if is_new && self.ledger.key_of(&entry.found.path).is_none() {
            let (path, key) = (&entry.found.path, &entry.key);
            match tokio::time::timeout(DELETING, bucket.delete(key)).await {
                Ok(Ok(())) => log::info!("{path:?} was renamed while it was sent: deleted {key:?}"),
                Ok(Err(error)) => log::warn!("{path:?} was renamed while it was sent: {error}"),
                Err(_) => log::warn!("{path:?} was renamed while it was sent, and {key:?} stays: it takes long"),
            }
        }
        false
    }

    /// Deletes what was sent of a folder that is gone, or has to take another key.
    pub(super) async fn take_back(&self, bucket: &Bucket, folder: &str) {
        match tokio::time::timeout(DELETING, self.delete_strewn(bucket, folder)).await {
            Ok(Ok(())) => {}
            // What is not deleted now is, with the next probe.
            Ok(Err(error)) => log::warn!("what was sent of {folder:?} stays for now: {error}"),
            Err(_) => log::warn!("what was sent of {folder:?} stays for now: its deletion takes long"),
        }
    }

    async fn delete_strewn(&self, bucket: &Bucket, folder: &str) -> Result<(), BucketError> {
        bucket.outlast_requests().await;
        let Strewn { place, keys, of_earlier, .. } = self.ledger.strewn(folder);
        // Its manifest is the last to arrive and the first to go: with it, all of it is there.
        if *place == *self.origin.bucket && self.manifest && self.has_manifest(bucket, folder).await? {
            self.ledger.gathered(folder);
            return Ok(());
        }
        if *place == *self.origin.bucket && !of_earlier {
            for key in &keys {
                bucket.delete(key).await?;
            }
            if !keys.is_empty() {
                log::info!("deleted what was sent of {folder:?}, which did not become whole");
            }
        } else if !keys.is_empty() {
            // An earlier content was whole: some of it is worth more than none.
            log::warn!("{folder:?} in {place} is not whole any more, and its product is gone here");
        }
        self.ledger.gathered(folder);
        Ok(())
    }

    async fn has_manifest(&self, bucket: &Bucket, folder: &str) -> Result<bool, BucketError> {
        match bucket.head_encrypted(&manifest::key_of_folder(folder), self.options.encryption.as_ref()).await {
            Ok(object) => Ok(object.is_some()),
            // Whoever may write alone does not know.
            Err(error) if matches!(error.reason(), Reason::Denied { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes what earlier attempts have sent of folders that are gone, but those of `keys`, which are under way.
    pub(super) async fn settle_strewn(&self, bucket: &Bucket, keys: &HashSet<Arc<str>>) {
        for (folder, strewn) in self.ledger.all_strewn() {
            let is_gone = self.finder.folder.kind(&strewn.path).is_err_and(|error| super::folder::is_gone(&error));
            if is_gone && !keys.contains(folder.as_str()) {
                self.take_back(bucket, &folder).await;
            }
        }
    }
}
