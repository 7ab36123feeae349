use crate::logs::output::Origin;
use crate::logs::output::encode::SEVERITIES;
use crate::logs::output::request::batch::{Batch, Selection};
use crate::logs::record::Facts;
use hostwright_core::config::logs::output::loki::Label;
use std::collections::{BTreeMap, HashMap};

/// A stream takes nothing that is older than its newest entry by more than an hour (half of max_chunk_age): what is older
/// by this much, in nanoseconds, goes to a stream of its file.
const BEHIND: i64 = 30 * 60 * 1_000_000_000;
/// The times of no more streams are remembered: one that was forgotten is told by Loki.
const MOST: usize = 10_000;
/// limits_config: max_label_names_per_series and max_label_value_length, as they are unless set.
const MOST_LABELS: usize = 15;
const LONGEST_VALUE: usize = 2048;

/// Which streams entries belong to. Files of a source share one, unless they are at different times: after an outage each
/// is read from where it was left.
#[derive(Debug)]
pub struct Streams {
    labels: Vec<Label>,
    origin: Origin,
    /// The time of the newest entry of each, in nanoseconds since 1970.
    newest: HashMap<String, i64>,
    /// What is no label otherwise is one too: it has no other place.
    all_are_labels: bool,
    most_labels: usize,
    longest_value: usize,
    /// Of the last batch: what is sent again goes to where it went before.
    last: Option<(Vec<Place>, Placed)>,
}

/// Where the entries of a batch go.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    pub streams: Vec<Stream>,
    /// Of each item, the index of its stream.
    pub of: Vec<usize>,
}

/// What an item is known by: the content of a file, and the offset in it.
type Place = (u64, u64);

/// The entries of one file that go to one stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// As LogQL writes them.
    pub labels: String,
    /// It is the stream of a file that is behind the others.
    pub is_of_file: bool,
    level: Option<u8>,
    newest: i64,
}

impl Streams {
    pub fn new(labels: &[Label], origin: &Origin) -> Self {
        Self {
            labels: labels.to_vec(),
            origin: origin.clone(),
            newest: HashMap::new(),
            all_are_labels: false,
            most_labels: MOST_LABELS,
            longest_value: LONGEST_VALUE,
            last: None,
        }
    }

    /// From now on the file and what else is known of it are labels.
    pub fn label_all(&mut self) {
        (self.all_are_labels, self.last) = (true, None);
    }

    /// From now on streams have no more labels; whether that is less than before.
    pub fn limit(&mut self, most: usize) -> bool {
        let is_less = (1..self.most_labels).contains(&most);
        if is_less {
            (self.most_labels, self.last) = (most, None);
        }
        is_less
    }

    /// From now on labels' values are shorter; whether they can be.
    pub fn shorten(&mut self) -> bool {
        (self.longest_value, self.last) = ((self.longest_value / 2).max(32), None);
        self.longest_value > 32
    }

    /// Finds a stream for each entry of a batch; an entry's first byte is its level.
    pub fn place(&mut self, batch: &Batch) -> Placed {
        let places: Vec<_> = batch.items.iter().map(|item| (item.content, item.offset)).collect();
        if let Some((_, placed)) = self.last.as_ref().filter(|(last, _)| *last == places) {
            return placed.clone();
        }
        let indices: Vec<_> = (0..batch.items.len()).collect();
        let placed = self.place_all(Selection { batch, indices: &indices });
        self.last = Some((places, placed.clone()));
        placed
    }

    fn place_all(&self, items: Selection<'_>) -> Placed {
        let has_levels = self.labels.contains(&Label::Level);
        let has_files = self.all_are_labels || self.labels.contains(&Label::File);
        let mut placed = Placed::default();
        for (facts, share) in items.groups() {
            let first = placed.streams.len();
            for (item, entry) in share.items() {
                let level = entry.first().copied().filter(|_| has_levels);
                let usual = self.find(&mut placed, first, (facts, level, has_files));
                let is_behind = !has_files && item.time < placed.streams[usual].newest.saturating_sub(BEHIND);
                let stream = if is_behind { self.find(&mut placed, first, (facts, level, true)) } else { usual };
                let newest = &mut placed.streams[stream].newest;
                *newest = item.time.max(*newest);
                placed.of.push(stream);
            }
        }
        placed
    }

    /// A stream of the present file, of which the first has this index.
    fn find(&self, placed: &mut Placed, first: usize, (facts, level, is_of_file): (&Facts, Option<u8>, bool)) -> usize {
        let is_it = |stream: &Stream| stream.level == level && stream.is_of_file == is_of_file;
        if let Some(found) = placed.streams[first..].iter().position(is_it) {
            return first + found;
        }
        let labels = self.labels(facts, level, is_of_file);
        let earlier = placed.streams.iter().rev().find(|stream| stream.labels == labels).map(|stream| stream.newest);
        let newest = earlier.or_else(|| self.newest.get(&labels).copied()).unwrap_or(i64::MIN);
        placed.streams.push(Stream { labels, is_of_file, level, newest });
        placed.streams.len() - 1
    }

    /// Loki has some of what was placed.
    pub fn took(&mut self, items: Selection<'_>, placed: &Placed) {
        if self.newest.len() >= MOST {
            self.newest.clear();
        }
        let mut newest = vec![i64::MIN; placed.streams.len()];
        for index in items.indices {
            let stream = placed.of[*index];
            newest[stream] = newest[stream].max(items.batch.items[*index].time);
        }
        for (stream, newest) in placed.streams.iter().zip(newest) {
            let known = self.newest.entry(stream.labels.clone()).or_insert(newest);
            *known = newest.max(*known);
        }
    }

    /// A stream takes nothing that is older.
    pub fn takes_from(&mut self, labels: &str, oldest: i64) {
        self.last = None;
        let newest = self.newest.entry(labels.to_owned()).or_insert(i64::MIN);
        *newest = oldest.saturating_add(BEHIND).max(*newest);
    }

    /// The labels of a stream, as LogQL writes them. The host's own labels give way to ours, also where there are too many.
    fn labels(&self, facts: &Facts, level: Option<u8>, is_of_file: bool) -> String {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for label in self.labels.iter().chain((is_of_file || self.all_are_labels).then_some(&Label::File)) {
            let (name, value) = match label {
                Label::Host => ("host", self.origin.host.as_str()),
                Label::Source => ("source", facts.source.as_str()),
                Label::File => ("file", facts.file.as_str()),
                Label::Level => {
                    let level = level.and_then(|level| SEVERITIES.get(usize::from(level)));
                    ("level", level.copied().unwrap_or("unknown"))
                }
            };
            labels.insert(name, value);
        }
        let of_file = facts.fields.iter().filter(|_| self.all_are_labels);
        for (name, value) in of_file.chain(&self.origin.labels) {
            if labels.len() < self.most_labels {
                labels.entry(name).or_insert(value);
            }
        }
        let shown = |value: &str| quoted(&value[..value.floor_char_boundary(self.longest_value)]);
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        format!("{{{}}}", labels.join(", "))
    }
}

/// A string as Go writes it: JSON does for all that labels have.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
