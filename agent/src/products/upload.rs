use super::find::{Finder, Seen};
use super::folder::Stamp;
use super::found::{Body, Found, Member};
use super::ledger::{Begun, Ledger, Record};
use super::manifest::{self, Manifest, ManifestFile, Origin};
use super::queue::Entry;
use super::seal::{Unsealed, seal, unchanged};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use hostwright_core::bucket::{Bucket, BucketError, Content, Object, Progress, Put, Reason};
use hostwright_core::config::buckets::ObjectOptions;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What a failed upload may take to clear its parts; the ledger remembers those that it does not get to.
const CLEARING: Duration = Duration::from_secs(10);
/// The store's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// Files of one folder under way at once.
const MEMBERS_AT_ONCE: usize = 8;

/// Uploads the products of one folder.
#[derive(Clone, Debug)]
pub(super) struct Uploader {
    pub(super) finder: Finder,
    pub(super) ledger: Arc<Ledger>,
    pub(super) origin: Origin,
    /// Of every object: the host and its labels.
    pub(super) metadata: Arc<Vec<(String, String)>>,
    /// Whether a manifest follows.
    pub(super) manifest: bool,
    /// Whether objects that are there are left alone, whoever's they are.
    pub(super) versioned: bool,
    /// Media type, tags, encryption and the like.
    pub(super) options: Arc<ObjectOptions>,
}

/// How an upload ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The bucket has confirmed this content.
    Confirmed(Box<(Record, Manifest)>),
    /// The product is gone or is being changed: another look says what becomes of it.
    NotAsFound,
    /// There is another object under its key.
    Taken,
    /// A file cannot be read.
    Unreadable(String),
    /// The bucket did not take it.
    Failed(BucketError),
}

impl From<BucketError> for Outcome {
    fn from(error: BucketError) -> Self {
        Self::Failed(error)
    }
}

/// A manifest of an earlier content. Whoever sees a manifest sees what it speaks of: it goes before the first file is
/// replaced.
struct Cover<'u> {
    bucket: &'u Bucket,
    key: &'u str,
    is_there: Mutex<bool>,
}

impl Cover<'_> {
    async fn lift(&self) -> Result<(), Outcome> {
        let mut is_there = self.is_there.lock().await;
        if *is_there {
            self.bucket.delete(self.key).await?;
            *is_there = false;
        }
        Ok(())
    }
}

/// One upload, with what all its files need.
#[derive(Clone, Copy)]
struct Run<'u> {
    bucket: &'u Bucket,
    entry: &'u Entry,
    progress: &'u Progress,
    cover: &'u Cover<'u>,
}

/// One file on its way.
struct Piece<'e> {
    path: Arc<str>,
    stamp: Stamp,
    key: String,
    /// What the manifest calls it.
    name: &'e str,
}

impl Uploader {
    /// Stores a product: its files, then its manifest.
    pub(super) async fn upload(&self, bucket: &Bucket, entry: &Entry, progress: &Progress) -> Outcome {
        match Box::pin(self.store(bucket, entry, progress)).await {
            Ok(confirmed) => Outcome::Confirmed(Box::new(confirmed)),
            // A change explains any failure.
            Err(outcome) => match self.has_changed(&entry.found).await {
                true => {
                    self.clear_all(bucket, &entry.found).await;
                    Outcome::NotAsFound
                }
                false => outcome,
            },
        }
    }

    async fn store(&self, bucket: &Bucket, entry: &Entry, progress: &Progress) -> Result<(Record, Manifest), Outcome> {
        let found = &entry.found;
        let manifest_key = manifest::key_of(found, &entry.key);
        let pieces = pieces(entry);
        if self.manifest && pieces.iter().any(|piece| piece.key == manifest_key) {
            let why =
                format!("it has a file {manifest_key:?}, which is the name of the manifest; rename or exclude it");
            return Err(Outcome::Unreadable(why));
        }
        let earlier =
            if self.manifest && entry.may_be_there { self.earlier(bucket, &manifest_key).await? } else { None };
        let cover = Cover { bucket, key: &manifest_key, is_there: Mutex::new(earlier.is_some()) };
        let run = Run { bucket, entry, progress, cover: &cover };
        let files: Vec<BoxFuture<'_, _>> = pieces.into_iter().map(|piece| self.piece(run, piece).boxed()).collect();
        let files = stream::iter(files).buffered(MEMBERS_AT_ONCE).try_collect::<Vec<_>>().await?;
        if self.has_changed(found).await {
            return Err(Outcome::NotAsFound);
        }
        let manifest = Manifest::new(&self.origin, found, &entry.key, files);
        // The very one is there if no file had to be replaced.
        let same = earlier.as_ref().is_some_and(|earlier| earlier.same_files(&manifest));
        if self.manifest && !(same && *cover.is_there.lock().await) {
            cover.lift().await?;
            if let Some(earlier) = &earlier {
                remove_leftovers(bucket, earlier, &manifest).await?;
            }
            self.put_manifest(bucket, &manifest_key, &manifest).await?;
        }
        Ok((self.record(entry, &manifest), manifest))
    }

    /// One file, unless the bucket has it.
    async fn piece(&self, run: Run<'_>, piece: Piece<'_>) -> Result<ManifestFile, Outcome> {
        let folder = &self.finder.folder;
        let content = match seal(folder, &piece.path, &piece.stamp).await {
            Ok(content) => content,
            Err(Unsealed::Gone | Unsealed::Changed) => return Err(Outcome::NotAsFound),
            Err(Unsealed::Unreadable(error)) => {
                let path = folder.root().join(&*piece.path);
                return Err(Outcome::Unreadable(format!("{} cannot be read: {error}", path.display())));
            }
        };
        let etag = match self.there(run, &piece.key, &content).await? {
            Some(object) => {
                if let Some(begun) = self.ledger.begun(&piece.key) {
                    self.clear(run.bucket, &piece.key, &begun.upload).await?;
                }
                object.etag
            }
            None => {
                run.cover.lift().await?;
                self.put(run, &piece, &content).await?
            }
        };
        if unchanged(folder, &piece.path, &piece.stamp).is_err() {
            return Err(Outcome::NotAsFound);
        }
        Ok(ManifestFile {
            path: piece.name.to_owned(),
            key: piece.key,
            size: content.size(),
            sha256: content.sha256().to_owned(),
            etag,
            modified: manifest::modified(&piece.stamp),
        })
    }

    /// The object, if the bucket has this very content under the key: then an earlier upload got through, unrecorded.
    async fn there(&self, run: Run<'_>, key: &str, content: &Content) -> Result<Option<Object>, Outcome> {
        if !run.entry.may_be_there && !self.versioned {
            return Ok(None);
        }
        // Rights to write alone do not stop an upload here; what else is wrong, the upload itself will say.
        let head = run.bucket.head_encrypted(key, self.options.encryption.as_ref()).await;
        let Some(object) = head.ok().flatten() else { return Ok(None) };
        match object.size == content.size() && object.sha256.as_deref() == Some(content.sha256()) {
            true => Ok(Some(object)),
            false if self.versioned => Err(Outcome::Taken),
            false => Ok(None),
        }
    }

    /// The object, if it is there with this very content.
    async fn same(&self, run: Run<'_>, key: &str, content: &Content) -> Option<Object> {
        let head = run.bucket.head_encrypted(key, self.options.encryption.as_ref()).await;
        let is_same =
            |object: &Object| object.size == content.size() && object.sha256.as_deref() == Some(content.sha256());
        head.ok().flatten().filter(is_same)
    }

    async fn put(&self, run: Run<'_>, piece: &Piece<'_>, content: &Content) -> Result<Option<String>, Outcome> {
        let put = Put {
            metadata: &self.metadata,
            options: &self.options,
            progress: Some(run.progress),
            ..Put::new(&piece.key, content)
        };
        if let Some(earlier) = self.ledger.begun(&piece.key) {
            if earlier.sha256 == content.sha256() && earlier.place == *self.origin.bucket && !earlier.upload.is_empty()
            {
                match Box::pin(run.bucket.resume(put, &earlier.upload)).await {
                    Ok(object) => {
                        self.ledger.ended(&piece.key);
                        return Ok(object.etag);
                    }
                    Err(error) if matches!(error.reason(), Reason::NoSuchUpload) => {
                        self.ledger.ended(&piece.key);
                        // The last request of a process that was killed may have completed it a moment ago; replaced by
                        // the same, its parts would stay with some stores.
                        if let Some(object) = self.same(run, &piece.key, content).await {
                            return Ok(object.etag);
                        }
                    }
                    // The parts stay for another attempt.
                    Err(error) => return Err(error.into()),
                }
            } else {
                self.clear(run.bucket, &piece.key, &earlier.upload).await?;
            }
        }
        if content.parts() == 1 {
            return Ok(Box::pin(run.bucket.put(put, None)).await?.etag);
        }
        let begun = Begun {
            path: piece.path.to_string(),
            fingerprint: piece.stamp.fingerprint,
            place: self.origin.bucket.to_string(),
            upload: String::new(),
            sha256: content.sha256().to_owned(),
        };
        // First that there may be one: a process that is killed between the two leaves parts that another one finds.
        self.note(&piece.key, begun.clone()).await;
        let upload = run.bucket.begin(put).await?;
        if let Some(upload) = upload.clone() {
            self.note(&piece.key, Begun { upload, ..begun }).await;
        }
        let stored = Box::pin(run.bucket.put(put, upload.as_deref())).await?;
        self.ledger.ended(&piece.key);
        Ok(stored.etag)
    }

    async fn note(&self, key: &str, begun: Begun) {
        if let Err(error) = self.ledger.begin(key, begun).await {
            // Parts that a crash would leave behind are a lesser evil than products that stay.
            log::warn!("an upload in parts could not be noted: {error}");
        }
    }

    /// Clears the parts of an upload, or of all under its key where its id is not known.
    async fn clear(&self, bucket: &Bucket, key: &str, upload: &str) -> Result<(), BucketError> {
        if upload.is_empty() {
            match bucket.unfinished(key, Timestamp::now() + AHEAD).await {
                Ok(all) => {
                    for unfinished in all.iter().filter(|unfinished| unfinished.key == key) {
                        bucket.abort(key, &unfinished.upload).await?;
                    }
                }
                // Some stores do not list them. An upload was hardly begun when its process was killed.
                Err(error) if error.is_permanent() => log::warn!("{error}"),
                Err(error) => return Err(error),
            }
        } else {
            bucket.abort(key, upload).await?;
        }
        self.ledger.ended(key);
        Ok(())
    }

    /// Clears the parts of what was begun of a product that is gone or is another one now.
    async fn clear_all(&self, bucket: &Bucket, found: &Found) {
        let all = self.ledger.all_begun().into_iter().filter(|(_, begun)| is_of(&begun.path, &found.path));
        for (key, begun) in all {
            // What is not cleared now is, with the next probe.
            let _ = tokio::time::timeout(CLEARING, self.clear(bucket, &key, &begun.upload)).await;
        }
    }

    /// The manifest that is in the bucket.
    async fn earlier(&self, bucket: &Bucket, key: &str) -> Result<Option<Manifest>, Outcome> {
        match bucket.head(key).await {
            Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
            // Whoever may write alone does not know; the manifest is replaced at the end in any case.
            Err(error) if matches!(error.reason(), Reason::Denied { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let bytes = bucket.get(key, manifest::LARGEST).await?;
        Ok(Manifest::parse(&bytes).inspect_err(|error| log::warn!("{key:?} is replaced: {error}")).ok())
    }

    async fn put_manifest(&self, bucket: &Bucket, key: &str, manifest: &Manifest) -> Result<(), Outcome> {
        let (file, size) = manifest.file().map_err(|error| unmade(&error))?;
        let content = Content::read(file, size).await.map_err(|error| unmade(&error))?;
        let options = &self.options;
        let put = Put { metadata: &self.metadata, options, ..Put::new(key, &content) };
        let upload = bucket.begin(put).await?;
        Box::pin(bucket.put(put, upload.as_deref())).await?;
        Ok(())
    }

    async fn has_changed(&self, found: &Found) -> bool {
        let (finder, found) = (self.finder.clone(), found.clone());
        let looked = tokio::task::spawn_blocking(move || match finder.look_anyway(&found.path) {
            Ok(Some(Seen::Product(now))) => !now.same_content(&found),
            _ => true,
        });
        looked.await.unwrap_or(true)
    }

    fn record(&self, entry: &Entry, manifest: &Manifest) -> Record {
        let sha256 = match &manifest.files[..] {
            [one] => one.sha256.clone(),
            _ => String::new(),
        };
        Record {
            fingerprint: entry.found.stamp.fingerprint,
            key: entry.key.clone(),
            asked: (entry.asked != entry.key).then(|| entry.asked.clone()),
            place: self.origin.bucket.clone(),
            sha256,
            time: Timestamp::now(),
        }
    }

    /// Settles uploads in parts that were cut off, but those of `under_way`: those whose files are still as they were go
    /// on later, the parts of the others are cleared.
    pub(super) async fn settle(&self, bucket: &Bucket, under_way: &HashSet<Arc<str>>) -> Result<(), BucketError> {
        for (key, begun) in self.ledger.all_begun() {
            if under_way.iter().any(|product| is_of(&begun.path, product)) {
                continue;
            }
            if begun.place != *self.origin.bucket {
                let place = &begun.place;
                log::warn!("parts of {key:?} were left in {place}, which is not this product's bucket any more");
                self.ledger.ended(&key);
                continue;
            }
            let stays = self.finder.folder.stamp(&begun.path).is_ok_and(|now| now.fingerprint == begun.fingerprint);
            if stays && !begun.upload.is_empty() && self.finder.rule.product_of(&begun.path).is_some() {
                continue;
            }
            self.clear(bucket, &key, &begun.upload).await?;
            log::info!("cleared the parts of an upload of {key:?} that was cut off");
        }
        Ok(())
    }
}

/// Whether a path is that of a product, or in it.
fn is_of(path: &str, product: &str) -> bool {
    path.strip_prefix(product).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn pieces(entry: &Entry) -> Vec<Piece<'_>> {
    let found = &entry.found;
    match &found.body {
        Body::File => {
            let (path, key) = (found.path.clone(), entry.key.to_string());
            vec![Piece { path, stamp: found.stamp, key, name: found.name() }]
        }
        Body::Folder(contents) => {
            let piece = |member: &Member| (found.path_of(&member.path), member.stamp);
            let members = contents.members.iter().map(|member| (piece(member), member.path.as_str()));
            members
                .map(|((path, stamp), name)| Piece {
                    path: path.into(),
                    stamp,
                    key: format!("{}/{name}", entry.key),
                    name,
                })
                .collect()
        }
    }
}

/// Objects of an earlier content of which the new one has none.
async fn remove_leftovers(bucket: &Bucket, earlier: &Manifest, now: &Manifest) -> Result<(), Outcome> {
    let kept: HashSet<&str> = now.files.iter().map(|file| file.key.as_str()).collect();
    let inside = format!("{}/", now.key);
    for file in &earlier.files {
        // A manifest that somebody else wrote must not make us delete what is not of this product.
        if !kept.contains(file.key.as_str()) && file.key.starts_with(&inside) {
            bucket.delete(&file.key).await?;
        }
    }
    Ok(())
}

fn unmade(error: &std::io::Error) -> Outcome {
    Outcome::Unreadable(format!("its manifest cannot be made: {error}"))
}

/// The keys that a product takes are at most as long as a bucket allows.
pub(super) fn check_keys(found: &Found, key: &str) -> Result<(), String> {
    let Body::Folder(contents) = &found.body else { return Ok(()) };
    contents.members.iter().try_for_each(|member| {
        super::key::check(&format!("{key}/{}", member.path)).map_err(|why| format!("of {:?} {why}", member.path))
    })
}
