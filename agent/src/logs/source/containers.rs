use globset::{Glob, GlobSet, GlobSetBuilder};
use hostwright_core::config::logs::containers::Containers as Settings;
use hostwright_duty::docker_root::{self, Description};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between looks at how the containers log.
const LOOK: Duration = Duration::from_secs(10);
/// The only driver whose files are meant to be read by others; `none` writes nothing by intention.
const READABLE: [&str; 2] = ["json-file", "none"];
/// Labels of Compose and of our jobs, and what they are called in a record.
const LABELS: [(&str, &str); 3] = [
    ("com.docker.compose.project", "compose_project"),
    ("com.docker.compose.service", "compose_service"),
    ("io.hostwright.job.id", "job_id"),
];

/// The containers of a source: which of them are meant, and what is known of each.
#[derive(Debug)]
pub struct Containers {
    folder: PathBuf,
    names: Option<GlobSet>,
    labels: BTreeMap<String, String>,
    unreadable: Mutex<Option<(Instant, Vec<String>)>>,
}

/// `hostconfig.json`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    r#type: String,
}

impl Containers {
    /// # Errors
    /// A pattern of names is not valid.
    pub fn new(settings: &Settings) -> Result<Self, globset::Error> {
        let mut names = GlobSetBuilder::new();
        for name in &settings.names {
            names.add(Glob::new(name)?);
        }
        Ok(Self {
            folder: settings.root.join("containers"),
            names: if settings.names.is_empty() { None } else { Some(names.build()?) },
            labels: settings.labels.clone(),
            unreadable: Mutex::default(),
        })
    }

    /// The files that the json-file driver writes.
    pub fn pattern(&self) -> String {
        format!("{}/*/*-json.log", self.folder.display())
    }

    /// Whether a log is of a container that is not meant.
    pub fn leave_out(&self, log: &Path) -> bool {
        let is_all = self.names.is_none() && self.labels.is_empty();
        !is_all && log.parent().is_none_or(|folder| !self.mean(&Description::of(folder)))
    }

    /// What is known of the container whose log this is: further fields of its records.
    pub fn fields(&self, log: &Path) -> BTreeMap<String, String> {
        let Some(folder) = log.parent() else { return BTreeMap::new() };
        let description = Description::of(folder);
        let id = folder.file_name().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
        let mut fields = BTreeMap::from([("container_id".to_owned(), id)]);
        let known = [("container_name", description.name()), ("image_name", description.image())];
        let labels = LABELS.iter().filter_map(|(label, name)| Some((*name, description.label(label)?)));
        let known = known.into_iter().chain(labels).filter(|(_, value)| !value.is_empty());
        fields.extend(known.map(|(name, value)| (name.to_owned(), value.to_owned())));
        fields
    }

    /// Which containers' logs cannot be read, and why, as sentences.
    pub fn problems(&self, source: &str) -> Vec<String> {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        match &*unreadable {
            Some((looked, known)) if looked.elapsed() < LOOK => known.clone(),
            _ => {
                let found = self.unreadable(source);
                *unreadable = Some((Instant::now(), found.clone()));
                found
            }
        }
    }

    fn unreadable(&self, source: &str) -> Vec<String> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                let folder = self.folder.display();
                return vec![format!(
                    "source {source}: cannot list {folder}: {error}; give the engine's data folder as root:, and see \
                     that the engine runs"
                )];
            }
        };
        let complaint = |entry: fs::DirEntry| {
            let folder = entry.path();
            let host: HostConfig = docker_root::read(&folder.join("hostconfig.json"))?;
            let driver = host.log_config.r#type;
            let description = Description::of(&folder);
            if driver.is_empty() || READABLE.contains(&driver.as_str()) || !self.mean(&description) {
                return None;
            }
            let advice = match driver.as_str() {
                "journald" => "add a source journal: for it",
                _ => "run it with the json-file driver",
            };
            let name = description.name();
            Some(format!(
                "source {source}: container {name} logs through the {driver} driver, which is not read here; {advice}, or leave it out by names: or labels:"
            ))
        };
        let mut all: Vec<_> = entries.filter_map(Result::ok).filter_map(complaint).collect();
        all.sort();
        all
    }

    fn mean(&self, description: &Description) -> bool {
        let has = |(name, value): (&String, &String)| {
            description.label(name).is_some_and(|found| value.is_empty() || found == value)
        };
        self.names.as_ref().is_none_or(|names| names.is_match(description.name())) && self.labels.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::Containers;
    use hostwright_core::config::logs::containers::Containers as Settings;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    const CONFIG: &str = r#"{"ID":"abc","Name":"/shop-web-1","Config":{"Image":"shop:1.2","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"},"Env":null},"LogPath":"x"}"#;

    fn containers(root: &Path, names: &[&str], labels: &[(&str, &str)]) -> Containers {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Containers::new(&Settings { names, labels, root: root.to_owned() }).expect("valid")
    }

    #[test]
    fn a_container_is_known_by_what_the_engine_keeps_beside_its_log() {
        let root = tempfile::tempdir().expect("temporary folder");
        let folder = root.path().join("containers/abc");
        fs::create_dir_all(&folder).expect("created");
        fs::write(folder.join("config.v2.json"), CONFIG).expect("written");
        fs::write(folder.join("hostconfig.json"), r#"{"LogConfig":{"Type":"journald","Config":{}}}"#).expect("written");
        let log = folder.join("abc-json.log");
        let all = containers(root.path(), &[], &[]);
        let expected = [
            ("compose_project", "shop"),
            ("compose_service", "web"),
            ("container_id", "abc"),
            ("container_name", "shop-web-1"),
            ("image_name", "shop:1.2"),
        ];
        let expected: BTreeMap<_, _> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(all.fields(&log), expected);
        assert!(!all.leave_out(&log));
        let problems = all.problems("s");
        assert!(problems[0].contains("container shop-web-1 logs through the journald driver"), "{problems:?}");
        for (names, labels, is_left_out) in [
            (&["shop-*"][..], &[][..], false),
            (&["db-*"], &[], true),
            (&[], &[("com.docker.compose.service", "web")], false),
            (&[], &[("com.docker.compose.service", "")], false),
            (&["shop-*"], &[("com.docker.compose.service", "db")], true),
        ] {
            let some = containers(root.path(), names, labels);
            assert_eq!(some.leave_out(&log), is_left_out, "{names:?} {labels:?}");
            assert_eq!(some.problems("s").is_empty(), is_left_out);
        }
        assert!(
            containers(Path::new("/nowhere"), &[], &[]).problems("s")[0].contains("cannot list /nowhere/containers")
        );
    }
}
