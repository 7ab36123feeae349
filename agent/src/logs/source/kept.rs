use super::admission::Candidate;
use super::followed::{FollowedFile, Found, Opened};
use super::following::{Following, by_key};
use super::identity::Attributes;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Files that are in no folder any more and that an output lacks, by the duty's folder for state. They are read from their
/// descriptors as long as the agent runs: also after it has loaded its configuration anew, or the duty has failed.
static KEPT: Mutex<Vec<(PathBuf, Arc<FollowedFile>)>> = Mutex::new(Vec::new());

/// Keeps what a search leaves behind that ends.
pub fn keep<'f>(state: &Path, files: impl Iterator<Item = &'f Arc<FollowedFile>>) {
    let is_meant =
        |file: &&Arc<FollowedFile>| file.path().is_none() && file.source.intake.is_none() && !file.is_replaced();
    let unread = files.filter(is_meant).filter(|file| file.look().is_ok() && file.unread() > 0);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend(unread.map(|file| (state.to_owned(), file.clone())));
}

/// What the search before this one has left.
pub fn take(state: &Path) -> Vec<Arc<FollowedFile>> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let (ours, others) = std::mem::take(&mut *kept).into_iter().partition(|(of, _)| of == state);
    *kept = others;
    let ours: Vec<(PathBuf, Arc<FollowedFile>)> = ours;
    ours.into_iter().map(|(_, file)| file).collect()
}

impl Following {
    /// The files that were kept, to be followed again; not those that are in a folder all the same.
    pub(super) fn take_kept(&mut self, found: &[(Candidate, Found)]) -> Vec<(Candidate, Found)> {
        let is_found: HashSet<_> = found.iter().map(|(candidate, _)| candidate.attributes.key).collect();
        let mut again = Vec::new();
        for file in std::mem::take(&mut self.kept) {
            if is_found.contains(&file.key) || self.by_key.contains_key(&by_key(file.key)) {
                continue;
            }
            match reopened(&file) {
                Ok(found) => again.push(found),
                Err(error) => {
                    log::error!(source = self.source.name; "logs: cannot read {} on, which was deleted: {error}", file.origin.display());
                }
            }
        }
        again
    }
}

/// Under a name that tells nothing, as a file has one that is about to be compressed.
fn reopened(file: &FollowedFile) -> io::Result<(Candidate, Found)> {
    let path: Arc<Path> = PathBuf::from(format!("/proc/self/fd/{}", file.file.as_raw_fd())).into();
    let open = File::open(&path)?;
    let attributes = Attributes::of(&open.metadata()?);
    let candidate = Candidate {
        path: path.clone(),
        home: path.clone(),
        folder: Path::new("").into(),
        name: OsString::new(),
        inode: attributes.key.inode,
        attributes,
        wanted: false,
        is_link: false,
        held: None,
        is_gone: false,
    };
    let found = Found {
        opened: Opened::of(open)?,
        path,
        origin: file.origin.clone(),
        family: file.family.clone(),
        attributes,
        start: file.start.as_deref().copied().map(Box::new),
        former: None,
        heritage: None,
    };
    Ok((candidate, found))
}
