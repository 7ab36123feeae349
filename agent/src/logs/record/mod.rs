//! Lines made records: text or a JSON object, with what the line says of itself.
//!
//! In: a line's bytes. Out: [`Record`], which borrows from them. Nothing survives: a record is made again from its file.

/// When a record happened.
mod time;

pub use time::Time;

use super::source::lines::Line;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hostwright_core::config::logs::Parse;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The fields that we add to a JSON line, in their order.
pub const FIELDS: [&str; 4] = ["host", "labels", "source", "file"];
/// The bit of [`Object::own`] for a field `@timestamp`.
pub const AT_TIMESTAMP: u8 = 1 << 4;

/// What is the same for all lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The source's name.
    pub source: String,
    /// The path that the file had while it was written.
    pub file: String,
    /// What else is known, such as a container's name: further fields of every record.
    pub fields: BTreeMap<String, String>,
}

/// What a record is called, the same however often it is sent: platforms that take ids store it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Id {
    /// Of the file's content, drawn when it was found and kept with its position.
    pub content: u64,
    /// Where the line begins in it.
    pub offset: u64,
}

impl Id {
    /// 22 characters that are safe in URLs and JSON (RFC 4648, 5).
    pub fn push_base64(self, out: &mut Vec<u8>) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.content.to_be_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_be_bytes());
        let mut text = [0; 22];
        // 16 bytes are 22 characters without padding.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        out.extend_from_slice(&text);
    }
}

/// A line on its way to an output.
#[derive(Debug)]
pub struct Record<'a> {
    /// The line, or the text of its JSON object.
    pub text: &'a str,
    /// The line was longer than the limit, and this is its beginning.
    pub cut: bool,
    /// What was found in it, if it is a JSON object.
    pub object: Option<Object<'a>>,
    /// When it happened, or when it was read if it does not say.
    pub time: Time<'a>,
    /// A syslog severity (RFC 5424, table 2), if it says one.
    pub severity: Option<u8>,
    pub id: Id,
}

/// What is found in a JSON line on one way through it, without building it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<'a> {
    /// An RFC 3339 time with at most six decimals.
    pub time: Option<&'a str>,
    /// A syslog severity.
    pub severity: Option<u8>,
    /// The text of the field `message` or `msg`: a JSON string as it stands, with its quotes.
    pub message: Option<&'a str>,
    /// Bit i: the line has a field named `FIELDS[i]` of its own, which stays, and ours is left out.
    pub own: u8,
}

/// Gives the name and value of each field of a JSON object in their order; both as they stand in the text, the name
/// without its quotes and with its escapes.
///
/// # Errors
/// The text is no JSON object.
pub fn for_each_field<'a>(text: &'a str, each: impl FnMut(&'a str, &'a str)) -> Result<(), serde_json::Error> {
    struct OfObject<F>(F);
    impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for OfObject<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                let name = name.get();
                (self.0)(&name[1..name.len() - 1], value.get());
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    (&mut deserializer).deserialize_map(OfObject(each))?;
    deserializer.end()
}

/// What was counted while lines were made records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    /// Longer than the limit.
    pub cut: u64,
    /// With bytes that are not UTF-8, each replaced by U+FFFD.
    pub invalid_utf8: u64,
    /// Asked to be JSON objects and are none: shipped as text.
    pub not_json: u64,
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
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    pub parse: Parse,
    /// RFC 3339: the time of a line that says none.
    pub now: &'a str,
    /// The id of the file's content.
    pub content: u64,
}

/// Makes a line a record and gives it to `ship`.
pub fn with_record(line: Line<'_>, making: Making<'_>, tally: &mut Tally, ship: impl FnOnce(&Record<'_>)) {
    let text = match std::str::from_utf8(line.bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            tally.invalid_utf8 += 1;
            String::from_utf8_lossy(line.bytes)
        }
    };
    tally.lines += 1;
    tally.cut += u64::from(line.cut);
    let mut object: Option<Object<'_>> = None;
    if making.parse == Parse::Json && !line.cut {
        object = serde_json::from_str(&text).ok();
        tally.not_json += u64::from(object.is_none());
    }
    let time = Time::Text(object.and_then(|object| object.time).unwrap_or(making.now));
    let severity = object.and_then(|object| object.severity);
    let id = Id { content: making.content, offset: line.offset };
    ship(&Record { text: &text, cut: line.cut, object, time, severity, id });
}

enum FieldName {
    AtTimestamp,
    Time,
    Level,
    Message,
    Ours(usize),
    Other,
}

impl FieldName {
    fn new(name: &str) -> Self {
        match name {
            "@timestamp" => Self::AtTimestamp,
            "time" | "timestamp" => Self::Time,
            "message" | "msg" => Self::Message,
            "level" | "severity" => Self::Level,
            _ => FIELDS.iter().position(|field| *field == name).map_or(Self::Other, Self::Ours),
        }
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfName;
        impl Visitor<'_> for OfName {
            type Value = FieldName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<FieldName, E> {
                Ok(FieldName::new(name))
            }
        }
        deserializer.deserialize_str(OfName)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;
        impl<'de> Visitor<'de> for OfObject {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object::default();
                while let Some(name) = map.next_key::<FieldName>()? {
                    if matches!(name, FieldName::AtTimestamp) {
                        object.own |= AT_TIMESTAMP;
                    }
                    match name {
                        FieldName::AtTimestamp | FieldName::Time => {
                            object.time = object.time.or(map.next_value::<Value<'de>>()?.time())
                        }
                        FieldName::Level => {
                            object.severity = object.severity.or(map.next_value::<Value<'de>>()?.severity());
                        }
                        FieldName::Message => {
                            let value = map.next_value::<&RawValue>()?.get();
                            object.message = object.message.or(value.starts_with('"').then_some(value));
                        }
                        FieldName::Ours(field) => {
                            object.own |= 1 << field;
                            map.next_value::<IgnoredAny>()?;
                        }
                        FieldName::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(OfObject)
    }
}

/// A value as far as a time or a level can be in it.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Other,
}

impl<'a> Value<'a> {
    fn time(&self) -> Option<&'a str> {
        match *self {
            Value::Text(text) if is_rfc5424_time(text) => Some(text),
            _ => None,
        }
    }

    fn severity(&self) -> Option<u8> {
        match *self {
            Value::Text(text) => severity_of(text),
            // Other numbers mean other things in other languages' loggers.
            Value::Number(number) => u8::try_from(number).ok().filter(|number| *number <= 7),
            Value::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAny;
        impl<'de> Visitor<'de> for OfAny {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(text))
            }
            // With an escape in it: no time and no level has one.
            fn visit_str<E: Error>(self, _: &str) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(OfAny)
    }
}

/// `2026-11-20T10:11:12.123456Z` or with an offset: RFC 3339 as RFC 5424, 6.2.3 narrows it.
fn is_rfc5424_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    let Some((seconds, mut rest)) = text.as_bytes().split_at_checked(FORM.len()) else { return false };
    if !seconds.iter().zip(FORM).all(fits) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=6).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest {
        b"Z" => true,
        [b'+' | b'-', offset @ ..] => offset.len() == 5 && offset.iter().zip(b"00:00").all(fits),
        _ => false,
    }
}

fn severity_of(level: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 14] = [
        ("info", 6),
        ("debug", 7),
        ("warn", 4),
        ("warning", 4),
        ("error", 3),
        ("err", 3),
        ("notice", 5),
        ("critical", 2),
        ("crit", 2),
        ("fatal", 2),
        ("alert", 1),
        ("emerg", 0),
        ("emergency", 0),
        ("trace", 7),
    ];
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(level)).map(|(_, severity)| *severity)
}

#[cfg(test)]
mod tests {
    use super::{Id, Making, Object, Record, Tally, for_each_field, with_record};
    use crate::logs::source::lines::Line;
    use hostwright_core::config::logs::Parse;

    fn object(text: &str) -> Option<Object<'_>> {
        serde_json::from_str(text).ok()
    }

    fn taken(bytes: &[u8], parse: Parse) -> (String, bool, Tally) {
        let (mut tally, mut seen) = (Tally::default(), None);
        let making = Making { parse, now: "2026-11-20T10:11:12Z", content: 1 };
        with_record(
            Line { bytes, cut: false, offset: 0, length: bytes.len() },
            making,
            &mut tally,
            |record: &Record<'_>| {
                seen = Some((record.text.to_owned(), record.object.is_some()));
            },
        );
        let (text, is_object) = seen.expect("shipped");
        (text, is_object, tally)
    }

    #[test]
    fn time_and_level_are_found_at_the_top_only() {
        let line =
            r#" {"a":{"time":"x","level":"error"},"level":"WARN","n":[1,{}],"time":"2026-11-20T10:11:12.5+01:00"} "#;
        let found = Object { time: Some("2026-11-20T10:11:12.5+01:00"), severity: Some(4), ..Object::default() };
        assert_eq!(object(line), Some(found));
        assert_eq!(
            object(r#"{"level":3,"host":"h","file":null}"#),
            Some(Object { severity: Some(3), own: 0b1001, ..Object::default() })
        );
    }

    #[test]
    fn a_message_is_taken_as_it_stands() {
        assert_eq!(object(r#"{"msg":"a\"b","message":1}"#).and_then(|o| o.message), Some(r#""a\"b""#));
    }

    #[test]
    fn fields_are_given_as_they_stand() {
        let mut fields = Vec::new();
        for_each_field(r#" {"a\n" : [1, {"b":2}], "c":"\"", "":null} "#, |name, value| fields.push((name, value)))
            .expect("an object");
        assert_eq!(fields, [(r"a\n", r#"[1, {"b":2}]"#), ("c", r#""\"""#), ("", "null")]);
        for_each_field("[1]", |_, _| {}).expect_err("no object");
        for_each_field("{} {}", |_, _| {}).expect_err("two");
    }

    #[test]
    fn an_id_is_22_characters() {
        let mut out = Vec::new();
        Id { content: u64::MAX, offset: 1 }.push_base64(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "__________8AAAAAAAAAAQ");
    }

    #[test]
    fn a_time_that_syslog_would_refuse_is_not_taken() {
        for time in [
            "2026-11-20 10:11:12Z",
            "2026-11-20T10:11:12",
            "2026-11-20T10:11:12.1234567Z",
            "2026-11-20T10:11:12+0100",
            "now",
        ] {
            let line = format!(r#"{{"time":"{time}"}}"#);
            assert_eq!(object(&line), Some(Object::default()), "{time}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_shipped_as_text_and_counted() {
        for line in ["", "text", "[1]", "{\"a\":1", "{\"a\":1}{\"b\":2}", "{garbage}", "3"] {
            let (text, is_object, tally) = taken(line.as_bytes(), Parse::Json);
            assert_eq!((text.as_str(), is_object, tally.not_json), (line, false, 1));
        }
        assert_eq!(taken(b"text", Parse::Plain).2, Tally { lines: 1, ..Tally::default() });
    }

    #[test]
    fn invalid_utf8_is_replaced_and_counted() {
        let (text, is_object, tally) = taken(b"{\"a\":\"\xff\"}", Parse::Json);
        assert_eq!((text.as_str(), is_object, tally.invalid_utf8), ("{\"a\":\"\u{fffd}\"}", true, 1));
    }
}
