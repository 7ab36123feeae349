use super::hindrances::Hindrances;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// What came in for a source that is no file, and what hinders it.
#[derive(Debug, Default)]
pub struct Intake {
    /// What records say in place of a file's path.
    pub name: &'static str,
    pub messages: AtomicU64,
    /// Longer than the line limit.
    pub cut: AtomicU64,
    /// Not in the form that they should have; kept as text.
    pub malformed: AtomicU64,
    /// Lost here: datagrams that came while the spool was full, or faster than they were read.
    pub dropped: AtomicU64,
    /// Places at which entries may be missing because they were gone before they were read.
    pub gaps: AtomicU64,
    /// Bytes in the spool.
    pub spooled: AtomicU64,
    hindrances: Hindrances,
}

impl Intake {
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Adds to one of the counters.
    pub fn count(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    /// Says what hinders the source in `what`; the log has it once for as long as it lasts.
    pub fn hindered(&self, what: &str, source: &str, why: String) {
        self.hindrances.add(what, source, why);
    }

    /// It does not any more.
    pub fn cleared(&self, what: &str, source: &str) {
        self.hindrances.remove(what, source);
    }

    /// What hinders the source, as sentences.
    pub fn problems(&self, source: &str) -> Vec<String> {
        self.hindrances.problems(source)
    }

    pub fn to_json(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "messages": of(&self.messages),
            "cut_messages": of(&self.cut),
            "malformed_messages": of(&self.malformed),
            "dropped_messages": of(&self.dropped),
            "gaps": of(&self.gaps),
            "spool_bytes": of(&self.spooled),
        })
    }
}
