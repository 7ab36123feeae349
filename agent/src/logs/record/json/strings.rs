use super::scanner::Scanner;
use std::borrow::Cow;

/// What is between the quotes of a JSON string; none if it is another value.
pub fn content(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// The value as text: a string without quotes and escapes, anything else as it stands.
pub fn text(value: &str) -> Cow<'_, str> {
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
    let mut scanner = Scanner::new(text.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::{push_string, text, unescape};

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
