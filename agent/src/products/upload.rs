use super::ages::later;
use super::find::{Finder, Seen};
use super::folder::{Stamp, is_gone};
use super::found::{Body, Found};
use super::ledger::Ledger;
use super::manifest::{self, Manifest, ManifestFile, Origin};
use super::piece::{Piece, is_of, pieces};
use super::queue::Entry;
use super::record::{Begun, Record};
use super::seal::{Unsealed, seal, unchanged};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use hostwright_core::bucket::{Bucket, BucketError, Content, Object, Progress, Put, Reason};
use hostwright_core::config::buckets::ObjectOptions;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What a failed upload may take to clear its parts; the ledger remembers those that it does not get to.
const CLEARING: Duration = Duration::from_secs(10);
/// Files of one folder under way at once.
const MEMBERS_AT_ONCE: usize = 8;
/// So many are noted at a time.
const LOT: usize = 1000;
/// And so many are got ready, of each of the folders under way.
const READY: usize = 64;

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

/// A product, compared with what it was when it was found.
enum Now {
    Same,
    Another,
    Gone,
}

/// An object that has a file's content.
struct Stored {
    etag: Option<String>,
    /// Whether somebody else had stored it.
    was_there: bool,
}

impl From<Object> for Stored {
    fn from(object: Object) -> Self {
        Self { etag: object.etag, was_there: false }
    }
}

/// A manifest of an earlier content. Whoever sees a manifest sees what it speaks of: it goes before the first file is
/// replaced.
struct Cover<'u> {
    bucket: &'u Bucket,
    key: &'u str,
    /// What it speaks of, and who is to remember that when it is gone.
    earlier: Option<&'u Manifest>,
    uploader: &'u Uploader,
    entry: &'u Entry,
    is_there: Mutex<bool>,
}

impl Cover<'_> {
    async fn lift(&self) -> Result<(), Outcome> {
        let mut is_there = self.is_there.lock().await;
        if *is_there {
            if let Some(earlier) = self.earlier {
                self.uploader.note_earlier(self.entry, earlier).await;
            }
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

impl Uploader {
    /// Stores a product: its files, then its manifest.
    pub(super) async fn upload(&self, bucket: &Bucket, entry: &Entry, progress: &Progress) -> Outcome {
        match Box::pin(self.store(bucket, entry, progress)).await {
            Ok(confirmed) => Outcome::Confirmed(Box::new(confirmed)),
            // A change explains any failure.
            Err(outcome) => match self.now(&entry.found).await {
                Now::Same => {
                    if matches!(outcome, Outcome::Taken) {
                        self.take_back(bucket, &entry.key).await;
                    }
                    outcome
                }
                now => {
                    self.clear_all(bucket, &entry.found).await;
                    if matches!(now, Now::Gone) {
                        self.take_back(bucket, &entry.key).await;
                    }
                    Outcome::NotAsFound
                }
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
        let is_there = Mutex::new(earlier.is_some());
        let cover = Cover { bucket, key: &manifest_key, earlier: earlier.as_ref(), uploader: self, entry, is_there };
        let run = Run { bucket, entry, progress, cover: &cover };
        let mut files = Vec::with_capacity(pieces.len());
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let lot: Vec<_> = pieces.by_ref().take(LOT).collect();
            if !entry.may_be_there && !self.versioned {
                // All of them are sent: noted at once, they wait for the disk once.
                self.note_strewn(entry, lot.iter().map(|piece| piece.key.clone())).await;
            }
            let mut lot = lot.into_iter().peekable();
            while lot.peek().is_some() {
                // What is to be done takes more memory than what is known of it, and there may be very many.
                let ready = lot.by_ref().take(READY).map(|piece| self.piece(run, piece).boxed());
                let ready: Vec<BoxFuture<'_, _>> = ready.collect();
                files.extend(stream::iter(ready).buffered(MEMBERS_AT_ONCE).try_collect::<Vec<_>>().await?);
            }
        }
        // Of a file that was seen when it was confirmed.
        if matches!(found.body, Body::Folder(_)) && !matches!(self.now(found).await, Now::Same) {
            return Err(Outcome::NotAsFound);
        }
        let manifest = Manifest::new(&self.origin, found, &entry.key, files);
        // The very one is there if no file had to be replaced.
        let same = earlier.as_ref().is_some_and(|earlier| earlier.same_files(&manifest));
        if self.manifest && !(same && *cover.is_there.lock().await) {
            cover.lift().await?;
            self.remove_leftovers(bucket, &manifest).await?;
            self.put_manifest(bucket, &manifest_key, &manifest).await?;
        }
        if !self.manifest {
            self.remove_leftovers(bucket, &manifest).await?;
        }
        self.ledger.gathered(&entry.key);
        Ok((self.record((bucket, entry), &manifest), manifest))
    }

    /// One file, unless the bucket has it.
    async fn piece(&self, run: Run<'_>, piece: Piece<'_>) -> Result<ManifestFile, Outcome> {
        let folder = &self.finder.folder;
        let content = match seal(folder, &piece.path, &piece.stamp, (run.bucket, &self.options)).await {
            Ok(content) => content,
            Err(Unsealed::Gone | Unsealed::Changed) => return Err(Outcome::NotAsFound),
            Err(Unsealed::Unreadable(error)) => {
                let path = folder.root().join(&*piece.path);
                return Err(Outcome::Unreadable(format!("{} cannot be read: {error}", path.display())));
            }
        };
        let only_new = self.asks_by_writing(run, &content).await;
        let there = if only_new { None } else { self.there(run, &piece.key, &content).await? };
        let stored = match there {
            Some(object) => {
                if let Some(begun) = self.ledger.begun(&piece.key) {
                    self.clear(run.bucket, &piece.key, &begun.upload).await?;
                }
                Stored { etag: object.etag, was_there: true }
            }
            None => {
                run.cover.lift().await?;
                let key = || std::iter::once(piece.key.clone());
                // What is versioned may be another's until it is known to be ours.
                if !self.versioned {
                    self.note_strewn(run.entry, key()).await;
                }
                let stored = self.put(run, &piece, (&content, only_new || self.versioned)).await?;
                if self.versioned && !stored.was_there {
                    self.note_strewn(run.entry, key()).await;
                }
                stored
            }
        };
        match unchanged(folder, &piece.path, &piece.stamp) {
            Err(Unsealed::Gone) if self.outlives(run.bucket, run.entry, (&content, !stored.was_there)).await => {}
            Err(_) => return Err(Outcome::NotAsFound),
            Ok(()) => {}
        }
        Ok(ManifestFile {
            path: piece.name.to_owned(),
            key: piece.key,
            size: content.size(),
            // Known, because it was sent or compared.
            sha256: content.sha256().unwrap_or_default().to_owned(),
            etag: stored.etag,
            modified: manifest::modified(&piece.stamp),
        })
    }

    /// Whether a write that leaves alone what is there costs less than the question whether there is something.
    async fn asks_by_writing(&self, run: Run<'_>, content: &Content) -> bool {
        let may_be_there = run.entry.may_be_there || self.versioned;
        may_be_there && content.is_small() && run.bucket.writes_conditionally() && !*run.cover.is_there.lock().await
    }

    /// The object, if the bucket has this very content under the key: then an earlier upload got through, unrecorded.
    async fn there(&self, run: Run<'_>, key: &str, content: &Content) -> Result<Option<Object>, Outcome> {
        if !run.entry.may_be_there && !self.versioned {
            return Ok(None);
        }
        // Rights to write alone do not stop an upload here; what else is wrong, the upload itself will say.
        let head = run.bucket.head_encrypted(key, self.options.encryption.as_ref()).await;
        let Some(object) = head.ok().flatten() else { return Ok(None) };
        match content.is_that_of(&object).await.unwrap_or(false) {
            true => Ok(Some(object)),
            false if self.versioned => Err(Outcome::Taken),
            false => Ok(None),
        }
    }

    /// The object, if it is there with this very content.
    async fn same(&self, run: Run<'_>, key: &str, content: &Content) -> Result<Option<Object>, BucketError> {
        let Some(object) = run.bucket.head_encrypted(key, self.options.encryption.as_ref()).await? else {
            return Ok(None);
        };
        Ok(content.is_that_of(&object).await.unwrap_or(false).then_some(object))
    }

    /// One request carries it.
    async fn put_single(&self, run: Run<'_>, put: Put<'_>) -> Result<Stored, Outcome> {
        let refused = match Box::pin(run.bucket.put(put, None)).await {
            Ok(object) => return Ok(object.into()),
            Err(error) if put.only_new && matches!(error.reason(), Reason::Exists) => error,
            Err(error) => return Err(error.into()),
        };
        match self.same(run, put.key, put.content).await {
            Ok(Some(object)) => Ok(Stored { etag: object.etag, was_there: true }),
            Ok(None) if self.versioned => Err(Outcome::Taken),
            Err(error) if self.versioned => Err(error.into()),
            _ => {
                log::debug!("{refused}: it is another one, and is replaced");
                Ok(Box::pin(run.bucket.put(Put { only_new: false, ..put }, None)).await?.into())
            }
        }
    }

    async fn put(
        &self,
        run: Run<'_>,
        piece: &Piece<'_>,
        (content, only_new): (&Content, bool),
    ) -> Result<Stored, Outcome> {
        let put = Put {
            only_new,
            metadata: &self.metadata,
            options: &self.options,
            progress: Some(run.progress),
            ..Put::new(&piece.key, content)
        };
        if let Some(earlier) = self.ledger.begun(&piece.key)
            && let Some(stored) = self.go_on(run, put, (&earlier, &piece.stamp)).await?
        {
            return Ok(stored);
        }
        if content.parts() == 1 {
            return self.put_single(run, put).await;
        }
        let begun = Begun {
            path: piece.path.to_string(),
            fingerprint: piece.stamp.fingerprint,
            place: self.origin.bucket.to_string(),
            upload: String::new(),
            sha256: content.sha256().unwrap_or_default().to_owned(),
        };
        // First that there may be one: a process that is killed between the two leaves parts that another one finds.
        self.note(&piece.key, begun.clone()).await;
        let upload = run.bucket.begin(put).await?.unwrap_or_default();
        self.note(&piece.key, Begun { upload: upload.clone(), ..begun }).await;
        let stored = Box::pin(run.bucket.put(put, Some(&*upload).filter(|upload| !upload.is_empty()))).await;
        self.completed(run, put, (&upload, stored)).await
    }

    /// Goes on with an upload that was cut off, if it is of this very content; else clears its parts.
    async fn go_on(
        &self,
        run: Run<'_>,
        put: Put<'_>,
        (earlier, stamp): (&Begun, &Stamp),
    ) -> Result<Option<Stored>, Outcome> {
        let same_content = match earlier.sha256.is_empty() {
            // Each part that is there is compared before it counts.
            true => earlier.fingerprint == stamp.fingerprint,
            // It was told when the upload was begun.
            false => put.content.learn().await.is_ok() && put.content.sha256() == Some(&earlier.sha256),
        };
        if !same_content || earlier.place != *self.origin.bucket || earlier.upload.is_empty() {
            self.clear(run.bucket, put.key, &earlier.upload).await?;
            return Ok(None);
        }
        match Box::pin(run.bucket.resume(put, &earlier.upload)).await {
            Err(error) if matches!(error.reason(), Reason::NoSuchUpload) => {
                self.ledger.ended(put.key);
                // The last request of a process that was killed may have completed it a moment ago; replaced by the same,
                // its parts would stay with some stores.
                Ok(self.same(run, put.key, put.content).await.ok().flatten().map(Stored::from))
            }
            // Where it failed, the parts stay for another attempt.
            stored => Ok(Some(self.completed(run, put, (&earlier.upload, stored)).await?)),
        }
    }

    /// What the end of an upload in parts means.
    async fn completed(
        &self,
        run: Run<'_>,
        put: Put<'_>,
        (upload, stored): (&str, Result<Object, BucketError>),
    ) -> Result<Stored, Outcome> {
        match stored {
            Ok(object) => {
                self.ledger.ended(put.key);
                Ok(object.into())
            }
            // Somebody was quicker.
            Err(error) if put.only_new && matches!(error.reason(), Reason::Exists) => {
                self.clear(run.bucket, put.key, upload).await?;
                let there = self.same(run, put.key, put.content).await?.ok_or(Outcome::Taken)?;
                Ok(Stored { etag: there.etag, was_there: true })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn note(&self, key: &str, begun: Begun) {
        if let Err(error) = self.ledger.begin(key, begun).await {
            // Parts that a crash would leave behind are a lesser evil than products that stay.
            log::warn!("an upload in parts could not be noted: {error}");
        }
    }

    /// Clears the parts of an upload, or of all under its key where its id is not known.
    async fn clear(&self, bucket: &Bucket, key: &str, upload: &str) -> Result<(), BucketError> {
        bucket.outlast_requests().await;
        if upload.is_empty() {
            match bucket.unfinished(key, Timestamp::MAX).await {
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
        let encryption = self.options.encryption.as_ref();
        match bucket.head_encrypted(key, encryption).await {
            Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
            // Whoever may write alone does not know; the manifest is replaced at the end in any case.
            Err(error) if matches!(error.reason(), Reason::Denied { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let bytes = bucket.get_encrypted(key, manifest::LARGEST, encryption).await?;
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

    async fn now(&self, found: &Found) -> Now {
        let (finder, found) = (self.finder.clone(), found.clone());
        let looked = tokio::task::spawn_blocking(move || match finder.look_anyway(&found.path) {
            Ok(Some(Seen::Product(now))) if now.same_content(&found) => Now::Same,
            Ok(Some(_)) => Now::Another,
            Err(error) if !is_gone(&error) => Now::Another,
            _ => Now::Gone,
        });
        looked.await.unwrap_or(Now::Another)
    }

    fn record(&self, (bucket, entry): (&Bucket, &Entry), manifest: &Manifest) -> Record {
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
            time: later(Timestamp::now(), bucket.clock_ahead().max(0)),
        }
    }

    /// Settles uploads in parts that were cut off, but those of `under_way`: those whose files are still as they were go
    /// on later, the parts of the others are cleared.
    pub(super) async fn settle(
        &self,
        bucket: &Bucket,
        (under_way, keys): (&HashSet<Arc<str>>, &HashSet<Arc<str>>),
    ) -> Result<(), BucketError> {
        self.settle_strewn(bucket, keys).await;
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

fn unmade(error: &std::io::Error) -> Outcome {
    Outcome::Unreadable(format!("its manifest cannot be made: {error}"))
}
