use super::{Encode, Origin};
use crate::logs::record::{FIELDS, Facts, Record};

/// Writes the records of one file as JSON lines: our fields first, then the line's own, which are not touched.
#[derive(Debug)]
pub struct Encoder {
    /// `"host":"…"` and so on, in the order of `FIELDS`.
    fields: [String; 4],
    /// All of them with their commas.
    joined: String,
}

impl Encoder {
    pub fn new(origin: &Origin, facts: &Facts) -> Self {
        let values = [
            serde_json::Value::from(origin.host.as_str()),
            serde_json::json!(origin.labels),
            serde_json::Value::from(facts.source.as_str()),
            serde_json::Value::from(facts.file.as_str()),
        ];
        Self::of(&values)
    }

    fn of(values: &[serde_json::Value; 4]) -> Self {
        let fields = std::array::from_fn(|field| format!("\"{}\":{}", FIELDS[field], values[field]));
        Self { joined: fields.join(","), fields }
    }

    /// Puts our fields behind the opening brace. Two fields of one name are no good JSON: the line's own one stays.
    fn splice(&self, text: &str, own: u8, out: &mut Vec<u8>) {
        let text = text.trim_ascii();
        let rest = text[1..].trim_ascii_start();
        out.push(b'{');
        if own & 0b1111 == 0 {
            out.extend_from_slice(self.joined.as_bytes());
        } else {
            let ours = self.fields.iter().enumerate().filter(|(field, _)| own & (1 << field) == 0);
            for (index, (_, field)) in ours.enumerate() {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                out.extend_from_slice(field.as_bytes());
            }
        }
        if own & 0b1111 != 0b1111 && rest != "}" {
            out.push(b',');
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

impl Encode for Encoder {
    /// A JSON line keeps what it says of the time.
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match record.object {
            Some(object) => self.splice(record.text, object.own, out),
            None => {
                out.push(b'{');
                out.extend_from_slice(self.joined.as_bytes());
                out.extend_from_slice(b",\"time\":\"");
                record.time.push_rfc3339(out);
                out.extend_from_slice(if record.cut { b"\",\"cut\":true,\"message\":" } else { b"\",\"message\":" });
                // Writing text to memory does not fail.
                let _ = serde_json::to_writer(&mut *out, record.text);
                out.push(b'}');
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder};
    use crate::logs::record::{Id, Object, Record, Time};
    use serde_json::{Value, json};

    fn encoded(text: &str, cut: bool) -> String {
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let mut out = Vec::new();
        Encoder::of(&["h".into(), json!({"role": "b"}), "s".into(), "/f".into()])
            .encode(&Record { text, cut, object, time: Time::Text("now"), severity: None, id: Id::default() }, &mut out)
            .expect("encoded");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn our_fields_come_first_and_the_line_is_kept_as_it_is() {
        assert_eq!(
            encoded(r#" { "a" : 1.0e3 } "#, false),
            "{\"host\":\"h\",\"labels\":{\"role\":\"b\"},\"source\":\"s\",\"file\":\"/f\",\"a\" : 1.0e3 }\n"
        );
        assert_eq!(serde_json::from_str::<Value>(&encoded("{ }", false)).expect("JSON")["source"], "s");
    }

    #[test]
    fn a_field_that_the_line_has_itself_is_not_there_twice() {
        assert_eq!(
            encoded(r#"{"host":"x","a":1}"#, false),
            "{\"labels\":{\"role\":\"b\"},\"source\":\"s\",\"file\":\"/f\",\"host\":\"x\",\"a\":1}\n"
        );
        let all = r#"{"host":1,"labels":2,"source":3,"file":4}"#;
        assert_eq!(encoded(all, false), format!("{all}\n"));
    }

    #[test]
    fn text_becomes_a_message_and_a_cut_line_says_so() {
        let value: Value = serde_json::from_str(&encoded("a\"b\u{1}\u{2028}", true)).expect("JSON");
        assert_eq!(
            (&value["message"], &value["cut"], &value["time"]),
            (&json!("a\"b\u{1}\u{2028}"), &json!(true), &json!("now"))
        );
    }
}
