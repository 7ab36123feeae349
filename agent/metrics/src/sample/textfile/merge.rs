use super::file::Parsed;
use super::go_number::go_number;
use super::text_format::{Metric, Reading, Type};
use crate::encode::{Family, Kind, Labels, Samples};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The families of all files, each once, ready to be written.
#[derive(Default)]
pub struct Merged {
    /// In the order in which the files have them.
    pub blocks: Vec<Block>,
    /// By name, where in `blocks`.
    pub names: HashMap<String, usize>,
    /// What was left out, and why.
    pub faults: Vec<String>,
    /// Whether something of that counts as an error of the scrape.
    pub is_error: bool,
}

/// One family.
pub struct Block {
    /// Without suffix.
    pub name: String,
    /// With the HELP and TYPE of the first file that has it.
    pub family: Family,
    /// Of all files.
    pub samples: Vec<Sample>,
    kind: Type,
    help: String,
    known: HashSet<Vec<(String, String)>>,
}

/// One line.
pub struct Sample {
    /// `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    pub labels: Labels,
    pub value: Number,
}

impl Sample {
    /// Writes its line.
    pub fn write(&self, out: &mut Samples<'_>) {
        match self.value {
            Number::Whole(value) => out.part(self.suffix, &self.labels, value),
            Number::Float(value) => out.part(self.suffix, &self.labels, value),
        }
    }
}

/// Counts are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Whole(u64),
    Float(f64),
}

/// The first file that has a family says what it is; the others add to it.
///
/// As in the original, a HELP that contradicts an earlier one is an error of the scrape, while the absence of one beside
/// it, another type and the same labels again are told but are none. Whatever contradicts is left out.
pub fn merge<'a>(files: impl Iterator<Item = (&'a Path, &'a Parsed)>) -> Merged {
    let files: Vec<_> = files.collect();
    let mut merged = Merged::default();
    let accepted = merged.accept(&files);
    let mut places: HashMap<&str, Vec<&Path>> = HashMap::new();
    for (path, family) in &accepted {
        places.entry(&family.name).or_default().push(path);
    }
    let mut without_help: HashMap<&str, String> = HashMap::new();
    for (path, family) in accepted {
        let help = family.help.as_deref().unwrap_or_else(|| {
            without_help.entry(&family.name).or_insert_with(|| {
                let paths: Vec<_> =
                    places[family.name.as_str()].iter().map(|path| path.display().to_string()).collect();
                format!("Metric read from {}", paths.join(", "))
            })
        });
        merged.add(path, family, help);
    }
    // Only merging needs to know them.
    merged.blocks.iter_mut().for_each(|block| block.known = HashSet::new());
    merged
}

type Read<'a> = (&'a Path, &'a super::text_format::Family);

impl Merged {
    /// Those whose HELP contradicts no earlier one.
    fn accept<'a>(&mut self, files: &[(&'a Path, &'a Parsed)]) -> Vec<Read<'a>> {
        let mut helps: HashMap<&str, (&str, bool)> = HashMap::new();
        let mut accepted = Vec::new();
        for (path, parsed) in files {
            for family in parsed.families() {
                let own = family.help.as_deref();
                match (helps.get_mut(family.name.as_str()), own) {
                    // After one contradiction everything that follows is left out.
                    (Some((first, contradicted)), own) if *contradicted || own.is_some_and(|own| own != *first) => {
                        *contradicted = true;
                        self.is_error = true;
                        let name = &family.name;
                        self.faults.push(format!(
                            "{} has another HELP for {name} than a file before it, so its samples of it are left out",
                            path.display()
                        ));
                        continue;
                    }
                    (None, Some(own)) => {
                        helps.insert(&family.name, (own, false));
                    }
                    _ => {}
                }
                accepted.push((*path, family));
            }
        }
        accepted
    }

    fn add(&mut self, path: &Path, family: &super::text_format::Family, help: &str) {
        if let Some(why) = self.contradiction(family, help) {
            let (path, name) = (path.display(), &family.name);
            return self.faults.push(format!("{path} has {name} {why}, so its samples of it are left out"));
        }
        let blocks = &mut self.blocks;
        let at = *self.names.entry(family.name.clone()).or_insert_with(|| {
            blocks.push(Block {
                name: family.name.clone(),
                family: Family::new(&family.name, help, kind_of(family.kind)),
                samples: Vec::new(),
                kind: family.kind,
                help: help.to_owned(),
                known: HashSet::new(),
            });
            blocks.len() - 1
        });
        let twice = blocks[at].add(&family.metrics);
        if twice > 0 {
            self.faults.push(format!("{} has {twice} samples of {} again", path.display(), family.name));
        }
    }

    /// Why a family cannot stand beside those that are there.
    fn contradiction(&self, family: &super::text_format::Family, help: &str) -> Option<&'static str> {
        let there = |name: &str| self.names.get(name).map(|at| &self.blocks[*at]);
        if let Some(block) = there(&family.name) {
            return match block {
                block if block.help != help => Some("with another HELP than a file before it"),
                block if block.kind != family.kind => Some("with another TYPE than a file before it"),
                _ => None,
            };
        }
        let suffixes = ["_count", "_sum", "_bucket"];
        let takes = |kind: Type, suffix: &str| match kind {
            Type::Histogram => true,
            Type::Summary => suffix != "_bucket",
            _ => false,
        };
        let is_taken = suffixes.into_iter().any(|suffix| {
            let whole = family.name.strip_suffix(suffix).and_then(there);
            whole.is_some_and(|block| takes(block.kind, suffix))
                || (takes(family.kind, suffix) && there(&format!("{}{suffix}", family.name)).is_some())
        });
        is_taken.then_some("whose name is also that of a part of a histogram or summary")
    }
}

impl Block {
    /// Writes all samples.
    pub fn write(&self, out: &mut Samples<'_>) {
        self.samples.iter().for_each(|sample| sample.write(out));
    }

    /// Returns how many were there already.
    fn add(&mut self, metrics: &[Metric]) -> usize {
        let mut names: Vec<&str> = metrics.iter().flat_map(|metric| &metric.labels).map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        let mut twice = 0;
        for metric in metrics {
            // As in the original, all samples that a file has of a family get the same labels, where need be empty.
            let value = |name: &str| {
                let own = metric.labels.iter().find(|(own, _)| own == name);
                own.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let labels: Vec<_> = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
            if self.known.contains(&labels) {
                twice += 1;
                continue;
            }
            self.push(&labels, &metric.reading);
            self.known.insert(labels);
        }
        twice
    }

    fn push(&mut self, labels: &[(String, String)], reading: &Reading) {
        let mut sample = |suffix, bound: Option<(&str, f64)>, value| {
            let bound = bound.map(|(name, bound)| (name, go_number(bound)));
            let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let pairs: Vec<_> = own.chain(bound.iter().map(|(name, bound)| (*name, bound.as_bytes()))).collect();
            self.samples.push(Sample { suffix, labels: Labels::new(&pairs), value });
        };
        match reading {
            Reading::Value(value) => sample("", None, Number::Float(*value)),
            Reading::Summary { count, sum, quantiles } => {
                for (quantile, value) in quantiles {
                    sample("", Some(("quantile", *quantile)), Number::Float(*value));
                }
                sample("_sum", None, Number::Float(*sum));
                sample("_count", None, Number::Whole(*count));
            }
            Reading::Histogram { count, sum, buckets } => {
                for (bound, value) in buckets {
                    sample("_bucket", Some(("le", *bound)), Number::Whole(*value));
                }
                if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
                    sample("_bucket", Some(("le", f64::INFINITY)), Number::Whole(*count));
                }
                sample("_sum", None, Number::Float(*sum));
                sample("_count", None, Number::Whole(*count));
            }
        }
    }
}

fn kind_of(kind: Type) -> Kind {
    match kind {
        Type::Counter => Kind::Counter,
        Type::Gauge => Kind::Gauge,
        Type::Untyped => Kind::Untyped,
        Type::Summary => Kind::Summary,
        Type::Histogram => Kind::Histogram,
    }
}
