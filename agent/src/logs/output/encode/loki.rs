use super::{Encode, SEVERITIES};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::loki::{Label, Loki};
use hostwright_duty::protobuf::{push_bytes, push_head, push_number, varint_length};

/// The byte before an entry that names no level.
pub const NO_LEVEL: u8 = 8;

/// Writes the records of one file as entries of Loki's streams (logproto.Stream, field 2), each with its severity in one
/// byte before it, which tells its stream where the level is a label.
#[derive(Debug)]
pub struct Encoder {
    /// Structured metadata that all entries of the file have.
    metadata: Vec<u8>,
    has_metadata: bool,
    level_is_label: bool,
    /// The nanosecond of the last entry as its record had it, and by how many others had it too.
    last: (i64, i64),
}

impl Encoder {
    pub fn new(settings: &Loki, facts: &Facts) -> Self {
        let mut metadata = Vec::new();
        if settings.structured_metadata {
            if !settings.labels.contains(&Label::File) {
                push_pair(&mut metadata, "file", &facts.file);
            }
            for (name, value) in &facts.fields {
                push_pair(&mut metadata, name, value);
            }
        }
        Self {
            metadata,
            has_metadata: settings.structured_metadata,
            level_is_label: settings.labels.contains(&Label::Level),
            last: (0, 0),
        }
    }

    /// Loki keeps one of several entries with the same time and text: those of one time are told apart by nanoseconds,
    /// which also keep their order.
    fn time(&mut self, nanoseconds: i64) -> i64 {
        self.last = if nanoseconds == self.last.0 { (nanoseconds, self.last.1 + 1) } else { (nanoseconds, 0) };
        nanoseconds.saturating_add(self.last.1)
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let nanoseconds = self.time(record.time.nanoseconds());
        let (seconds, rest) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
        let (seconds, rest) = (seconds.cast_unsigned(), rest.cast_unsigned());
        let timestamp = 2 + varint_length(seconds) + varint_length(rest);
        let level = record.severity.and_then(|severity| SEVERITIES.get(usize::from(severity)));
        let mut own = Vec::new();
        if self.has_metadata {
            if let Some(level) = level.filter(|_| !self.level_is_label) {
                push_pair(&mut own, "level", level);
            }
            if record.cut {
                push_pair(&mut own, "cut", "true");
            }
        }
        let text = record.text.len();
        let length = 1
            + varint_length(timestamp as u64)
            + timestamp
            + 1
            + varint_length(text as u64)
            + text
            + self.metadata.len()
            + own.len();
        out.push(record.severity.unwrap_or(NO_LEVEL).min(NO_LEVEL));
        push_head(out, 2, length);
        push_head(out, 1, timestamp);
        push_number(out, 1, seconds);
        push_number(out, 2, rest);
        push_bytes(out, 2, record.text.as_bytes());
        out.extend_from_slice(&self.metadata);
        out.extend_from_slice(&own);
        Ok(())
    }

    fn remembers(&self) -> bool {
        true
    }
}

/// A name with a value (logproto.LabelPairAdapter), as field 3 of an entry.
fn push_pair(out: &mut Vec<u8>, name: &str, value: &str) {
    let length = 2 + varint_length(name.len() as u64) + name.len() + varint_length(value.len() as u64) + value.len();
    push_head(out, 3, length);
    push_bytes(out, 1, name.as_bytes());
    push_bytes(out, 2, value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::Encoder;
    use crate::logs::output::encode::Encode;
    use crate::logs::record::{Id, Record, Time};

    fn record(severity: Option<u8>, nanoseconds: i64) -> Record<'static> {
        let time = Time::Nanoseconds(nanoseconds);
        Record { text: "text", cut: false, object: None, time, severity, id: Id::default() }
    }

    #[test]
    fn an_entry_has_its_time_its_line_and_its_metadata() {
        let mut encoder = Encoder { metadata: Vec::new(), has_metadata: true, level_is_label: false, last: (0, 0) };
        let mut out = Vec::new();
        encoder.encode(&record(Some(3), 1_000_000_300), &mut out).expect("encoded");
        let timestamp = b"\x0a\x05\x08\x01\x10\xac\x02";
        let pair = b"\x1a\x0e\x0a\x05level\x12\x05error";
        assert_eq!(out, [&b"\x03\x12\x1d"[..], timestamp, b"\x12\x04text", pair].concat());
    }

    #[test]
    fn entries_of_one_time_are_told_apart_and_stay_in_order() {
        let mut encoder = Encoder { metadata: Vec::new(), has_metadata: true, level_is_label: true, last: (0, 0) };
        let times = [5, 5, 5, 6000, 5].map(|time| encoder.time(time));
        assert_eq!(times, [5, 6, 7, 6000, 5]);
    }
}
