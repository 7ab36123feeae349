use super::claims::{Claim, Claims, Owner};
use super::find::{Finder, walk};
use super::folder::{Folder, Found, is_gone};
use super::key::Keys;
use super::ledger::Ledger;
use super::open_files::{FileId, OpenFiles};
use super::watch::Watch;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A file that changed this long before it was first seen may have been uploaded by somebody who has forgotten it.
const OLD: Duration = Duration::from_secs(60);
/// How soon a file that somebody has open is looked at again; its closing is usually told by the kernel.
const STILL_OPEN: Duration = Duration::from_secs(1);

/// Files that were uploaded and deleted here whose keys stay theirs: another file of that key would overwrite the only
/// copy. The latest, because memory is bounded.
const DELETED: usize = 10_000;

/// What an intake is made for.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) product: Arc<str>,
    pub(super) folder: Folder,
    /// The bucket.
    pub(super) place: Arc<str>,
    pub(super) keys: Keys,
    pub(super) quiet: Duration,
    /// Whether local files are deleted once they are confirmed.
    pub(super) delete: bool,
}

/// Walks a folder and says which files are to be uploaded, and under which keys.
#[derive(Debug)]
pub(super) struct Intake {
    scope: Scope,
    ledger: Arc<Ledger>,
    claims: Arc<Claims>,
    finder: Finder,
    watch: Watch,
    /// The keys that this product's files have.
    claimed: HashMap<Arc<str>, Claim>,
    walked_before: bool,
    told_of_hidden: bool,
}

/// What a walk brought.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    /// Files to be uploaded, with their keys, and whether the bucket may have them already.
    pub(super) finished: Vec<(Found, Arc<str>, bool)>,
    pub(super) refused: Vec<(String, String)>,
    pub(super) in_use: Vec<(String, String)>,
    pub(super) unfinished: usize,
    /// When the next file may be finished.
    pub(super) due: Option<Instant>,
}

impl Intake {
    /// An intake for a folder; takes the keys of files that are confirmed already.
    pub(super) fn new(scope: Scope, ledger: Arc<Ledger>, claims: Arc<Claims>) -> Self {
        let mut claimed = HashMap::new();
        for (path, claim) in ledger.claims() {
            let owner = Owner { product: scope.product.clone(), path: path.clone() };
            if claims.take(&claim, &owner).is_ok() {
                claimed.insert(path, claim);
            }
        }
        let finder = Finder::new(scope.quiet);
        let watch = Watch::default();
        Self { scope, ledger, claims, finder, watch, claimed, walked_before: false, told_of_hidden: false }
    }

    /// Waits until something happened in the folder; cancel-safe.
    pub(super) async fn happened(&self) {
        self.watch.happened().await;
    }

    /// Walks the folder. Files of `uploading` are left alone.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) async fn walk(&mut self, uploading: &HashSet<Arc<str>>) -> io::Result<Harvest> {
        let (folder, mut watch) = (self.scope.folder.clone(), std::mem::take(&mut self.watch));
        let walked = tokio::task::spawn_blocking(move || {
            // First the watch, so that nothing happens between the two unseen.
            watch.renew(&folder);
            (watch, walk(&folder))
        });
        let (watch, walked) = walked.await.map_err(io::Error::other)?;
        self.watch = watch;
        let walked = walked?;
        if !walked.incomplete {
            self.forget_the_gone(&walked.files, uploading);
        }
        let mut harvest = Harvest { refused: walked.refused, ..Harvest::default() };
        let (mut open, mut confirmed) = (Vec::new(), Vec::new());
        for found in walked.files.into_iter().filter(|found| !uploading.contains(&found.path)) {
            match self.scope.keys.render(&found) {
                Err(why) => harvest.refused.push((found.path.to_string(), why)),
                Ok(key) if self.ledger.holds(&found.path, &found.stamp.fingerprint, &self.scope.place, &key) => {
                    confirmed.push(found);
                }
                Ok(_) => open.push(found),
            }
        }
        let quiet = self.finder.pick(open, Instant::now(), SystemTime::now());
        (harvest.unfinished, harvest.due) = (quiet.unfinished, quiet.due);
        if !self.scope.delete {
            confirmed.clear();
        }
        let writers = self.writers(quiet.files.iter().chain(&confirmed)).await?;
        self.take(quiet.files, &writers, &mut harvest);
        self.delete(confirmed, &writers, &mut harvest).await;
        self.walked_before = true;
        Ok(harvest)
    }

    /// Picks those that nobody writes and whose key nobody else has.
    fn take(&mut self, quiet: Vec<Found>, writers: &OpenFiles, harvest: &mut Harvest) {
        for found in quiet {
            if let Some(who) = writers.writer(id(&found)) {
                harvest.in_use.push((found.path.to_string(), format!("open for writing by {who}")));
                let again = Instant::now() + STILL_OPEN.max(self.scope.quiet);
                harvest.due = Some(harvest.due.map_or(again, |due| due.min(again)));
                continue;
            }
            // Rendered again rather than kept: most files of a large folder are not to be uploaded.
            let Ok(key) = self.scope.keys.render(&found) else { continue };
            match self.claim(&found.path, &key) {
                Ok(key) => {
                    let may_be_there = !self.walked_before || found.stamp.age(SystemTime::now()) > OLD;
                    harvest.finished.push((found, key, may_be_there));
                }
                Err(Owner { product, path }) => {
                    let why = format!(
                        "its key {key:?} belongs to {path:?} of {product}; rename one, or tell them apart in `key`"
                    );
                    harvest.refused.push((found.path.to_string(), why));
                }
            }
        }
    }

    /// Deletes files that the bucket has confirmed, as they are, and nobody writes.
    async fn delete(&self, confirmed: Vec<Found>, writers: &OpenFiles, harvest: &mut Harvest) {
        let unused: Vec<_> = confirmed.into_iter().filter(|found| writers.writer(id(found)).is_none()).collect();
        if unused.is_empty() {
            return;
        }
        // Where the state cannot be written (a full disk, say) the bucket's word is enough: space comes first.
        let _ = self.ledger.save(true).await;
        let folder = self.scope.folder.clone();
        let deleted = tokio::task::spawn_blocking(move || {
            unused
                .into_iter()
                .filter_map(|found| Some((found.path.to_string(), delete(&folder, &found).err()?)))
                .collect()
        });
        let failed: Vec<(String, io::Error)> = deleted.await.unwrap_or_default();
        let failed =
            failed.into_iter().map(|(path, error)| (path, format!("uploaded, but cannot be deleted: {error}")));
        harvest.refused.extend(failed);
    }

    async fn writers(&mut self, files: impl Iterator<Item = &Found>) -> io::Result<OpenFiles> {
        let wanted: HashSet<_> = files.map(id).collect();
        let found = tokio::task::spawn_blocking(move || OpenFiles::find(&wanted)).await.map_err(io::Error::other)??;
        if found.hidden > 0 && !std::mem::replace(&mut self.told_of_hidden, true) {
            log::warn!(
                "{}: the open files of {} processes cannot be seen (CAP_SYS_PTRACE is missing); of what they write \
                 only the time since the last change tells whether it is finished",
                self.scope.product,
                found.hidden
            );
        }
        Ok(found)
    }

    fn claim(&mut self, path: &Arc<str>, key: &str) -> Result<Arc<str>, Owner> {
        let before = self.claimed.get(path);
        if let Some(before) = before.filter(|before| *before.key == *key && before.place == self.scope.place) {
            return Ok(before.key.clone());
        }
        let (claim, owner) = (Claim { place: self.scope.place.clone(), key: key.into() }, self.owner(path));
        self.claims.take(&claim, &owner)?;
        if let Some(before) = self.claimed.insert(path.clone(), claim.clone()) {
            self.claims.give_back(&before, &owner);
        }
        Ok(claim.key)
    }

    fn forget_the_gone(&mut self, files: &[Found], uploading: &HashSet<Arc<str>>) {
        let present: HashSet<&str> =
            files.iter().map(|found| &found.path).chain(uploading).map(|path| &**path).collect();
        self.ledger.forget_all_but(&present, if self.scope.delete { DELETED } else { 0 });
        let gone = self.claimed.keys().filter(|path| !present.contains(&***path) && !self.ledger.knows(path));
        let gone: Vec<_> = gone.cloned().collect();
        for path in gone {
            if let Some(claim) = self.claimed.remove(&path) {
                self.claims.give_back(&claim, &self.owner(&path));
            }
        }
    }

    fn owner(&self, path: &Arc<str>) -> Owner {
        Owner { product: self.scope.product.clone(), path: path.clone() }
    }
}

impl Drop for Intake {
    /// An intake that is made anew takes its keys anew.
    fn drop(&mut self) {
        for (path, claim) in &self.claimed {
            self.claims.give_back(claim, &self.owner(path));
        }
    }
}

fn id(found: &Found) -> FileId {
    (found.stamp.device, found.stamp.fingerprint.inode)
}

fn delete(folder: &Folder, found: &Found) -> io::Result<()> {
    let result = match folder.stamp(&found.path) {
        Ok(stamp) if stamp.same_content(&found.stamp) => folder.remove(&found.path),
        // It changed: a new product.
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    result.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}
