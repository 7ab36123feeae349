use hostwright_duty::measures::Measures;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// In what an output may be hindered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hindrance {
    /// The first: it tells more than that the connection broke.
    Repeats,
    Connection,
    Acknowledgement,
    Reading,
    DeadLetters,
    State,
}

/// All kinds, with their names in metrics.
const KINDS: [(Hindrance, &str); 6] = [
    (Hindrance::Repeats, "repeats"),
    (Hindrance::Connection, "connection"),
    (Hindrance::Acknowledgement, "acknowledgement"),
    (Hindrance::Reading, "reading"),
    (Hindrance::DeadLetters, "dead_letters"),
    (Hindrance::State, "state"),
];

/// How an output is.
#[derive(Debug, Default)]
pub struct Health {
    hindrances: Mutex<BTreeMap<Hindrance, String>>,
    last_error: Mutex<Option<(Timestamp, String)>>,
    was_reached: AtomicBool,
    /// How often each kind of hindrance began, in the order of [`KINDS`].
    errors: [AtomicU64; KINDS.len()],
    thrown_away: AtomicU64,
    /// What the platform was found to be like.
    remark: Mutex<Option<String>>,
}

impl Health {
    /// Says what hinders the output; the log has it once for as long as it lasts.
    pub fn hindered(&self, by: Hindrance, output: &str, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((Timestamp::now(), why.clone()));
        let mut hindrances = self.hindrances.lock().unwrap_or_else(PoisonError::into_inner);
        if !hindrances.contains_key(&by) {
            if let Some(at) = KINDS.iter().position(|(kind, _)| *kind == by) {
                self.errors[at].fetch_add(1, Ordering::Relaxed);
            }
            log::warn!(output; "logs: output {output}: {why}");
        }
        hindrances.insert(by, why);
    }

    /// The platform will not take a record; the log has the first one of a kind in a while.
    pub fn refused(&self, output: &str, why: &str) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(_, before)| before != why) {
            log::warn!(output; "logs: output {output} does not take a record, which becomes a dead letter: {why}");
        }
        *last = Some((Timestamp::now(), why.to_owned()));
    }

    /// The platform is otherwise than is usual, and gets what it takes.
    pub fn remarked(&self, output: &str, remark: String) {
        log::warn!(output; "logs: output {output}: {remark}");
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = Some(remark);
    }

    /// So many records the platform took and threw away, as it says.
    pub fn thrown_away(&self, records: u64) {
        self.thrown_away.fetch_add(records, Ordering::Relaxed);
    }

    /// The platform was connected to.
    pub fn reached(&self, output: &str) {
        self.was_reached.store(true, Ordering::Relaxed);
        self.cleared(Hindrance::Connection, output);
    }

    /// It does not any more.
    pub fn cleared(&self, by: Hindrance, output: &str) {
        let mut hindrances = self.hindrances.lock().unwrap_or_else(PoisonError::into_inner);
        if hindrances.remove(&by).is_some() {
            log::info!(output; "logs: output {output} goes on");
        }
    }

    pub(super) fn why(&self) -> Option<String> {
        let hindrances = self.hindrances.lock().unwrap_or_else(PoisonError::into_inner);
        hindrances.values().next().cloned()
    }

    pub(super) fn last_error(&self) -> Option<(Timestamp, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remark(&self) -> Option<String> {
        self.remark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn was_reached(&self) -> bool {
        self.was_reached.load(Ordering::Relaxed)
    }

    /// For metrics.
    pub(super) fn measure(&self, output: &str, all: &mut Measures) {
        let labels = [("output", output)];
        let is_up = if self.why().is_some() { 0.0 } else { 1.0 };
        all.gauge(("output_up", "Whether nothing hinders the output, 1 is true."), &labels, is_up);
        for ((_, kind), count) in KINDS.iter().zip(&self.errors) {
            let what = ("errors_total", "How often something began to hinder the output.");
            all.counter(what, &[("kind", kind), ("output", output)], count.load(Ordering::Relaxed));
        }
        all.counter(
            ("thrown_away_records_total", "Records that the platform took and threw away, as it says."),
            &labels,
            self.thrown_away.load(Ordering::Relaxed),
        );
    }

    pub(super) fn to_json(&self) -> Value {
        let why = self.why();
        let last = self.last_error();
        json!({
            "state": if why.is_some() { "degraded" } else { "ok" },
            "why": why,
            "last_error": last.as_ref().map(|(_, error)| error),
            "remark": self.remark(),
            "last_error_at": last.as_ref().map(|(at, _)| at),
            "thrown_away_by_platform": self.thrown_away.load(Ordering::Relaxed),
        })
    }
}
