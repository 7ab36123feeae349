use super::clock::Clock;
use super::time::Time;
use super::{json, severity};

/// The fields that we add to a JSON line, in their order.
pub const FIELDS: [&str; 4] = ["host", "labels", "source", "file"];
/// The bit of [`Object::own`] for a field `@timestamp`.
pub const AT_TIMESTAMP: u8 = 1 << 4;
/// The same for a field `log`.
pub const LOG: u8 = 1 << 5;
/// The same for a field `log_source`.
pub const LOG_SOURCE: u8 = 1 << 6;
/// The same for a field `@timestamp` that is no date as platforms read them.
pub const ODD_TIMESTAMP: u8 = 1 << 7;

/// What is found in a JSON line on one way through it, without building it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<'a> {
    pub time: Option<Time<'a>>,
    /// A syslog severity.
    pub severity: Option<u8>,
    /// The text of the field `message` or `msg`: a JSON string as it stands, with its quotes.
    pub message: Option<&'a str>,
    /// Bit i: the line has a field named `FIELDS[i]` of its own; further bits are named above.
    pub own: u8,
}

impl<'a> Object<'a> {
    /// What the text says of itself; none if it is no JSON object.
    pub fn of(text: &'a str, clock: &Clock) -> Option<Self> {
        Self::of_named(text, clock, |_| {})
    }

    /// The same, and gives the names of all fields.
    pub fn of_named(text: &'a str, clock: &Clock, mut name_is: impl FnMut(&'a str)) -> Option<Self> {
        let mut object = Self::default();
        json::places(text.as_bytes(), |name, value| {
            let name = &text[name];
            name_is(name);
            let meaning = Meaning::of(name);
            if !matches!(meaning, Meaning::Other) || clock.field.is_some() {
                object.take(meaning, name, &text[value], clock);
            }
        })?;
        Some(object)
    }

    fn take(&mut self, meaning: Meaning, name: &str, value: &'a str, clock: &Clock) {
        if let Some(field) = &clock.field
            && field == name
        {
            self.time = self.time.or_else(|| clock.of_value(value));
        }
        match meaning {
            Meaning::Other => {}
            Meaning::Time | Meaning::AtTimestamp => {
                if matches!(meaning, Meaning::AtTimestamp) {
                    self.own |= if is_date(value) { AT_TIMESTAMP } else { ODD_TIMESTAMP };
                }
                if self.time.is_none() && clock.field.is_none() {
                    self.time = clock.of_value(value);
                }
            }
            Meaning::Level => self.severity = self.severity.or_else(|| severity::of_value(value)),
            Meaning::Message => self.message = self.message.or(value.starts_with('"').then_some(value)),
            Meaning::Ours(bits) => self.own |= bits,
        }
    }
}

/// Whether a JSON value is a date with its time of the day in the form that all platforms read (ISO 8601).
pub fn is_date(value: &str) -> bool {
    matches!(value.as_bytes(), [b'"', _, _, _, _, b'-', _, _, b'-', _, _, b'T', ..])
}

#[derive(Clone, Copy)]
enum Meaning {
    AtTimestamp,
    Time,
    Level,
    Message,
    Ours(u8),
    Other,
}

impl Meaning {
    /// Of a name as it stands in the text.
    fn of(name: &str) -> Self {
        match name.as_bytes() {
            b"ts" | b"time" | b"timestamp" => Self::Time,
            b"@timestamp" => Self::AtTimestamp,
            b"msg" | b"message" => Self::Message,
            b"lvl" | b"level" | b"severity" | b"log.level" => Self::Level,
            b"host" => Self::Ours(1),
            b"labels" => Self::Ours(1 << 1),
            b"source" => Self::Ours(1 << 2),
            b"file" => Self::Ours(1 << 3),
            b"log" => Self::Ours(LOG),
            b"log_source" => Self::Ours(LOG_SOURCE),
            // No known name is longer than this unless letters of it are escaped.
            escaped if escaped.len() > 6 && memchr::memchr(b'\\', escaped).is_some() => {
                let mut plain = String::new();
                json::unescape(name, &mut plain);
                if plain.contains('\\') { Self::Other } else { Self::of(&plain) }
            }
            _ => Self::Other,
        }
    }
}

/// For tests, which write objects as text.
#[cfg(test)]
impl<'de: 'a, 'a> serde::Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        Self::of(text, &Clock::default()).ok_or_else(|| serde::de::Error::custom("no object"))
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_TIMESTAMP, Clock, Object};
    use crate::logs::record::Time;

    fn object(text: &str) -> Option<Object<'_>> {
        Object::of(text, &Clock::default())
    }

    #[test]
    fn time_and_level_are_found_at_the_top_only() {
        let line =
            r#" {"a":{"time":"x","level":"error"},"level":"WARN","n":[1,{}],"time":"2026-11-20T10:11:12.5+01:00"} "#;
        let time = Some(Time::Text("2026-11-20T10:11:12.5+01:00"));
        assert_eq!(object(line), Some(Object { time, severity: Some(4), ..Object::default() }));
        assert_eq!(
            object(r#"{"level":3,"host":"h","file":null}"#),
            Some(Object { severity: Some(3), own: 0b1001, ..Object::default() })
        );
    }

    #[test]
    fn the_first_field_that_is_a_time_tells_it() {
        let found = object(r#"{"time":"soon","ts":1795169472.5,"@timestamp":"2026-11-20T10:11:12Z"}"#).expect("object");
        assert_eq!((found.time, found.own), (Some(Time::Nanoseconds(1_795_169_472_500_000_000)), AT_TIMESTAMP));
        let clock = Clock { field: Some("at".into()), ..Clock::default() };
        let text = r#"{"time":"2026-11-20T10:11:12Z","at":"2026-11-20T10:11:13Z"}"#;
        let found = Object::of(text, &clock).expect("an object");
        assert_eq!(found.time, Some(Time::Text("2026-11-20T10:11:13Z")));
    }

    #[test]
    fn a_message_is_taken_as_it_stands() {
        assert_eq!(object(r#"{"msg":"a\"b","message":1}"#).and_then(|o| o.message), Some(r#""a\"b""#));
    }

    #[test]
    fn a_name_with_escapes_means_what_it_says() {
        assert_eq!(object(r#"{"\u0068ost":1,"l\u0065vel":"error"}"#).map(|o| (o.own, o.severity)), Some((1, Some(3))));
        assert_eq!(object(r#"{"\\\\\\\\":1}"#), Some(Object::default()));
    }

    #[test]
    fn a_time_that_means_none_is_not_taken() {
        for time in ["2026-11-20", "2026-11-31T10:11:12Z", "now", ""] {
            let line = format!(r#"{{"time":"{time}"}}"#);
            assert_eq!(object(&line), Some(Object::default()), "{time}");
        }
    }
}
