use super::facts::{Facts, compose_labels, written};
use super::podman::Podman;
use hostwright_duty::docker_root::{self, Description};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An engine's folder with an entry for each of its containers.
pub enum Engine {
    /// `containers` in a Docker Engine's data folder.
    Docker(PathBuf),
    /// One of Podman's storage.
    Podman(Box<Podman>),
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
