use super::record::Tally;
use super::source::Source;
use super::source::discover::Files;
use super::source::followed::FollowedFile;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// So many files are listed in the details, those that are furthest behind first; totals cover all.
const LISTED: usize = 100;

/// What one output has shipped of one source, since the duty started.
#[derive(Debug, Default)]
pub struct Counters {
    lines: AtomicU64,
    bytes: AtomicU64,
    cut: AtomicU64,
    invalid_utf8: AtomicU64,
    unparsed: AtomicU64,
    filtered: AtomicU64,
    skipped_bytes: AtomicU64,
    dead: AtomicU64,
    resent: AtomicU64,
    replaced: AtomicU64,
}

impl Counters {
    /// Acknowledged lines.
    pub fn shipped(&self, tally: &Tally, bytes: u64) {
        for (counter, number) in self.of(tally, bytes) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Lines that are sent again because a connection broke before it was certain that they were read; those that had
    /// been acknowledged will be so a second time.
    pub fn taken_back(&self, acknowledged: Option<(&Tally, u64)>, lines: u64) {
        self.resent.fetch_add(lines, Ordering::Relaxed);
        if let Some((tally, bytes)) = acknowledged {
            for (counter, number) in self.of(tally, bytes) {
                counter.fetch_sub(number, Ordering::Relaxed);
            }
        }
    }

    fn of(&self, tally: &Tally, bytes: u64) -> [(&AtomicU64, u64); 8] {
        [
            (&self.lines, tally.lines),
            (&self.bytes, bytes),
            (&self.cut, tally.cut),
            (&self.invalid_utf8, tally.invalid_utf8),
            (&self.unparsed, tally.unparsed),
            (&self.filtered, tally.filtered),
            (&self.skipped_bytes, tally.skipped_bytes),
            (&self.dead, tally.dead),
        ]
    }

    /// A file whose content was replaced while it was followed.
    pub fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    fn to_json(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "lines": of(&self.lines),
            "bytes": of(&self.bytes),
            "cut_lines": of(&self.cut),
            "invalid_utf8_lines": of(&self.invalid_utf8),
            "unparsed_lines": of(&self.unparsed),
            "filtered_lines": of(&self.filtered),
            "skipped_bytes": of(&self.skipped_bytes),
            "dead_letters": of(&self.dead),
            "duplicates_resent": of(&self.resent),
            "truncations": of(&self.replaced),
        })
    }
}

/// In what an output may be hindered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hindrance {
    Connection,
    Acknowledgement,
    Reading,
    DeadLetters,
    State,
}

/// How an output is.
#[derive(Debug, Default)]
pub struct Health {
    hindrances: Mutex<BTreeMap<Hindrance, String>>,
    last_error: Mutex<Option<(Timestamp, String)>>,
    was_reached: AtomicBool,
    thrown_away: AtomicU64,
}

impl Health {
    /// Says what hinders the output; the log has it once for as long as it lasts.
    pub fn hindered(&self, by: Hindrance, output: &str, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((Timestamp::now(), why.clone()));
        let mut hindrances = self.hindrances.lock().unwrap_or_else(PoisonError::into_inner);
        if !hindrances.contains_key(&by) {
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

    fn why(&self) -> Option<String> {
        let hindrances = self.hindrances.lock().unwrap_or_else(PoisonError::into_inner);
        hindrances.values().next().cloned()
    }

    fn last_error(&self) -> Option<(Timestamp, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes the duty's status of what the sources and outputs know.
#[derive(Debug)]
pub struct Reporting {
    pub sources: Vec<Arc<Source>>,
    pub outputs: BTreeMap<String, Arc<Health>>,
    /// How fast lines of a source reach an output.
    rates: HashMap<(String, usize), Rate>,
    /// What the last report was made of.
    seen: Option<u64>,
    /// For each file and slot: a size that was seen and is not acknowledged yet, and when it was seen.
    behind: HashMap<(u64, usize), (u64, Instant)>,
}

/// What there is to say.
#[derive(Debug)]
pub struct Report {
    /// Why the duty is not as it should be.
    pub trouble: Option<String>,
    /// None before every output was reached once.
    pub summary: Option<String>,
    pub details: Value,
}

impl Reporting {
    pub fn new(sources: Vec<Arc<Source>>, outputs: BTreeMap<String, Arc<Health>>) -> Self {
        Self { sources, outputs, rates: HashMap::new(), seen: None, behind: HashMap::new() }
    }

    /// What there is to say; none if it is what was said before.
    pub fn report(&mut self, files: &Files, problems: &[String]) -> Option<Report> {
        let seen = self.fingerprint(files, problems);
        if self.seen.replace(seen) == Some(seen) {
            return None;
        }
        Some(self.make_report(files, problems))
    }

    /// Costs little, and differs when a report would.
    fn fingerprint(&self, files: &Files, problems: &[String]) -> u64 {
        let mut hasher = DefaultHasher::new();
        problems.hash(&mut hasher);
        for file in files.iter() {
            (file.sequence, file.size(), file.is_rotated()).hash(&mut hasher);
            let is_behind = (0..file.source.outputs.len()).any(|slot| {
                let acknowledged = file.acknowledged(slot);
                acknowledged.hash(&mut hasher);
                acknowledged < file.size()
            });
            // The lag's age grows by itself.
            is_behind.then(Timestamp::now).map(Timestamp::as_second).hash(&mut hasher);
        }
        for counters in self.sources.iter().flat_map(|source| &source.counters) {
            counters.resent.load(Ordering::Relaxed).hash(&mut hasher);
        }
        for health in self.outputs.values() {
            (health.why(), health.last_error(), health.was_reached.load(Ordering::Relaxed)).hash(&mut hasher);
        }
        // Rates fall to nothing by themselves.
        let is_moving = self.rates.values().any(|rate| rate.bytes >= 1.0);
        is_moving.then(Timestamp::now).map(Timestamp::as_second).hash(&mut hasher);
        hasher.finish()
    }

    fn make_report(&mut self, files: &Files, problems: &[String]) -> Report {
        let mut lag = 0;
        let mut lines = 0;
        let mut by_lag: Vec<_> = files.iter().map(|file| (most_behind(file), file)).collect();
        by_lag.sort_by_key(|(lag, _)| std::cmp::Reverse(*lag));
        lag = by_lag.first().map_or(lag, |(most, _)| *most);
        let mut behind = HashMap::new();
        let report =
            |(_, file): &(u64, &Arc<FollowedFile>)| (file.source.name.clone(), self.file_report(file, &mut behind));
        let listed: Vec<_> = by_lag.iter().take(LISTED).map(report).collect();
        self.behind = behind;
        let mut sources = serde_json::Map::new();
        for source in &self.sources {
            let count = files.iter().filter(|file| file.source.name == source.name).count();
            lines += source.counters.iter().map(|c| c.lines.load(Ordering::Relaxed)).max().unwrap_or(0);
            let mut outputs = serde_json::Map::new();
            for (slot, counters) in source.counters.iter().enumerate() {
                let rate = self.rates.entry((source.name.clone(), slot)).or_insert_with(Rate::new);
                let (lines, bytes) = rate.update(counters);
                let mut value = counters.to_json();
                value["lines_per_second"] = lines.round().into();
                value["bytes_per_second"] = bytes.round().into();
                outputs.insert(source.outputs[slot].clone(), value);
            }
            let files: Vec<_> =
                listed.iter().filter(|(name, _)| *name == source.name).map(|(_, value)| value.clone()).collect();
            let mut about = json!({"files": count, "outputs": outputs, "files_by_lag": files});
            if let Some(intake) = &source.intake {
                about["intake"] = intake.to_json();
            }
            if let Some(rotation) = &source.rotation {
                about["rotation"] = rotation.to_json();
            }
            about["problems"] = source.problems().into();
            sources.insert(source.name.clone(), about);
        }
        let outputs: serde_json::Map<_, _> =
            self.outputs.iter().map(|(name, health)| (name.clone(), output_report(health))).collect();
        let all_reached = self.outputs.values().all(|health| health.was_reached.load(Ordering::Relaxed));
        Report {
            trouble: self.trouble(problems),
            summary: all_reached.then(|| {
                format!(
                    "{}, {} shipped, lag {}",
                    counted(files.len() as u64, "file"),
                    counted(lines, "line"),
                    size(lag)
                )
            }),
            details: json!({"sources": sources, "outputs": outputs, "problems": problems}),
        }
    }

    fn trouble(&self, problems: &[String]) -> Option<String> {
        let hindered =
            self.outputs.iter().filter_map(|(name, health)| Some(format!("output {name}: {}", health.why()?)));
        let all: Vec<_> = hindered
            .chain(self.sources.iter().flat_map(|source| source.problems()))
            .chain(problems.iter().cloned())
            .collect();
        let first = all.first()?;
        Some(if all.len() == 1 { first.clone() } else { format!("{first} (and {} more)", all.len() - 1) })
    }

    fn file_report(&self, file: &FollowedFile, behind: &mut HashMap<(u64, usize), (u64, Instant)>) -> Value {
        let size = file.size();
        let mut outputs = serde_json::Map::new();
        for (slot, output) in file.source.outputs.iter().enumerate() {
            let position = file.acknowledged(slot);
            let lag = size.saturating_sub(position);
            let mut lag_seconds = 0;
            if lag > 0 {
                let key = (file.sequence, slot);
                let goal = self.behind.get(&key).copied().filter(|(goal, _)| *goal > position);
                let goal = goal.unwrap_or_else(|| (size, Instant::now()));
                lag_seconds = goal.1.elapsed().as_secs();
                behind.insert(key, goal);
            }
            outputs.insert(output.clone(), json!({"position": position, "lag_bytes": lag, "lag_seconds": lag_seconds}));
        }
        let path = file.path();
        json!({
            "path": path.as_deref().unwrap_or(&file.origin),
            "deleted": path.is_none(),
            "rotated": file.is_rotated(),
            "size": size,
            "outputs": outputs,
        })
    }
}

/// How far the slowest output is behind the end of a file, in bytes.
fn most_behind(file: &FollowedFile) -> u64 {
    let behind = |slot| file.size().saturating_sub(file.acknowledged(slot));
    (0..file.source.outputs.len()).map(behind).max().unwrap_or(0)
}

/// How fast something goes, smoothed over some seconds.
#[derive(Debug)]
struct Rate {
    at: Instant,
    seen: (u64, u64),
    lines: f64,
    bytes: f64,
}

impl Rate {
    fn new() -> Self {
        Self { at: Instant::now(), seen: (0, 0), lines: 0.0, bytes: 0.0 }
    }

    /// Lines and bytes per second.
    fn update(&mut self, counters: &Counters) -> (f64, f64) {
        const SMOOTH: f64 = 5.0;
        let now = (counters.lines.load(Ordering::Relaxed), counters.bytes.load(Ordering::Relaxed));
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds > 0.2 {
            let share = 1.0 - (-seconds / SMOOTH).exp();
            self.lines += share * (now.0.saturating_sub(self.seen.0) as f64 / seconds - self.lines);
            self.bytes += share * (now.1.saturating_sub(self.seen.1) as f64 / seconds - self.bytes);
            (self.at, self.seen) = (Instant::now(), now);
        }
        (self.lines, self.bytes)
    }
}

fn output_report(health: &Health) -> Value {
    let why = health.why();
    let last = health.last_error();
    json!({
        "state": if why.is_some() { "degraded" } else { "ok" },
        "why": why,
        "last_error": last.as_ref().map(|(_, error)| error),
        "last_error_at": last.as_ref().map(|(at, _)| at),
        "thrown_away_by_platform": health.thrown_away.load(Ordering::Relaxed),
    })
}

/// "1 file", "1,204 lines".
fn counted(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {noun}{}", if number == 1 { "" } else { "s" })
}

/// "12 KiB", of four digits at the most.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{counted, size};

    #[test]
    fn numbers_are_written_for_a_person() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1204, "line"), "1,204 lines");
        assert_eq!(counted(1_204_000, "line"), "1,204,000 lines");
        assert_eq!((size(0), size(10_239), size(20 << 20)), ("0 B".into(), "10239 B".into(), "20 MiB".into()));
    }
}
