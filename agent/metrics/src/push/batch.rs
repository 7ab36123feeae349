use super::exposition::{Exposition, Sample};
use super::identity::Identity;
use super::queue::Record;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Says that a series has ended (the specification, "Series Labels").
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// The one not-a-number that is a value.
const NAN: u64 = 0x7ff8_0000_0000_0001;

/// Samples of one or more records, ready to be written as a message: by series, each in the order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub symbols: Symbols,
    pub families: Vec<Family>,
    pub series: Vec<Series>,
    /// How many samples there are.
    pub samples: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Names and values of its labels by turns, sorted by name.
    pub labels: Vec<u32>,
    /// The index of its family.
    pub family: usize,
    pub points: Vec<Point>,
}

/// A value's bits at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// In milliseconds since 1970.
    pub time: i64,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: u32,
    pub help: u32,
    pub kind: Kind,
}

/// The type of a family, as both versions of the protocol number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    Summary = 5,
}

/// Texts, each once; the first is the empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    texts: Vec<String>,
    known: HashMap<String, u32>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { texts: vec![String::new()], known: [(String::new(), 0)].into() }
    }
}

impl Symbols {
    fn of(&mut self, text: &str) -> u32 {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        // A batch has far fewer than four thousand million of them.
        let next = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), next);
        next
    }

    pub fn text(&self, symbol: u32) -> &str {
        self.texts.get(symbol as usize).map_or("", String::as_str)
    }

    pub fn count(&self) -> usize {
        self.texts.len()
    }
}

impl Kind {
    fn of(word: &str) -> Self {
        match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            _ => Self::Unknown,
        }
    }
}

/// Makes batches of records, one after the other.
#[derive(Debug)]
pub struct Batches {
    identity: Identity,
    /// The record before the next one: what it had and the next one lacks has ended.
    previous: Option<String>,
}

impl Batches {
    pub fn new(identity: Identity) -> Self {
        Self { identity, previous: None }
    }

    /// The samples in `part` of a single record, or all of several. Series that ended are told with a record's end.
    pub fn make(&mut self, records: Vec<Record>, part: Range<usize>) -> Batch {
        let mut building = Building { batch: Batch::default(), identity: &self.identity, known: HashMap::new() };
        let single = records.len() == 1;
        let mut previous = self.previous.as_deref();
        for record in &records {
            let now = Exposition::read(&record.text);
            let end = if single { part.end.min(now.samples.len()) } else { now.samples.len() };
            let start = if single { part.start.min(end) } else { 0 };
            for sample in &now.samples[start..end] {
                building.add(&now, sample, Point { time: record.time, value: bits(sample.value) });
            }
            if end == now.samples.len() {
                if let Some(previous) = previous {
                    building.end_those_gone(&Exposition::read(previous), &now, record.time);
                }
                previous = Some(&record.text);
            }
        }
        let Building { batch, .. } = building;
        if let Some(last) = records.into_iter().next_back()
            && (!single || part.end >= last.samples)
        {
            self.previous = Some(last.text);
        }
        batch
    }
}

struct Building<'a> {
    batch: Batch,
    identity: &'a Identity,
    /// Series of the batch by what they are in the text.
    known: HashMap<&'a str, usize>,
}

impl<'a> Building<'a> {
    fn add(&mut self, text: &Exposition<'a>, sample: &Sample<'a>, point: Point) {
        let batch = &mut self.batch;
        let index = match self.known.entry(sample.series) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let labels = self.identity.labels(sample);
                let labels = labels.iter().flat_map(|(name, value)| [&**name, &**value]);
                let labels = labels.map(|text| batch.symbols.of(text)).collect();
                let family = text.families[sample.family];
                let (name, help) = (batch.symbols.of(family.name), batch.symbols.of(&family.help()));
                let family = Family { name, help, kind: Kind::of(family.kind) };
                if batch.families.last() != Some(&family) {
                    batch.families.push(family);
                }
                batch.series.push(Series { labels, family: batch.families.len() - 1, points: Vec::new() });
                *new.insert(batch.series.len() - 1)
            }
        };
        let points = &mut batch.series[index].points;
        // A text that has a series twice, such as one of a file of the operator's: the first is taken, for a receiver would
        // refuse both.
        if points.last().is_none_or(|last| last.time < point.time) {
            points.push(point);
            batch.samples += 1;
        }
    }

    fn end_those_gone(&mut self, before: &Exposition<'a>, now: &Exposition<'a>, time: i64) {
        let here: HashSet<&str> = now.samples.iter().map(|sample| sample.series).collect();
        for sample in before.samples.iter().filter(|sample| !here.contains(sample.series)) {
            self.add(before, sample, Point { time, value: STALE });
        }
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { NAN } else { value.to_bits() }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Batches, Kind, NAN, STALE};
    use crate::push::identity::Identity;
    use crate::push::queue::Record;

    fn record(time: i64, text: &str) -> Record {
        Record::new(time, text.to_owned())
    }

    fn batches() -> Batches {
        Batches::new(Identity { job: "j".into(), instance: "i".into(), external: Vec::new() })
    }

    /// `name{label=value,…} time:value …`
    fn shown(batch: &Batch) -> Vec<String> {
        let text = |symbol: &u32| batch.symbols.text(*symbol).to_owned();
        let one = |series: &super::Series| {
            let labels: Vec<_> =
                series.labels.chunks(2).map(|pair| format!("{}={}", text(&pair[0]), text(&pair[1]))).collect();
            let point = |point: &super::Point| match point.value {
                STALE => format!("{}:stale", point.time),
                NAN => format!("{}:nan", point.time),
                value => format!("{}:{}", point.time, f64::from_bits(value)),
            };
            let points: Vec<_> = series.points.iter().map(point).collect();
            format!("{} {}", labels.join(","), points.join(" "))
        };
        batch.series.iter().map(one).collect()
    }

    #[test]
    fn samples_of_several_records_stand_together_by_series_in_the_order_of_time() {
        let records = vec![record(1, "a 1\nb{x=\"y\"} NaN\n"), record(2, "a 2\nb{x=\"y\"} 3\n")];
        let batch = batches().make(records, 0..usize::MAX);
        assert_eq!(shown(&batch), ["__name__=a,instance=i,job=j 1:1 2:2", "__name__=b,instance=i,job=j,x=y 1:nan 2:3"]);
        assert_eq!(batch.samples, 4);
        assert_eq!(batch.symbols.text(0), "");
    }

    #[test]
    fn a_series_that_a_text_has_twice_is_sent_once() {
        let batch = batches().make(vec![record(1, "up 0\na 1\nup 1\n")], 0..usize::MAX);
        assert_eq!(shown(&batch), ["__name__=up,instance=i,job=j 1:0", "__name__=a,instance=i,job=j 1:1"]);
        assert_eq!(batch.samples, 2);
    }

    #[test]
    fn a_series_that_ended_is_told_once_and_one_that_comes_back_goes_on() {
        let mut batches = batches();
        let gone = batches.make(vec![record(1, "a 1\nb 1\n"), record(2, "a 2\n"), record(3, "a 3\n")], 0..usize::MAX);
        assert_eq!(
            shown(&gone),
            ["__name__=a,instance=i,job=j 1:1 2:2 3:3", "__name__=b,instance=i,job=j 1:1 2:stale"]
        );
        let back = batches.make(vec![record(4, "b 4\n")], 0..usize::MAX);
        assert_eq!(shown(&back), ["__name__=b,instance=i,job=j 4:4", "__name__=a,instance=i,job=j 4:stale"]);
    }

    #[test]
    fn a_record_in_parts_has_each_sample_once_and_the_ends_last() {
        let mut batches = batches();
        batches.make(vec![record(1, "gone 1\n")], 0..usize::MAX);
        let text = "a 1\nb 1\nc 1\n";
        let parts: Vec<_> =
            [0..2, 2..3].map(|part| batches.make(vec![record(2, text)], part)).iter().map(shown).collect();
        assert_eq!((parts[0].len(), parts[1].len()), (2, 2), "{parts:?}");
        assert!(parts[1][1].ends_with("2:stale"), "{parts:?}");
    }

    #[test]
    fn families_go_along_with_their_types() {
        let batch = batches()
            .make(vec![record(1, "# HELP a A\\n.\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\n")], 0..9);
        let families: Vec<_> =
            batch.families.iter().map(|f| (batch.symbols.text(f.name), batch.symbols.text(f.help), f.kind)).collect();
        assert_eq!(families, [("a", "A\n.", Kind::Counter), ("b", "", Kind::Unknown)]);
        assert_eq!(batch.series.iter().map(|series| series.family).collect::<Vec<_>>(), [0, 0, 1]);
    }
}
