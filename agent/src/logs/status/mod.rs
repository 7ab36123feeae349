//! What the duty says of itself: how far each source is at each output, and what hinders them.
//!
//! In: counters that outputs move, files with their positions. Out: the duty's status with its details. Nothing survives
//! a restart but what positions tell.

/// What was shipped, and how fast.
pub mod counters;
/// When unread lines will be lost.
mod forecast;
/// How outputs are.
mod health;

pub use health::{Health, Hindrance};

use super::source::Source;
use super::source::discover::Files;
use super::source::followed::FollowedFile;
use counters::Rate;
use forecast::{Forecast, time_ahead};
use hostwright_duty::measures::Measures;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

/// So many files are listed in the details, those that are furthest behind first; totals cover all.
const LISTED: usize = 100;
const LOST_AT: (&str, &str) = (
    "lost_at_timestamp_seconds",
    "When unread lines will begin to be lost if it goes on like this, in seconds since 1970; absent if they will not.",
);
/// Seconds between reports that would differ in rates alone.
const RATES_EVERY: i64 = 5;
/// So long before lines will be lost it is trouble.
const SOON: SignedDuration = SignedDuration::from_hours(24);

/// Makes the duty's status of what the sources and outputs know.
#[derive(Debug)]
pub struct Reporting {
    pub sources: Vec<Arc<Source>>,
    pub outputs: BTreeMap<String, Arc<Health>>,
    /// How fast lines of a source reach an output.
    rates: HashMap<(String, usize), Rate>,
    /// When lines of a source will be lost.
    forecasts: HashMap<String, Forecast>,
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
    pub measures: Measures,
}

impl Reporting {
    pub fn new(sources: Vec<Arc<Source>>, outputs: BTreeMap<String, Arc<Health>>) -> Self {
        Self { sources, outputs, rates: HashMap::new(), forecasts: HashMap::new(), seen: None, behind: HashMap::new() }
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
            counters.resent().hash(&mut hasher);
        }
        for health in self.outputs.values() {
            (health.why(), health.last_error(), health.remark(), health.was_reached()).hash(&mut hasher);
        }
        // Rates fall to nothing by themselves: told now and then, for a report takes much longer than this.
        let is_moving = self.rates.values().any(|rate| rate.bytes >= 1.0);
        is_moving.then(Timestamp::now).map(|now| now.as_second() / RATES_EVERY).hash(&mut hasher);
        hasher.finish()
    }

    fn make_report(&mut self, files: &Files, problems: &[String]) -> Report {
        let mut by_lag: Vec<_> = files.iter().map(|file| (most_behind(file), file)).collect();
        by_lag.sort_by_key(|(lag, _)| std::cmp::Reverse(*lag));
        let lag = by_lag.first().map_or(0, |(most, _)| *most);
        let mut behind = HashMap::new();
        let mut listed: HashMap<&str, Vec<Value>> = HashMap::new();
        for (_, file) in by_lag.iter().take(LISTED) {
            listed.entry(&file.source.name).or_default().push(self.file_report(file, &mut behind));
        }
        self.behind = behind;
        let totals = Totals::of(files);
        let (mut losing, mut measures) = (Vec::new(), Measures::default());
        let mut sources = serde_json::Map::new();
        for source in self.sources.clone() {
            let totals = totals.get(&*source.name).cloned().unwrap_or_default();
            let mut about = self.source_report(&source, &totals);
            about["files_by_lag"] = listed.remove(&*source.name).into();
            measure(&source, &totals, &about, &mut measures);
            if let Some(at) = self.lost_at(&source, totals.unread) {
                measures.gauge(LOST_AT, &[("source", &source.name)], at.as_second() as f64);
                about["will_be_lost_at"] = at.to_string().into();
                losing.extend(is_soon(at).then(|| will_be_lost(&source, totals.unread, at)));
            }
            sources.insert(source.name.clone(), about);
        }
        self.outputs.iter().for_each(|(name, health)| health.measure(name, &mut measures));
        let outputs: serde_json::Map<_, _> =
            self.outputs.iter().map(|(name, health)| (name.clone(), health.to_json())).collect();
        let all_reached = self.outputs.values().all(|health| health.was_reached());
        let lines = self.sources.iter().filter_map(|s| s.counters.iter().map(|c| c.shipped_so_far().0).max()).sum();
        Report {
            trouble: self.trouble(losing, problems),
            summary: all_reached.then(|| {
                let (files, lines) = (counted(files.len() as u64, "file"), counted(lines, "line"));
                format!("{files}, {lines} shipped, lag {}", size(lag))
            }),
            details: json!({"sources": sources, "outputs": outputs, "problems": problems}),
            measures,
        }
    }

    fn source_report(&mut self, source: &Source, totals: &Totals) -> Value {
        let mut outputs = serde_json::Map::new();
        for (slot, counters) in source.counters.iter().enumerate() {
            let rate = self.rates.entry((source.name.clone(), slot)).or_insert_with(Rate::new);
            let (lines, bytes) = rate.update(counters);
            let mut value = counters.to_json();
            value["lines_per_second"] = lines.round().into();
            value["bytes_per_second"] = bytes.round().into();
            value["lag_bytes"] = totals.lag.get(slot).copied().unwrap_or(0).into();
            outputs.insert(source.outputs[slot].clone(), value);
        }
        let mut about = json!({
            "files": totals.files,
            "outputs": outputs,
            "unread_bytes": totals.unread,
            "pinned_files": totals.pinned,
            "lost_bytes": source.lost_bytes(),
            "problems": source.problems(),
        });
        if let Some(intake) = &source.intake {
            about["intake"] = intake.to_json();
        }
        if let Some(rotation) = &source.rotation {
            about["rotation"] = rotation.to_json();
        }
        about
    }

    /// When lines of a source will begin to be lost if it goes on like this.
    fn lost_at(&mut self, source: &Source, unread: u64) -> Option<Timestamp> {
        let limit = source.most_unread?;
        let now = Instant::now();
        let forecast = self.forecasts.entry(source.name.clone()).or_insert_with(|| Forecast::new(unread, now));
        forecast.update(unread, limit, now).map(|seconds| time_ahead(seconds, Timestamp::now()))
    }

    fn trouble(&self, losing: Vec<String>, problems: &[String]) -> Option<String> {
        let hindered =
            self.outputs.iter().filter_map(|(name, health)| Some(format!("output {name}: {}", health.why()?)));
        let all: Vec<_> = losing
            .into_iter()
            .chain(hindered)
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
            // A name need not be UTF-8.
            "path": path.as_deref().unwrap_or(&file.origin).to_string_lossy(),
            "deleted": path.is_none(),
            "rotated": file.is_rotated(),
            "size": size,
            "outputs": outputs,
        })
    }
}

/// What all files of one source come to.
#[derive(Clone, Debug, Default)]
struct Totals {
    files: u64,
    /// Bytes that an output lacks.
    unread: u64,
    /// Files that have a second name until every output has them.
    pinned: u64,
    /// By slot, bytes.
    lag: Vec<u64>,
}

impl Totals {
    fn of(files: &Files) -> HashMap<&str, Self> {
        let mut all: HashMap<&str, Self> = HashMap::new();
        for file in files.iter() {
            let of_source = all.entry(&file.source.name).or_default();
            of_source.files += 1;
            of_source.unread += file.unread();
            of_source.pinned += u64::from(file.is_pinned());
            of_source.lag.resize(file.source.outputs.len(), 0);
            for (slot, lag) in of_source.lag.iter_mut().enumerate() {
                *lag += file.size().saturating_sub(file.acknowledged(slot));
            }
        }
        all
    }
}

/// A source's numbers for metrics; the ages of lags are among what is said of its files.
fn measure(source: &Source, totals: &Totals, about: &Value, all: &mut Measures) {
    let of_source = [("source", source.name.as_str())];
    all.gauge(("files", "Files that are followed."), &of_source, totals.files as f64);
    all.gauge(("unread_bytes", "Bytes that an output lacks."), &of_source, totals.unread as f64);
    all.gauge(
        ("pinned_files", "Files that have a second name until every output has them."),
        &of_source,
        totals.pinned as f64,
    );
    all.counter(
        ("lost_bytes_total", "Bytes that were gone before every output had them."),
        &of_source,
        source.lost_bytes(),
    );
    for (slot, (output, counters)) in source.outputs.iter().zip(&source.counters).enumerate() {
        let labels = [("output", output.as_str()), ("source", source.name.as_str())];
        let lag = totals.lag.get(slot).copied().unwrap_or(0);
        all.gauge(("lag_bytes", "Bytes that the output lacks."), &labels, lag as f64);
        let files = about["files_by_lag"].as_array().into_iter().flatten();
        let seconds = files.filter_map(|file| file["outputs"][output]["lag_seconds"].as_u64()).max().unwrap_or(0);
        all.gauge(("lag_seconds", "How long the oldest line waits that the output lacks."), &labels, seconds as f64);
        counters.measure(&labels, all);
    }
}

/// The operator is told in time to do something, and not of every hour that an output is down.
fn is_soon(at: Timestamp) -> bool {
    at.duration_since(Timestamp::now()) < SOON
}

fn will_be_lost(source: &Source, unread: u64, at: Timestamp) -> String {
    let limit = if source.rotation.is_some() { "force_bytes" } else { "pin" };
    format!(
        "source {}: from about {at} on lines will be lost if this goes on: {} wait for an output that does not keep up, and `{limit}` allows {}; mend the output, or raise `{limit}` while the disk has room",
        source.name,
        size(unread),
        size(source.most_unread.unwrap_or(0)),
    )
}

/// How far the slowest output is behind the end of a file, in bytes.
fn most_behind(file: &FollowedFile) -> u64 {
    let behind = |slot| file.size().saturating_sub(file.acknowledged(slot));
    (0..file.source.outputs.len()).map(behind).max().unwrap_or(0)
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
