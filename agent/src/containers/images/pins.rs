use hostwright_core::state::{StateError, StateFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const VERSION: u32 = 1;
/// What was pinned before is kept for a way back.
const MOST_PREVIOUS: usize = 3;

/// What names stand for, and which images the agent has brought; survives a restart.
#[derive(Debug)]
pub struct Pins {
    file: StateFile<Content>,
    content: Content,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Content {
    /// By name as the Compose file has it.
    pins: BTreeMap<String, Pin>,
    /// By the engine's id.
    brought: BTreeMap<String, Brought>,
    /// What tells one version of the Compose file from another.
    #[serde(default)]
    deployment: String,
}

/// What a name stands for, until it is resolved again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The engine's id.
    pub image_id: String,
    /// The registry's digest; an image of an archive has none.
    pub digest: Option<String>,
    /// The tag, where a rule found it.
    pub tag: Option<String>,
    /// Where it came from: the registry, or an archive in a bucket.
    pub source: String,
    /// The public key that verified it, or the identity that signed it.
    pub signed_by: Option<String>,
    /// When the name was last resolved.
    pub resolved: Timestamp,
    /// Ids that the name stood for before, the last one first.
    #[serde(default)]
    pub previous: Vec<String>,
}

/// An image that the agent brought to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// The name that called for it.
    pub name: String,
    /// When somebody last used it, as far as a look has seen.
    pub used: Timestamp,
}

impl Pins {
    /// Opens the file in the duty's state folder.
    ///
    /// # Errors
    /// It cannot be read, or is of a newer version.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let mut file = StateFile::new(folder.join("images.json"), VERSION);
        let content = file.load()?.unwrap_or_default();
        Ok(Self { file, content })
    }

    pub fn get(&self, name: &str) -> Option<&Pin> {
        self.content.pins.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &Pin)> {
        self.content.pins.iter()
    }

    /// Lets a name stand for an image from now on.
    ///
    /// # Errors
    /// It cannot be written; a restart would forget it.
    pub fn set(&mut self, name: &str, mut pin: Pin) -> Result<(), StateError> {
        if let Some(before) = self.content.pins.get(name) {
            pin.previous.clone_from(&before.previous);
            if before.image_id != pin.image_id {
                pin.previous.insert(0, before.image_id.clone());
            }
            pin.previous.retain(|id| *id != pin.image_id);
            pin.previous.truncate(MOST_PREVIOUS);
        }
        let brought = Brought { name: name.to_owned(), used: pin.resolved };
        self.content.brought.insert(pin.image_id.clone(), brought);
        self.content.pins.insert(name.to_owned(), pin);
        self.file.store(&self.content)
    }

    /// Notes which version of the Compose file is deployed; whether it is another one than before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn deploy(&mut self, version: &str) -> Result<bool, StateError> {
        if self.content.deployment == version {
            return Ok(false);
        }
        version.clone_into(&mut self.content.deployment);
        self.file.store(&self.content)?;
        Ok(true)
    }

    /// The images that the agent brought.
    pub fn brought(&self) -> &BTreeMap<String, Brought> {
        &self.content.brought
    }

    /// Notes which images are used now and which are gone, and forgets names that nobody wants any more.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn looked(&mut self, look: &Look<'_>) -> Result<(), StateError> {
        self.content.brought.retain(|id, brought| {
            if look.used.contains(id) {
                brought.used = look.now;
            }
            look.present.contains(id)
        });
        self.content.pins.retain(|name, _| look.wanted.contains(name));
        self.file.store(&self.content)
    }
}

/// What a look at the engine has seen.
#[derive(Debug)]
pub struct Look<'a> {
    pub present: &'a BTreeSet<String>,
    pub used: &'a BTreeSet<String>,
    /// Names in the Compose file.
    pub wanted: &'a BTreeSet<String>,
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::{Look, Pin, Pins};
    use jiff::Timestamp;
    use std::collections::BTreeSet;

    fn pin(id: &str) -> Pin {
        Pin {
            image_id: id.into(),
            digest: None,
            tag: None,
            source: "registry".into(),
            signed_by: None,
            resolved: Timestamp::UNIX_EPOCH,
            previous: Vec::new(),
        }
    }

    fn set(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn a_pin_survives_a_restart_and_remembers_what_was_before() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut pins = Pins::open(folder.path()).expect("opened");
        for id in ["1", "2", "2", "3", "1", "4", "5", "6"] {
            pins.set("app", pin(id)).expect("stored");
        }
        let pins = Pins::open(folder.path()).expect("opened again");
        let pin = pins.get("app").expect("pinned");
        assert_eq!((pin.image_id.as_str(), pin.previous.join(" ").as_str()), ("6", "5 4 1"));
    }

    #[test]
    fn what_is_gone_or_wanted_by_nobody_is_forgotten() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut pins = Pins::open(folder.path()).expect("opened");
        pins.set("app", pin("1")).expect("stored");
        pins.set("old", pin("2")).expect("stored");
        let now = Timestamp::now();
        let look = Look { present: &set(&["1"]), used: &set(&["1"]), wanted: &set(&["app"]), now };
        pins.looked(&look).expect("stored");
        assert!(pins.get("old").is_none() && pins.get("app").is_some());
        assert_eq!(pins.brought().keys().collect::<Vec<_>>(), ["1"]);
        assert_eq!(pins.brought()["1"].used, now);
    }
}
