use super::splice::Splice;
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record, Time};
use hostwright_core::config::logs::output::bulk::{Bulk, Target};
use jiff::Timestamp;
use std::fmt::Write;

/// Writes the records of one file as actions of the `_bulk` API: a line that says what to do, and the document's line.
///
/// The action is always `create`: with an id of ours, a document that is there already is left alone.
#[derive(Debug)]
pub struct Encoder {
    splice: Splice,
    ids: bool,
    index: Index,
}

/// What takes the documents. It stands in each action, because not all platforms take it in the request's URL.
#[derive(Debug)]
enum Index {
    Fixed(String),
    Dated(DatedIndex),
}

/// An index whose name has the time in it.
#[derive(Debug)]
struct DatedIndex {
    pattern: String,
    /// Hours since 1970 and the name that belongs to them.
    hour: i64,
    name: String,
    /// The beginning of a time as text, up to its hour in UTC, that has this name: saves most of the reading of times.
    text: Option<[u8; 13]>,
}

impl Encoder {
    pub fn new(settings: &Bulk, origin: &Origin, facts: &Facts) -> Self {
        let index = match &settings.target {
            Target::Index(pattern) if pattern.contains('%') => Index::Dated(DatedIndex::new(pattern)),
            Target::Index(name) | Target::DataStream(name) => Index::Fixed(name.clone()),
        };
        Self { splice: Splice::indexed(settings.fields, origin, facts), ids: settings.ids, index }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(b"{\"create\":{\"_index\":\"");
        out.extend_from_slice(match &mut self.index {
            Index::Fixed(name) => name.as_bytes(),
            Index::Dated(index) => index.name(record.time).as_bytes(),
        });
        if self.ids {
            out.extend_from_slice(b"\",\"_id\":\"");
            record.id.push_base64(out);
        }
        out.extend_from_slice(b"\"}}\n");
        self.splice.push(record, out);
        out.push(b'\n');
        Ok(())
    }
}

impl DatedIndex {
    fn new(pattern: &str) -> Self {
        Self { pattern: pattern.to_owned(), hour: i64::MIN, name: String::new(), text: None }
    }

    fn name(&mut self, time: Time<'_>) -> &str {
        let text = match time {
            Time::Text(text) if text.ends_with('Z') => text.as_bytes().first_chunk::<13>().copied(),
            _ => None,
        };
        if text.is_some() && text == self.text {
            return &self.name;
        }
        let hour = time.nanoseconds().div_euclid(3_600_000_000_000);
        if hour != self.hour {
            let start = Timestamp::from_second(hour.saturating_mul(3600)).unwrap_or_default();
            self.name.clear();
            // The configuration takes only what is known to strftime.
            let _ = write!(self.name, "{}", start.strftime(&self.pattern));
            self.hour = hour;
        }
        self.text = text;
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::{DatedIndex, Encode, Encoder, Index, Splice};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use hostwright_core::config::logs::output::Fields;

    fn encoded(index: &str, ids: bool) -> String {
        let text = r#"{"a":1,"host":1,"labels":1,"source":1,"file":1}"#;
        let record = Record {
            text,
            cut: false,
            object: serde_json::from_str::<Object<'_>>(text).ok(),
            time: Time::Text("2026-11-20T23:30:00-01:00"),
            severity: None,
            id: Id { content: 1, offset: 2, check: 0 },
        };
        let origin = Origin { host: String::new(), labels: [].into() };
        let splice = Splice::indexed(Fields::Plain, &origin, &Facts::default());
        let mut out = Vec::new();
        let index = match index.contains('%') {
            true => Index::Dated(DatedIndex::new(index)),
            false => Index::Fixed(index.to_owned()),
        };
        Encoder { splice, ids, index }.encode(&record, &mut out).expect("encoded");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_action_names_the_index_of_the_records_day_and_its_id() {
        let document = r#"{"@timestamp":"2026-11-20T23:30:00-01:00","a":1,"host":1,"labels":1,"source":1,"file":1}"#;
        for (index, ids, action) in [
            ("l", true, r#"{"create":{"_index":"l","_id":"AAAAAAAAAAEAAAAAAgAAAA"}}"#),
            ("l", false, r#"{"create":{"_index":"l"}}"#),
            ("l-%Y.%m.%d", true, r#"{"create":{"_index":"l-2026.11.21","_id":"AAAAAAAAAAEAAAAAAgAAAA"}}"#),
            ("l-%G.%V", false, r#"{"create":{"_index":"l-2026.47"}}"#),
        ] {
            assert_eq!(encoded(index, ids), format!("{action}\n{document}\n"));
        }
    }

    #[test]
    fn the_name_changes_with_the_hour_and_not_with_the_notation() {
        let mut index = DatedIndex::new("l-%Y.%m.%d-%H");
        for (time, name) in [
            ("2026-11-20T10:59:59Z", "l-2026.11.20-10"),
            ("2026-11-20T10:00:00.123Z", "l-2026.11.20-10"),
            ("2026-11-20T11:00:00+01:00", "l-2026.11.20-10"),
            ("2026-11-20T11:00:00Z", "l-2026.11.20-11"),
            ("2026-11-20T10:00:00Z", "l-2026.11.20-10"),
        ] {
            assert_eq!(index.name(Time::Text(time)), name, "{time}");
        }
    }
}
