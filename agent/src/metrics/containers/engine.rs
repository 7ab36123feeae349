use super::podman::Podman;
use crate::docker_root::{self, Description};
use jiff::Timestamp;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Compose's labels, as cAdvisor writes them.
const COMPOSE: [(&str, &str); 3] = [
    ("container_label_com_docker_compose_container_number", "com.docker.compose.container-number"),
    ("container_label_com_docker_compose_project", "com.docker.compose.project"),
    ("container_label_com_docker_compose_service", "com.docker.compose.service"),
];

/// An engine's folder with an entry for each of its containers.
pub enum Engine {
    /// `containers` in a Docker Engine's data folder.
    Docker(PathBuf),
    /// One of Podman's storage.
    Podman(Box<Podman>),
}

/// What an engine keeps of a container.
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    pub name: String,
    pub image: String,
    /// Labels of metrics.
    pub labels: Vec<(&'static str, String)>,
    /// The first process, of one that runs.
    pub process: Option<u32>,
    pub started: Option<Timestamp>,
    /// The process may be in its control groups a little later.
    pub may_come: bool,
}

impl Engine {
    /// Those that may be in this folder, whichever engine's it is.
    pub fn all_of(folder: &Path) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Docker(folder.join("containers")))
            .chain(Podman::all_of(folder).map(|podman| Self::Podman(Box::new(podman))))
    }

    /// Where its containers' entries are.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Docker(folder) => folder,
            Self::Podman(podman) => podman.folder(),
        }
    }

    /// Before containers are asked for; true where all that was known of them may have changed.
    pub fn refresh(&mut self) -> bool {
        match self {
            Self::Docker(_) => false,
            Self::Podman(podman) => podman.refresh(),
        }
    }

    /// When what is kept of a container was last written; none of what is no container.
    pub fn written(&mut self, id: &OsString) -> Option<SystemTime> {
        match self {
            Self::Docker(folder) => written(&folder.join(id).join(docker_root::FILE)),
            Self::Podman(podman) => podman.written(id),
        }
    }

    /// What is kept of it.
    pub fn facts(&self, id: &OsString) -> Facts {
        match self {
            Self::Docker(folder) => of_docker(&Description::of(&folder.join(id))),
            Self::Podman(podman) => podman.facts(id),
        }
    }
}

/// When a file was last written.
pub fn written(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|file| file.modified()).ok()
}

/// Compose's labels, as labels of metrics.
pub fn compose_labels<'l>(label: impl Fn(&str) -> Option<&'l str>) -> Vec<(&'static str, String)> {
    COMPOSE.iter().filter_map(|(name, given)| Some((*name, label(given)?.to_owned()))).collect()
}

fn of_docker(description: &Description) -> Facts {
    Facts {
        name: description.name().to_owned(),
        image: description.image().to_owned(),
        labels: compose_labels(|name| description.label(name)),
        process: description.pid(),
        started: description.started(),
        may_come: true,
    }
}
