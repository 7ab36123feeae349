//! The scanner's verdict and fields are those of serde_json.
#![no_main]

use hostwright_fuzz::logs::record::clock::Clock;
use hostwright_fuzz::logs::record::json::{Piece, fields, pieces, push_string, text};
use hostwright_fuzz::logs::record::object::Object;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(&'de str, &'de str)>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let name = name.get();
            found.push((&name[1..name.len() - 1], value.get()));
        }
        Ok(found)
    }
}

fn theirs(line: &str) -> Option<Vec<(&str, &str)>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let found = deserializer.deserialize_map(Fields).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

fuzz_target!(|line: &str| {
    let mut ours = Vec::new();
    let is_object = fields(line, |name, value| ours.push((name, value))).is_some();
    // Ours is bounded in depth.
    if line.matches(['[', '{']).count() < 120 {
        assert_eq!(is_object.then_some(&ours), theirs(line).as_ref());
    }
    assert_eq!(Object::of(line, &Clock::default()).is_some(), is_object);
    if is_object {
        let mut again = String::new();
        pieces(line, |piece| match piece {
            Piece::String(content, _) => again.extend(["\"", content, "\""]),
            Piece::Number(part) | Piece::Other(part) => again.push_str(part),
        });
        assert_eq!(again, line);
        for (_, value) in ours {
            if let Ok(string) = serde_json::from_str::<String>(value) {
                assert_eq!(text(value), string);
            }
        }
    }
    let mut escaped = String::new();
    push_string(line, &mut escaped);
    assert_eq!(text(&escaped), line);
    assert_eq!(serde_json::from_str::<String>(&escaped).ok().as_deref(), Some(line));
});
