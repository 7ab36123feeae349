use super::flatten::{Flatten, Rules, has_code_units};
use super::json::{clipped, is_blank, push_number, push_string, push_text_field};
use super::seconds::Seconds;
use crate::logs::output::Origin;
use crate::logs::record::{Facts, Object, Record, Time, json};

/// The level of a line that names none: informational. (Receivers take one without level for an alert.)
pub const INFORMATIONAL: u8 = 6;

/// Writes the records of one file as flat JSON objects: what receivers want of every record, then the line's own fields.
#[derive(Debug)]
pub struct Flat {
    /// What is the same for all: up to the value of the time.
    head: Vec<u8>,
    flatten: Flatten,
    stamp: Stamp,
    names: Names,
    /// The most bytes of a message.
    clip: usize,
}

#[derive(Debug)]
enum Stamp {
    Seconds(Seconds),
    Rfc3339,
}

/// What receivers call what every record has.
#[derive(Clone, Copy, Debug)]
struct Names {
    prefix: &'static str,
    message: &'static str,
    /// With a value of text.
    cut: &'static str,
}

const GELF: Names = Names { prefix: "_", message: "short_message", cut: "_cut" };
const EVENT: Names = Names { prefix: "", message: "message", cut: "cut_bool" };

fn token_first(token: &str) -> Vec<u8> {
    let mut head = b"{\"X-OVH-TOKEN\":".to_vec();
    push_string(&mut head, token);
    head
}

impl Flat {
    /// GELF messages, without what ends them.
    pub fn gelf(origin: &Origin, facts: &Facts) -> Self {
        let head = b"{\"version\":\"1.1\"".to_vec();
        Self::new(head, Rules::Any, GELF, origin, facts)
    }

    /// The same as OVH's platform takes them.
    pub fn ovh_gelf(origin: &Origin, facts: &Facts, token: &str) -> Self {
        let mut head = b"{\"version\":\"1.1\"".to_vec();
        push_text_field(&mut head, "_X-OVH-TOKEN", token);
        Self::new(head, Rules::Ovh, Names { cut: "_cut_bool", ..GELF }, origin, facts)
    }

    /// Events as OVH's platform takes them.
    pub fn ovh_event(origin: &Origin, facts: &Facts, token: &str) -> Self {
        let mut head = token_first(token);
        head.extend_from_slice(b",\"@metadata\":{\"beat\":\"hostwright\",\"type\":\"_doc\"}");
        Self::new(head, Rules::Ovh, EVENT, origin, facts)
    }

    /// Documents for its API.
    pub fn ovh_document(origin: &Origin, facts: &Facts, token: &str) -> Self {
        Self::new(token_first(token), Rules::Ovh, EVENT, origin, facts)
    }

    fn new(mut head: Vec<u8>, rules: Rules, names: Names, origin: &Origin, facts: &Facts) -> Self {
        push_text_field(&mut head, "host", &origin.host);
        for (name, text) in [("log_source", &facts.source), ("log_file", &facts.file)] {
            push_text_field(&mut head, &format!("{}{name}", names.prefix), text);
        }
        let mut flatten = Flatten::new(names.prefix, rules);
        for further in [serde_json::json!({"labels": origin.labels}), serde_json::json!(facts.fields)] {
            flatten.push(&further.to_string(), |_| false, &mut head);
        }
        let stamp = match names.message {
            "message" => Stamp::Rfc3339,
            _ => Stamp::Seconds(Seconds::default()),
        };
        head.extend_from_slice(match stamp {
            Stamp::Seconds(_) => b",\"timestamp\":",
            Stamp::Rfc3339 => b",\"@timestamp\":",
        });
        let clip = rules.longest_message();
        Self { head, flatten, stamp, names, clip }
    }

    pub fn push(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        match &mut self.stamp {
            Stamp::Seconds(seconds) => seconds.push(record.time, out),
            Stamp::Rfc3339 => {
                out.push(b'"');
                record.time.push_rfc3339(out);
                out.push(b'"');
            }
        }
        out.extend_from_slice(b",\"level\":");
        push_number(out, record.severity.unwrap_or(INFORMATIONAL));
        push_name(out, &[self.names.prefix, "record_id"]);
        out.push(b'"');
        record.id.push_base64(out);
        out.push(b'"');
        push_name(out, &[self.names.message]);
        let mut cut = record.cut;
        match record.object {
            None => cut |= self.push_text(record.text, out),
            Some(object) => {
                // A receiver takes no message without a text.
                match object.message.filter(|message| !is_blank(message.trim_matches('"'))) {
                    Some(message) if message.len() <= self.clip && !has_code_units(message) => {
                        out.extend_from_slice(message.as_bytes());
                    }
                    Some(message) => cut |= self.push_text(&json::text(message), out),
                    None => cut |= self.push_text(record.text, out),
                }
                cut |= self.flatten.push(record.text, sent_already(object), out);
            }
        }
        if cut {
            push_name(out, &[self.names.cut]);
            out.extend_from_slice(b"\"true\"");
        }
        out.push(b'}');
    }

    /// Appends a message's text; whether it was clipped.
    fn push_text(&self, text: &str, out: &mut Vec<u8>) -> bool {
        let text = if is_blank(text) { "-" } else { text };
        let beginning = clipped(text, self.clip);
        push_string(out, beginning);
        beginning.len() < text.len()
    }
}

/// Tells the values that stand in a record's own fields, so that they are not sent twice: by their place in the line.
pub fn sent_already(object: Object<'_>) -> impl Fn(&str) -> bool {
    let time = match object.time {
        Some(Time::Text(text)) => Some(text.as_ptr()),
        _ => None,
    };
    let message = object.message.map(str::as_ptr);
    move |value| {
        let inside = value.get(1..).map(str::as_ptr);
        Some(value.as_ptr()) == message || (time.is_some() && inside == time)
    }
}

/// Appends `,"name":` of a name that needs no escapes.
fn push_name(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(b",\"");
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\":");
}

#[cfg(test)]
mod tests {
    use super::Flat;
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use serde_json::{Value, json};

    fn pushed(flat: fn(&Origin, &Facts) -> Flat, text: &str, cut: bool) -> Value {
        let origin = Origin { host: "h".into(), labels: [("role".into(), "b".into())].into() };
        let fields = [("container".into(), "c\"".into())].into();
        let facts = Facts { source: "s".into(), file: "/f".into(), fields };
        let object = Object::of(text, &Default::default());
        let time = object.and_then(|object| object.time).unwrap_or(Time::Text("2026-11-20T10:11:12.5Z"));
        let severity = object.and_then(|object| object.severity);
        let mut out = Vec::new();
        flat(&origin, &facts).push(&Record { text, cut, object, time, severity, id: Id::default() }, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    fn gelf(text: &str, cut: bool) -> Value {
        pushed(Flat::gelf, text, cut)
    }

    fn ovh(text: &str) -> (Value, Value) {
        let gelf = pushed(|origin, facts| Flat::ovh_gelf(origin, facts, "T"), text, false);
        (gelf, pushed(|origin, facts| Flat::ovh_event(origin, facts, "T"), text, false))
    }

    const LINE: &str = r#"{"time":"2026-11-20T10:11:12.25Z","level":"error","msg":"caf\u00e9","a":{"b":[1]},"ok":true,"n":null,"id":7,"x.y":1.5}"#;

    #[test]
    fn a_json_line_becomes_a_gelf_message_with_its_fields() {
        let expected = json!({
            "version": "1.1", "host": "h", "timestamp": 1_795_169_472.25, "level": 3, "short_message": "café",
            "_log_source": "s", "_log_file": "/f", "_labels_role": "b", "_container": "c\"",
            "_record_id": "AAAAAAAAAAAAAAAAAAAAAA",
            "_level_name": "error", "_a_b": "[1]", "_ok": "true", "_id_": 7, "_x.y": 1.5,
        });
        assert_eq!(gelf(LINE, false), expected);
    }

    #[test]
    fn towards_ovh_every_record_has_the_token_and_names_say_the_type() {
        let (gelf, event) = ovh(LINE);
        let expected = json!({
            "version": "1.1", "_X-OVH-TOKEN": "T", "host": "h", "timestamp": 1_795_169_472.25, "level": 3,
            "short_message": "café", "_log_source": "s", "_log_file": "/f", "_labels_role": "b", "_container": "c\"",
            "_record_id": "AAAAAAAAAAAAAAAAAAAAAA",
            "_level_name": "error", "_a_b": "[1]", "_ok_bool": "true", "_id__long": 7, "_x_y_double": 1.5,
        });
        assert_eq!(gelf, expected);
        let expected = json!({
            "@metadata": {"beat": "hostwright", "type": "_doc"}, "X-OVH-TOKEN": "T", "host": "h",
            "@timestamp": "2026-11-20T10:11:12.25Z", "level": 3, "message": "café",
            "log_source": "s", "log_file": "/f", "labels_role": "b", "container": "c\"",
            "record_id": "AAAAAAAAAAAAAAAAAAAAAA",
            "level_name": "error", "a_b": "[1]", "ok_bool": "true", "id__long": 7, "x_y_double": 1.5,
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_line_of_text_is_the_message_and_a_cut_one_says_so() {
        let value = gelf("a \"text\"\tof\nlines", true);
        assert_eq!((&value["short_message"], &value["_cut"]), (&json!("a \"text\"\tof\nlines"), &json!("true")));
        assert_eq!((&value["level"], &value["timestamp"]), (&json!(6), &json!(1_795_169_472.5)));
    }

    #[test]
    fn a_message_is_never_empty() {
        assert_eq!(gelf(" ", false)["short_message"], "-");
        assert_eq!(gelf(r#"{"message":" ","a":1}"#, false)["short_message"], r#"{"message":" ","a":1}"#);
    }

    #[test]
    fn what_is_too_long_for_ovh_is_clipped_and_says_so() {
        let long = "ä".repeat(40_000);
        for line in [long.clone(), json!({"msg": long}).to_string(), json!({"msg": "m", "x": long}).to_string()] {
            let (gelf, event) = ovh(&line);
            assert_eq!((&gelf["_cut_bool"], &event["cut_bool"]), (&json!("true"), &json!("true")));
            for (_, value) in gelf.as_object().expect("an object") {
                assert!(value.as_str().is_none_or(|text| text.chars().count() <= 32_768), "{}", line.len());
            }
        }
    }
}
