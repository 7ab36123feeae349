use super::path::Path;
use super::tree::At;
use hostwright_core::config::ConfigError;
use hostwright_core::config::section::Problem;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Something that is wrong, or odd, at a place of one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: At,
    /// The keys that lead there.
    pub path: String,
    pub message: String,
}

impl Fault {
    pub fn new(at: At, path: &Path, message: impl Into<String>) -> Self {
        Self { at, path: path.to_string(), message: message.into() }
    }

    /// About a file as a whole, or about what has no path.
    pub fn bare(at: At, message: impl Into<String>) -> Self {
        Self { at, path: String::new(), message: message.into() }
    }

    pub fn is_unknown_key(&self) -> bool {
        self.message.starts_with("unknown key")
    }

    pub fn into_problem(self) -> Problem {
        Problem { place: self.at.place, path: self.path, message: self.message }
    }
}

/// What a stage returns that stops at its first fault.
pub type Checked<T> = Result<T, Vec<Fault>>;

/// One fault as all that there is.
pub fn one<T>(fault: Fault) -> Checked<T> {
    Err(vec![fault])
}

/// More at once help nobody.
const MAX_TOLD: usize = 100;

/// As the agent's own files' errors are told: those of the first file that has any.
pub fn error(files: &[PathBuf], faults: Vec<Fault>) -> ConfigError {
    let told = shortened(faults, |fault| (fault.path.clone(), fault.message.clone()));
    let first = told.first().map_or(0, |fault| fault.at.file);
    let name = files.get(first).map_or_else(String::new, |file| file.display().to_string());
    let problems = told.into_iter().filter(|fault| fault.at.file == first).map(Fault::into_problem);
    ConfigError::Invalid { name, problems: problems.collect() }
}

/// In the files' order, each once, and no more than anybody reads; `same` tells what makes two of a place one.
pub fn shortened<K: Ord>(mut faults: Vec<Fault>, same: impl Fn(&Fault) -> K) -> Vec<Fault> {
    faults.sort_by_key(|fault| fault.at);
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert((fault.at, same(fault))));
    if let Some(rest) = faults.get(MAX_TOLD) {
        let message = format!("{} more like these follow", faults.len() - MAX_TOLD);
        faults[MAX_TOLD] = Fault::bare(rest.at, message);
        faults.truncate(MAX_TOLD + 1);
    }
    faults
}
