//! JSON text without a tree: an object's fields as they stand, strings escaped and unescaped.
//!
//! The scanner takes exactly what `serde_json` takes (RFC 8259), but for depth, in a third of the time: log lines are
//! short, so what counts is the cost of each token.

use std::ops::Range;

/// Values may be nested so deep; no application logs more, and many platforms refuse it.
const DEPTH: u32 = 127;

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
    let mut scanner = Scanner { bytes: text, at: 0 };
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

/// What is between the quotes of a JSON string; none if it is another value.
pub fn content(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// The value as text: a string without quotes and escapes, anything else as it stands.
pub fn text(value: &str) -> std::borrow::Cow<'_, str> {
    match content(value) {
        Some(content) if memchr::memchr(b'\\', content.as_bytes()).is_some() => {
            let mut text = String::with_capacity(content.len());
            unescape(content, &mut text);
            text.into()
        }
        Some(content) => content.into(),
        None => value.into(),
    }
}

/// Appends a string's content without its escapes. Half a surrogate pair becomes U+FFFD.
pub fn unescape(content: &str, out: &mut String) {
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or_default();
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            b'n' => out.push('\n'),
            b't' => out.push('\t'),
            b'r' => out.push('\r'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let (character, length) = character(rest);
                out.push(character);
                rest = rest.get(length..).unwrap_or_default();
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
}

/// The character of the digits behind `\u`, and how much of the text it takes.
fn character(digits: &str) -> (char, usize) {
    let unit = |from: usize| u32::from_str_radix(digits.get(from..from + 4)?, 16).ok();
    let first = unit(0).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first)
        && digits.as_bytes().get(4..6) == Some(b"\\u")
        && let Some(second @ 0xdc00..0xe000) = unit(6)
    {
        let scalar = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// Appends text as a JSON string with its quotes.
pub fn push_string(text: &str, out: &mut String) {
    out.push('"');
    push_content(text, out);
    out.push('"');
}

/// Appends text as the content of a JSON string.
pub fn push_content(text: &str, out: &mut String) {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    let mut start = 0;
    loop {
        scanner.plain();
        out.push_str(&text[start..scanner.at]);
        let Some(byte) = scanner.peek() else { return };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(control >> 4), digit(control & 15)]);
            }
        }
        scanner.at += 1;
        start = scanner.at;
    }
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
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
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

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A name with its colon and the space around; where it stands, without quotes.
    fn name(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        self.string()?;
        let name = start..self.at - 1;
        self.whitespace();
        self.expect(b':')?;
        self.whitespace();
        Some(name)
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => self.literal(),
        }
    }

    /// An array or an object, without recursion: its text must not decide how much stack we use.
    fn nested(&mut self) -> Option<()> {
        // A bit for each level: whether it is an object.
        let mut kinds: u128 = 0;
        let mut depth = 0;
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    let is_object = open == b'{';
                    (kinds, depth) = (kinds << 1 | u128::from(is_object), depth + 1);
                    if depth > DEPTH {
                        return None;
                    }
                    self.at += 1;
                    self.whitespace();
                    if self.peek()? != if is_object { b'}' } else { b']' } {
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                _ => self.literal()?,
            }
            // Behind a value, or before the end of an empty one.
            loop {
                self.whitespace();
                let is_object = kinds & 1 == 1;
                match self.peek()? {
                    b',' => break,
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ => return None,
                }
                self.at += 1;
                (kinds, depth) = (kinds >> 1, depth - 1);
                if depth == 0 {
                    return Some(());
                }
            }
            self.at += 1;
            self.whitespace();
            if kinds & 1 == 1 {
                self.name()?;
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn literal(&mut self) -> Option<()> {
        let word: &[u8] = match self.peek()? {
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            _ => return self.number(),
        };
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.plain();
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// Moves to the next quote, backslash or control character: names are mostly found in the first eight bytes, long
    /// texts are passed sixteen at a time.
    #[inline]
    fn plain(&mut self) {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // The lowest high bit that is set is right: borrows spread upwards only.
        let below = |word: u64, than: u64| word.wrapping_sub(EACH * than) & !word & HIGH;
        while let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_le_bytes(*bytes);
            let found = below(word, 0x20)
                | below(word ^ (EACH * u64::from(b'"')), 1)
                | below(word ^ (EACH * u64::from(b'\\')), 1);
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
            while let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<16>()) {
                if bytes.iter().fold(false, |any, byte| any | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')) {
                    break;
                }
                self.at += 16;
            }
        }
        while let Some(byte) = self.peek()
            && byte >= 0x20
            && byte != b'"'
            && byte != b'\\'
        {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{content, fields, push_string, text, unescape};
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

    #[test]
    fn strings_are_unescaped_and_escaped_as_serde_json_does() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..20_000 {
            let string: String = (0..random.usize(..20))
                .map(|_| if random.bool() { random.char('\0'..='\u{ff}') } else { random.char(..) })
                .collect();
            let mut escaped = String::new();
            push_string(&string, &mut escaped);
            assert_eq!(serde_json::from_str::<String>(&escaped).expect("a string"), string);
            let theirs = serde_json::to_string(&string).expect("written");
            assert_eq!(text(&theirs), string);
            assert_eq!(text(&escaped), string);
        }
        assert_eq!(text(r#""a\/\b\f\u00e9\ud83d\ude00\ud83d""#), "a/\u{8}\u{c}é😀\u{fffd}");
        let mut out = String::new();
        unescape(r"\u12", &mut out);
        assert_eq!(text("12"), "12");
    }
}
