//! Buckets: the only place that builds an S3 client.
//!
//! What enters is a named bucket of the configuration and files with their checksums; what leaves is objects that
//! are whole: they appear at once, and count as stored only when the bucket, asked afterwards, tells the size and
//! checksum that were sent. A folder (`file:///path`) is a bucket with the same promises. Nothing is kept on this host.

/// Memory for what is read.
mod buffer;
/// Checksums that stores look at.
mod check;
/// A file with its checksums.
mod content;
/// Objects brought down into files.
mod download;
/// Why a bucket did not do something.
mod error;
/// Files as bodies of requests.
mod file_body;
/// A folder as a bucket.
mod folder;
/// The one HTTP client of a bucket.
mod http;
/// How many bytes a second may go.
mod limiter;
/// Parts of files in memory.
mod memory;
/// How large the parts of a content are.
mod part_size;
/// Large contents, read while they are sent.
mod parts;
/// How long a store is waited for.
mod patience;
/// A piece of a file, as much as is read at once.
mod piece;
/// What a bucket was found to do.
mod profile;
/// What is to be stored.
mod put;
/// Objects read.
mod read;
/// A bucket behind an S3 API.
mod s3;
/// Checksums of files.
mod sums;
/// A container behind Swift's own API.
mod swift;

pub use check::Proof;
pub use content::{Content, Moved};
pub use download::{Download, Downloaded, Verified};
pub use error::{BucketError, Reason};
pub use limiter::Limiter;
pub use profile::{Checks, Profile, Rights};
pub use put::{Progress, Put};

use crate::config::buckets::{self, Connection, Encryption, ObjectOptions};
use folder::Folder;
use jiff::Timestamp;
use s3::S3;
use std::fs::File;
use std::io;
use std::path::Path;
use swift::Swift;

/// A bucket that can be used: its credentials are read, nothing was asked of it yet.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    place: String,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Folder(Folder),
    S3(Box<S3>),
    Swift(Box<Swift>),
}

/// What a bucket tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// The store's own checksum, without quotes; a folder has none.
    pub etag: Option<String>,
    /// The SHA-256 that its uploader wrote into the metadata `sha256` (a folder's files are read for it). What is read
    /// while it is sent to an S3 API has none there: the ETag is made of its parts' MD5s.
    pub sha256: Option<String>,
}

/// An upload in parts that was begun and not completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The key.
    pub key: String,
    /// Its id, for [`Bucket::abort`].
    pub upload: String,
    /// When it was begun, by the store's clock.
    pub begun: Timestamp,
}

impl Bucket {
    /// Reads the credentials and builds the client. Nothing is sent.
    ///
    /// # Errors
    /// A credential is missing; the error says which.
    pub fn open(name: &str, settings: &buckets::Bucket) -> Result<Self, BucketError> {
        let place = Self::place_of(settings);
        let limiter = |connection: &Connection| {
            connection.bandwidth.as_ref().map(|timetable| Limiter::of_place(&place, timetable))
        };
        let store = match settings {
            buckets::Bucket::Folder(path) => Ok(Store::Folder(Folder::new(path.clone()))),
            buckets::Bucket::S3(settings) => {
                S3::open(settings, limiter(&settings.connection)).map(|s3| Store::S3(Box::new(s3)))
            }
            buckets::Bucket::Swift(settings) => {
                Swift::open(settings, limiter(&settings.connection)).map(|swift| Store::Swift(Box::new(swift)))
            }
        };
        let store = store.map_err(|reason| BucketError::new(name, &place, "open".into(), reason))?;
        Ok(Self { name: name.to_owned(), place, store })
    }

    /// Where the bucket is; see [`Self::place_of`].
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Where a configured bucket is, the same for two names of one bucket: `https://host/bucket`, `file:///folder`.
    pub fn place_of(settings: &buckets::Bucket) -> String {
        match settings {
            buckets::Bucket::Folder(path) => format!("file://{}", path.display()),
            buckets::Bucket::S3(s3) => format!("{}/{}", s3.endpoint, s3.bucket),
            buckets::Bucket::Swift(swift) => swift.place(),
        }
    }

    /// Asks whether the bucket is there and takes the credentials.
    ///
    /// # Errors
    /// It does not answer, does not exist, or refuses the credentials.
    pub async fn check(&self) -> Result<(), BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.check().await,
            Store::S3(s3) => s3.check().await,
            Store::Swift(swift) => swift.check().await,
        };
        result.map_err(|reason| self.error("use".into(), reason))
    }

    /// Checks the bucket, and tries out what the store does where that is not known yet: what was found is kept in
    /// `state` (a folder) and is asked again after a month. Whatever is missing is in [`Profile::missing`].
    ///
    /// # Errors
    /// As [`Self::check`], but for a right to list that is missing.
    pub async fn prepare(&self, state: &Path) -> Result<Profile, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.check().await.map(|()| Profile::of_folder(&self.place)),
            Store::S3(s3) => {
                let profile = self.profiled(state, s3.check(), s3.probe(&self.place)).await;
                profile.map(|profile| s3.profile.get_or_init(|| profile).clone())
            }
            Store::Swift(swift) => {
                let profile = self.profiled(state, swift.check(), swift.probe(&self.place)).await;
                profile.map(|profile| swift.profile.get_or_init(|| profile).clone())
            }
        };
        result.map_err(|reason| self.error("use".into(), reason))
    }

    /// A profile that was kept, if the bucket can be used; else it is tried out.
    async fn profiled(
        &self,
        state: &Path,
        check: impl Future<Output = Result<(), Reason>>,
        probe: impl Future<Output = Result<Profile, Reason>>,
    ) -> Result<Profile, Reason> {
        let file = state.join(format!("bucket-{}.json", self.name));
        if let Some(profile) = Profile::load(&file, &self.place) {
            check.await?;
            return Ok(profile);
        }
        let profile = Box::pin(probe).await?;
        profile.keep(&file);
        Ok(profile)
    }

    /// What the bucket was found to do, once [`Self::prepare`] was called.
    pub fn profile(&self) -> Option<&Profile> {
        match &self.store {
            Store::Folder(_) => None,
            Store::S3(s3) => s3.profile.get(),
            Store::Swift(swift) => swift.profile.get(),
        }
    }

    /// Which checksum proves to the store that what is sent by one request or in parts arrived whole.
    fn proof(&self, in_parts: bool) -> Proof {
        match self.profile() {
            Some(profile) if !in_parts && profile.tells_crc64nvme => Proof::Crc64,
            Some(profile) if in_parts && profile.parts_by_crc64nvme => Proof::Crc64,
            Some(profile) if profile.tells_sha256 => Proof::Sha256,
            // A folder's own is SHA-256.
            None if matches!(self.store, Store::Folder(_)) => Proof::Sha256,
            _ => Proof::Md5,
        }
    }

    /// What is to be known of a file before it is stored under these options: all, or of a large one nothing yet, because
    /// it is read while it is sent.
    ///
    /// # Errors
    /// The file cannot be read or has fewer bytes.
    pub async fn content(&self, file: File, size: u64, options: &ObjectOptions) -> io::Result<Content> {
        let most_parts = self.profile().map_or(part_size::FEWEST_PARTS, |profile| profile.most_parts);
        let in_parts = part_size::part_size(size, most_parts) < size;
        let while_sent = match &self.store {
            Store::Folder(_) => size > memory::SMALL,
            Store::S3(s3) => in_parts && s3.tells_md5(options),
            Store::Swift(_) => in_parts,
        };
        let proof = self.proof(in_parts);
        if while_sent {
            Content::open_for(file, size, (proof, most_parts))
        } else {
            Content::read_for(file, size, proof).await
        }
    }

    /// Whether [`Put::only_new`] is heeded.
    pub fn writes_conditionally(&self) -> bool {
        self.profile().is_some_and(|profile| profile.conditional_writes)
    }

    /// Seconds that the store's clock is ahead of this host's, where that is so much that requests are signed with the
    /// store's time; else 0.
    pub fn clock_ahead(&self) -> i64 {
        match &self.store {
            Store::Folder(_) | Store::Swift(_) => 0,
            Store::S3(s3) => s3.clock_ahead(),
        }
    }

    /// Asks the store for its time: [`Self::clock_ahead`], or nothing where it does not tell.
    pub async fn ask_time(&self) -> Option<i64> {
        match &self.store {
            Store::Folder(_) | Store::Swift(_) => None,
            Store::S3(s3) => match s3.check().await {
                Err(Reason::Unreachable { .. } | Reason::Stalled { .. }) => None,
                _ => Some(s3.clock_ahead()),
            },
        }
    }

    /// Opens an upload in parts where the content needs one, and gives its id: kept durably before [`Self::put`], it
    /// lets a later process clear the parts of an upload that was cut off.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn begin(&self, put: Put<'_>) -> Result<Option<String>, BucketError> {
        let result = match &self.store {
            Store::S3(s3) if put.content.parts() > 1 => s3.begin(put).await.map(Some),
            Store::Swift(swift) if put.content.parts() > 1 => swift.begin(put).await.map(Some),
            _ => Ok(None),
        };
        result.map_err(|reason| self.error(format!("store {:?} in", put.key), reason))
    }

    /// Stores an object whole and reads back that it is. `upload` is what [`Self::begin`] gave.
    ///
    /// # Errors
    /// Permanent ones (no such bucket, no right) and temporary ones: [`BucketError::is_permanent`].
    pub async fn put(&self, put: Put<'_>, upload: Option<&str>) -> Result<Object, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.put(put).await,
            Store::S3(s3) => s3.put(put, upload).await,
            Store::Swift(swift) => Box::pin(swift.put(put, upload)).await,
        };
        result.map_err(|reason| self.error(format!("store {:?} in", put.key), reason))
    }

    /// Goes on with an upload in parts that [`Self::begin`] opened, maybe in an earlier process: the parts that the store
    /// has and that are those of the content are not sent again.
    ///
    /// # Errors
    /// As [`Self::put`]; [`Reason::NoSuchUpload`] where the store has dropped it: then it is begun anew.
    pub async fn resume(&self, put: Put<'_>, upload: &str) -> Result<Object, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.put(put).await,
            Store::S3(s3) => Box::pin(s3.resume(put, upload)).await,
            // Each upload looks first for the segments that are there.
            Store::Swift(swift) => Box::pin(swift.put(put, Some(upload))).await,
        };
        result.map_err(|reason| self.error(format!("go on with storing {:?} in", put.key), reason))
    }

    /// Uploads in parts under a prefix that were begun before a time and never completed.
    ///
    /// # Errors
    /// The bucket does not answer or refuses; some stores cannot list them ([`Profile::lists_uploads`]).
    pub async fn unfinished(&self, prefix: &str, before: Timestamp) -> Result<Vec<Unfinished>, BucketError> {
        let result = match &self.store {
            Store::Folder(_) => Ok(Vec::new()),
            Store::S3(s3) => s3.unfinished(prefix, before).await,
            Store::Swift(swift) => swift.unfinished(prefix, before).await,
        };
        result.map_err(|reason| self.error(format!("list the unfinished uploads under {prefix:?} in"), reason))
    }

    /// Waits until the bucket cannot carry out any more what was asked of it without an answer: what is cleared or
    /// deleted before that may come again.
    pub async fn outlast_requests(&self) {
        match &self.store {
            Store::Folder(_) => {}
            Store::S3(s3) => s3.patience.outlast_requests().await,
            Store::Swift(swift) => swift.patience.outlast_requests().await,
        }
    }

    /// Clears the parts of an upload that will not be completed; one that is gone already is fine.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn abort(&self, key: &str, upload: &str) -> Result<(), BucketError> {
        let result = match &self.store {
            Store::Folder(_) => Ok(()),
            Store::S3(s3) => s3.abort(key, upload).await,
            Store::Swift(swift) => swift.abort(key, upload).await,
        };
        result.map_err(|reason| self.error(format!("clear the unfinished upload of {key:?} in"), reason))
    }

    /// What the bucket holds under a key, if anything.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn head(&self, key: &str) -> Result<Option<Object>, BucketError> {
        self.head_encrypted(key, None).await
    }

    /// As [`Self::head`], of an object that may be encrypted with a customer's key.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub async fn head_encrypted(
        &self,
        key: &str,
        encryption: Option<&Encryption>,
    ) -> Result<Option<Object>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.head(key).await,
            Store::S3(s3) => s3.head(key, encryption).await,
            Store::Swift(swift) => swift.head(key).await,
        };
        result.map_err(|reason| self.error(format!("ask for {key:?} in"), reason))
    }

    /// The objects whose keys begin with `prefix`, in the order of keys, and no more than `at_most`.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn list(&self, prefix: &str, at_most: usize) -> Result<Vec<Object>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.list(prefix, at_most).await,
            Store::S3(s3) => s3.list(prefix, at_most).await,
            Store::Swift(swift) => swift.list(prefix, at_most).await,
        };
        result.map_err(|reason| self.error(format!("list {prefix:?} in"), reason))
    }

    /// Deletes an object; one that is gone already is fine.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.delete(key).await,
            Store::S3(s3) => s3.delete(key).await,
            Store::Swift(swift) => swift.delete(key).await,
        };
        result.map_err(|reason| self.error(format!("delete {key:?} from"), reason))
    }

    /// That an object is missing which somebody else asked for.
    pub(crate) fn no_such_object(&self, key: &str) -> BucketError {
        self.error(format!("fetch {key:?} from"), Reason::NoSuchObject)
    }

    fn error(&self, doing: String, reason: Reason) -> BucketError {
        BucketError::new(&self.name, &self.place, doing, reason)
    }
}
