use super::values::FromNode;
use crate::secret::SecretRef;
use crate::terminal::plain;
use crate::yaml::{Entry, Node, Place};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A longer list of known keys than this helps nobody in a one-line message.
const MOST_LISTED: usize = 30;

/// Characters of a path and of a message that are shown.
const LONGEST_PATH: usize = 300;
const LONGEST_MESSAGE: usize = 4000;

/// A longer key than this is no misspelt one.
const LONGEST_KEY: usize = 60;

const UNKNOWN_KEY: &str = "unknown key";

/// One thing that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The keys that lead to it: `logs.sources.backend.retain`.
    pub path: String,
    /// What was expected, what was found, what to do.
    pub message: String,
}

impl Problem {
    /// Whether it is an unknown key: what else was written beside it still counts.
    pub fn is_unknown_key(&self) -> bool {
        self.message.starts_with(UNKNOWN_KEY)
    }

    /// The same line for something that makes no file invalid.
    pub fn as_warning(&self) -> String {
        let keys = if self.path.is_empty() { String::new() } else { format!("{}: ", shown(&self.path, LONGEST_PATH)) };
        format!("{}: warning: {keys}{}", self.place, shown(&self.message, LONGEST_MESSAGE))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", shown(&self.path, LONGEST_PATH))?;
        }
        f.write_str(&shown(&self.message, LONGEST_MESSAGE))
    }
}

/// What somebody else wrote, as it may go to a terminal, and not without an end.
fn shown(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", plain(&text[..end])),
        None => plain(text).into_owned(),
    }
}

/// Collects problems while sections are read, and which secrets are referred to.
#[derive(Debug, Default)]
pub struct Problems {
    noted: RefCell<Vec<Problem>>,
    secrets: RefCell<Vec<NamedSecret>>,
}

/// A secret where it is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// Where it stands.
    pub place: Place,
    /// The keys that lead to it.
    pub path: String,
    /// What stands there.
    pub secret: SecretRef,
}

impl Problems {
    /// Notes one.
    pub fn note(&self, place: Place, path: &str, message: String) {
        self.noted.borrow_mut().push(Problem { place, path: path.to_owned(), message });
    }

    /// All of them in the order of the file.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.noted.into_inner();
        problems.sort_by_key(|problem| problem.place);
        problems
    }

    /// The secrets in the order in which they were read.
    pub fn into_secrets(self) -> Vec<NamedSecret> {
        self.secrets.into_inner()
    }
}

/// A mapping read key by key. The keys that were asked for are the known ones: [`Section::finish`] reports the others.
#[derive(Debug)]
pub struct Section<'a> {
    entries: &'a [Entry],
    place: Place,
    path: String,
    known: Vec<&'static str>,
    /// Told of already, and nothing that can be set.
    refused: Vec<&'static str>,
    problems: &'a Problems,
    /// Set where the operator wrote a single value in place of a mapping.
    shorthand: Option<&'a Node>,
    /// Whether keys that begin with `x-` are the operator's own.
    extensions: bool,
}

impl<'a> Section<'a> {
    /// Opens a mapping; an empty value (`metrics:`) counts as one without keys.
    pub fn open(node: &'a Node, path: &str, problems: &'a Problems) -> Option<Self> {
        let entries = match node.mapping() {
            Some(mapping) => &mapping.entries[..],
            None if node.is_null() => &[],
            None => {
                problems.note(node.place, path, format!("expected a mapping of keys, found {}", node.kind()));
                return None;
            }
        };
        Some(Self {
            entries,
            place: node.place,
            path: path.to_owned(),
            known: Vec::new(),
            refused: Vec::new(),
            problems,
            shorthand: None,
            extensions: false,
        })
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The last part of the section's path: its name among its siblings.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The node under `key`, which becomes a known key.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// A value that must be there.
    pub fn required<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        match self.node(key) {
            Some(node) => self.value(key, node),
            // A single value in place of the mapping is reported once, by `finish`.
            None if self.shorthand.is_some() => None,
            None => {
                self.problem(self.place, &format!("the key {key:?} is missing; it takes {}", T::EXPECTED));
                None
            }
        }
    }

    /// A value that may be absent.
    pub fn optional<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        let node = self.node(key)?;
        self.value(key, node)
    }

    /// A value with a default.
    pub fn or<T: FromNode>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A list, or one value in place of a list of one. Each item that does not fit is noted at its own place.
    pub fn list<T: FromNode>(&mut self, key: &'static str) -> Option<Vec<T>> {
        let node = self.node(key)?;
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        Some(items.iter().filter_map(|item| self.value(key, item)).collect())
    }

    /// The items of a list under `key`, of which each may have a form of its own.
    pub fn items(&self, key: &str, node: &'a Node) -> Option<&'a [Node]> {
        let items = node.sequence();
        if items.is_none() {
            self.problem_at(node.place, key, &format!("expected a list, found {}", node.kind()));
        }
        items
    }

    /// Opens a mapping that stands somewhere under `key`, such as an item of its list.
    pub fn item(&self, key: &str, node: &'a Node) -> Option<Self> {
        Self::open(node, &self.path_of(key), self.problems)
    }

    /// Takes keys that begin with `x-` for the operator's own, as Compose does.
    pub fn allow_extensions(&mut self) {
        self.extensions = true;
    }

    /// Refuses a key that is known to the format but not carried out here; `why` says so.
    pub fn refuse(&mut self, key: &'static str, why: &str) {
        self.refused.push(key);
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            self.problems.note(entry.place, &self.path_of(key), why.to_owned());
        }
    }

    /// A nested section, if it is there (an empty one is there).
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(Section<'a>) -> Option<T>) -> Option<T> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        read(Section::open(&entry.value, &self.path_of(key), self.problems)?)
    }

    /// The same, for a section of which a single value is a short form; see [`Self::required_or_shorthand`].
    pub fn section_or_value<T>(&mut self, key: &'static str, read: impl FnOnce(Section<'a>) -> Option<T>) -> Option<T> {
        let node = self.node(key)?;
        read(Section::open_with_shorthand(node, &self.path_of(key), self.problems)?)
    }

    /// The names under `key`, valid or not, for references to them.
    pub fn names(&mut self, key: &'static str) -> Vec<String> {
        let mapping = self.node(key).and_then(Node::mapping);
        mapping.map(|mapping| mapping.entries.iter().map(|entry| entry.key.clone()).collect()).unwrap_or_default()
    }

    /// Nested sections under names that the operator chose, if there are any.
    pub fn named<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(Section<'a>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let names = Section::open(node, &path, self.problems)?;
        let mut all = BTreeMap::new();
        for entry in names.entries {
            if let Err(message) = check_name(&entry.key) {
                names.problem(entry.place, &message);
            }
            let below = format!("{path}.{}", entry.key);
            if let Some(value) = Section::open_with_shorthand(&entry.value, &below, self.problems).and_then(&mut read) {
                all.insert(entry.key.clone(), value);
            }
        }
        Some(all)
    }

    /// A section of which a single value is a short form: `products: file:///srv` for `{endpoint: file:///srv}`.
    ///
    /// The value stands for `key`; without a short form in the file this is [`Self::required`].
    pub fn required_or_shorthand<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        match self.shorthand.take() {
            Some(node) => {
                self.known.push(key);
                self.value(key, node)
            }
            None => self.required(key),
        }
    }

    /// Whether a single value stands in place of the mapping.
    pub fn is_value(&self) -> bool {
        self.shorthand.is_some()
    }

    fn open_with_shorthand(node: &'a Node, path: &str, problems: &'a Problems) -> Option<Self> {
        if node.text().is_none() || node.is_null() {
            return Self::open(node, path, problems);
        }
        Some(Self {
            entries: &[],
            place: node.place,
            path: path.to_owned(),
            known: Vec::new(),
            refused: Vec::new(),
            problems,
            shorthand: Some(node),
            extensions: false,
        })
    }

    /// Checks that names in the list under `key` exist among `names`.
    pub fn references(&mut self, key: &'static str, what: &str, names: &[String]) {
        let Some(node) = self.node(key) else { return };
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        for item in items {
            let Some(text) = item.text() else { continue };
            if !names.iter().any(|name| name == text) {
                let hint = did_you_mean(text, names.iter().map(String::as_str));
                self.problems.note(item.place, &self.path_of(key), format!("there is no {what} {text:?}{hint}"));
            }
        }
    }

    /// Reports unless exactly one of `keys` is there.
    pub fn exactly_one(&self, keys: &[&str]) {
        let found: Vec<_> = self.entries.iter().filter(|entry| keys.contains(&entry.key.as_str())).collect();
        match found[..] {
            [_] => {}
            [] => self.problem(self.place, &format!("one of the keys {} is needed", keys.join(", "))),
            [_, second, ..] => {
                self.problem(second.place, &format!("only one of the keys {} can be given", keys.join(", ")));
            }
        }
    }

    /// Reports where more than one of `keys` is there.
    pub fn at_most_one(&self, keys: &[&str]) {
        if let Some(second) = self.entries.iter().filter(|entry| keys.contains(&entry.key.as_str())).nth(1) {
            self.problem(second.place, &format!("only one of the keys {} can be given", keys.join(", ")));
        }
    }

    /// Whether there is a value under `key`.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key && !entry.value.is_null())
    }

    /// Notes a problem with the section.
    pub fn problem(&self, place: Place, message: &str) {
        self.problems.note(place, &self.path, message.to_owned());
    }

    /// Notes a problem with the value under `key`.
    pub fn problem_with(&self, key: &str, message: &str) {
        let place = self.entries.iter().find(|entry| entry.key == key).map_or(self.place, |entry| entry.value.place);
        self.problems.note(place, &self.path_of(key), message.to_owned());
    }

    /// Notes a problem at `place`, somewhere under `key`.
    pub fn problem_at(&self, place: Place, key: &str, message: &str) {
        self.problems.note(place, &self.path_of(key), message.to_owned());
    }

    /// Reports every key that nobody asked for, with the nearest known one.
    pub fn finish(self) {
        if let Some(node) = self.shorthand {
            self.problem(node.place, &format!("expected a mapping of keys, found {}", node.kind()));
        }
        let own = |key: &str| self.extensions && key.starts_with("x-");
        let is_known = |key: &str| self.known.contains(&key) || self.refused.contains(&key) || own(key);
        let unknown = self.entries.iter().filter(|entry| !is_known(&entry.key));
        for entry in unknown {
            let hint = match did_you_mean(&entry.key, self.known.iter().copied()) {
                _ if self.known.is_empty() => "; nothing can be set here".to_owned(),
                hint if hint.is_empty() && self.known.len() <= MOST_LISTED => {
                    let mut seen = BTreeSet::new();
                    let known: Vec<_> = self.known.iter().copied().filter(|key| seen.insert(*key)).collect();
                    format!("; known here: {}", known.join(", "))
                }
                hint => hint,
            };
            self.problems.note(entry.place, &self.path_of(&entry.key), format!("{UNKNOWN_KEY}{hint}"));
        }
    }

    /// Reads a node that stands under `key`; one that does not fit is noted at its own place.
    pub fn value<T: FromNode>(&self, key: &str, node: &Node) -> Option<T> {
        match T::from_node(node) {
            Ok(value) => {
                let named = |secret| NamedSecret { place: node.place, path: self.path_of(key), secret };
                self.problems.secrets.borrow_mut().extend(value.secrets().into_iter().map(named));
                Some(value)
            }
            Err(message) => {
                self.problems.note(node.place, &self.path_of(key), message);
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Names become file names, metric labels and parts of paths.
fn check_name(name: &str) -> Result<(), String> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if first && rest && name.len() <= 63 {
        return Ok(());
    }
    Err(format!("{name:?} cannot be a name: use up to 63 letters, digits, '_', '.' and '-', a letter or digit first"))
}

/// "; did you mean …?" with the nearest of `names`, or nothing when none is near.
pub fn did_you_mean<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> String {
    if text.len() > LONGEST_KEY {
        return String::new();
    }
    let nearest = names.map(|name| (edit_distance(text, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + text.chars().count() / 3 => format!("; did you mean {name:?}?"),
        _ => String::new(),
    }
}

/// Levenshtein's distance: insertions, deletions and replacements that turn one into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
