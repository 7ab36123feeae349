use crate::containers::engine::Blueprint;
use crate::containers::observed::Container;
use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;
const WENT_BACK: &str = "an operator went back";

/// Which versions of each service were good, and which one was refused.
pub struct Versions {
    file: StateFile<BTreeMap<String, Known>>,
    services: BTreeMap<String, Known>,
}

/// What is known of a service.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Known {
    /// The last one that showed that it is good.
    good: Option<Version>,
    /// The good one before it, of another kind.
    previous: Option<Version>,
    refused: Option<Refused>,
}

/// Something that a service's containers can be made from. It holds what the file gave them, secrets included.
#[derive(Clone, Serialize, Deserialize)]
pub struct Version {
    pub blueprint: Blueprint,
    pub since: Timestamp,
}

/// A version that is not tried again until something changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub hash: String,
    pub image_id: String,
    pub why: String,
    /// Whether nothing goes back for it, and nothing goes on either.
    #[serde(default)]
    pub is_paused: bool,
    /// How its log ends.
    pub last_lines: Vec<String>,
    pub at: Timestamp,
}

/// What a service's containers are to be made from.
pub enum Wanted<'a> {
    /// What the file says.
    File { hash: String, image_id: Option<&'a str>, must_be_image: bool },
    /// An earlier version, because the file's was refused.
    Earlier(&'a Version),
    /// The file's was refused, and no earlier one is known, or the update is paused: what is there stays. What is missing
    /// is made from this.
    WhatIsThere(Option<&'a Version>),
}

impl Wanted<'_> {
    /// Whether a container is made from it.
    pub fn is_met_by(&self, container: &Container) -> bool {
        match self {
            Self::File { hash, image_id, must_be_image } => {
                container.hash == *hash && (!must_be_image || image_id.is_none_or(|id| id == container.image_id))
            }
            Self::Earlier(version) => {
                let blueprint = &version.blueprint;
                container.hash == blueprint.hash && container.image_id == blueprint.image_id
            }
            Self::WhatIsThere(_) => true,
        }
    }
}

impl Versions {
    /// Reads what is known.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let mut file = StateFile::new(folder.join("versions.json"), FORMAT);
        let services = file.load()?.unwrap_or_default();
        Ok(Self { file, services })
    }

    /// What a service is to be made from, where the file says `hash` and its image is `image_id`.
    pub fn wanted<'a>(&'a self, service: &str, hash: String, image: (Option<&'a str>, bool)) -> Wanted<'a> {
        let (image_id, must_be_image) = image;
        let known = self.services.get(service);
        let refused = known.and_then(|known| known.refused.as_ref());
        if !refused.is_some_and(|refused| refused.is(&hash, image_id)) {
            return Wanted::File { hash, image_id, must_be_image };
        }
        match known.and_then(|known| known.good.as_ref()) {
            Some(version) if !refused.is_some_and(|refused| refused.is_paused) => Wanted::Earlier(version),
            version => Wanted::WhatIsThere(version),
        }
    }

    /// Why the file's version is not what runs, if it is not.
    pub fn refused(&self, service: &str) -> Option<&Refused> {
        self.services.get(service)?.refused.as_ref()
    }

    /// Whether this is the version that is known as good already.
    pub fn is_good(&self, service: &str, hash: &str, image_id: &str) -> bool {
        let good = self.services.get(service).and_then(|known| known.good.as_ref());
        good.is_some_and(|good| good.blueprint.hash == hash && good.blueprint.image_id == image_id)
    }

    /// Notes that a version has shown that it is good.
    pub fn good(&mut self, service: &str, blueprint: Blueprint) {
        let known = self.services.entry(service.to_owned()).or_default();
        let version = Version { blueprint, since: Timestamp::now() };
        known.previous = known.good.replace(version).or(known.previous.take());
    }

    /// Notes that a version is not to be tried again.
    pub fn refuse(&mut self, service: &str, refused: Refused) {
        let known = self.services.entry(service.to_owned()).or_default();
        let is_good = |good: &Version| refused.is(&good.blueprint.hash, Some(&good.blueprint.image_id));
        if known.good.as_ref().is_some_and(is_good) {
            // The one that is gone back to fails as well: what runs stays, rather than both in turn without an end.
            known.good = None;
            if known.refused.as_ref().is_some_and(|refused| refused.why != WENT_BACK) {
                return;
            }
        }
        known.refused = Some(refused);
    }

    /// Forgets a refusal: something changed, or an operator wants another try. Returns whether there was one.
    pub fn allow(&mut self, service: &str) -> bool {
        self.services.get_mut(service).is_some_and(|known| known.refused.take().is_some())
    }

    /// Forgets refusals of versions that are no longer what the file says.
    pub fn settle<'a>(&mut self, mut now: impl FnMut(&str) -> Option<(String, Option<&'a str>)>) {
        for (name, known) in &mut self.services {
            let Some(refused) = &known.refused else { continue };
            // An image that is not here at the moment is no change.
            if now(name).is_some_and(|(hash, image_id)| !refused.is(&hash, image_id)) {
                log::info!("{name}: it changed since it was refused, so it is tried");
                known.refused = None;
            }
        }
    }

    /// Goes back to the good version before the one that runs. Returns what it goes back to.
    ///
    /// # Errors
    /// There is none: a sentence for the operator.
    pub fn go_back(&mut self, service: &str) -> Result<Version, String> {
        let Some(known) = self.services.get_mut(service) else {
            return Err(format!("no version of {service} has been good yet"));
        };
        if let Some(refused) = &known.refused {
            return Err(format!(
                "{service} runs the last good version already, because the file's was refused: {}",
                refused.why
            ));
        }
        match (known.good.take(), known.previous.take()) {
            (Some(current), Some(previous)) => {
                known.refused = Some(Refused {
                    hash: current.blueprint.hash,
                    image_id: current.blueprint.image_id,
                    why: WENT_BACK.into(),
                    is_paused: false,
                    last_lines: Vec::new(),
                    at: Timestamp::now(),
                });
                known.good = Some(previous.clone());
                Ok(previous)
            }
            (good, previous) => {
                (known.good, known.previous) = (good, previous);
                Err(format!("no earlier good version of {service} is known"))
            }
        }
    }

    /// The images of all versions that somebody may go back to.
    pub fn image_ids(&self) -> BTreeSet<String> {
        self.all().map(|version| version.blueprint.image_id.clone()).collect()
    }

    /// Paths of the host that they need.
    pub fn mounted(&self) -> impl Iterator<Item = PathBuf> {
        self.all().flat_map(|version| version.blueprint.mounted())
    }

    fn all(&self) -> impl Iterator<Item = &Version> {
        self.services.values().flat_map(|known| known.good.iter().chain(&known.previous))
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn store(&mut self) -> Result<(), StateError> {
        self.file.store(&self.services)
    }
}

impl Refused {
    /// What became of the update, and of what was there.
    pub fn words(is_paused: bool) -> (&'static str, &'static str) {
        if is_paused {
            ("the update is paused", "what was exchanged before stays, and the others are as they were")
        } else {
            ("the new version was taken back", "the last good one goes on")
        }
    }

    /// Whether it is this version; an image that is not here may be it.
    fn is(&self, hash: &str, image_id: Option<&str>) -> bool {
        self.hash == hash && image_id.is_none_or(|id| self.image_id == id)
    }
}

impl std::fmt::Debug for Versions {
    /// Versions hold secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Versions").field("services", &self.services.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, Versions, Wanted};
    use crate::containers::engine::Blueprint;
    use crate::containers::fixture::project;

    #[test]
    fn a_version_that_was_good_is_gone_back_to_also_by_the_next_agent() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let blueprint = |text: &str, id| Blueprint::of(&project(text), "web", id);
        let (one, two) = ("services: {web: {image: web, user: a}}\n", "services: {web: {image: web, user: b}}\n");
        let mut versions = Versions::open(folder.path()).expect("opened");
        assert!(versions.go_back("web").is_err(), "nothing is known");
        versions.good("web", blueprint(one, "sha256:1"));
        assert!(versions.go_back("web").is_err(), "there is no earlier one");
        versions.good("web", blueprint(two, "sha256:2"));
        assert_eq!(versions.go_back("web").map(|version| version.blueprint.image_id), Ok("sha256:1".into()));
        versions.store().expect("stored");
        let mut versions = Versions::open(folder.path()).expect("opened");
        let hash = blueprint(two, "").hash;
        let wanted = |versions: &Versions, id| match versions.wanted("web", hash.clone(), (id, false)) {
            Wanted::File { .. } => "file".to_owned(),
            Wanted::Earlier(version) => version.blueprint.image_id.clone(),
            Wanted::WhatIsThere(_) => "what is there".to_owned(),
        };
        assert_eq!(wanted(&versions, Some("sha256:2")), "sha256:1");
        assert_eq!(wanted(&versions, None), "sha256:1", "an image that is gone is no change");
        assert_eq!(wanted(&versions, Some("sha256:3")), "file");
        assert!(versions.allow("web"));
        assert_eq!(wanted(&versions, Some("sha256:2")), "file");
    }
    #[test]
    fn a_version_that_fails_when_it_is_gone_back_to_is_not_tried_in_turn_with_the_refused_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut versions = Versions::open(folder.path()).expect("opened");
        let good = Blueprint::of(&project("services: {web: {image: web}}\n"), "web", "sha256:1");
        let refused = |hash: &str, image: &str| Refused {
            hash: hash.into(),
            image_id: image.into(),
            why: "it is unhealthy".into(),
            is_paused: false,
            last_lines: Vec::new(),
            at: jiff::Timestamp::now(),
        };
        let hash = good.hash.clone();
        versions.good("web", good);
        versions.refuse("web", refused("file", "sha256:2"));
        let image = (Some("sha256:2"), true);
        assert!(matches!(versions.wanted("web", "file".into(), image), Wanted::Earlier(_)));
        versions.refuse("web", refused(&hash, "sha256:1"));
        assert!(matches!(versions.wanted("web", "file".into(), image), Wanted::WhatIsThere(None)));
    }
}
