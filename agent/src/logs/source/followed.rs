use super::Source;
use super::identity::{self, Key};
use crate::logs::record::Facts;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// An open file of a source, shared by the outputs of the source, each of which reads it at its own position.
///
/// The descriptor stays open when the file is renamed or deleted: what is unread is read from it all the same.
#[derive(Debug)]
pub struct FollowedFile {
    /// The order of discovery. In a family, an earlier file is read before a later one.
    pub sequence: u64,
    pub source: Arc<Source>,
    /// The path that the file had while it was written: what a record says, whatever the file is named later.
    pub origin: PathBuf,
    /// Folder and name without date or number: the files of a family are generations of one log.
    pub family: PathBuf,
    pub key: Key,
    /// Nanoseconds since 1970; not every file system tells.
    pub born: Option<i64>,
    pub file: File,
    /// Where the file is now; none when it is in no followed folder any more.
    path: RwLock<Option<PathBuf>>,
    size: AtomicU64,
    /// Nanoseconds since 1970.
    modified: AtomicI64,
    version: AtomicU64,
    rotated: AtomicBool,
    ended: AtomicBool,
    /// Up to where each output of the source has acknowledged, in the source's order of outputs.
    acknowledged: Box<[AtomicU64]>,
}

/// What is known of a file before it is opened.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    pub origin: PathBuf,
    pub family: PathBuf,
    pub metadata: Metadata,
}

impl FollowedFile {
    /// Opens a file that was found. None when another file has taken its path meanwhile: the next scan finds that one.
    pub fn open(found: Found, source: Arc<Source>, sequence: u64) -> io::Result<Option<Self>> {
        let file = File::open(&found.path)?;
        let metadata = file.metadata()?;
        let key = Key::of(&metadata);
        if key != Key::of(&found.metadata) {
            return Ok(None);
        }
        let acknowledged = source.outputs.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Some(Self {
            sequence,
            source,
            origin: found.origin,
            family: found.family,
            key,
            born: identity::born(&metadata),
            file,
            path: RwLock::new(Some(found.path)),
            size: AtomicU64::new(metadata.len()),
            modified: AtomicI64::new(modified(&metadata)),
            version: AtomicU64::new(1),
            rotated: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            acknowledged,
        }))
    }

    /// What is the same for all of its lines.
    pub fn facts(&self) -> Facts {
        Facts {
            source: self.source.name.clone(),
            file: match &self.source.intake {
                Some(intake) => intake.name.to_owned(),
                None => self.origin.to_string_lossy().into_owned(),
            },
            fields: BTreeMap::new(),
        }
    }

    /// Where the file is now; none when it is gone.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_at(&self, path: &Path) -> bool {
        self.path.read().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(path)
    }

    pub fn set_path(&self, path: Option<PathBuf>) {
        *self.path.write().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Notes the file's present size and time; whether they changed.
    pub fn look(&self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let size = self.size.swap(metadata.len(), Ordering::Relaxed);
        let before = self.modified.swap(modified(&metadata), Ordering::Relaxed);
        let changed = size != metadata.len() || before != modified(&metadata);
        if changed {
            self.touch();
        }
        Ok(changed)
    }

    /// Makes every output look at the file again.
    pub fn touch(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Nanoseconds since 1970.
    pub fn modified(&self) -> i64 {
        self.modified.load(Ordering::Relaxed)
    }

    /// How long nothing was written.
    pub fn quiet(&self, now: SystemTime) -> Duration {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.modified()).unwrap_or(0));
        now.duration_since(modified).unwrap_or(Duration::ZERO)
    }

    /// A later file has taken its place, or it was deleted.
    pub fn is_rotated(&self) -> bool {
        self.rotated.load(Ordering::Relaxed)
    }

    pub fn set_rotated(&self, rotated: bool) {
        self.rotated.store(rotated, Ordering::Relaxed);
    }

    /// Rotated and quiet: a last line without its newline is complete as it is.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub fn set_ended(&self, ended: bool) {
        if self.ended.swap(ended, Ordering::AcqRel) != ended {
            self.touch();
        }
    }

    /// Up to where the output at `slot` has acknowledged.
    pub fn acknowledged(&self, slot: usize) -> u64 {
        self.acknowledged.get(slot).map_or(0, |offset| offset.load(Ordering::Acquire))
    }

    pub fn set_acknowledged(&self, slot: usize, offset: u64) {
        if let Some(acknowledged) = self.acknowledged.get(slot) {
            acknowledged.store(offset, Ordering::Release);
        }
    }

    /// Whether every output has all of it, as far as its size was seen.
    pub fn is_done(&self) -> bool {
        let size = self.size();
        !self.acknowledged.is_empty() && self.acknowledged.iter().all(|offset| offset.load(Ordering::Acquire) >= size)
    }
}

/// Nanoseconds since 1970.
pub fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}
