//! Objects of buckets that are kept as files of this host: the agent does it at an interval, bootstrap once.
//!
//! What enters: what the configuration names, and what the bucket tells; what leaves: files that appear whole, verified
//! and under their names at once. What survives a restart: of which object each file is, so that nothing is fetched
//! twice, and half of a file, so that it is gone on with.

use crate::bucket::{Bucket, BucketError, Download, Object, Verified};
use crate::config::buckets::fetch::{Fetch, What};
use crate::state::{StateError, StateFile};
use futures_util::{StreamExt as _, stream};
use nix::unistd::{Group, User};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

const VERSION: u32 = 1;
/// Objects under way at once.
const AT_ONCE: usize = 4;
/// A prefix with more objects is another matter than auxiliary data.
const MOST_OBJECTS: usize = 1_000_000;

/// Keeps what one entry of `fetch:` names.
#[derive(Debug)]
pub struct Fetcher {
    fetch: Fetch,
    owner: Option<(u32, u32)>,
    memory: StateFile<Memory>,
    files: BTreeMap<PathBuf, Held>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// So that another bucket's or prefix' memory is not taken for this one's.
    of: String,
    files: BTreeMap<PathBuf, Held>,
}

/// Of which object a file is, and how it was when it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    etag: Option<String>,
    sha256: Option<String>,
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

/// What came of asking a bucket.
#[derive(Debug, Default)]
pub struct Synced {
    /// Files that are as the bucket has them, those fetched now among them.
    pub files: usize,
    /// Files that were fetched or replaced now.
    pub fetched: Vec<PathBuf>,
    /// Files that went with their objects.
    pub removed: Vec<PathBuf>,
    /// What could not be done, in sentences.
    pub failed: Vec<String>,
    /// Files that only their size was to be compared of.
    pub unverified: usize,
}

/// Why nothing could be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The bucket.
    #[error("{0}")]
    Bucket(#[from] BucketError),
    /// What is known of the files.
    #[error("{0}")]
    State(#[from] StateError),
    /// No such user or group.
    #[error("there is no {kind} {name:?} on this host; create it, or leave the key out")]
    Nobody {
        /// "user" or "group".
        kind: &'static str,
        /// The name.
        name: String,
    },
}

impl Fetcher {
    /// Reads what is known of the files from `state`, a folder.
    ///
    /// # Errors
    /// The state cannot be read, or owner or group are not there.
    pub fn open(bucket: &str, number: usize, fetch: Fetch, state: &Path) -> Result<Self, FetchError> {
        let mut memory = StateFile::<Memory>::new(state.join(format!("{bucket}-{number}.json")), VERSION);
        let files = memory.load()?.filter(|memory| memory.of == of(&fetch)).unwrap_or_default().files;
        let owner = owner(&fetch)?;
        Ok(Self { fetch, owner, memory, files })
    }

    /// What it keeps.
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Asks the bucket, fetches what is new, and removes what is gone where that is wanted.
    ///
    /// # Errors
    /// The bucket does not answer or refuses; what concerns one file alone is in [`Synced::failed`].
    pub async fn sync(&mut self, bucket: &Bucket) -> Result<Synced, FetchError> {
        let mut synced = Synced::default();
        let mut wanted = BTreeMap::new();
        for object in self.objects(bucket).await? {
            match self.path_of(&object.key) {
                Ok(Some(path)) => {
                    wanted.insert(path, object);
                }
                Ok(None) => {}
                Err(why) => synced.failed.push(format!("{:?} cannot be a file here: {why}", object.key)),
            }
        }
        let changed: Vec<_> = wanted.iter().filter(|(path, object)| !self.is_held(path, object)).collect();
        synced.files = wanted.len() - changed.len();
        let fetching = changed.into_iter().map(|(path, object)| Box::pin(self.bring(bucket, path, object)));
        let fetching: Vec<_> = fetching.collect();
        let brought: Vec<_> = stream::iter(fetching).buffer_unordered(AT_ONCE).collect().await;
        for one in brought {
            match one {
                Ok((path, held, verified)) => {
                    synced.unverified += usize::from(verified == Verified::SizeAlone);
                    self.files.insert(path.clone(), held);
                    synced.fetched.push(path);
                }
                Err(why) => synced.failed.push(why),
            }
        }
        synced.files += synced.fetched.len();
        self.remove_gone(&wanted, &mut synced);
        self.memory.store(&Memory { of: of(&self.fetch), files: self.files.clone() })?;
        Ok(synced)
    }

    async fn objects(&self, bucket: &Bucket) -> Result<Vec<Object>, BucketError> {
        match &self.fetch.what {
            What::Key(key) => {
                let found = bucket.head(key).await?;
                found.map(|object| vec![object]).ok_or_else(|| bucket.no_such_object(key))
            }
            What::Prefix(prefix) => bucket.list(prefix, MOST_OBJECTS).await,
        }
    }

    /// Where an object goes; nothing for what some tools make to stand for a folder.
    fn path_of(&self, key: &str) -> Result<Option<PathBuf>, &'static str> {
        let What::Prefix(prefix) = &self.fetch.what else { return Ok(Some(self.fetch.to.clone())) };
        let rest = key.strip_prefix(prefix.as_str()).unwrap_or(key).trim_start_matches('/');
        if rest.is_empty() || rest.ends_with('/') {
            return Ok(None);
        }
        let names = Path::new(rest).components().all(|part| matches!(part, Component::Normal(_)));
        if !names || rest.contains("//") || rest.contains('\0') || rest.split('/').any(|name| name == ".") {
            return Err("its parts between '/' must be names");
        }
        if rest.split('/').any(|name| name.len() > 255) {
            return Err("a file name can have 255 bytes");
        }
        if rest.split('/').any(|name| name.starts_with(".hostwright-")) {
            return Ok(None);
        }
        Ok(Some(self.fetch.to.join(rest)))
    }

    /// Whether the file is the one that was placed, of this very object.
    fn is_held(&self, path: &Path, object: &Object) -> bool {
        let Some(held) = self.files.get(path) else { return false };
        let same = match (&object.etag, &held.etag) {
            (Some(now), Some(then)) => now == then,
            _ => object.sha256.is_some() && object.sha256 == held.sha256,
        };
        same && object.size == held.size && stamp(path).is_ok_and(|now| now == (held.modified, held.inode))
    }

    async fn bring(&self, bucket: &Bucket, path: &Path, object: &Object) -> Result<(PathBuf, Held, Verified), String> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.make_folder(folder).map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
        let download = Download { mode: self.fetch.mode, owner: self.owner, ..Download::new(&object.key, path) };
        let got = bucket.download(download).await.map_err(|error| error.to_string())?;
        let (modified, inode) = stamp(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        // The ETag that the listing gave, where it gave one: it is what is compared the next time.
        let etag = object.etag.clone().or(got.object.etag);
        let held = Held { etag, sha256: got.object.sha256, size: got.object.size, modified, inode };
        Ok((path.to_owned(), held, got.verified))
    }

    /// Folders inside the target: no link leads out of it.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        if matches!(self.fetch.what, What::Key(_)) {
            return Ok(());
        }
        if folder.canonicalize()?.starts_with(self.fetch.to.canonicalize()?) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "a symbolic link on the way leads out of the target"))
    }

    fn remove_gone(&mut self, wanted: &BTreeMap<PathBuf, Object>, synced: &mut Synced) {
        let gone: Vec<_> = self.files.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in gone {
            let Some(held) = self.files.remove(&path) else { continue };
            // What somebody has changed since is not ours any more.
            let ours = stamp(&path).is_ok_and(|now| now == (held.modified, held.inode));
            if !self.fetch.delete || !ours {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => synced.removed.push(path),
                Err(error) => {
                    synced.failed.push(format!("{} cannot be removed: {error}", path.display()));
                    self.files.insert(path, held);
                }
            }
        }
    }
}

fn of(fetch: &Fetch) -> String {
    format!("{:?} {}", fetch.what, fetch.to.display())
}

fn stamp(path: &Path) -> io::Result<((i64, i64), u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(((metadata.mtime(), metadata.mtime_nsec()), metadata.ino()))
}

fn owner(fetch: &Fetch) -> Result<Option<(u32, u32)>, FetchError> {
    if fetch.owner.is_none() && fetch.group.is_none() {
        return Ok(None);
    }
    let nobody = |kind, name: &String| FetchError::Nobody { kind, name: name.clone() };
    let mut ids = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if let Some(name) = &fetch.owner {
        let user = User::from_name(name).ok().flatten().ok_or_else(|| nobody("user", name))?;
        ids = (user.uid.as_raw(), user.gid.as_raw());
    }
    if let Some(name) = &fetch.group {
        ids.1 = Group::from_name(name).ok().flatten().ok_or_else(|| nobody("group", name))?.gid.as_raw();
    }
    Ok(Some(ids))
}

#[cfg(test)]
mod tests {
    use super::Fetcher;
    use crate::bucket::Bucket;
    use crate::config::buckets::{self, fetch::Fetch, fetch::What};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::time::Duration;

    fn fetch(what: What, to: &Path, delete: bool) -> Fetch {
        let every = Duration::from_secs(1);
        Fetch { what, to: to.to_owned(), every, owner: None, group: None, mode: 0o640, delete }
    }

    fn bucket(folder: &Path) -> Bucket {
        Bucket::open("b", &buckets::Bucket::Folder(folder.join("bucket"))).expect("opened")
    }

    #[tokio::test]
    async fn a_prefix_is_kept_as_the_bucket_has_it_and_what_others_changed_is_put_right() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = folder.path().join("bucket/aux");
        fs::create_dir_all(source.join("dem")).expect("made");
        fs::write(source.join("a"), "1").expect("written");
        fs::write(source.join("dem/b"), "2").expect("written");
        fs::write(source.join("dem/c"), "3").expect("written");
        let to = folder.path().join("to");
        let bucket = bucket(folder.path());
        let open = || {
            let fetch = fetch(What::Prefix("aux/".into()), &to, true);
            Fetcher::open("b", 0, fetch, folder.path()).expect("opened")
        };
        let mut fetcher = open();
        let synced = fetcher.sync(&bucket).await.expect("synced");
        assert_eq!((synced.files, synced.fetched.len(), synced.failed.len()), (3, 3, 0));
        assert_eq!(fs::read_to_string(to.join("dem/b")).expect("read"), "2");
        assert_eq!(to.join("a").metadata().expect("there").permissions().mode() & 0o777, 0o640);
        // What was replaced here or there is fetched, by a later process too; what is gone goes.
        fs::write(to.join("a"), "other").expect("written");
        fs::remove_file(source.join("dem/b")).expect("removed");
        fs::write(to.join("own"), "stays").expect("written");
        // Gone there and changed here: it is the host's own now.
        fs::remove_file(source.join("dem/c")).expect("removed");
        fs::write(to.join("dem/c"), "somebody's").expect("written");
        let synced = open().sync(&bucket).await.expect("synced");
        assert_eq!((synced.fetched.len(), synced.removed.len()), (1, 1), "{synced:?}");
        assert_eq!(fs::read_to_string(to.join("a")).expect("read"), "1");
        assert!(to.join("own").exists() && !to.join("dem/b").exists());
        assert_eq!(fs::read_to_string(to.join("dem/c")).expect("read"), "somebody's");
    }

    #[tokio::test]
    async fn no_link_leads_out_of_the_target_and_one_file_harms_no_other() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = folder.path().join("bucket");
        fs::create_dir_all(source.join("out")).expect("made");
        fs::write(source.join("out/x"), "1").expect("written");
        fs::write(source.join("y"), "2").expect("written");
        let to = folder.path().join("to");
        fs::create_dir(&to).expect("made");
        std::os::unix::fs::symlink(folder.path(), to.join("out")).expect("linked");
        let fetch = fetch(What::Prefix(String::new()), &to, false);
        let mut fetcher = Fetcher::open("b", 0, fetch, folder.path()).expect("opened");
        let synced = fetcher.sync(&bucket(folder.path())).await.expect("synced");
        assert!(synced.failed[0].contains("leads out"), "{synced:?}");
        assert_eq!(synced.fetched, [to.join("y")]);
        assert!(!folder.path().join("x").exists());
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_and_a_user_that_is_not_are_said() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let entry = fetch(What::Key("config".into()), &folder.path().join("f"), false);
        let mut fetcher = Fetcher::open("b", 0, entry.clone(), folder.path()).expect("opened");
        let error = fetcher.sync(&bucket(folder.path())).await.expect_err("missing").to_string();
        assert!(error.contains("no such object") && error.contains("config"), "{error}");
        let nobody = Fetch { owner: Some("no-such-user".into()), ..entry };
        let error = Fetcher::open("b", 0, nobody, folder.path()).expect_err("refused").to_string();
        assert!(error.contains("no user \"no-such-user\""), "{error}");
    }
}
