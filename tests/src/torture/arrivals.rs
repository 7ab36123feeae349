use super::line::{self, Form, Id};
use super::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

/// So many findings of a kind are kept; the first ones tell most.
const KEPT: usize = 20;

/// What arrived at one output, line by line.
#[derive(Debug)]
pub struct Arrivals {
    pub output: String,
    forms: Vec<Form>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    contents: HashMap<(u16, u32), Content>,
    counted: Counted,
    /// Arrived before an earlier line of its file did.
    skips: Vec<String>,
    /// Not what was written.
    broken: Vec<String>,
}

/// How much of one content of a file has arrived.
#[derive(Debug, Default)]
struct Content {
    /// All lines below.
    prefix: u32,
    /// Further ones.
    beyond: BTreeSet<u32>,
    duplicates: u32,
}

/// Lines and bytes as they are in their files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub lines: u64,
    pub bytes: u64,
    pub duplicates: u64,
    pub duplicate_bytes: u64,
}

impl Arrivals {
    pub fn new(output: &str, forms: &[Form]) -> Self {
        Self { output: output.to_owned(), forms: forms.to_vec(), state: Mutex::default() }
    }

    /// Takes in a message in which a line is.
    pub fn take(&self, message: &[u8]) {
        if line::is_banner(message) {
            return;
        }
        let form = |application: u16| self.forms.get(usize::from(application)).copied().unwrap_or(Form::Plain);
        let read = line::read(message, form);
        let state = &mut *lock(&self.state);
        match read {
            Ok((id, length)) => state.take(id, length as u64),
            Err(why) => keep(&mut state.broken, || why),
        }
    }

    /// Notes something that came and is nothing that can be taken in.
    pub fn complain(&self, why: String) {
        keep(&mut lock(&self.state).broken, || why);
    }

    pub fn counted(&self) -> Counted {
        lock(&self.state).counted
    }

    /// Whether the first `count` lines of a content have all arrived.
    pub fn has(&self, application: u16, generation: u32, count: u32) -> bool {
        count == 0 || lock(&self.state).contents.get(&(application, generation)).is_some_and(|c| c.prefix >= count)
    }

    /// What is missing of what was written, as sentences, and of how many contents.
    pub fn missing(&self, written: &BTreeMap<(u16, u32), u32>) -> Vec<String> {
        let state = lock(&self.state);
        let lacking = written.iter().filter_map(|((application, generation), count)| {
            let none = Content::default();
            let content = state.contents.get(&(*application, *generation)).unwrap_or(&none);
            let lacking = u64::from(*count) - u64::from(content.prefix) - content.beyond.len() as u64;
            let first = content.prefix;
            (lacking > 0).then(|| {
                format!("{}: #{application}.{generation}: {lacking} of {count} lines, from {first} on", self.output)
            })
        });
        lacking.collect()
    }

    /// The contents of which most came again.
    pub fn most_repeated(&self) -> String {
        let state = lock(&self.state);
        let mut repeated: Vec<_> = state.contents.iter().filter(|(_, content)| content.duplicates > 0).collect();
        repeated.sort_by_key(|(_, content)| std::cmp::Reverse(content.duplicates));
        let told = repeated.iter().take(5).map(|((application, generation), content)| {
            format!("{} of #{application}.{generation}", content.duplicates)
        });
        told.collect::<Vec<_>>().join(", ")
    }

    pub fn skips(&self) -> Vec<String> {
        lock(&self.state).skips.iter().map(|skip| format!("{}: {skip}", self.output)).collect()
    }

    pub fn broken(&self) -> Vec<String> {
        lock(&self.state).broken.iter().map(|why| format!("{}: {why}", self.output)).collect()
    }
}

impl State {
    fn take(&mut self, id: Id, length: u64) {
        self.counted.lines += 1;
        self.counted.bytes += length;
        let content = self.contents.entry((id.application, id.generation)).or_default();
        if id.number < content.prefix || content.beyond.contains(&id.number) {
            content.duplicates += 1;
            self.counted.duplicates += 1;
            self.counted.duplicate_bytes += length;
        } else if id.number == content.prefix {
            content.prefix += 1;
            while content.beyond.remove(&content.prefix) {
                content.prefix += 1;
            }
        } else {
            let expected = content.prefix;
            // One gap, told once.
            if content.beyond.is_empty() {
                keep(&mut self.skips, || {
                    format!("#{}.{}: line {} came before {expected}", id.application, id.generation, id.number)
                });
            }
            content.beyond.insert(id.number);
        }
    }
}

fn keep(findings: &mut Vec<String>, finding: impl FnOnce() -> String) {
    if findings.len() < KEPT {
        findings.push(finding());
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Form, Id, line};
    use std::collections::BTreeMap;

    #[test]
    fn what_is_lost_comes_twice_or_too_early_is_found() {
        let arrivals = Arrivals::new("o", &[Form::Plain]);
        for number in [0, 1, 0, 3, 4] {
            let mut text = Vec::new();
            line::push(Id { application: 0, generation: 7, number }, Form::Plain, 100, &mut text);
            arrivals.take(&text);
        }
        assert!(arrivals.has(0, 7, 2) && !arrivals.has(0, 7, 3));
        let missing = arrivals.missing(&BTreeMap::from([((0, 7), 5), ((0, 8), 1)]));
        assert_eq!(missing, ["o: #0.7: 1 of 5 lines, from 2 on", "o: #0.8: 1 of 1 lines, from 0 on"]);
        assert_eq!(arrivals.skips(), ["o: #0.7: line 3 came before 2"]);
        let counted = arrivals.counted();
        assert_eq!((counted.lines, counted.duplicates, counted.duplicate_bytes), (5, 1, 100));
    }
}
