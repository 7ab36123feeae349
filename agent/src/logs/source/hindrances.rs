use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What hinders a source, by what it is about.
#[derive(Debug, Default)]
pub struct Hindrances(Mutex<BTreeMap<String, String>>);

impl Hindrances {
    /// Says what hinders; the log has it once for as long as it lasts.
    pub fn add(&self, about: &str, source: &str, why: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(about) {
            log::warn!(source; "logs: source {source}: {why}");
        }
        all.insert(about.to_owned(), why);
    }

    /// It does not any more.
    pub fn remove(&self, about: &str, source: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.remove(about).is_some() {
            log::info!(source; "logs: source {source} goes on ({about})");
        }
    }

    /// As sentences.
    pub fn problems(&self, source: &str) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|why| format!("source {source}: {why}")).collect()
    }
}
