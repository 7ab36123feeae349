use super::model::{Fault, Keys, Model, Tree, regular};
use super::read;
use hostwright_core::hex::hex;
use hostwright_core::secret::{CREDENTIALS, Secret, credential};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A config or secret of this size is none.
const MAX_BYTES: u64 = 1 << 20;

/// A config or secret as a file in the container. A change of its content is a change of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceFile {
    pub target: String,
    /// Only its hash shows.
    #[serde(serialize_with = "hashed")]
    pub content: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Readable by all in the container unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

fn hashed<S: Serializer>(content: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(&Sha256::digest(content.expose().as_bytes())))
}

/// What the files of services are read with.
#[derive(Debug)]
pub struct Sources<'a> {
    pub model: &'a Model,
    /// Files that were read.
    pub watched: Vec<PathBuf>,
    pub faults: Vec<Fault>,
    /// Where the service manager puts credentials.
    pub credentials: PathBuf,
}

impl Sources<'_> {
    /// A service's configs and secrets.
    pub fn of(&mut self, name: &str, service: &Tree) -> Vec<ServiceFile> {
        let mut files = Vec::new();
        for (kind, folder) in [("configs", "/"), ("secrets", "/run/secrets/")] {
            for tree in read::list(service, kind) {
                match self.file(kind, folder, tree) {
                    Ok(file) => files.push(file),
                    Err(why) => {
                        self.faults.push(Fault::new(tree.at, &Keys::of(&format!("services.{name}.{kind}")), why));
                    }
                }
            }
        }
        files
    }

    fn file(&mut self, kind: &'static str, folder: &str, tree: &Tree) -> Result<ServiceFile, String> {
        let source = read::text(tree, "source").unwrap_or_default();
        let target = read::text(tree, "target").unwrap_or_else(|| source.clone());
        let target = if target.starts_with('/') { target } else { format!("{folder}{target}") };
        let id = |key: &str| -> Result<Option<u32>, String> {
            let text = read::text(tree, key);
            text.map(|text| text.parse().map_err(|_| format!("{key} takes a number, found {text:?}"))).transpose()
        };
        let mode = tree.get_text("mode").map(|digits| {
            let rights = u32::from_str_radix(digits, 8).ok().filter(|rights| *rights <= 0o7777);
            rights.ok_or_else(|| format!("mode takes octal digits up to 7777, found {digits}"))
        });
        let mode = mode.transpose()?;
        let (uid, gid) = (id("uid")?, id("gid")?);
        Ok(ServiceFile { target, content: Secret::new(self.content(kind, &source)?), uid, gid, mode })
    }

    fn content(&mut self, kind: &'static str, key: &str) -> Result<String, String> {
        let object = self.model.resources.get(kind).and_then(|all| all.get(key));
        let Some(object) = object else { return Err(format!("there is no {key:?} under the top-level {kind}")) };
        if let Some(content) = read::text(object, "content") {
            return Ok(content);
        }
        if let Some(variable) = read::text(object, "environment") {
            let content = self.model.contents.get(&(kind, key.to_owned())).cloned();
            return content.ok_or_else(|| format!("{key:?} is the variable {variable}, which is not set"));
        }
        let path = match read::text(object, "file") {
            Some(file) => PathBuf::from(file),
            None => self.credential(object.get_text("name").unwrap_or(key))?,
        };
        self.watched.push(path.clone());
        read_file(&path).map_err(|why| format!("cannot read {}: {why}", path.display()))
    }

    /// An external secret is a credential that the service manager hands to the agent.
    fn credential(&self, name: &str) -> Result<PathBuf, String> {
        credential(&self.credentials, name).ok_or_else(|| {
            format!(
                "there is no systemd credential {name:?}; put it into {CREDENTIALS}/{name} (mode 0600) and \
                 restart the agent"
            )
        })
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let bytes = regular::read(path, MAX_BYTES).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {} MiB; mount it under volumes", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is not text; mount it under volumes".into())
}

impl ServiceFile {
    /// Where it lies on the host, under a name that its content and rights decide.
    pub fn path(&self, folder: &Path) -> PathBuf {
        let rights = format!("{:?} {:?} {:?} ", self.uid, self.gid, self.mode);
        folder.join(hex(&Sha256::digest([rights.as_bytes(), self.content.expose().as_bytes()].concat())))
    }

    /// Writes it there if it is not there yet: whole, or not at all.
    pub fn place(&self, folder: &Path) -> io::Result<()> {
        use std::io::Write as _;
        let path = self.path(folder);
        if path.exists() {
            return Ok(());
        }
        // Only root looks into the folder; the files themselves are for whoever the container runs as.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(self.content.expose().as_bytes())?;
        std::os::unix::fs::fchown(&file, self.uid, self.gid)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(self.mode.unwrap_or(0o444)))?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }
}

/// The hosts' files of all services, so that two of one target are seen.
pub fn twice(files: &[ServiceFile]) -> Option<&str> {
    let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
    files.iter().map(|file| file.target.as_str()).find(|target| seen.insert(target, ()).is_some())
}
