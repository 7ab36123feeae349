use super::facts::{Facts, written};
use super::podman_labels::Labels;
use hostwright_duty::docker_root::read;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Storage drivers, of which each has a folder of its own.
const DRIVERS: [&str; 3] = ["overlay", "vfs", "btrfs"];
/// In a container's folder: how its runtime starts it, written at each start.
const START: &str = "userdata/config.json";
/// Names and images of all containers.
const LIST: &str = "containers.json";

/// Podman's containers in its storage (containers-storage), for one driver. Its database is its own, and its service need
/// not run: what is read is there while containers are.
pub struct Podman {
    folder: PathBuf,
    listed: Option<SystemTime>,
    /// Name and image by id.
    names: HashMap<OsString, (String, String)>,
    /// Where the number of its first process is, with the time of the start that said so.
    pid_files: HashMap<OsString, (SystemTime, Option<PathBuf>)>,
    labels: Labels,
}

/// An entry of the list.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON in a text.
    #[serde(default)]
    metadata: String,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, rename = "image-name")]
    image: String,
}

/// What the runtime is told (OCI runtime specification), as far as it matters here.
#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Mount {
    #[serde(default)]
    source: PathBuf,
}

impl Podman {
    /// Those of a storage, one for each driver.
    pub fn all_of(storage: &Path) -> impl Iterator<Item = Self> {
        DRIVERS.into_iter().map(move |driver| Self {
            folder: storage.join(format!("{driver}-containers")),
            listed: None,
            names: HashMap::new(),
            pid_files: HashMap::new(),
            labels: Labels::new(storage),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the list where it changed, and takes labels where they came in.
    pub fn refresh(&mut self) -> bool {
        let is_labelled = self.labels.refresh(self.pid_files.keys());
        self.read_list() || is_labelled
    }

    fn read_list(&mut self) -> bool {
        let list = self.folder.join(LIST);
        let at = written(&list);
        if at.is_none() || at == self.listed {
            return false;
        }
        // One that is just being written is read at the next scrape.
        let Some(all) = read::<Vec<Listed>>(&list) else { return false };
        self.names = all.into_iter().map(named).collect();
        self.pid_files.retain(|id, _| self.names.contains_key(id));
        self.listed = at;
        true
    }

    /// When it was started last.
    pub fn written(&mut self, id: &OsStr) -> Option<SystemTime> {
        let own = self.folder.join(id);
        let start = written(&own.join(START))?;
        if self.pid_files.get(id).is_none_or(|(at, _)| *at != start) {
            self.pid_files.insert(id.to_owned(), (start, pid_file(&own, id)));
        }
        let (_, file) = self.pid_files.get(id)?;
        Some(file.as_deref().and_then(written).map_or(start, |pid| pid.max(start)))
    }

    pub fn facts(&self, id: &OsStr) -> Facts {
        let (name, image) = self.names.get(id).cloned().unwrap_or_default();
        let file = self.pid_files.get(id).and_then(|(_, file)| file.as_deref());
        let text = file.and_then(|file| fs::read_to_string(file).ok());
        Facts {
            name,
            image,
            labels: self.labels.of(id),
            process: text.and_then(|text| text.trim().parse().ok()),
            started: file.and_then(written).and_then(|at| Timestamp::try_from(at).ok()),
            // The file stays when the process ends, and is written anew when there is another.
            may_come: false,
        }
    }
}

/// It is in the folder for what does not outlive a boot, from which some files are mounted into every container.
fn pid_file(own: &Path, id: &OsStr) -> Option<PathBuf> {
    let start: Start = read(&own.join(START))?;
    let of_run = |mount: &Mount| {
        let folder = mount.source.parent().filter(|folder| folder.ends_with("userdata"))?;
        let is_of_this = folder.parent().and_then(Path::file_name) == Some(id);
        (is_of_this && !folder.starts_with(own)).then(|| folder.join("pidfile"))
    };
    start.mounts.iter().find_map(of_run)
}

fn named(one: Listed) -> (OsString, (String, String)) {
    let metadata: Metadata = serde_json::from_str(&one.metadata).unwrap_or_default();
    (one.id.into(), (one.names.into_iter().next().unwrap_or_default(), metadata.image))
}

#[cfg(test)]
mod tests {
    use super::Podman;
    use std::ffi::OsStr;
    use std::fs;

    #[test]
    fn a_container_is_told_by_what_its_storage_keeps() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        let metadata = r#"{\"image-name\":\"docker.io/library/shop:1.2\",\"name\":\"web\"}"#;
        write(
            "storage/overlay-containers/containers.json",
            &format!(r#"[{{"id":"abc","names":["web"],"image":"1","metadata":"{metadata}","created":"x"}}]"#),
        );
        let run = root.join("run/overlay-containers/abc/userdata");
        let own = root.join("storage/overlay-containers/abc/userdata");
        let start = format!(
            r#"{{"ociVersion":"1","mounts":[{{"source":"proc"}},{{"destination":"/x"}},{{"source":"{0}/shm"}},{{"source":"{1}/hosts"}}]}}"#,
            own.display(),
            run.display()
        );
        write("storage/overlay-containers/abc/userdata/config.json", &start);
        write("run/overlay-containers/abc/userdata/pidfile", "4711");
        let mut podman = Podman::all_of(&root.join("storage")).next().expect("of overlay");
        assert!(podman.refresh() && !podman.refresh(), "read once");
        let at = podman.written(OsStr::new("abc"));
        let facts = podman.facts(OsStr::new("abc"));
        assert_eq!((&facts.name[..], &facts.image[..]), ("web", "docker.io/library/shop:1.2"));
        assert!(facts.process == Some(4711) && facts.started.is_some() && at.is_some());
        assert_eq!(podman.written(OsStr::new("containers.json")), None);
        write("run/overlay-containers/abc/userdata/pidfile", "");
        assert_eq!(podman.facts(OsStr::new("abc")).process, None);
    }
}
