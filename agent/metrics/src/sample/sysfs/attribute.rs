use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file of sysfs has at most a page.
const MOST: usize = 4096;
/// Longer texts are cut, as in the original: nobody puts a page into a label.
const MOST_IN_LABEL: usize = 128;
/// A host with thousands of devices or containers must leave room for other files: of those that may be open, a quarter
/// and no fewer than these. What goes beyond is opened for each read, which takes about twice as long.
const LEAST_FOR_OTHERS: u64 = 1024;
/// Where few may be open, and where the kernel's pages for them, one for each, come near the unit's MemoryMax.
const BOUNDS: (usize, usize) = (512, 16_384);

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The limit is that of the process when the first file is kept.
fn most_open() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    let left = |limit: u64| limit.saturating_sub(LEAST_FOR_OTHERS.max(limit / 4));
    let share = || getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(limit, _)| left(limit));
    let (least, most) = BOUNDS;
    *MOST.get_or_init(|| usize::try_from(share()).unwrap_or(most).clamp(least, most))
}

/// Where attributes are read into, one after the other. Most collectors read words and numbers, or nothing on this host:
/// it is as large as what was asked for so far.
#[derive(Debug, Default)]
pub struct Page(Vec<u8>);

impl Page {
    fn space(&mut self, most: usize) -> &mut [u8] {
        if self.0.len() < most {
            self.0.resize(most, 0);
        }
        &mut self.0[..most]
    }
}

/// A small file of sysfs that is kept open and read anew at every scrape.
#[derive(Debug)]
pub struct Attribute {
    pub(super) path: PathBuf,
    file: Option<Kept>,
}

/// An open file that is counted.
#[derive(Debug)]
struct Kept(File);

impl Kept {
    fn new(file: File) -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) >= most_open() {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(file))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Attribute {
    /// Nothing is opened before the first read.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds now, without space around it, cut to what a label takes.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read<'p>(&mut self, page: &'p mut Page) -> io::Result<&'p [u8]> {
        Ok(self.read_cut(page)?.trim_ascii())
    }

    /// The same with the space around it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read_cut<'p>(&mut self, page: &'p mut Page) -> io::Result<&'p [u8]> {
        self.take(page, MOST_IN_LABEL)
    }

    /// All that it holds now.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read_whole<'p>(&mut self, page: &'p mut Page) -> io::Result<&'p [u8]> {
        self.take(page, MOST)
    }

    /// As [`Self::read`], of a file that is seldom read and not kept open.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read_once<'p>(&self, page: &'p mut Page) -> io::Result<&'p [u8]> {
        let space = page.space(MOST_IN_LABEL);
        let length = File::open(&self.path)?.read_at(space, 0)?;
        Ok(space[..length].trim_ascii())
    }

    fn take<'p>(&mut self, page: &'p mut Page, most: usize) -> io::Result<&'p [u8]> {
        let space = page.space(most);
        if let Some(Kept(file)) = &self.file {
            match file.read_at(space, 0) {
                Ok(length) => return Ok(&space[..length]),
                // The file of a device that is gone fails for ever; its successor is found by opening.
                Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => self.file = None,
                Err(error) => return Err(error),
            }
        }
        let file = File::open(&self.path)?;
        // One read gives all of it: the kernel renders an attribute as a whole.
        let read = file.read_at(space, 0);
        self.file = Kept::new(file);
        Ok(&space[..read?])
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, Page, most_open};
    use std::fs;

    #[test]
    fn an_attribute_is_read_anew_and_its_successor_is_found() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("speed");
        let (mut file, mut page) = (Attribute::new(path.clone()), Page::default());
        assert!(file.read(&mut page).is_err());
        for content in ["1000\n", " -1 \n", ""] {
            fs::write(&path, content).expect("written");
            assert_eq!(file.read(&mut page).expect("readable"), content.trim().as_bytes());
        }
        fs::write(&path, "x".repeat(9000)).expect("written");
        assert_eq!(file.read(&mut page).expect("readable").len(), 128);
        assert_eq!(file.read_whole(&mut page).expect("readable").len(), 4096);
    }

    #[test]
    fn more_attributes_than_may_be_open_are_read_all_the_same() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        fs::write(&path, "1").expect("written");
        let mut page = Page::default();
        let mut files: Vec<_> = (0..2 * most_open()).map(|_| Attribute::new(path.clone())).collect();
        for file in &mut files {
            assert_eq!(file.read(&mut page).expect("readable"), b"1");
        }
        assert!(files.iter().filter(|file| file.file.is_some()).count() <= most_open());
    }
}
