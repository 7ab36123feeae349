use super::observed::{Container, Observed, Settings};
use hostwright_core::state::{StateError, StateFile};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const FORMAT: u32 = 1;

/// How the engine said that each container was when it was made, by id. What a container was made from does not tell:
/// engines round, and leave out what the kernel does not know. It is durable, so that what was changed while the agent
/// was away is seen.
pub struct Made {
    file: StateFile<BTreeMap<String, Settings>>,
    settings: Mutex<BTreeMap<String, Settings>>,
}

impl Made {
    /// Reads what is known.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let mut file = StateFile::new(folder.join("made.json"), FORMAT);
        let settings = Mutex::new(file.load()?.unwrap_or_default());
        Ok(Self { file, settings })
    }

    /// Notes how a container is that was made just now.
    pub fn note(&self, id: String, settings: Settings) {
        self.settings().insert(id, settings);
    }

    /// The containers that were changed since they were made, with whether they can be set right as they are. One that
    /// nobody saw when it was made counts from now on.
    pub fn edited(&mut self, observed: &Observed) -> BTreeMap<String, bool> {
        let mut known = self.settings();
        known.retain(|id, _| observed.containers.iter().any(|container| container.id == *id));
        let edited = |container: &Container| {
            let made = known.entry(container.id.clone()).or_insert_with(|| container.settings.clone());
            (container.settings != *made).then(|| (container.id.clone(), container.settings.can_become(made)))
        };
        let edited = observed.containers.iter().filter_map(edited).collect();
        drop(known);
        self.store();
        edited
    }

    /// Makes it durable, where it changed.
    pub fn store(&mut self) {
        let settings = self.settings().clone();
        if let Err(error) = self.file.store(&settings) {
            log::error!("{error}; what is changed by hand while the agent is away is not seen");
        }
    }

    fn settings(&self) -> MutexGuard<'_, BTreeMap<String, Settings>> {
        // Nothing that holds it can leave it half changed.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Made").field("containers", &self.settings().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Made;
    use crate::containers::fixture::{converged, project};
    use crate::containers::observed::{Observed, Settings};

    #[test]
    fn what_is_changed_before_the_first_look_or_while_the_agent_is_away_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut made = Made::open(folder.path()).expect("there is none");
        let mut observed = converged(&project("services: {web: {image: i}}"));
        let id = observed.containers[0].id.clone();
        made.note(id.clone(), Settings { memory: 1 << 26, ..Settings::default() });
        observed.containers[0].settings = Settings { memory: 1 << 27, ..Settings::default() };
        assert_eq!(made.edited(&observed).get(&id), Some(&true));
        let mut made = Made::open(folder.path()).expect("it was stored");
        assert_eq!(made.edited(&observed).get(&id), Some(&true));
        assert!(made.edited(&Observed::default()).is_empty());
        assert!(made.edited(&observed).is_empty(), "it was forgotten with its container");
    }
}
