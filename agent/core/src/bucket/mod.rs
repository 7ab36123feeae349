//! Buckets: the only place that builds an S3 client.
//!
//! What enters is a named bucket of the configuration and files with their checksums; what leaves is objects that
//! are whole: they appear at once, and count as stored only when the bucket, asked afterwards, tells the size and
//! checksum that were sent. A folder (`file:///path`) is a bucket with the same promises. Nothing is kept on this host.

mod content;
mod error;
mod file_body;
mod folder;
mod multipart;
mod s3;
mod s3_error;

pub use content::Content;
pub use error::{BucketError, Reason};

use crate::config::buckets;
use folder::Folder;
use s3::S3;

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
    S3(S3),
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
    /// The SHA-256 that its uploader wrote into the metadata `sha256` (a folder's files are read for it).
    pub sha256: Option<String>,
}

/// What is to be stored, and under which key.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a str,
    /// The file and its checksums.
    pub content: &'a Content,
    /// Further metadata (`x-amz-meta-…`): visible ASCII. A folder has no place for it.
    pub metadata: &'a [(String, String)],
}

impl Bucket {
    /// Reads the credentials and builds the client. Nothing is sent.
    ///
    /// # Errors
    /// A credential is missing; the error says which.
    pub fn open(name: &str, settings: &buckets::Bucket) -> Result<Self, BucketError> {
        let place = Self::place_of(settings);
        let store = match settings {
            buckets::Bucket::Folder(path) => Ok(Store::Folder(Folder::new(path.clone()))),
            buckets::Bucket::S3(settings) => S3::open(settings).map(Store::S3),
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
        };
        result.map_err(|reason| self.error("use".into(), reason))
    }

    /// Opens an upload in parts where the content needs one, and gives its id: kept durably before [`Self::put`], it
    /// lets a later process clear the parts of an upload that was cut off.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn begin(&self, put: Put<'_>) -> Result<Option<String>, BucketError> {
        let result = match &self.store {
            Store::S3(s3) if put.content.parts() > 1 => s3.begin(put).await.map(Some),
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
        };
        result.map_err(|reason| self.error(format!("store {:?} in", put.key), reason))
    }

    /// Clears the parts of an upload that will not be completed; one that is gone already is fine.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn abort(&self, key: &str, upload: &str) -> Result<(), BucketError> {
        let Store::S3(s3) = &self.store else { return Ok(()) };
        s3.abort(key, upload)
            .await
            .map_err(|reason| self.error(format!("clear the unfinished upload of {key:?} in"), reason))
    }

    /// What the bucket holds under a key, if anything.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn head(&self, key: &str) -> Result<Option<Object>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.head(key).await,
            Store::S3(s3) => s3.head(key).await,
        };
        result.map_err(|reason| self.error(format!("ask for {key:?} in"), reason))
    }

    /// Reads an object into memory, if it is there and not larger than `at_most` bytes.
    ///
    /// # Errors
    /// There is no such object, it is larger, or the bucket does not answer or refuses.
    pub async fn get(&self, key: &str, at_most: u64) -> Result<Vec<u8>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.get(key, at_most).await,
            Store::S3(s3) => s3.get(key, at_most).await,
        };
        result.map_err(|reason| self.error(format!("read {key:?} from"), reason))
    }

    /// The objects whose keys begin with `prefix`, in the order of keys, and no more than `at_most`.
    ///
    /// # Errors
    /// The bucket does not answer or refuses.
    pub async fn list(&self, prefix: &str, at_most: usize) -> Result<Vec<Object>, BucketError> {
        let result = match &self.store {
            Store::Folder(folder) => folder.list(prefix, at_most).await,
            Store::S3(s3) => s3.list(prefix, at_most).await,
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
        };
        result.map_err(|reason| self.error(format!("delete {key:?} from"), reason))
    }

    fn error(&self, doing: String, reason: Reason) -> BucketError {
        BucketError::new(&self.name, &self.place, doing, reason)
    }
}
