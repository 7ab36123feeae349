use super::flatten::has_code_units;
use crate::logs::output::Origin;
use crate::logs::record::{AT_TIMESTAMP, FIELDS, Facts, Object, Record, json};
use memchr::memmem::Finder;

/// Where a record's time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// In the field `time` of a line that is text; a JSON line keeps what it says of the time.
    Time,
    /// In the field `@timestamp` of every line, unless a JSON line has one.
    AtTimestamp,
}

/// Makes JSON objects of the records of one file: our fields first, then the line's own, which are not touched.
#[derive(Debug)]
pub struct Splice {
    /// `"host":"…"` and so on, in the order of `FIELDS`.
    ours: [String; 4],
    /// Fields of the file beyond those.
    further: Vec<Further>,
    /// All of them with their commas.
    joined: String,
    stamp: Stamp,
}

#[derive(Debug)]
struct Further {
    /// Finds the name with its quotes.
    quoted: Finder<'static>,
    name: String,
    /// Name and value.
    member: String,
}

impl Splice {
    pub fn new(origin: &Origin, facts: &Facts, stamp: Stamp) -> Self {
        let values = [
            serde_json::Value::from(origin.host.as_str()),
            serde_json::json!(origin.labels),
            serde_json::Value::from(facts.source.as_str()),
            serde_json::Value::from(facts.file.as_str()),
        ];
        let ours = std::array::from_fn(|field| format!("\"{}\":{}", FIELDS[field], values[field]));
        let further: Vec<_> = facts.fields.iter().map(|(name, value)| Further::new(name, value)).collect();
        let all: Vec<_> =
            ours.iter().chain(further.iter().map(|further| &further.member)).map(String::as_str).collect();
        Self { joined: all.join(","), ours, further, stamp }
    }

    /// Appends the record as an object on a line of its own, without the line's end.
    pub fn push(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match record.object {
            Some(object) => self.push_object(record, object, out),
            None => self.push_text(record, out),
        }
    }

    fn push_text(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(self.joined.as_bytes());
        out.extend_from_slice(match self.stamp {
            Stamp::Time => b",\"time\":\"",
            Stamp::AtTimestamp => b",\"@timestamp\":\"",
        });
        record.time.push_rfc3339(out);
        out.extend_from_slice(if record.cut { b"\",\"cut\":true,\"message\":" } else { b"\",\"message\":" });
        // Writing text to memory does not fail.
        let _ = serde_json::to_writer(&mut *out, record.text);
        out.push(b'}');
    }

    /// Two fields of one name are no good JSON: the line's own one stays.
    fn push_object(&self, record: &Record<'_>, object: Object<'_>, out: &mut Vec<u8>) {
        let text = record.text.trim_ascii();
        let rest = text[1..].trim_ascii_start();
        out.push(b'{');
        let start = out.len();
        let own = object.own;
        let further = self.further_own(text);
        if own & 0b1111 == 0 && further.is_empty() {
            out.extend_from_slice(self.joined.as_bytes());
        } else {
            let ours = self.ours.iter().enumerate().filter(|(field, _)| own & (1 << field) == 0).map(|(_, ours)| ours);
            let others = self.further.iter().filter(|one| !further.contains(&one.name.as_str())).map(|one| &one.member);
            for member in ours.chain(others) {
                push_comma(out, start);
                out.extend_from_slice(member.as_bytes());
            }
        }
        if self.stamp == Stamp::AtTimestamp && own & AT_TIMESTAMP == 0 {
            push_comma(out, start);
            out.extend_from_slice(b"\"@timestamp\":\"");
            record.time.push_rfc3339(out);
            out.push(b'"');
        }
        if rest != "}" {
            push_comma(out, start);
        }
        push_on_one_line(rest, out);
    }

    /// The names of further fields that the line has itself.
    fn further_own(&self, text: &str) -> Vec<&str> {
        let is_named = |further: &&Further| further.quoted.find(text.as_bytes()).is_some();
        // A name with escapes is another text.
        if self.further.is_empty() || !has_code_units(text) && !self.further.iter().any(|further| is_named(&further)) {
            return Vec::new();
        }
        let mut found = Vec::new();
        // It was an object before.
        let _ = json::fields(text, |name, _| {
            let mut plain = String::new();
            json::unescape(name, &mut plain);
            found.extend(self.further.iter().filter(|further| further.name == plain).map(|further| &*further.name));
        });
        found
    }
}

impl Further {
    fn new(name: &str, value: &str) -> Self {
        let quoted = serde_json::Value::from(name).to_string();
        let member = format!("{quoted}:{}", serde_json::Value::from(value));
        Self { name: name.to_owned(), quoted: Finder::new(quoted.as_bytes()).into_owned(), member }
    }
}

fn push_comma(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

/// Between the parts of an object, line ends are as good as spaces; inside of its strings there are none.
fn push_on_one_line(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    let mut from = start;
    while let Some(found) = memchr::memchr(b'\n', &out[from..]) {
        out[from + found] = b' ';
        from += found + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Splice, Stamp};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use serde_json::{Value, json};

    fn spliced(text: &str, stamp: Stamp, fields: &[(&str, &str)]) -> String {
        let origin = Origin { host: "h".into(), labels: [("role".to_owned(), "b".to_owned())].into() };
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let facts = Facts { source: "s".into(), file: "/f".into(), fields };
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let record = Record { text, cut: false, object, time: Time::Text("now"), severity: None, id: Id::default() };
        let mut out = Vec::new();
        Splice::new(&origin, &facts, stamp).push(&record, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn our_fields_come_first_and_the_line_is_kept_as_it_is() {
        assert_eq!(
            spliced(r#" { "a" : 1.0e3 } "#, Stamp::Time, &[]),
            r#"{"host":"h","labels":{"role":"b"},"source":"s","file":"/f","a" : 1.0e3 }"#
        );
        assert_eq!(
            serde_json::from_str::<Value>(&spliced("{ }", Stamp::Time, &[])).expect("JSON"),
            json!({"host": "h", "labels": {"role": "b"}, "source": "s", "file": "/f"})
        );
    }

    #[test]
    fn a_field_that_the_line_has_itself_is_not_there_twice() {
        assert_eq!(
            spliced(r#"{"host":"x","a":1}"#, Stamp::Time, &[]),
            r#"{"labels":{"role":"b"},"source":"s","file":"/f","host":"x","a":1}"#
        );
        let all = r#"{"host":1,"labels":2,"source":3,"file":4}"#;
        assert_eq!(spliced(all, Stamp::Time, &[]), all);
        let stamped = r#"{"host":1,"labels":2,"source":3,"file":4,"@timestamp":5}"#;
        assert_eq!(spliced(stamped, Stamp::AtTimestamp, &[]), stamped);
    }

    #[test]
    fn a_record_without_a_timestamp_gets_its_time() {
        assert!(spliced(r#"{"a":1}"#, Stamp::AtTimestamp, &[]).ends_with(r#","@timestamp":"now","a":1}"#));
        assert!(spliced("{}", Stamp::AtTimestamp, &[]).ends_with(r#","@timestamp":"now"}"#));
        assert!(spliced("text", Stamp::AtTimestamp, &[]).ends_with(r#","@timestamp":"now","message":"text"}"#));
        assert!(spliced("text", Stamp::Time, &[]).ends_with(r#","time":"now","message":"text"}"#));
    }

    #[test]
    fn further_fields_of_a_file_are_added_unless_the_line_has_them_at_its_top() {
        let fields = [("container", "web \"1\""), ("image", "i")];
        let added = r#""container":"web \"1\"","image":"i""#;
        assert!(spliced("text", Stamp::Time, &fields).contains(added));
        assert!(spliced(r#"{"a":{"container":1},"b":"image"}"#, Stamp::Time, &fields).contains(added));
        let own = spliced(r#"{"container":1}"#, Stamp::Time, &fields);
        assert!(own.ends_with(r#","image":"i","container":1}"#), "{own}");
        let escaped = spliced(r#"{"contain\u0065r":1}"#, Stamp::Time, &fields);
        assert!(escaped.ends_with(r#","image":"i","contain\u0065r":1}"#), "{escaped}");
    }

    #[test]
    fn an_object_of_several_lines_becomes_one() {
        let text = spliced("{\n \"a\": \"x\\ny\",\n \"b\": [\n1]\n}", Stamp::Time, &[]);
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["a"], "x\ny");
    }
}
