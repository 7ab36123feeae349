//! JSON text without a tree: an object's fields as they stand, strings escaped and unescaped.
//!
//! The scanner takes exactly what `serde_json` takes (RFC 8259), but for depth, in a third of the time: log lines are
//! short, so what counts is the cost of each token.

/// JSON text, token by token.
mod scanner;
/// Strings with and without their escapes.
mod strings;

pub use strings::{content, push_content, push_string, text, unescape};

use scanner::Scanner;
use std::ops::Range;

/// Gives the name (without its quotes, with its escapes) and the value of each field of a JSON object as they stand in
/// the text, in their order. None if the text is no JSON object; what was given by then means nothing.
pub fn fields<'a>(text: &'a str, mut each: impl FnMut(&'a str, &'a str)) -> Option<()> {
    places(text.as_bytes(), |name, value| {
        // Quotes and separators are no parts of characters.
        each(text.get(name).unwrap_or_default(), text.get(value).unwrap_or_default());
    })
}

/// The same as places in the text, for those who need few of them.
pub fn places(text: &[u8], mut each: impl FnMut(Range<usize>, Range<usize>)) -> Option<()> {
    let mut scanner = Scanner::new(text);
    scanner.whitespace();
    scanner.expect(b'{')?;
    scanner.whitespace();
    if scanner.peek()? == b'}' {
        scanner.at += 1;
    } else {
        loop {
            let name = scanner.name()?;
            let start = scanner.at;
            scanner.value()?;
            each(name, start..scanner.at);
            scanner.whitespace();
            let separator = scanner.peek()?;
            scanner.at += 1;
            match separator {
                b',' => scanner.whitespace(),
                b'}' => break,
                _ => return None,
            }
        }
    }
    scanner.whitespace();
    (scanner.at == text.len()).then_some(())
}

/// A part of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A string's content as it stands, and whether it is a field's name.
    String(&'a str, bool),
    /// A number as it stands.
    Number(&'a str),
    /// What is between: brackets, separators, words, space.
    Other(&'a str),
}

/// Gives the parts of a valid JSON text in their order; nothing is left out. Ends early if it is none.
pub fn pieces<'a>(text: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let mut scanner = Scanner::new(text.as_bytes());
    while let Some(byte) = scanner.peek() {
        let start = scanner.at;
        match byte {
            b'"' => {
                if scanner.string().is_none() {
                    return;
                }
                let content = &text[start + 1..scanner.at - 1];
                let is_name = text[scanner.at..].trim_ascii_start().starts_with(':');
                each(Piece::String(content, is_name));
            }
            b'-' | b'0'..=b'9' => {
                if scanner.number().is_none() {
                    return;
                }
                each(Piece::Number(&text[start..scanner.at]));
            }
            _ => {
                while scanner.peek().is_some_and(|byte| byte != b'"' && byte != b'-' && !byte.is_ascii_digit()) {
                    scanner.at += 1;
                }
                each(Piece::Other(&text[start..scanner.at]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{content, fields};
    use serde::de::{Deserializer as _, MapAccess, Visitor};
    use serde_json::value::RawValue;

    type Fields<'a> = Vec<(&'a str, &'a str)>;

    fn ours(text: &str) -> Option<Fields<'_>> {
        let mut found = Vec::new();
        fields(text, |name, value| found.push((name, value)))?;
        Some(found)
    }

    fn theirs(text: &str) -> Option<Fields<'_>> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    found.push((content(name.get()).expect("a string"), value.get()));
                }
                Ok(found)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let found = deserializer.deserialize_map(Object).ok()?;
        deserializer.end().ok()?;
        Some(found)
    }

    #[test]
    fn fields_are_given_as_they_stand() {
        assert_eq!(
            ours(r#" {"a\n" : [1, {"b":2}], "c":"\"", "":null} "#),
            Some(vec![(r"a\n", r#"[1, {"b":2}]"#), ("c", r#""\"""#), ("", "null")])
        );
        assert_eq!(ours("{ }"), Some(vec![]));
    }

    #[test]
    fn the_verdict_is_that_of_serde_json() {
        for text in [
            "",
            "{",
            "[1]",
            "{} {}",
            "{}",
            r#"{"a":1,}"#,
            r#"{,}"#,
            r#"{"a"}"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":-0.0e+9}"#,
            r#"{"a":tru}"#,
            r#"{"a":nulll}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\t\"}",
            "{\"a\":\"\u{7f}\u{80}\"}",
            r#"{"a":[1,]}"#,
            r#"{"a":[}]}"#,
            r#"{"a":{"b":[{}]}}"#,
            r#"{"a":{"b" : [ ] } }"#,
            r#"{a:1}"#,
            r#"{"a":"b}"#,
            r#"{"a":[[[]],[]],"b":{"c":{},"d":[]}}"#,
            "\u{feff}{}",
            r#"{"a":1 "b":2}"#,
            r#"{"a"::1}"#,
            "{\"a\":1}\0",
        ] {
            assert_eq!(ours(text), theirs(text), "{text}");
        }
    }

    #[test]
    fn the_verdict_is_that_of_serde_json_for_random_texts() {
        let mut random = fastrand::Rng::with_seed(7);
        let parts = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"a\":",
            "\"b\"",
            "1",
            "-",
            "0",
            ".",
            "e",
            "E+",
            "true",
            "null",
            " ",
            "\n",
            "\\u00e9",
            "\\n",
            "é",
            "long enough for two words",
            "\u{1}",
            "false",
            "{\"x\":[",
            "]}",
        ];
        let seed = r#"{"time":"2026-11-20T10:11:12Z","n":[1,{"a":-1.5e3}],"msg":"a\"b\\","o":{"p":null}}"#;
        let mut valid = 0;
        for round in 0..50_000 {
            let mut text = if round % 2 == 0 { String::from("{\"a\":") } else { seed.to_owned() };
            for _ in 0..random.usize(..8) {
                let part = parts[random.usize(..parts.len())];
                let at = (0..=random.usize(..=text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                let remove = random.usize(..3);
                let end = (at + remove..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
                text.replace_range(at..end, part);
            }
            let found = ours(&text);
            valid += usize::from(found.is_some());
            assert_eq!(found, theirs(&text), "{text}");
        }
        assert!(valid > 500, "{valid}");
    }

    #[test]
    fn what_is_nested_without_end_is_no_object_and_takes_no_stack() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(ours(&nested(127)).is_some());
        assert!(ours(&nested(128)).is_none());
        assert!(ours(&nested(1_000_000)).is_none());
    }
}
