use super::{Encode, SEVERITIES};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::otlp::Otlp;
use hostwright_duty::protobuf::{push_bytes, push_fixed64, push_message, push_number};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// SeverityNumber of each syslog severity (OpenTelemetry's logs data model, appendix B).
const NUMBERS: [u64; 8] = [21, 19, 18, 17, 13, 10, 9, 5];

/// Writes the records of one file as log records of OpenTelemetry (opentelemetry.proto.logs.v1.ScopeLogs, field 2).
///
/// The body is the line's message, or its text; other fields of a JSON line are attributes. All that a line says stays.
#[derive(Debug)]
pub struct Encoder {
    /// Attributes that all records of the file have.
    attributes: Vec<u8>,
    ids: bool,
}

impl Encoder {
    pub fn new(settings: &Otlp, facts: &Facts) -> Self {
        let mut attributes = Vec::new();
        push_attribute(&mut attributes, "log.file.path", &facts.file);
        for (name, value) in &facts.fields {
            push_attribute(&mut attributes, name, value);
        }
        Self { attributes, ids: settings.ids }
    }

    fn record(&self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let time = record.time.nanoseconds().cast_unsigned();
        push_fixed64(out, 1, time);
        if let Some(severity) = record.severity.map(usize::from).filter(|severity| *severity < SEVERITIES.len()) {
            push_number(out, 2, NUMBERS[severity]);
            push_bytes(out, 3, SEVERITIES[severity].as_bytes());
        }
        let message = record.object.and_then(|object| object.message);
        let body = match (message, record.object) {
            (Some(message), _) => serde_json::from_str::<Text<'_>>(message)?.0,
            (None, None) => Cow::Borrowed(record.text),
            // All of it is in the attributes.
            (None, Some(_)) => Cow::Borrowed(""),
        };
        push_message(out, 5, |out| {
            push_bytes(out, 1, body.as_bytes());
            Ok::<_, serde_json::Error>(())
        })?;
        if record.object.is_some() {
            let fields = Attributes { out, message };
            let mut deserializer = serde_json::Deserializer::from_str(record.text);
            (&mut deserializer).deserialize_map(fields)?;
        }
        out.extend_from_slice(&self.attributes);
        if record.cut {
            push_attribute(out, "log.record.cut", "true");
        }
        if self.ids {
            let mut id = Vec::with_capacity(22);
            record.id.push_base64(&mut id);
            push_attribute(out, "log.record.uid", &String::from_utf8_lossy(&id));
        }
        // When it was observed: now.
        push_fixed64(out, 11, u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(time));
        Ok(())
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        push_message(out, 2, |out| self.record(record, out)).map_err(|error| format!("it is no JSON object: {error}"))
    }
}

/// A string attribute (opentelemetry.proto.common.v1.KeyValue) as field 6 of a log record.
fn push_attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    push_key_value(out, 6, name, |out| {
        push_bytes(out, 1, value.as_bytes());
        Ok::<_, serde_json::Error>(())
    })
    // Only what reads JSON fails.
    .unwrap_or_default();
}

/// A name with a value (KeyValue), whose AnyValue `fill` writes.
pub fn push_key_value<E>(
    out: &mut Vec<u8>,
    field: u8,
    name: &str,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    push_message(out, field, |out| {
        push_bytes(out, 1, name.as_bytes());
        push_message(out, 2, fill)
    })
}

/// A JSON string without its escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

/// Writes the fields of an object as attributes, but for the one that is the body.
struct Attributes<'o, 'm> {
    out: &'o mut Vec<u8>,
    message: Option<&'m str>,
}

impl<'de> Visitor<'de> for Attributes<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut message = self.message;
        while let Some(Text(name)) = map.next_key()? {
            if message.is_some() && matches!(&*name, "message" | "msg") {
                let value = map.next_value::<&serde_json::value::RawValue>()?;
                // The first that is a string is the body; the other one, if there are two, is a field.
                if Some(value.get()) == message {
                    message = None;
                } else {
                    push_key_value(self.out, 6, &name, |out| AnyValue { out }.deserialize(value))
                        .map_err(A::Error::custom)?;
                }
                continue;
            }
            push_key_value(self.out, 6, &name, |out| map.next_value_seed(AnyValue { out }))?;
        }
        Ok(())
    }
}

/// Writes a JSON value as the content of an AnyValue; null is one without content.
struct AnyValue<'o> {
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        push_bytes(self.out, 1, text.as_bytes());
        Ok(())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        push_number(self.out, 2, value.into());
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        push_number(self.out, 3, value.cast_unsigned());
        Ok(())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            // As JSON has it in most places.
            Err(_) => self.visit_f64(value as f64),
        }
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        push_fixed64(self.out, 4, value.to_bits());
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        push_message(self.out, 5, |out| {
            loop {
                let mut more = false;
                let start = out.len();
                push_message(out, 1, |out| {
                    more = items.next_element_seed(AnyValue { out })?.is_some();
                    Ok(())
                })?;
                if !more {
                    out.truncate(start);
                    return Ok(());
                }
            }
        })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        push_message(self.out, 6, |out| {
            while let Some(Text(name)) = map.next_key()? {
                push_key_value(out, 1, &name, |out| map.next_value_seed(AnyValue { out }))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{AnyValue, Encoder};
    use crate::logs::output::encode::Encode;
    use crate::logs::record::{Id, Object, Record, Time};
    use serde::de::DeserializeSeed;

    fn value(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        AnyValue { out: &mut out }.deserialize(&mut serde_json::Deserializer::from_str(json)).expect("JSON");
        out
    }

    fn encoded(text: &str) -> Vec<u8> {
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let time = Time::Nanoseconds(1);
        let record = Record { text, cut: false, object, time, severity: Some(4), id: Id::default() };
        let mut out = Vec::new();
        Encoder { attributes: Vec::new(), ids: false }.encode(&record, &mut out).expect("encoded");
        // Without the time of observation, and what stands before the record.
        out[2..out.len() - 9].to_vec()
    }

    const BEGINNING: &[u8] = b"\x09\x01\0\0\0\0\0\0\0\x10\x0d\x1a\x04warn";

    #[test]
    fn each_kind_of_value_has_its_field() {
        for (json, bytes) in [
            (r#""a\n""#, &b"\x0a\x02a\n"[..]),
            ("true", b"\x10\x01"),
            ("3", b"\x18\x03"),
            ("-1", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            ("1.5", b"\x21\0\0\0\0\0\0\xf8\x3f"),
            ("18446744073709551615", b"\x21\0\0\0\0\0\0\xf0\x43"),
            ("null", b""),
            ("[]", b"\x2a\x00"),
            (r#"[1,null,"x"]"#, b"\x2a\x0b\x0a\x02\x18\x01\x0a\x00\x0a\x03\x0a\x01x"),
            (r#"{"k":{}}"#, b"\x32\x09\x0a\x07\x0a\x01k\x12\x02\x32\x00"),
        ] {
            assert_eq!(value(json), bytes, "{json}");
        }
    }

    #[test]
    fn the_message_is_the_body_and_other_fields_are_attributes() {
        let expected = [BEGINNING, b"\x2a\x05\x0a\x03a\"b", b"\x32\x09\x0a\x03msg\x12\x02\x18\x05"].concat();
        assert_eq!(encoded(r#"{"message":"a\"b","msg":5}"#), expected);
        assert_eq!(encoded("text"), [BEGINNING, b"\x2a\x06\x0a\x04text"].concat());
        assert_eq!(
            encoded(r#"{"a":1}"#),
            [BEGINNING, b"\x2a\x02\x0a\x00", b"\x32\x07\x0a\x01a\x12\x02\x18\x01"].concat()
        );
    }
}
