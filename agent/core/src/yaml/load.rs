use super::document::{Document, Duplicates, LoadError, Warning, error};
use super::indentation::{Shifts, Tabs, mend, original};
use super::keys::{merge, replace};
use super::scan_error::told;
use super::{Entry, Mapping, Node, Place, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// More than any real configuration has; keeps the recursive drop and readers of the tree off the stack's end.
const MAX_DEPTH: usize = 100;
/// Nodes after alias expansion: an alias bomb of nine levels has a billion.
const MAX_NODES: usize = 100_000;
/// Bytes of text after alias expansion, and of the document itself.
const MAX_BYTES: usize = 16 << 20;

/// Loads the one document in `text`.
///
/// # Errors
/// Not YAML, more than one document, a duplicate key where refused, an unknown alias, a list or mapping as a key, or
/// a limit on size, depth or alias expansion exceeded.
pub fn load(text: &str, duplicates: Duplicates) -> Result<Document, LoadError> {
    let mut loader = load_mended(text, duplicates, Stream::OneDocument)?;
    let root = loader.roots.pop().unwrap_or_else(|| null(START));
    Ok(Document { root, warnings: loader.warnings })
}

/// Loads each document of `text`. Keys must be texts, in quotes or by what `is_text` says of them.
///
/// # Errors
/// As [`load`], but for several documents.
pub fn load_stream(text: &str, is_text: fn(&str) -> bool) -> Result<Vec<Node>, LoadError> {
    Ok(load_mended(text, Duplicates::Refuse, Stream::TextKeys(is_text))?.roots)
}

const START: Place = Place { line: 1, column: 1 };

/// Each mended line means reading from the beginning.
const MAX_MENDED: usize = 1000;

/// What may stand in the text.
#[derive(Clone, Copy)]
enum Stream {
    OneDocument,
    /// Any number of documents whose keys are all texts, by this.
    TextKeys(fn(&str) -> bool),
}

fn load_mended(text: &str, duplicates: Duplicates, stream: Stream) -> Result<Loader, LoadError> {
    if text.len() > MAX_BYTES {
        return Err(error(START, format!("the document is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let mut text = Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut shifts = Shifts::new();
    let mut mended = 0;
    loop {
        let mut loader = Loader::new(duplicates, stream);
        let stop = match loader.read(&text, &shifts) {
            Ok(()) => return Ok(loader),
            Err(Stop::Loader(error)) => return Err(error),
            Err(Stop::Scanner(error)) => error,
        };
        mended += 1;
        match mend(&text, place(stop.marker()), stop.info(), &mut shifts) {
            Some(again) if mended <= MAX_MENDED => text = Cow::Owned(again),
            _ => return Err(scan_error(&text, &stop, &shifts)),
        }
    }
}

/// Why loading ended early.
enum Stop {
    /// It is not YAML.
    Scanner(ScanError),
    /// It is more than is taken.
    Loader(LoadError),
}

/// Whether a block of text that begins in this line reaches a file's end that is no line's end.
fn ends_in_its_last_line(text: &str, start: &Marker) -> bool {
    if text.ends_with('\n') {
        return false;
    }
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    // The line with its `|` does not count: the mark may stand there or in the first line of the text.
    let mut lines = text.lines().skip(start.line().saturating_sub(1)).peekable();
    lines.next_if(|line| line.trim_start().len() > 1 && indent(line) < start.col());
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    let first = lines.first().map_or(0, |line| indent(line));
    first > 0 && lines.iter().all(|line| indent(line) >= first)
}

struct Loader {
    duplicates: Duplicates,
    stream: Stream,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Weight)>,
    nodes: usize,
    bytes: usize,
    roots: Vec<Node>,
    warnings: Vec<Warning>,
}

/// What a node costs when an alias copies it.
#[derive(Clone, Copy)]
struct Weight {
    nodes: usize,
    bytes: usize,
}

/// A list or mapping whose end has not been seen.
struct Open {
    anchor: usize,
    /// The loader's counters when it began, so that its weight is known at its end.
    nodes_before: usize,
    bytes_before: usize,
    node: Node,
    /// In a mapping: the key that waits for its value.
    key: Option<(String, Place, bool)>,
    /// In a mapping: values of `<<`, merged at its end so that explicit keys win wherever they stand.
    merges: Vec<Node>,
    /// In a mapping: its keys, because looking for each in the list would take too long in a large one.
    seen: HashSet<String>,
}

impl Loader {
    fn new(duplicates: Duplicates, stream: Stream) -> Self {
        let (open, anchors, roots, warnings) = (Vec::new(), HashMap::new(), Vec::new(), Vec::new());
        Self { duplicates, stream, open, anchors, nodes: 0, bytes: 0, roots, warnings }
    }

    fn read(&mut self, text: &str, shifts: &Shifts) -> Result<(), Stop> {
        let last_line = text.lines().count();
        let (mut parser, tabs) = (Parser::new_from_str(text), Tabs::of(text));
        while let Some(event) = parser.next_event() {
            let (mut event, span) = event.map_err(Stop::Scanner)?;
            if let Event::Scalar(content, ScalarStyle::Literal | ScalarStyle::Folded, ..) = &mut event
                && span.end.line() >= last_line
                && ends_in_its_last_line(text, &span.start)
            {
                // The parser takes the end of the file for a line break, which readers of YAML 1.1 do not.
                let end = content.strip_suffix('\n').map_or(content.len(), str::len);
                content.to_mut().truncate(end);
            }
            if matches!(event, Event::MappingStart(..) | Event::SequenceStart(..)) {
                tabs.indent(place(&span.start)).map_err(Stop::Loader)?;
            }
            if !self.event(event, original(place(&span.start), shifts)).map_err(Stop::Loader)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes one event; `false` after the end of the stream.
    fn event(&mut self, event: Event<'_>, at: Place) -> Result<bool, LoadError> {
        match event {
            Event::StreamEnd => return Ok(false),
            Event::DocumentStart(_) if matches!(self.stream, Stream::OneDocument) && !self.roots.is_empty() => {
                return Err(error(at, "a second document begins here; only one is read".into()));
            }
            // Inside of brackets the parser takes the mark of a block for a text.
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.starts_with(['|', '>']) => {
                let sign = &text[..1];
                let why =
                    format!("this is not YAML: inside of brackets no text can begin with {sign}: put it in quotes");
                return Err(error(at, why));
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(scalar(&text, style, tag, at), anchor)?,
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::SequenceStart(anchor, tag) => self.begin(Value::Sequence(Vec::new()), anchor, tag, at)?,
            Event::MappingStart(anchor, tag) => self.begin(Value::Mapping(Mapping::default()), anchor, tag, at)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            _ => {}
        }
        Ok(true)
    }

    fn scalar(&mut self, node: Node, anchor: usize) -> Result<(), LoadError> {
        let weight = Weight { nodes: 1, bytes: node.text().map_or(0, str::len) };
        self.spend(weight, node.place)?;
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        self.place_node(node)
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), LoadError> {
        let Some((node, weight)) = self.anchors.get(&anchor) else {
            return Err(error(at, "this alias stands inside the very node that it names".into()));
        };
        let (mut node, weight) = (node.clone(), *weight);
        self.spend(weight, at)?;
        node.place = at;
        self.place_node(node)
    }

    fn begin(&mut self, value: Value, anchor: usize, tag: Option<Cow<'_, Tag>>, at: Place) -> Result<(), LoadError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.spend(Weight { nodes: 1, bytes: 0 }, at)?;
        let node = Node { place: at, tag: custom_tag(tag).0, value };
        self.open.push(Open {
            anchor,
            nodes_before,
            bytes_before,
            node,
            key: None,
            merges: Vec::new(),
            seen: HashSet::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), LoadError> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Value::Mapping(mapping) = &mut open.node.value {
            merge(mapping, &mut open.seen, std::mem::take(&mut open.merges))?;
        }
        if open.anchor > 0 {
            let weight = Weight { nodes: self.nodes - open.nodes_before, bytes: self.bytes - open.bytes_before };
            self.anchors.insert(open.anchor, (open.node.clone(), weight));
        }
        self.place_node(open.node)
    }

    /// Puts a finished node where it belongs: into the open list or mapping, or at the root.
    fn place_node(&mut self, node: Node) -> Result<(), LoadError> {
        let Some(open) = self.open.last_mut() else {
            self.roots.push(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::Mapping(_), None) => {
                let Value::Scalar { text, plain } = node.value else {
                    return Err(error(node.place, format!("{} cannot be a key", node.kind())));
                };
                if let Stream::TextKeys(is_text) = self.stream
                    && plain
                    && !is_text(&text)
                {
                    return Err(error(node.place, format!("the key {text} is not a text; write it in quotes")));
                }
                open.key = Some((text, node.place, plain));
            }
            (Value::Mapping(_), Some((key, place, true))) if key == "<<" => {
                if self.duplicates == Duplicates::Refuse
                    && let Some(earlier) = open.merges.first()
                {
                    let message = format!("key \"<<\" stands in line {} already", earlier.place.line);
                    return Err(error(place, format!("{message}; name all in one list: <<: [*a, *b]")));
                }
                open.merges.push(node);
            }
            (Value::Mapping(mapping), Some((key, place, _))) => {
                let entry = Entry { key, place, value: node };
                if open.seen.insert(entry.key.clone()) {
                    mapping.entries.push(entry);
                } else {
                    replace(mapping, entry, self.duplicates, &mut self.warnings)?;
                }
            }
            (Value::Sequence(items), _) => items.push(node),
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    fn spend(&mut self, weight: Weight, at: Place) -> Result<(), LoadError> {
        self.nodes += weight.nodes;
        self.bytes += weight.bytes;
        if self.nodes > MAX_NODES || self.bytes > MAX_BYTES {
            return Err(error(
                at,
                format!(
                    "the document grows beyond {MAX_NODES} nodes or {} MiB here: too many aliases or entries",
                    MAX_BYTES >> 20
                ),
            ));
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, place: Place) -> Node {
    let kind = tag.as_ref().filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.clone());
    let (tag, is_string) = custom_tag(tag);
    // `!!int "12"` is a number, in quotes or not.
    let is_typed = matches!(kind.as_deref(), Some("int" | "float" | "bool" | "null"));
    let plain = is_typed || style == ScalarStyle::Plain && !is_string;
    Node { place, tag, value: Value::Scalar { text: text.to_owned(), plain } }
}

/// The tag if it is an application's own, and whether it is `!!str`.
fn custom_tag(tag: Option<Cow<'_, Tag>>) -> (Option<String>, bool) {
    match tag {
        None => (None, false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "binary" => (Some("!!binary".to_owned()), true),
        Some(tag) if tag.is_yaml_core_schema() => (None, tag.suffix == "str"),
        Some(tag) => (Some(format!("{}{}", tag.handle, tag.suffix)), tag.handle == "!" && tag.suffix.is_empty()),
    }
}

fn null(place: Place) -> Node {
    Node { place, tag: None, value: Value::Scalar { text: String::new(), plain: true } }
}

fn place(mark: &Marker) -> Place {
    Place { line: mark.line(), column: mark.col() + 1 }
}

fn scan_error(text: &str, source: &ScanError, shifts: &Shifts) -> LoadError {
    let (at, message) = told(text, place(source.marker()), source.info());
    error(original(at, shifts), message)
}

#[cfg(test)]
mod tests {
    use super::{Duplicates, load};
    use std::fmt::Write as _;

    fn refused(text: &str) -> String {
        match load(text, Duplicates::Refuse) {
            Ok(document) => panic!("loaded as {document:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nodes_know_their_line_and_column() {
        let document = load("a: 1\nb:\n  - x\n  - c: [7]\n", Duplicates::Refuse).expect("loads");
        let seven = &document.root.get("b").expect("b").sequence().expect("list")[1]
            .get("c")
            .expect("c")
            .sequence()
            .expect("list")[0];
        assert_eq!((seven.place.line, seven.place.column, seven.text()), (4, 9, Some("7")));
    }

    #[test]
    fn explicit_keys_win_over_merged_ones_wherever_they_stand() {
        let document = load("base: &b {x: 1, y: 2}\nuse:\n  x: 3\n  <<: *b\n", Duplicates::Refuse).expect("loads");
        let merged = document.root.get("use").expect("use");
        assert_eq!(
            (merged.get("x").and_then(|n| n.text()), merged.get("y").and_then(|n| n.text())),
            (Some("3"), Some("2"))
        );
    }

    #[test]
    fn a_duplicate_key_is_refused_or_the_last_one_counts_with_a_warning() {
        assert_eq!(refused("a: 1\na: 2\n"), "line 2, column 1: key \"a\" stands in line 1 already");
        let document = load("a: 1\na: 2\n", Duplicates::LastWins).expect("loads");
        assert_eq!(document.root.get("a").and_then(|n| n.text()), Some("2"));
        assert_eq!(document.warnings.len(), 1);
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_grows() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![format!("*a{before}"); 10].join(", "));
        }
        assert!(refused(&text).contains("too many aliases"));
    }

    #[test]
    fn an_alias_of_its_own_parent_is_refused() {
        assert!(refused("a: &a [*a]").contains("alias"));
    }

    #[test]
    fn the_mark_of_a_block_inside_of_brackets_is_refused() {
        for (text, place) in [("a: {b: |\n  x\n}\n", "line 1, column 8: "), ("[a, >x]\n", "line 1, column 5: ")] {
            let told = refused(text);
            assert!(told.starts_with(place) && told.contains("put it in quotes"), "{told}");
        }
        load("[a|b, '|', \"> \"]\nx: |\n  y\n".split_once('\n').expect("two").0, Duplicates::Refuse).expect("loads");
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(refused(&"[".repeat(150)).contains("nested deeper"));
        assert!(!refused(&"[".repeat(50_000)).is_empty());
    }

    #[test]
    fn a_second_document_is_refused() {
        assert!(refused("a: 1\n---\nb: 2\n").contains("second document"));
    }

    #[test]
    fn lines_inside_quotes_and_brackets_may_begin_anywhere() {
        for (text, expected) in [
            ("a:\n  b: \"x\ny\" # c\nc: 1\n", "x y"),
            ("a:\n  b: 'it''s\n 1'\nc: 1\n", "it's 1"),
            ("a:\n  b: 'x''\n y'\nc: 1\n", "x' y"),
            ("a:\n  b: [\n    x,\n]\nc: 1\n", "x"),
        ] {
            let document = load(text, Duplicates::Refuse).unwrap_or_else(|error| panic!("{text}: {error}"));
            let value = document.root.get("a").and_then(|a| a.get("b")).expect("b");
            let found = value.sequence().map_or(value.text(), |items| items[0].text());
            assert_eq!(found, Some(expected), "{text}");
            assert_eq!(document.root.get("c").map(|c| (c.place.line, c.place.column)), Some((text.lines().count(), 4)));
        }
        assert!(refused("a: \"x\ny\n").contains("quotes that begin here"));
        assert!(refused("a:\n  b: [\nx: [\n").starts_with("line"));
    }

    #[test]
    fn byte_order_mark_and_carriage_returns_are_no_part_of_keys_or_values() {
        let document = load("\u{feff}a: 1\r\nb: two\r\n", Duplicates::Refuse).expect("loads");
        assert_eq!(document.root.get("a").and_then(|n| n.text()), Some("1"));
        assert_eq!(document.root.get("b").and_then(|n| n.text()), Some("two"));
    }

    #[test]
    fn tabs_may_stand_between_a_colon_and_its_value() {
        let root = load("a:\tb\nc: \t d\ne: 'x:\ty'\n", Duplicates::Refuse).expect("YAML").root;
        let texts = ["a", "c", "e"].map(|key| root.get(key).and_then(|node| node.text()));
        assert_eq!(texts, [Some("b"), Some("d"), Some("x:\ty")]);
    }

    #[test]
    fn a_merge_key_stands_once_in_a_mapping() {
        let text = "a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\n";
        let error = load(text, Duplicates::Refuse).expect_err("refused");
        assert_eq!((error.place.line, error.place.column), (5, 3), "{error}");
        assert!(load(text, Duplicates::LastWins).is_ok());
    }
}
