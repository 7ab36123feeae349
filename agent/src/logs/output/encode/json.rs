//! JSON text that is known to be JSON, taken apart and put together as text.

use std::io::Write;

/// One way through a JSON object as it stands in the text, which has been found to be JSON before.
///
/// Nothing is checked again: what is no JSON gives fields that are none, or ends early.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of an object.
    pub fn of(text: &'a str) -> Self {
        let at = text.bytes().position(|byte| byte == b'{').map_or(text.len(), |brace| brace + 1);
        Self { text, at }
    }

    fn skip_space(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += space;
        rest.get(space).copied()
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let begin = self.at;
        self.at = end_of_string(self.text.as_bytes(), begin)?;
        self.text.get(begin..self.at)
    }
}

impl<'a> Iterator for Fields<'a> {
    /// The name without its quotes, and the value, both as they stand in the text.
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.skip_space()? == b',' {
            self.at += 1;
            self.skip_space()?;
        }
        let name = self.string()?;
        self.skip_space().filter(|byte| *byte == b':')?;
        self.at += 1;
        self.skip_space()?;
        let begin = self.at;
        self.at = end_of_value(self.text.as_bytes(), begin)?;
        Some((name.get(1..name.len() - 1)?, self.text.get(begin..self.at)?))
    }
}

/// Behind the closing quote of the string whose opening one is at `begin`.
fn end_of_string(text: &[u8], begin: usize) -> Option<usize> {
    if text.get(begin) != Some(&b'"') {
        return None;
    }
    let mut at = begin + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn end_of_value(text: &[u8], begin: usize) -> Option<usize> {
    match *text.get(begin)? {
        b'"' => end_of_string(text, begin),
        b'{' | b'[' => {
            let (mut at, mut depth) = (begin, 0usize);
            loop {
                match *text.get(at)? {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.checked_sub(1)?,
                    b'"' => at = end_of_string(text, at)? - 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let rest = &text[begin..];
            let length = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                .unwrap_or(rest.len());
            (length > 0).then_some(begin + length)
        }
    }
}

/// Whether the text of a string, between its quotes, is nothing but space.
pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Appends text as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

/// Appends `,"name":` and the text as a JSON string.
pub fn push_text_field(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_string(out, text);
}

/// Appends a number.
pub fn push_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn fields_are_found_as_they_stand() {
        let text = " { \"a\" : 1.5e3 ,\"b\\\"\":\"x\\\\\", \"c\":{\"d\":[1,\"}\"]} ,\"e\":[ ] ,\"f\":null}  ";
        let fields: Vec<_> = Fields::of(text).collect();
        let expected =
            [("a", "1.5e3"), ("b\\\"", "\"x\\\\\""), ("c", "{\"d\":[1,\"}\"]}"), ("e", "[ ]"), ("f", "null")];
        assert_eq!(fields, expected);
        assert_eq!(Fields::of(" {} ").count(), 0);
    }

    #[test]
    fn what_is_no_json_ends_early_and_harms_nobody() {
        for text in
            ["", "x", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":[", "{\"a\":1,", "{,", "{\"a\\"]
        {
            assert!(Fields::of(text).count() <= 1, "{text}");
        }
    }
}
