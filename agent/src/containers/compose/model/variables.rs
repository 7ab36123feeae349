use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// Values for `${…}` and for environment entries that only name a variable: the process's own environment first,
/// then a `.env` beside the Compose file.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The agent's environment, for a Compose file in `folder`.
    ///
    /// `PWD` is that folder: an operator who wrote it meant the folder in which `docker compose up` was typed, and a
    /// daemon has none.
    pub fn of_process(folder: &Path) -> Self {
        let text = |text: OsString| text.into_string().ok();
        let mut all: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        all.insert("PWD".into(), folder.display().to_string());
        Self(all)
    }

    /// Those of a command: its `PWD` is the folder in which it was typed, as for `docker compose`.
    pub fn of_command(folder: &Path) -> Self {
        let mut all = Self::of_process(folder);
        if let Some(typed) = std::env::var("PWD").ok().filter(|typed| !typed.is_empty()) {
            all.set("PWD", &typed);
        }
        all
    }

    /// The given ones alone.
    #[cfg(test)]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Gives one a value, whatever it had.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Adds those that are not there yet.
    pub fn add(&mut self, more: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in more {
            self.0.entry(name).or_insert(value);
        }
    }
}

/// Names alone: values may be secrets.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
