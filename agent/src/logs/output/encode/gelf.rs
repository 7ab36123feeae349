use super::datagrams::Datagrams;
use super::flatten::Flatten;
use super::json::{is_blank, push_number, push_string, push_text_field};
use super::seconds::Seconds;
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record, Time};
use hostwright_core::config::logs::output::Gelf;
use hostwright_core::config::logs::output::gelf::Protocol;

/// The level of a line that names none: informational. (A receiver would take one without level for an alert.)
const INFORMATIONAL: u8 = 6;

/// Writes the records of one file as GELF messages, version 1.1.
#[derive(Debug)]
pub struct Encoder {
    /// What is the same for all: up to the number of the time.
    head: Vec<u8>,
    flatten: Flatten,
    seconds: Seconds,
    /// None: over TCP.
    datagrams: Option<Datagrams>,
}

impl Encoder {
    pub fn new(settings: &Gelf, origin: &Origin, facts: &Facts) -> Self {
        let mut head = b"{\"version\":\"1.1\"".to_vec();
        push_text_field(&mut head, "host", &origin.host);
        push_text_field(&mut head, "_log_source", &facts.source);
        push_text_field(&mut head, "_log_file", &facts.file);
        let mut flatten = Flatten::new("_");
        let further = serde_json::json!({"labels": origin.labels});
        flatten.push(&further.to_string(), |_| false, &mut head);
        flatten.push(&serde_json::json!(facts.fields).to_string(), |_| false, &mut head);
        head.extend_from_slice(b",\"timestamp\":");
        let datagrams = match settings.protocol {
            Protocol::Tcp => None,
            Protocol::Udp { compress, chunk } => Some(Datagrams::new(compress, chunk)),
        };
        Self { head, flatten, seconds: Seconds::default(), datagrams }
    }

    fn push_message(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        self.seconds.push(record.time, out);
        out.extend_from_slice(b",\"level\":");
        push_number(out, record.severity.unwrap_or(INFORMATIONAL));
        out.extend_from_slice(b",\"_record_id\":\"");
        record.id.push_base64(out);
        out.extend_from_slice(b"\",\"short_message\":");
        match record.object {
            None => push_short_message(out, record.text),
            Some(object) => {
                // A receiver takes no message without a text.
                match object.message.filter(|message| !is_blank(message.trim_matches('"'))) {
                    Some(message) => out.extend_from_slice(message.as_bytes()),
                    None => push_short_message(out, record.text),
                }
                let time = match object.time {
                    Some(Time::Text(text)) => Some(text.as_ptr()),
                    _ => None,
                };
                let message = object.message.map(str::as_ptr);
                // What is in the message's own fields is not sent twice: known by its place in the line.
                let skip = |value: &str| {
                    Some(value.as_ptr()) == message || value.get(1..).map(str::as_ptr) == time && time.is_some()
                };
                self.flatten.push(record.text, skip, out);
            }
        }
        if record.cut {
            out.extend_from_slice(b",\"_cut\":\"true\"");
        }
        out.push(b'}');
    }
}

fn push_short_message(out: &mut Vec<u8>, text: &str) {
    push_string(out, if is_blank(text) { "-" } else { text });
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        self.push_message(record, out);
        match &mut self.datagrams {
            Some(datagrams) => datagrams.replace(start, out),
            None => {
                out.push(0);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder, Gelf, Origin, Protocol};
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use hostwright_core::config::logs::output::Receiver;
    use hostwright_core::config::values::HostPort;
    use serde_json::{Value, json};

    fn encoder() -> Encoder {
        let receiver = Receiver { address: HostPort("h:1".into()), tls: None, proxy: None };
        let origin = Origin { host: "h".into(), labels: [("role".into(), "b".into())].into() };
        let fields = [("container".into(), "c\"".into())].into();
        let facts = Facts { source: "s".into(), file: "/f".into(), fields };
        Encoder::new(&Gelf { receiver, protocol: Protocol::Tcp }, &origin, &facts)
    }

    fn encoded(text: &str, cut: bool) -> Value {
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let time = object.and_then(|object| object.time).unwrap_or(Time::Text("2026-11-20T10:11:12.5Z"));
        let severity = object.and_then(|object| object.severity);
        let mut out = Vec::new();
        let record = Record { text, cut, object, time, severity, id: Id::default() };
        encoder().encode(&record, &mut out).expect("encoded");
        assert_eq!(out.pop(), Some(0));
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn a_json_line_becomes_a_message_with_its_fields() {
        let line = r#"{"time":"2026-11-20T10:11:12.25Z","level":"error","msg":"caf\u00e9","a":{"b":[1]},"ok":true,"n":null,"id":7}"#;
        let expected = json!({
            "version": "1.1", "host": "h", "timestamp": 1_795_169_472.25, "level": 3, "short_message": "café",
            "_log_source": "s", "_log_file": "/f", "_labels_role": "b", "_container": "c\"",
            "_record_id": "AAAAAAAAAAAAAAAAAAAAAA",
            "_level_name": "error", "_a_b": "[1]", "_ok": "true", "_id_": 7,
        });
        assert_eq!(encoded(line, false), expected);
    }

    #[test]
    fn a_line_of_text_is_the_message_and_a_cut_one_says_so() {
        let value = encoded("a \"text\"\tof\nlines", true);
        assert_eq!((&value["short_message"], &value["_cut"]), (&json!("a \"text\"\tof\nlines"), &json!("true")));
        assert_eq!((&value["level"], &value["timestamp"]), (&json!(6), &json!(1_795_169_472.5)));
    }

    #[test]
    fn a_message_is_never_empty() {
        assert_eq!(encoded(" ", false)["short_message"], "-");
        assert_eq!(encoded(r#"{"message":" ","a":1}"#, false)["short_message"], r#"{"message":" ","a":1}"#);
    }

    #[test]
    fn nothing_that_a_receiver_drops_is_in_any_message() {
        for line in [r#"{"a":[{}],"b":{},"c":{"d":null}}"#, r#"{"level":99,"timestamp":"yesterday","host":{"x":1}}"#] {
            let value = encoded(line, false);
            for (name, value) in value.as_object().expect("an object") {
                assert!(value.is_string() || value.is_number(), "{name}: {value}");
            }
            assert!(value["level"].as_u64() <= Some(7) && value["timestamp"].is_number() && value["host"] == "h");
        }
    }
}
