use super::flatten::has_code_units;
use super::ours::{Known, Ours, ours};
use super::refit::refitted;
use crate::logs::output::Origin;
use crate::logs::record::{AT_TIMESTAMP, Facts, ODD_TIMESTAMP, Object, Record, json};
use hostwright_core::config::logs::output::Fields;

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
    ours: Vec<Ours>,
    /// All of them with their commas.
    joined: String,
    /// The bits of `Object::own` that say that a line has one of them.
    bits: u8,
    stamp: Stamp,
    /// A line's own field of another kind than ours gets another name: the platform takes one kind only.
    refits: bool,
}

impl Splice {
    pub fn new(origin: &Origin, facts: &Facts, stamp: Stamp) -> Self {
        Self::with(ours(Fields::Plain, origin, facts), stamp, false)
    }

    /// For platforms that index fields, with `@timestamp`.
    pub fn indexed(fields: Fields, origin: &Origin, facts: &Facts) -> Self {
        Self::with(ours(fields, origin, facts), Stamp::AtTimestamp, fields == Fields::Ecs)
    }

    fn with(ours: Vec<Ours>, stamp: Stamp, refits: bool) -> Self {
        let joined = ours.iter().map(|one| one.member.as_str()).collect::<Vec<_>>().join(",");
        let bits = ours.iter().fold(0, |bits, one| if let Known::Bit(bit) = one.known { bits | bit } else { bits });
        Self { ours, joined, bits, stamp, refits }
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
        let own = object.own;
        let mut taken = self.further_own(text);
        let is_odd = self.refits && (own & (self.bits | ODD_TIMESTAMP) != 0 || !taken.is_empty());
        let refitted = is_odd.then(|| refitted(text, &self.ours));
        let rest = match &refitted {
            Some(refitted) => refitted.rest.as_str(),
            None => text[1..].trim_ascii_start(),
        };
        out.push(b'{');
        let start = out.len();
        match refitted.as_ref() {
            Some(refitted) => taken.clone_from(&refitted.taken),
            None => taken.extend((0..self.ours.len()).filter(|&at| self.ours[at].known.is_bit_of(own))),
        }
        if taken.is_empty() {
            out.extend_from_slice(self.joined.as_bytes());
        } else {
            for (_, ours) in self.ours.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
                push_comma(out, start);
                out.extend_from_slice(ours.member.as_bytes());
            }
        }
        let has_timestamp = own & AT_TIMESTAMP != 0 || own & ODD_TIMESTAMP != 0 && !self.refits;
        if self.stamp == Stamp::AtTimestamp && !has_timestamp {
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

    /// Which of our fields that have no bit the line has itself.
    fn further_own(&self, text: &str) -> Vec<usize> {
        let is_named = |one: &Ours| match &one.known {
            Known::Quoted(quoted) => quoted.find(text.as_bytes()).is_some(),
            Known::Bit(_) => false,
        };
        let mut further = self.ours.iter().skip_while(|one| matches!(one.known, Known::Bit(_))).peekable();
        // A name with escapes is another text.
        if further.peek().is_none() || !has_code_units(text) && !further.any(is_named) {
            return Vec::new();
        }
        let mut found = Vec::new();
        // It was an object before.
        let _ = json::fields(text, |name, _| {
            let mut plain = String::new();
            json::unescape(name, &mut plain);
            let is_it = |one: &Ours| matches!(one.known, Known::Quoted(_)) && one.name == plain;
            found.extend(self.ours.iter().position(is_it));
        });
        found
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
    use super::{Fields, Splice, Stamp};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use serde_json::{Value, json};

    fn spliced(text: &str, stamp: Stamp, fields: &[(&str, &str)]) -> String {
        with(text, fields, |origin, facts| Splice::new(origin, facts, stamp))
    }

    fn indexed(text: &str, fields: &[(&str, &str)]) -> Value {
        let text = with(text, fields, |origin, facts| Splice::indexed(Fields::Ecs, origin, facts));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn with(text: &str, fields: &[(&str, &str)], splice: impl FnOnce(&Origin, &Facts) -> Splice) -> String {
        let origin = Origin { host: "h".into(), labels: [("role".to_owned(), "b".to_owned())].into() };
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let facts = Facts { source: "s".into(), file: "/f".into(), fields };
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let record = Record { text, cut: false, object, time: Time::Text("now"), severity: None, id: Id::default() };
        let mut out = Vec::new();
        splice(&origin, &facts).push(&record, &mut out);
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
    fn ecs_has_our_fields_in_its_objects() {
        let (labels, log) = (json!({"role": "b"}), json!({"file": {"path": "/f"}}));
        let base = json!({"host": {"name": "h"}, "labels": labels, "log_source": "s", "log": log, "@timestamp": "now"});
        let mut expected = base.clone();
        expected["message"] = json!("text");
        assert_eq!(indexed("text", &[]), expected);
        let fields = [
            ("compose_project", "shop"),
            ("compose_service", "web"),
            ("container_id", "1"),
            ("container_name", "shop-web-1"),
            ("image_name", "web:1"),
        ];
        let mut expected = base;
        expected["a"] = json!(1);
        expected["compose_project"] = json!("shop");
        expected["service"] = json!({"name": "web"});
        expected["container"] = json!({"id": "1", "name": "shop-web-1", "image": {"name": "web:1"}});
        assert_eq!(indexed(r#"{"a":1}"#, &fields), expected);
    }

    #[test]
    fn a_field_of_another_kind_than_ecs_has_under_its_name_gets_another_name() {
        let found = indexed(
            r#"{"host":"example.org","host_":1,"log":{"level":"info"},"service":null,"labels":["a"],"@timestamp":1795169472}"#,
            &[("compose_service", "web")],
        );
        let expected = json!({
            "host": {"name": "h"}, "host__": "example.org", "host_": 1, "labels": {"role": "b"}, "labels_": ["a"],
            "log": {"level": "info"}, "service": {"name": "web"}, "service_": null, "log_source": "s",
            "@timestamp": "now", "@timestamp_": 1_795_169_472,
        });
        assert_eq!(found, expected);
        let stamped = indexed(r#"{"@timestamp":"2026-11-20T10:11:12.5Z","log.level":"info"}"#, &[]);
        assert_eq!((&stamped["@timestamp"], &stamped["log.level"]), (&json!("2026-11-20T10:11:12.5Z"), &json!("info")));
    }

    #[test]
    fn an_object_of_several_lines_becomes_one() {
        let text = spliced("{\n \"a\": \"x\\ny\",\n \"b\": [\n1]\n}", Stamp::Time, &[]);
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["a"], "x\ny");
    }
}
