use super::Source;
use super::compressed::{self, Compressed};
use super::heritage::Heritage;
use super::identity::{self, Attributes, Content, Digest, HEAD, Key, Point, WELL};
use super::search::Attention;
use crate::logs::record::Facts;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// An open file of a source, shared by the outputs of the source, each of which reads it at its own position.
///
/// The descriptor stays open when the file is renamed or deleted: what is unread is read from it all the same. There may
/// be thousands of these: paths are shared, and nothing is kept that the file system tells.
#[derive(Debug)]
pub struct FollowedFile {
    /// The order of discovery. In a family, an earlier file is read before a later one.
    pub sequence: u64,
    pub source: Arc<Source>,
    /// The path that the file had while it was written: what a record says, whatever the file is named later.
    pub origin: Arc<Path>,
    /// Folder and name without date or number: the files of a family are generations of one log.
    pub family: Arc<Path>,
    pub key: Key,
    /// Nanoseconds since 1970; not every file system tells.
    pub born: Option<i64>,
    pub file: Opened,
    /// The file that was followed before its content was replaced: this one has its former content as a copy, or the
    /// new one.
    pub former: Option<u64>,
    /// What it has of the file whose place it took.
    pub heritage: Option<Box<Heritage>>,
    /// Where an output begins that has no position in it.
    pub start: Option<Box<Point>>,
    /// Where the file is now; none when it is in no followed folder any more.
    path: RwLock<Option<Arc<Path>>>,
    size: AtomicU64,
    /// The most that the size has been.
    largest: AtomicU64,
    /// Nanoseconds since 1970.
    modified: AtomicI64,
    version: AtomicU64,
    flags: Flags,
    known: Mutex<Known>,
    /// Calls for the discovery.
    attention: Arc<Attention>,
}

#[derive(Debug, Default)]
struct Flags {
    rotated: AtomicBool,
    ended: AtomicBool,
    replaced: AtomicBool,
    shrunk: AtomicBool,
    lacks_decoder: AtomicBool,
    pinned: AtomicBool,
}

/// What is known of the content.
#[derive(Debug)]
struct Known {
    head: Digest,
    /// Up to where each output of the source has acknowledged, in the source's order of outputs.
    acknowledged: Box<[Point]>,
}

/// How the content is read.
#[derive(Debug)]
pub enum Opened {
    Plain(File),
    Compressed(Compressed),
}

impl Opened {
    /// Whatever the name says, the first bytes tell whether the content is compressed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: File) -> io::Result<Self> {
        Ok(match compressed::method_of(&file)? {
            Some(method) => Self::Compressed(Compressed::new(file, method)),
            None => Self::Plain(file),
        })
    }
}

impl Opened {
    pub fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(file) => file.metadata(),
            Self::Compressed(file) => file.metadata(),
        }
    }

    /// How long a compressed content is, as far as it tells.
    pub fn stated_size(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Compressed(file) => file.stated_size(),
        }
    }
}

impl AsRawFd for Opened {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Plain(file) => file.as_raw_fd(),
            Self::Compressed(file) => file.as_raw_fd(),
        }
    }
}

impl Content for Opened {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.fill_at(buffer, offset),
            Self::Compressed(file) => file.fill_at(buffer, offset),
        }
    }
}

/// A file that was found and opened.
#[derive(Debug)]
pub struct Found {
    pub opened: Opened,
    pub path: Arc<Path>,
    pub origin: Arc<Path>,
    pub family: Arc<Path>,
    pub attributes: Attributes,
    pub start: Option<Box<Point>>,
    pub former: Option<u64>,
    pub heritage: Option<Box<Heritage>>,
}

impl FollowedFile {
    pub fn new(found: Found, source: Arc<Source>, attention: Arc<Attention>, sequence: u64) -> Self {
        let head = identity::head(&found.opened).unwrap_or_default();
        let is_compressed = matches!(found.opened, Opened::Compressed(_));
        let size = match &found.opened {
            Opened::Plain(_) => found.attributes.size,
            Opened::Compressed(file) => file.stated_size().unwrap_or(found.attributes.size).max(1),
        };
        let acknowledged = vec![Point::default(); source.outputs.len()].into_boxed_slice();
        Self {
            sequence,
            source,
            origin: found.origin,
            family: found.family,
            key: found.attributes.key,
            born: found.attributes.born,
            file: found.opened,
            former: found.former,
            heritage: found.heritage,
            start: found.start,
            path: RwLock::new(Some(found.path)),
            size: AtomicU64::new(size),
            largest: AtomicU64::new(size),
            modified: AtomicI64::new(found.attributes.modified),
            version: AtomicU64::new(1),
            // Nothing is ever appended to a compressed file.
            flags: Flags { ended: is_compressed.into(), ..Flags::default() },
            known: Mutex::new(Known { head, acknowledged }),
            attention,
        }
    }

    /// What is the same for all of its lines.
    pub fn facts(&self) -> Facts {
        Facts {
            source: self.source.name.clone(),
            file: match &self.source.intake {
                Some(intake) => intake.name.to_owned(),
                None => self.origin.to_string_lossy().into_owned(),
            },
            fields: self.source.fields_of(&self.origin),
        }
    }

    /// Where the file is now; none when it is gone.
    pub fn path(&self) -> Option<Arc<Path>> {
        self.path.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_at(&self, path: &Path) -> bool {
        self.path.read().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(path)
    }

    /// Whether it was rotated already when the other one, which was found before, is still being written.
    pub fn is_older_than(&self, other: &Self) -> bool {
        !self.is_at(&self.origin) && other.is_at(&other.family)
    }

    pub fn set_path(&self, path: Option<Arc<Path>>) {
        *self.path.write().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Whether offsets are not those of the file.
    pub fn is_compressed(&self) -> bool {
        matches!(self.file, Opened::Compressed(_))
    }

    /// Notes the file's present size and time; whether they changed.
    pub fn look(&self) -> io::Result<bool> {
        let Opened::Plain(file) = &self.file else { return Ok(false) };
        if self.is_replaced() {
            return Ok(false);
        }
        let metadata = file.metadata()?;
        let size = self.size.swap(metadata.len(), Ordering::Relaxed);
        self.largest.fetch_max(metadata.len(), Ordering::Relaxed);
        let before = self.modified.swap(identity::modified(&metadata), Ordering::Relaxed);
        let changed = size != metadata.len() || before != identity::modified(&metadata);
        if metadata.len() < size {
            self.flags.shrunk.store(true, Ordering::Relaxed);
        } else if changed {
            self.grow_head(file)?;
        }
        if changed {
            self.touch();
        }
        Ok(changed)
    }

    /// A beginning that was short is taken anew when it has grown.
    fn grow_head(&self, file: &File) -> io::Result<()> {
        let mut known = self.known();
        if known.head.length() < HEAD {
            if identity::begins_with(file, known.head)? {
                known.head = identity::head(file)?;
            } else {
                self.flags.shrunk.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Whether the content is no longer the one that was followed: the file was truncated, and filled again or not.
    pub fn has_other_content(&self) -> bool {
        let Opened::Plain(file) = &self.file else { return false };
        let known = self.known();
        let is_other = |point: &Point| !identity::continues_at(file, point).unwrap_or(true);
        // Where nothing was read yet, a shorter file with the same beginning is all that tells.
        let is_unread = known.acknowledged.iter().all(|point| point.offset == 0);
        !identity::begins_with(file, known.head).unwrap_or(true)
            || known.acknowledged.iter().any(is_other)
            || (is_unread && self.flags.shrunk.load(Ordering::Relaxed))
    }

    /// Whether it may have been truncated since [`Self::set_checked`].
    pub fn has_shrunk(&self) -> bool {
        self.flags.shrunk.load(Ordering::Relaxed)
    }

    /// It was looked at, and has the content that is followed.
    pub fn set_checked(&self) {
        self.flags.shrunk.store(false, Ordering::Relaxed);
    }

    /// Whether another file has the content that this one had, up to where it was read at least.
    pub fn is_original_of(&self, copy: &impl Content) -> bool {
        let known = self.known();
        let furthest = known.acknowledged.iter().max_by_key(|point| point.offset);
        known.head.length() > 0
            && identity::begins_with(copy, known.head).unwrap_or(false)
            && furthest.is_none_or(|point| identity::continues_at(copy, point).unwrap_or(false))
    }

    /// The same where no name says it: of lines that are not all alike.
    pub fn is_certain_original_of(&self, copy: &impl Content) -> bool {
        let furthest = self.known().acknowledged.iter().max_by_key(|point| point.offset).copied();
        furthest.is_some_and(|point| identity::differs(copy, &point).unwrap_or(false)) && self.is_original_of(copy)
    }

    /// Whether enough of it was read to tell a copy of it anywhere.
    pub fn is_known_well(&self) -> bool {
        self.known().acknowledged.iter().any(|point| point.offset >= WELL)
    }

    /// The content is another one than the reader knew: outputs read no further, and the discovery follows the new
    /// content as a file of its own, after a copy of the former one, if there is any.
    pub fn set_replaced(&self) {
        if !self.flags.replaced.swap(true, Ordering::AcqRel) {
            self.touch();
            self.attention.call(self.sequence);
        }
    }

    pub fn is_replaced(&self) -> bool {
        self.flags.replaced.load(Ordering::Acquire)
    }

    /// Whether its content is where others may rename or delete it: not replaced, nor left to us alone, as the file is that
    /// somebody has compressed.
    pub fn is_in_place(&self) -> bool {
        !self.is_replaced() && self.path().is_some() && !self.is_ours_alone()
    }

    /// Whether it is on disk only because of us.
    pub fn is_ours_alone(&self) -> bool {
        let ours = u64::from(self.is_pinned());
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() <= ours)
    }

    /// Bytes that were in the file when it was last looked at and that an output has not acknowledged.
    pub fn unread(&self) -> u64 {
        self.size().saturating_sub(self.least_acknowledged())
    }

    /// The same when the file was largest.
    pub fn unread_at_most(&self) -> u64 {
        self.largest.load(Ordering::Relaxed).saturating_sub(self.least_acknowledged())
    }

    fn least_acknowledged(&self) -> u64 {
        self.known().acknowledged.iter().map(|point| point.offset).min().unwrap_or(0)
    }

    /// All decoders are in use: the file is to be looked at again.
    pub fn wait_for_decoder(&self) {
        self.flags.lacks_decoder.store(true, Ordering::Relaxed);
    }

    /// Makes outputs look again that had no decoder; whether there were any.
    pub fn try_decoder(&self) -> bool {
        let lacked = self.flags.lacks_decoder.swap(false, Ordering::Relaxed);
        if lacked {
            self.touch();
        }
        lacked
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

    /// Of a content that is not the file's own.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
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

    /// Whether it was last written at a time that is yet to come.
    pub fn is_ahead_of(&self, now: SystemTime) -> bool {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(self.modified()).unwrap_or(0)) > now
    }

    /// A later file has taken its place, or it was deleted.
    pub fn is_rotated(&self) -> bool {
        self.flags.rotated.load(Ordering::Relaxed)
    }

    pub fn set_rotated(&self, rotated: bool) {
        self.flags.rotated.store(rotated, Ordering::Relaxed);
    }

    /// Rotated and quiet: a last line without its newline is complete as it is.
    pub fn has_ended(&self) -> bool {
        self.flags.ended.load(Ordering::Acquire)
    }

    pub fn set_ended(&self, ended: bool) {
        if self.flags.ended.swap(ended, Ordering::AcqRel) != ended {
            self.touch();
        }
    }

    /// A link in the agent's own folder keeps it on disk, whoever deletes it elsewhere.
    pub fn is_pinned(&self) -> bool {
        self.flags.pinned.load(Ordering::Relaxed)
    }

    pub fn set_pinned(&self, pinned: bool) {
        self.flags.pinned.store(pinned, Ordering::Relaxed);
    }

    /// Up to where the output at `slot` has acknowledged.
    pub fn acknowledged(&self, slot: usize) -> u64 {
        self.known().acknowledged.get(slot).map_or(0, |point| point.offset)
    }

    pub fn set_acknowledged(&self, slot: usize, up_to: Point) {
        if let Some(point) = self.known().acknowledged.get_mut(slot) {
            *point = up_to;
        }
    }

    /// Whether every output has all of it, as far as its size was seen.
    pub fn is_done(&self) -> bool {
        let size = self.size();
        let known = self.known();
        !known.acknowledged.is_empty() && known.acknowledged.iter().all(|point| point.offset >= size)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
