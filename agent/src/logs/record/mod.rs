//! Lines made records: text or a JSON object, with what the line says of itself.
//!
//! In: a line's bytes. Out: [`Record`], which borrows from them, or from [`Scratch`] where a line is no JSON by itself
//! and becomes some. Nothing survives: a record is made again from its file.

/// Where and how a record says when it happened.
mod clock;
/// Lines of containers' logs.
pub mod container;
/// What is the same for all lines of a file.
mod facts;
/// What is done to records before they are shipped.
mod filter;
/// What a line is.
mod form;
/// What a record is called.
mod id;
/// JSON text without a tree.
pub mod json;
/// A line on its way to an output.
mod line;
/// `key=value`.
mod logfmt;
/// What a JSON object says of itself.
mod object;
/// How records are made of the lines of a source.
mod recipe;
/// Severities by name and number.
mod severity;
/// Syslog messages.
mod syslog;
/// When a record happened.
mod time;

pub use facts::Facts;
pub use filter::Window;
pub use id::Id;
pub use line::Record;
pub use object::{AT_TIMESTAMP, FIELDS, LOG, LOG_SOURCE, ODD_TIMESTAMP, Object, is_date};
pub use recipe::{Recipe, Scratch};
pub use time::{Time, Zone};

use super::source::lines::Line;
use filter::Filtered;
use std::borrow::Cow;

/// What was counted while lines were made records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    /// Longer than the limit.
    pub cut: u64,
    /// With bytes that are not UTF-8, each replaced by U+FFFD.
    pub invalid_utf8: u64,
    /// Not what `parse` says they are: shipped as text.
    pub unparsed: u64,
    /// Not shipped, because of a filter.
    pub filtered: u64,
    /// What these take of their files, and what is cut of lines that are too long.
    pub skipped_bytes: u64,
    /// Refused by the platform, or certain to be: kept as dead letters.
    pub dead: u64,
    /// What these take of their files.
    pub dead_bytes: u64,
}

impl Tally {
    /// Counts a line that is a dead letter.
    pub fn dead(&mut self, length: u64) {
        self.dead += 1;
        self.dead_bytes += length;
    }
}

/// What a record is made with, beside its line.
#[derive(Debug)]
pub struct Making<'a> {
    pub recipe: &'a Recipe,
    /// RFC 3339: the time of a line that says none.
    pub now: &'a str,
    /// The id of the file's content.
    pub content: u64,
    pub scratch: &'a mut Scratch,
    /// The file's counts for limits of rate.
    pub windows: &'a mut Vec<Window>,
}

/// Makes a line a record and gives it to `ship`, unless a filter drops it.
pub fn with_record(line: Line<'_>, making: &mut Making<'_>, tally: &mut Tally, ship: impl FnOnce(&Record<'_>)) {
    with_text(making.recipe.decode(line.bytes), line, making, (tally, ship));
}

/// The same with a line whose characters were made text before, and whether some were not valid.
pub fn with_text(
    (text, is_invalid): (Cow<'_, str>, bool),
    line: Line<'_>,
    making: &mut Making<'_>,
    (tally, ship): (&mut Tally, impl FnOnce(&Record<'_>)),
) {
    let Making { recipe, now, content, scratch, windows } = making;
    let parsed = recipe.form.parse(&text, line.cut, &recipe.clock, &mut scratch.parsing);
    tally.lines += 1;
    tally.cut += u64::from(line.cut);
    tally.invalid_utf8 += u64::from(is_invalid);
    tally.unparsed += u64::from(!parsed.fits);
    let found = match parsed.object {
        Some(object) => object.time,
        None => recipe.clock.of_line(parsed.text),
    };
    let record = Record {
        text: parsed.text,
        // An object says it itself.
        cut: line.cut && parsed.object.is_none(),
        object: parsed.object,
        time: found.unwrap_or(Time::Text(now)),
        severity: parsed.object.and_then(|object| object.severity),
        id: Id { content: *content, offset: line.offset, check: crc32fast::hash(line.bytes) },
    };
    if recipe.filters.is_empty() {
        return ship(&record);
    }
    match recipe.filters.pass(&record, windows, &mut scratch.filtering) {
        Filtered::Same => ship(&record),
        Filtered::Dropped => {
            tally.lines -= 1;
            tally.filtered += 1;
            tally.skipped_bytes += line.length as u64;
        }
        Filtered::Changed(text, is_object) => {
            let object = if is_object { Object::of(text, &recipe.clock) } else { None };
            // Time and severity are those that the line has, even if their fields are gone.
            ship(&Record { text, cut: line.cut && object.is_none(), object, ..record });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Making, Recipe, Record, Scratch, Tally, Time, with_record};
    use crate::logs::source::lines::Line;
    use hostwright_core::config::Config;

    /// With these settings of a source.
    fn recipe(settings: &str) -> Recipe {
        let text = format!(
            "logs:\n  sources:\n    s:\n      files: [/x]\n      outputs: [o]\n{settings}\n  outputs:\n    o: {{file: {{path: /y}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").unwrap_or_else(|error| panic!("{error}"));
        Recipe::new(&config.logs.expect("logs").sources["s"]).expect("valid")
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Taken {
        text: String,
        is_object: bool,
        cut: bool,
        time: i64,
        severity: Option<u8>,
    }

    fn all(recipe: &Recipe, lines: &[&[u8]]) -> (Vec<Taken>, Tally) {
        let (mut tally, mut taken, mut offset) = (Tally::default(), Vec::new(), 0);
        let (mut scratch, mut windows) = (Scratch::default(), Vec::new());
        for bytes in lines {
            let now = "2026-11-20T10:11:12Z";
            let mut making = Making { recipe, now, content: 1, scratch: &mut scratch, windows: &mut windows };
            let line = Line { bytes, cut: bytes.ends_with(b"cut"), offset, length: bytes.len() };
            offset += bytes.len() as u64;
            with_record(line, &mut making, &mut tally, |record: &Record<'_>| {
                taken.push(Taken {
                    text: record.text.to_owned(),
                    is_object: record.object.is_some(),
                    cut: record.cut,
                    time: record.time.nanoseconds() / 1_000_000_000,
                    severity: record.severity,
                });
            });
        }
        (taken, tally)
    }

    fn one(settings: &str, line: &str) -> Taken {
        all(&recipe(settings), &[line.as_bytes()]).0.pop().expect("shipped")
    }

    const NOW: i64 = 1_795_169_472;

    #[test]
    fn what_is_no_json_object_is_shipped_as_text_and_counted() {
        for line in ["", "text", "[1]", "{\"a\":1", "{\"a\":1}{\"b\":2}", "{garbage}", "3"] {
            let (taken, tally) = all(&recipe("      parse: json"), &[line.as_bytes()]);
            assert_eq!((taken[0].text.as_str(), taken[0].is_object, tally.unparsed), (line, false, 1));
        }
        assert_eq!(all(&recipe(""), &[b"text"]).1, Tally { lines: 1, ..Tally::default() });
    }

    #[test]
    fn invalid_utf8_is_replaced_and_counted() {
        let (taken, tally) = all(&recipe("      parse: json"), &[b"{\"a\":\"\xff\"}"]);
        assert_eq!((taken[0].text.as_str(), taken[0].is_object, tally.invalid_utf8), ("{\"a\":\"\u{fffd}\"}", true, 1));
    }

    #[test]
    fn another_encoding_is_read_as_such() {
        let (taken, tally) = all(&recipe("      encoding: latin1"), &[b"caf\xe9"]);
        assert_eq!((taken[0].text.as_str(), tally.invalid_utf8), ("café", 0));
    }

    #[test]
    fn a_line_says_its_time_and_severity_or_gets_the_time_of_reading() {
        let taken = one("      parse: json", r#"{"ts":1795169400.5,"level":50}"#);
        assert_eq!((taken.time, taken.severity), (1_795_169_400, Some(3)));
        assert_eq!(one("      parse: json", r#"{"ts":"soon"}"#).time, NOW);
        assert_eq!(one("", "2026-11-20T10:11:02Z text").time, NOW - 10);
        assert_eq!(one("", "2026-11-20 10:11:02 text").time, NOW, "the zone is not said");
        let settings = "      time: {timezone: UTC}";
        assert_eq!(one(settings, "[2026-11-20 10:11:02,123] text").time, NOW - 10);
        let settings = "      parse: logfmt\n      time: {field: at, format: '%d/%b/%Y:%H:%M:%S'}";
        assert_eq!(one(settings, "time=2020-01-01T00:00:00Z at=20/Nov/2026:10:11:02").time, NOW - 10);
    }

    #[test]
    fn a_line_that_was_cut_says_so_as_text_or_as_a_field() {
        let taken = one("      parse: logfmt", "a=cut");
        assert_eq!((taken.text.as_str(), taken.cut), (r#"{"a":"cut","cut":true}"#, false));
        assert!(one("      parse: json", r#"{"a":"cut"#).cut);
        let taken = one("      filters: [add: {a: b}]", "text cut");
        assert_eq!(
            (taken.text.as_str(), taken.cut),
            (r#"{"time":"2026-11-20T10:11:12Z","cut":true,"message":"text cut","a":"b"}"#, false)
        );
    }

    #[test]
    fn filters_are_passed_in_order_and_what_they_drop_is_counted_with_its_bytes() {
        let recipe = recipe(
            "      parse: json\n      filters:\n        - drop: {match: '^/health', field: path}\n        \
             - rename: {path: url}\n        - remove: [noise, level]\n        - keep: '\"url\"'\n        \
             - redact: [emails, 'id-\\d+']\n        - add: {team: web}",
        );
        let lines: [&[u8]; 4] = [
            br#"{"path":"/health/live"}"#,
            br#"{"path":"/a?m=x@y.org","noise":[1],"level":"error","u":"id-12"}"#,
            br#"{"other":1}"#,
            b"text",
        ];
        let (taken, tally) = all(&recipe, &lines);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].text, r#"{"url":"/a?m=[redacted]","u":"[redacted]","team":"web"}"#);
        assert_eq!((taken[0].severity, taken[0].is_object), (Some(3), true));
        let dropped = (lines[0].len() + lines[2].len() + lines[3].len()) as u64;
        assert_eq!((tally.lines, tally.filtered, tally.skipped_bytes), (1, 3, dropped));
    }

    #[test]
    fn a_sample_is_the_same_ones_each_time() {
        let recipe = recipe("      filters: [sample: {one_in: 10}]");
        let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}")).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let (first, tally) = all(&recipe, &lines);
        assert!((800..1200).contains(&first.len()), "{}", first.len());
        assert_eq!(first.len() as u64 + tally.filtered, 10_000);
        assert_eq!(all(&recipe, &lines).0, first);
    }

    #[test]
    fn a_record_keeps_its_time_as_the_line_has_it() {
        let recipe = recipe("      parse: json");
        let line = br#"{"time":"2026-11-20T10:11:02+00:00"}"#;
        let (mut scratch, mut windows, mut tally) = (Scratch::default(), Vec::new(), Tally::default());
        let mut making = Making { recipe: &recipe, now: "", content: 1, scratch: &mut scratch, windows: &mut windows };
        let line = Line { bytes: line, cut: false, offset: 0, length: line.len() };
        let mut seen = false;
        with_record(line, &mut making, &mut tally, |record| {
            seen = record.time == Time::Text("2026-11-20T10:11:02+00:00");
        });
        assert!(seen);
    }
}
