//! Prometheus' text format 0.0.4 as text files have it: in comes a file's text, out go families, or the line that is not
//! understood. Nothing is kept.

/// The rest of a line.
mod cursor;

use cursor::{Cursor, is_blank, quoted, unescape};
use std::collections::HashMap;

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Untyped,
    Summary,
    Histogram,
}

/// Samples under one name, as one file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// The text after `# HELP`, if there is any.
    pub help: Option<String>,
    /// What stands after `# TYPE`.
    pub kind: Type,
    /// Never empty.
    pub metrics: Vec<Metric>,
}

/// What has one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Without `le` and `quantile`, in the order of the names.
    pub labels: Vec<(String, String)>,
    /// What was read of it.
    pub reading: Reading,
}

/// A number, or those that a summary or histogram is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    Value(f64),
    Summary { count: u64, sum: f64, quantiles: Vec<(f64, f64)> },
    Histogram { count: u64, sum: f64, buckets: Vec<(f64, u64)> },
}

/// Why a file is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from one.
    pub line: usize,
    /// What was expected and found.
    pub what: String,
}

/// Reads Prometheus' text format 0.0.4, as strictly as node_exporter does for its text files: a file is taken whole or
/// not at all, its last line has an end, and no sample has a timestamp.
///
/// # Errors
/// The first line that is not understood.
pub fn parse(text: &[u8]) -> Result<Vec<Family>, Fault> {
    let mut file = File::default();
    let mut rest = text;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let mut cursor = Cursor { rest: &rest[..end.unwrap_or(rest.len())] };
        file.line(&mut cursor).map_err(|what| Fault { line, what })?;
        let Some(end) = end else {
            if rest.iter().all(|byte| is_blank(*byte)) {
                break;
            }
            return Err(Fault { line, what: "the last line has no end, as if the file was cut off".into() });
        };
        rest = &rest[end + 1..];
    }
    Ok(file.finish())
}

/// The file as far as it was read.
#[derive(Default)]
struct File {
    families: Vec<Begun>,
    names: HashMap<String, usize>,
    /// Summaries and histograms by their family and labels: their lines need not stand together.
    composed: HashMap<(usize, Vec<(String, String)>), usize>,
}

struct Begun {
    name: String,
    help: Option<String>,
    kind: Option<Type>,
    metrics: Vec<Metric>,
}

/// Which of a summary's or histogram's numbers a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Sum,
    Count,
}

impl File {
    fn line(&mut self, line: &mut Cursor<'_>) -> Result<(), String> {
        line.skip_blanks();
        match line.peek() {
            None => Ok(()),
            Some(b'#') => {
                line.next();
                self.comment(line)
            }
            Some(_) => self.sample(line),
        }
    }

    fn comment(&mut self, line: &mut Cursor<'_>) -> Result<(), String> {
        line.skip_blanks();
        let keyword = line.word();
        if !matches!(keyword, b"HELP" | b"TYPE") {
            return Ok(());
        }
        line.skip_blanks();
        let name = line.name(true);
        match line.peek() {
            None => return Ok(()),
            Some(byte) if !is_blank(byte) => return Err("expected a metric's name in the comment".into()),
            Some(_) => {}
        }
        let (at, _) = self.family(name);
        line.skip_blanks();
        if line.peek().is_none() {
            return Ok(());
        }
        let family = &mut self.families[at];
        if keyword == b"HELP" {
            if family.help.is_some() {
                return Err(format!("{} has a second HELP line", family.name));
            }
            family.help = Some(help(line.rest)?);
            return Ok(());
        }
        if family.kind.is_some() {
            return Err(format!("{} has a second TYPE line, or samples before its TYPE line", family.name));
        }
        family.kind = Some(kind(line.rest)?);
        Ok(())
    }

    fn sample(&mut self, line: &mut Cursor<'_>) -> Result<(), String> {
        let name = line.name(true);
        if name.is_empty() {
            return Err(format!("expected a metric's name, found {}", line.found()));
        }
        let (at, part) = self.family(name);
        let family = &mut self.families[at];
        let kind = *family.kind.get_or_insert(Type::Untyped);
        line.skip_blanks();
        let mut labels = Vec::new();
        if line.peek() == Some(b'{') {
            line.next();
            while let Some(label) = line.label()? {
                labels.push(label);
            }
        }
        labels.sort();
        if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("the label {} is there twice", twice[0].0));
        }
        let bound = match kind {
            Type::Summary => bound(&mut labels, "quantile")?,
            Type::Histogram => bound(&mut labels, "le")?,
            _ => None,
        };
        line.skip_blanks();
        let value = value(line)?;
        self.put(at, labels, |reading| put(reading, part, bound, value));
        Ok(())
    }

    /// The family that a name belongs to: `x_count` is of the summary `x` if there is one.
    fn family(&mut self, name: &[u8]) -> (usize, Part) {
        // Names are ASCII.
        let name = String::from_utf8_lossy(name);
        if let Some(at) = self.names.get(&*name) {
            return (*at, Part::Whole);
        }
        let parts = [("_count", Part::Count), ("_sum", Part::Sum), ("_bucket", Part::Whole)];
        for (suffix, part) in parts {
            let Some(stem) = name.strip_suffix(suffix).filter(|stem| !stem.is_empty()) else { continue };
            let Some(at) = self.names.get(stem) else { continue };
            match self.families[*at].kind {
                Some(Type::Summary) if suffix != "_bucket" => return (*at, part),
                Some(Type::Histogram) => return (*at, part),
                _ => {}
            }
        }
        let at = self.families.len();
        self.names.insert(name.clone().into_owned(), at);
        self.families.push(Begun { name: name.into_owned(), help: None, kind: None, metrics: Vec::new() });
        (at, Part::Whole)
    }

    fn put(&mut self, at: usize, labels: Vec<(String, String)>, put: impl FnOnce(&mut Reading)) {
        let family = &mut self.families[at];
        let mut reading = match family.kind {
            Some(Type::Summary) => Reading::Summary { count: 0, sum: 0.0, quantiles: Vec::new() },
            Some(Type::Histogram) => Reading::Histogram { count: 0, sum: 0.0, buckets: Vec::new() },
            _ => Reading::Value(0.0),
        };
        if matches!(reading, Reading::Value(_)) {
            put(&mut reading);
            return family.metrics.push(Metric { labels, reading });
        }
        let place = *self.composed.entry((at, labels)).or_insert_with_key(|(_, labels)| {
            family.metrics.push(Metric { labels: labels.clone(), reading });
            family.metrics.len() - 1
        });
        put(&mut family.metrics[place].reading);
    }

    fn finish(self) -> Vec<Family> {
        let finished = self.families.into_iter().filter(|family| !family.metrics.is_empty()).map(|family| Family {
            name: family.name,
            help: family.help,
            kind: family.kind.unwrap_or(Type::Untyped),
            metrics: family.metrics,
        });
        finished.collect()
    }
}

fn put(reading: &mut Reading, part: Part, bound: Option<f64>, value: f64) {
    match (reading, part) {
        (Reading::Value(own), _) => *own = value,
        // A count beyond what it can be is taken for the next that it can be.
        (Reading::Summary { count, .. } | Reading::Histogram { count, .. }, Part::Count) => *count = value as u64,
        (Reading::Summary { sum, .. } | Reading::Histogram { sum, .. }, Part::Sum) => *sum = value,
        (Reading::Summary { quantiles, .. }, Part::Whole) => set(quantiles, bound, value),
        (Reading::Histogram { buckets, .. }, Part::Whole) => set(buckets, bound, value as u64),
    }
}

/// In the order of the bounds; the last word on a bound counts.
fn set<T>(pairs: &mut Vec<(f64, T)>, bound: Option<f64>, value: T) {
    let Some(bound) = bound.filter(|bound| !bound.is_nan()) else { return };
    match pairs.binary_search_by(|(own, _)| own.total_cmp(&bound)) {
        Ok(at) => pairs[at].1 = value,
        Err(at) => pairs.insert(at, (bound, value)),
    }
}

/// Takes the label out that is none of the metric's own.
fn bound(labels: &mut Vec<(String, String)>, name: &str) -> Result<Option<f64>, String> {
    let Some(at) = labels.iter().position(|(own, _)| own == name) else { return Ok(None) };
    let (_, text) = labels.remove(at);
    float(text.as_bytes()).map(Some).ok_or_else(|| format!("expected a number for the label {name}, found {text:?}"))
}

fn value(line: &mut Cursor<'_>) -> Result<f64, String> {
    let word = line.word();
    let value = float(word).ok_or_else(|| format!("expected a number as the value, found {}", quoted(word)))?;
    if line.peek().is_none() {
        return Ok(value);
    }
    line.skip_blanks();
    let word = line.word();
    Err(match std::str::from_utf8(word).is_ok_and(|word| word.parse::<i64>().is_ok()) {
        true => "the sample has a timestamp, which text files must not have".into(),
        false => format!("expected the line's end after the value, found {} or white space", quoted(word)),
    })
}

/// A number as Go's `strconv.ParseFloat` takes it, without the forms that the format does not have.
pub fn float(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let value: f64 = text.parse().ok()?;
    let letters = text.trim_start_matches(['+', '-']);
    let is_word = letters.starts_with(|c: char| c.is_ascii_alphabetic());
    // Too large a number is an error, and so is a sign of what is no number.
    let fits = is_word || value.is_finite();
    (fits && !(value.is_nan() && letters.len() < text.len())).then_some(value)
}

fn help(text: &[u8]) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&unescape(text)?).into_owned())
}

fn kind(text: &[u8]) -> Result<Type, String> {
    let kinds: [(&[u8], Type); 5] = [
        (b"counter", Type::Counter),
        (b"gauge", Type::Gauge),
        (b"untyped", Type::Untyped),
        (b"summary", Type::Summary),
        (b"histogram", Type::Histogram),
    ];
    let found = kinds.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, kind)| kind).ok_or_else(|| {
        format!("expected counter, gauge, untyped, summary or histogram as the type, found {}", quoted(text))
    })
}

#[cfg(test)]
mod tests {
    use super::{Fault, Reading, Type, float, parse};

    fn fault(text: &str) -> (usize, String) {
        let Fault { line, what } = parse(text.as_bytes()).expect_err(text);
        (line, what)
    }

    #[test]
    fn names_help_types_labels_and_values_are_read_wherever_blanks_may_stand() {
        let text = "\n# just a comment\n# HELPa is a comment too\n#HELP  a\tDoes\\\\n a\\nthing \n  # TYPE a GAUGE\n\
            a{ y = \"2\\\"\\\\\\n\" ,x=\"ü{},\",} +1.5e3\n\ta 7\nb:c{}NaN\n   ";
        let families = parse(text.as_bytes()).expect("valid");
        let [a, b] = &families[..] else { panic!("{families:?}") };
        assert_eq!((a.name.as_str(), a.help.as_deref(), a.kind), ("a", Some("Does\\n a\nthing "), Type::Gauge));
        let labels = [("x".to_owned(), "ü{},".to_owned()), ("y".to_owned(), "2\"\\\n".to_owned())];
        assert_eq!(a.metrics[0].labels, labels);
        assert_eq!((&a.metrics[0].reading, &a.metrics[1].reading), (&Reading::Value(1500.0), &Reading::Value(7.0)));
        assert_eq!((b.name.as_str(), b.help.as_deref(), b.kind), ("b:c", None, Type::Untyped));
    }

    #[test]
    fn a_broken_line_is_named_with_what_was_expected() {
        for (text, line, what) in [
            ("a 1\nb x\n", 2, "expected a number as the value, found \"x\""),
            ("a\n", 1, "expected a number as the value, found \"\""),
            ("a 1 \n", 1, "expected the line's end after the value"),
            ("a 1\r\n", 1, "expected a number as the value, found \"1\\r\""),
            ("a 1 1700000000000\n", 1, "the sample has a timestamp"),
            ("a 1", 1, "the last line has no end"),
            ("a 1\n# x", 2, "the last line has no end"),
            ("9a 1\n", 1, "expected a metric's name, found \"9a 1\""),
            ("# HELP 9a x\n", 1, "expected a metric's name in the comment"),
            ("# HELP a x\n# HELP a x\n", 2, "a has a second HELP line"),
            ("# HELP a \\x\n", 1, "\\x is no escape sequence"),
            ("a 1\n# TYPE a gauge\n", 2, "a has a second TYPE line, or samples before its TYPE line"),
            (
                "# TYPE a info\n",
                1,
                "expected counter, gauge, untyped, summary or histogram as the type, found \"info\"",
            ),
            ("a{b=\"c\"\n", 1, "expected ',' or '}' after the label b, found the end of the line"),
            ("a{b=\"c} 1\n", 1, "the value of the label b has no end quote"),
            ("a{b=\"c\\\n", 1, "the value of the label b has no end quote"),
            ("a{b=c} 1\n", 1, "expected '\"' after the label's name b"),
            ("a{b:c=\"d\"} 1\n", 1, "expected '=' after the label's name b"),
            ("a{=\"d\"} 1\n", 1, "expected a label's name or '}'"),
            ("a{__name__=\"d\"} 1\n", 1, "the label __name__ is reserved"),
            ("a{b=\"1\",b=\"2\"} 1\n", 1, "the label b is there twice"),
            ("# TYPE a histogram\na_bucket{le=\"x\"} 1\n", 2, "expected a number for the label le, found \"x\""),
        ] {
            let (found, why) = fault(text);
            assert!(found == line && why.starts_with(what), "{text:?}: {found}: {why}");
        }
        assert_eq!(parse(b"a{b=\"\xff\"} 1\n").expect_err("not UTF-8").what, "the value of the label b is not UTF-8");
    }

    #[test]
    fn lines_of_a_histogram_and_of_a_summary_are_put_together_by_their_labels() {
        let text = "# TYPE h histogram\nh_bucket{le=\"+Inf\",x=\"1\"} 3\nh_bucket{x=\"1\",le=\"0.10\"} 1\nh_count{x=\"2\"} 9\n\
            h_sum{x=\"1\"} 0.5\nh_count{x=\"1\"} 3\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns_count 2\ns_sum 8\n\
            s_bucket 1\nx_count 4\n";
        let families = parse(text.as_bytes()).expect("valid");
        let [h, s, bucket, other] = &families[..] else { panic!("{families:?}") };
        let want = Reading::Histogram { count: 3, sum: 0.5, buckets: vec![(0.1, 1), (f64::INFINITY, 3)] };
        assert_eq!((h.metrics.len(), &h.metrics[0].reading), (2, &want));
        assert_eq!(s.metrics[0].reading, Reading::Summary { count: 2, sum: 8.0, quantiles: vec![(0.5, 7.0)] });
        assert_eq!((bucket.name.as_str(), other.name.as_str()), ("s_bucket", "x_count"));
    }

    #[test]
    fn numbers_are_those_that_go_reads() {
        for (text, value) in [("1.", 1.0), (".5", 0.5), ("-1E+3", -1000.0), ("iNf", f64::INFINITY), ("0x", f64::NAN)] {
            assert_eq!(float(text.as_bytes()).unwrap_or(f64::NAN).to_bits(), value.to_bits(), "{text}");
        }
        assert!(float(b"nan").is_some_and(f64::is_nan));
        for text in ["1e400", "-nan", "+NaN", "1_0", "0x1p3", "", ".", "١"] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
    }
}
