use super::datasource::{Cached, Seed};
use super::host::Host;
use super::steps::journal::Journal;
use anyhow::Context as _;
use hostwright_core::atomic_file;
use hostwright_core::hex::hex;
use hostwright_core::state::StateFile;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where the folders of instances are.
pub const FOLDER: &str = "/var/lib/hostwright/bootstrap";
/// User-data and vendor-data are bounded, and packed once more.
const MAX_SEED: u64 = 64 << 20;

/// The folders of the instances that this disk has been, and the right to change them.
pub struct Instances {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Instances {
    /// Makes sure that no other bootstrap is at work.
    ///
    /// # Errors
    /// One is, or the folder cannot be made.
    pub fn lock(host: &Host) -> anyhow::Result<Self> {
        let folder = host.path(FOLDER);
        make_private(&folder).with_context(|| format!("cannot make {}; is the disk writable?", folder.display()))?;
        let path = folder.join("lock");
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}; is the disk writable?", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { folder, _lock: lock }),
            Err((_, Errno::EAGAIN)) => anyhow::bail!("another hostwright-bootstrap is at work; let it finish"),
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The id of the instance that this host was last configured as.
    pub fn last(&self) -> Option<String> {
        match self.state().load() {
            Ok(id) => id,
            Err(error) => {
                log::warn!("{error}");
                None
            }
        }
    }

    /// The folder and journal of an instance, with a copy of its user-data.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn open(&self, id: &str, user_data: &[u8], boot_id: &str) -> anyhow::Result<(PathBuf, Journal)> {
        let folder = self.folder.join(folder_name(id));
        let opened = || -> anyhow::Result<Journal> {
            make_private(&folder)?;
            let copy = folder.join("user-data");
            if !std::fs::read(&copy).is_ok_and(|before| before == user_data) {
                atomic_file::replace(&copy, user_data, 0o600)?;
            }
            let mut state = self.state();
            state.load()?;
            state.store(&id.to_owned())?;
            Ok(Journal::open(folder.join("journal"), boot_id)?)
        };
        let journal = opened().with_context(|| {
            format!("cannot record anything in {}; see that it is writable and has space", folder.display())
        })?;
        Ok((folder, journal))
    }

    /// What a metadata service said in an earlier boot of the instance that this host was last configured as.
    pub fn cached(&self) -> Option<Cached> {
        let path = self.folder.join(folder_name(&self.last()?)).join("seed.json");
        let text = super::host::read_bounded(&path, MAX_SEED).ok()?;
        serde_json::from_slice(&text).inspect_err(|error| log::warn!("{} is passed over: {error}", path.display())).ok()
    }

    /// Keeps what a metadata service said, in the instance's folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn remember(folder: &Path, seed: &Seed) -> anyhow::Result<()> {
        let Some(identity) = &seed.identity else { return Ok(()) };
        let cached = Cached { identity: identity.clone(), seed: seed.clone() };
        let path = folder.join("seed.json");
        let bytes = serde_json::to_vec(&cached)?;
        atomic_file::replace(&path, &bytes, 0o600).with_context(|| format!("cannot write {}", path.display()))
    }

    fn state(&self) -> StateFile<String> {
        StateFile::new(self.folder.join("instance.json"), 1)
    }
}

/// The folder of an instance, whether it is there or not.
pub fn folder(host: &Host, id: &str) -> PathBuf {
    host.path(FOLDER).join(folder_name(id))
}

/// Root's alone: user-data and the output of commands may hold secrets.
fn make_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// An instance's id as a name that is safe as a folder's and differs for different ids.
fn folder_name(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    // Names of files have 255 bytes at most; `lock` and `instance.json` stand beside them.
    if name.len() > 200 || matches!(name.as_str(), "lock" | "instance.json") {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(id);
        name = format!("%sha256-{}", hex(&digest));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Instances, folder_name};
    use crate::boot::host::Host;

    #[test]
    fn an_instance_id_is_never_a_path() {
        assert_eq!(folder_name("i-0abc.def_1"), "i-0abc.def_1");
        assert_eq!(folder_name("../etc/x"), "%2e.%2fetc%2fx");
        assert!(folder_name(&"/".repeat(500)).len() < 255);
        assert_ne!(folder_name("lock"), "lock");
    }

    #[test]
    fn only_one_bootstrap_is_at_work() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let first = Instances::lock(&host).expect("locked");
        let error = Instances::lock(&host).err().expect("refused");
        assert!(error.to_string().contains("another hostwright-bootstrap"), "{error}");
        first.open("i-1", b"#cloud-config\n", "b").expect("opened");
        assert_eq!(first.last().as_deref(), Some("i-1"));
        drop(first);
        Instances::lock(&host).expect("free again");
    }
}
