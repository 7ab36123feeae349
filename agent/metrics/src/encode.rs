//! Prometheus' text format 0.0.4 on a byte buffer: nothing is allocated for a sample.

use memchr::memmem;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::ops::Range;

/// In which form a scrape is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0, as text.
    OpenMetrics,
}

/// How a family begins.
const HEAD: &[u8] = b"# HELP ";

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until a restart.
    Counter,
    /// It goes up and down.
    Gauge,
    /// The original does not say, so neither do we.
    Untyped,
    /// Quantiles, `_sum` and `_count`.
    Summary,
    /// `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A metric's name with the two lines that stand above its samples, rendered once.
#[derive(Clone, Debug)]
pub struct Family {
    header: Box<[u8]>,
    name: Box<[u8]>,
}

impl Family {
    /// A family under `name`, explained by `help`.
    pub fn new(name: &str, help: &str, kind: Kind) -> Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let header = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Self { header: header.into_bytes().into(), name: name.as_bytes().into() }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        // It was made of a text.
        std::str::from_utf8(&self.name).unwrap_or_default()
    }

    /// Short for a counter.
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    /// Short for a gauge.
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }
}

/// The labels of a sample, escaped and joined, ready to be copied: `cpu="0",mode="idle"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<u8>);

impl Labels {
    /// Renders pairs of name and value. Values are what the kernel gave, which need not be UTF-8.
    pub fn new(pairs: &[(&str, &[u8])]) -> Self {
        let mut labels = Self::default();
        labels.set(pairs);
        labels
    }

    /// Renders anew into the same buffer.
    pub fn set(&mut self, pairs: &[(&str, &[u8])]) {
        self.0.clear();
        for (name, value) in pairs {
            if !self.0.is_empty() {
                self.0.push(b',');
            }
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(b"=\"");
            escape(value, &mut self.0);
            self.0.push(b'"');
        }
    }
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    let mut replaced = false;
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'\\' => out.extend_from_slice(br"\\"),
                b'"' => out.extend_from_slice(br#"\""#),
                b'\n' => out.extend_from_slice(br"\n"),
                _ => out.push(byte),
            }
        }
        // As in the original, bytes in a row that are not UTF-8 are replaced together.
        let follows = replaced && chunk.valid().is_empty();
        replaced = !chunk.invalid().is_empty();
        if replaced && !follows {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The text of one scrape while it is written.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    /// How much space the next text starts with.
    expected: usize,
    /// On every sample: the host's labels.
    host: Labels,
}

impl Encoder {
    /// An encoder that puts the host's labels on every sample.
    pub fn new(host: Labels) -> Self {
        Self { host, ..Self::default() }
    }

    /// Opens a family: its header is written with its first sample, since one without samples is not shown.
    pub fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        if self.out.capacity() == 0 {
            self.out.reserve(self.expected);
        }
        Samples { encoder: self, family, begun: false }
    }

    /// Opens a family whose header is there already.
    pub fn more_of<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        Samples { encoder: self, family, begun: true }
    }

    /// The names of the families that are written, each with its place.
    pub fn families(&self) -> impl Iterator<Item = (&[u8], Range<usize>)> {
        let text = &self.out[..];
        // Neither HELP nor the value of a label has an end of line that is not escaped.
        let others = memmem::find_iter(text, b"\n# HELP ").map(|at| at + 1);
        let mut starts = text.starts_with(HEAD).then_some(0).into_iter().chain(others).peekable();
        std::iter::from_fn(move || {
            let start = starts.next()?;
            let end = starts.peek().copied().unwrap_or(text.len());
            let name = text[start + HEAD.len()..end].split(|byte| *byte == b' ').next()?;
            Some((name, start..end))
        })
    }

    /// Whether the family at this place says of itself what this one does.
    pub fn has_header(&self, place: &Range<usize>, family: &Family) -> bool {
        self.out[place.clone()].starts_with(&family.header)
    }

    /// Whether a line at this place is of the series that was written since the mark.
    pub fn has_series(&self, place: Range<usize>, mark: usize) -> bool {
        let new = Series::of(self.out[mark..].trim_ascii_end());
        self.out[place].split(|byte| *byte == b'\n').any(|line| !line.starts_with(b"#") && Series::of(line) == new)
    }

    /// Moves what was written since the mark to an earlier place.
    pub fn move_to(&mut self, place: usize, mark: usize) {
        let length = self.out.len() - mark;
        self.out[place..].rotate_right(length);
    }

    /// Where the text ends now, to come back to with [`Self::truncate`].
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Forgets what was written since the mark.
    pub fn truncate(&mut self, mark: usize) {
        self.out.truncate(mark);
    }

    /// The text; the next one starts with as much space as this one took, which it gets when this one may be gone.
    pub fn take(&mut self) -> Vec<u8> {
        self.expected = self.out.len() + self.out.len() / 8;
        std::mem::take(&mut self.out)
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'a> {
    encoder: &'a mut Encoder,
    family: &'a Family,
    begun: bool,
}

impl Samples<'_> {
    /// A sample without labels of its own.
    pub fn put(&mut self, value: impl Value) {
        self.write("", &[], value);
    }

    /// A sample with labels.
    pub fn with(&mut self, labels: &Labels, value: impl Value) {
        self.write("", &labels.0, value);
    }

    /// A sample with labels that others chose, of a part of a summary or histogram (`_bucket`, `_sum`, `_count`) or of
    /// none. A label of the host's that it has itself is left out: Prometheus refuses two of one name.
    pub fn part(&mut self, suffix: &str, labels: &Labels, value: impl Value) {
        let has = |pair: &[u8]| {
            let name = pair.split_inclusive(|byte| *byte == b'=').next().unwrap_or_default();
            pairs(&labels.0).any(|own| own.starts_with(name))
        };
        if !pairs(&self.encoder.host.0).any(has) {
            return self.write(suffix, &labels.0, value);
        }
        let others: Vec<&[u8]> = pairs(&self.encoder.host.0).filter(|pair| !has(pair)).collect();
        let others = Labels(others.join(&b','));
        let host = std::mem::replace(&mut self.encoder.host, others);
        self.write(suffix, &labels.0, value);
        self.encoder.host = host;
    }

    fn write(&mut self, suffix: &str, labels: &[u8], value: impl Value) {
        let out = &mut self.encoder.out;
        if !self.begun {
            out.extend_from_slice(&self.family.header);
            self.begun = true;
        }
        out.extend_from_slice(&self.family.name);
        out.extend_from_slice(suffix.as_bytes());
        let host = &self.encoder.host.0;
        if !labels.is_empty() || !host.is_empty() {
            out.push(b'{');
            out.extend_from_slice(labels);
            if !labels.is_empty() && !host.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(host);
            out.push(b'}');
        }
        out.push(b' ');
        value.write(out);
        out.push(b'\n');
    }
}

/// What a line is of, whatever the order of its labels.
#[derive(PartialEq, Eq)]
struct Series<'a> {
    name: &'a [u8],
    labels: BTreeSet<&'a [u8]>,
}

impl<'a> Series<'a> {
    fn of(line: &'a [u8]) -> Self {
        let end = memchr::memrchr(b' ', line).unwrap_or(line.len());
        let series = line[..end].strip_suffix(b"}").unwrap_or(&line[..end]);
        let Some(brace) = memchr::memchr(b'{', series) else { return Self { name: series, labels: BTreeSet::new() } };
        let (name, labels) = (&series[..brace], pairs(&series[brace + 1..]).collect());
        Self { name, labels }
    }
}

/// Labels with their values, as they are written: `cpu="0"`.
fn pairs(labels: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let quote = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let mut end = quote + 1;
        while rest.get(end).is_some_and(|byte| *byte != b'"') {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let pair = &rest[..rest.len().min(end + 1)];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(pair)
    })
}

/// A number as the format writes it.
pub trait Value {
    /// Appends it.
    fn write(self, out: &mut Vec<u8>);
}

impl Value for u64 {
    fn write(self, out: &mut Vec<u8>) {
        const MOST_DIGITS: usize = 20;
        let mut digits = [0; MOST_DIGITS];
        let mut at = MOST_DIGITS;
        let mut rest = self;
        loop {
            at -= 1;
            // A remainder of ten fits a byte.
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }
}

impl Value for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(if self { b'1' } else { b'0' });
    }
}

impl Value for i64 {
    fn write(self, out: &mut Vec<u8>) {
        if self < 0 {
            out.push(b'-');
        }
        self.unsigned_abs().write(out);
    }
}

impl Value for f64 {
    fn write(self, out: &mut Vec<u8>) {
        const MOST_EXACT: f64 = 9_007_199_254_740_992.0;
        if self.fract() == 0.0 && self.abs() < MOST_EXACT && !(self == 0.0 && self.is_sign_negative()) {
            // Most are whole, and these digits are found faster.
            (self as i64).write(out);
        } else if self.is_infinite() {
            out.extend_from_slice(if self > 0.0 { b"+Inf" } else { b"-Inf" });
        } else {
            // Writing to a vector cannot fail. The shortest text that reads back as the same number, `NaN` included.
            let _ = write!(out, "{self}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Family, Kind, Labels, Value};

    fn text(value: impl Value) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn label_values_and_help_are_escaped_and_bytes_that_are_not_utf8_replaced() {
        let mut encoder = Encoder::default();
        let labels = Labels::new(&[("path", b"C:\\a\"b\nc\xff\xfe\xc3\xa9"), ("empty", b"")]);
        encoder.family(&Family::new("x", "a\\b\nc", Kind::Untyped)).with(&labels, 1_u64);
        let want = "# HELP x a\\\\b\\nc\n# TYPE x untyped\nx{path=\"C:\\\\a\\\"b\\nc\u{fffd}é\",empty=\"\"} 1\n";
        assert_eq!(String::from_utf8(encoder.take()).expect("UTF-8"), want);
    }

    #[test]
    fn numbers_read_back_as_the_same_numbers() {
        assert_eq!(
            (text(0_u64), text(u64::MAX), text(i64::MIN)),
            ("0".into(), u64::MAX.to_string(), i64::MIN.to_string())
        );
        assert_eq!(
            (text(f64::INFINITY), text(f64::NEG_INFINITY), text(f64::NAN)),
            ("+Inf".into(), "-Inf".into(), "NaN".into())
        );
        for number in [0.1 + 0.2, 25.060_000_000_000_002, 1e-9, 1.844_674_407_370_955_2e19, -125_000.0] {
            assert_eq!(text(number).parse(), Ok(number));
        }
    }

    #[test]
    fn a_family_without_samples_is_not_shown_and_the_hosts_labels_are_on_every_sample() {
        let mut encoder = Encoder::new(Labels::new(&[("role", b"backend")]));
        let (empty, full) = (Family::gauge("a", "A."), Family::gauge("b", "B."));
        let _ = encoder.family(&empty);
        let mut samples = encoder.family(&full);
        samples.put(1_u64);
        samples.with(&Labels::new(&[("cpu", b"0")]), true);
        let text = String::from_utf8(encoder.take()).expect("UTF-8");
        assert_eq!(text, "# HELP b B.\n# TYPE b gauge\nb{role=\"backend\"} 1\nb{cpu=\"0\",role=\"backend\"} 1\n");
    }

    #[test]
    fn a_label_that_others_chose_is_in_place_of_the_hosts() {
        let mut encoder = Encoder::new(Labels::new(&[("role", b"a\"b"), ("zone", b"x")]));
        let family = Family::gauge("a", "A.");
        let mut samples = encoder.family(&family);
        samples.part("_sum", &Labels::new(&[("x", b",role=\""), ("zone", b"own")]), 1_u64);
        samples.part("", &Labels::new(&[("x", b",role=\"")]), 2_u64);
        let text = String::from_utf8(encoder.take()).expect("UTF-8");
        let want = [r#"a_sum{x=",role=\"",zone="own",role="a\"b"} 1"#, r#"a{x=",role=\"",role="a\"b",zone="x"} 2"#];
        assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), want);
    }

    #[test]
    fn samples_can_be_added_to_a_family_that_is_there() {
        let mut encoder = Encoder::new(Labels::new(&[("role", b"backend")]));
        let (a, b) = (Family::gauge("a", "A."), Family::counter("a_b", "# HELP \nx"));
        let labels =
            [&[("x", &b"}\""[..]), ("y", b", ")], &[("y", b", "), ("x", b"}\"")]].map(|pairs| Labels::new(pairs));
        encoder.family(&a).with(&labels[0], 1_u64);
        encoder.family(&b).put(2_u64);
        let there: Vec<_> = encoder.families().map(|(name, place)| (name.to_vec(), place)).collect();
        let [(first, place), (second, _)] = &there[..] else { panic!("{there:?}") };
        assert_eq!((&first[..], &second[..]), (&b"a"[..], &b"a_b"[..]));
        assert!(encoder.has_header(place, &a) && !encoder.has_header(place, &Family::counter("a", "A.")));
        let mut is_there = |labels: &Labels| {
            let mark = encoder.mark();
            encoder.more_of(&a).with(labels, 3_u64);
            let is_there = encoder.has_series(place.clone(), mark);
            if is_there {
                encoder.truncate(mark);
            } else {
                encoder.move_to(place.end, mark);
            }
            is_there
        };
        assert!(is_there(&labels[1]), "the order of the labels does not matter");
        assert!(!is_there(&Labels::new(&[("x", b"}")])) && !is_there(&Labels::default()));
        let text = String::from_utf8(encoder.take()).expect("UTF-8");
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(values[0].ends_with(" 1") && values[1].starts_with("a{") && values[3].starts_with("a_b{"), "{text}");
    }
}
