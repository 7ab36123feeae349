use super::json::{Fields, push_string};
use std::borrow::Cow;

/// What is nested deeper goes as JSON text: so deep is no log line, and each level is looked through once more.
const DEEPEST: usize = 16;
/// Names that receivers have a meaning of their own for.
const RESERVED: [&[u8]; 10] = [
    b"version",
    b"host",
    b"short_message",
    b"full_message",
    b"message",
    b"timestamp",
    b"level",
    b"line",
    b"source",
    b"id",
];

/// Writes the fields of a JSON object flat: `{"a":{"b":1}}` as `,"_a_b":1`.
///
/// Strings and numbers stay as they are, lists become their JSON text and booleans theirs, nulls are left out. A name
/// that receivers have a meaning of their own for gets an underscore at its end, and a level by name is `level_name`.
#[derive(Debug)]
pub struct Flatten {
    /// What stands before each name.
    prefix: &'static [u8],
    /// The name of the field that is written.
    name: Vec<u8>,
}

impl Flatten {
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix: prefix.as_bytes(), name: prefix.into() }
    }

    /// Appends the fields of the object but for those whose value `skip` tells.
    pub fn push(&mut self, object: &str, skip: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        self.name.truncate(self.prefix.len());
        for (name, value) in Fields::of(object) {
            if skip(value) {
                continue;
            }
            push_name(&mut self.name, name);
            let own = &self.name[self.prefix.len()..];
            if RESERVED.contains(&own) {
                let ending: &[u8] = if own == b"level" && value.starts_with('"') { b"_name" } else { b"_" };
                self.name.extend_from_slice(ending);
            }
            self.push_value(value, 1, out);
            self.name.truncate(self.prefix.len());
        }
    }

    fn push_value(&mut self, value: &str, depth: usize, out: &mut Vec<u8>) {
        let before = self.name.len();
        match value.as_bytes().first() {
            Some(b'{') if depth < DEEPEST => {
                for (name, value) in Fields::of(value) {
                    self.name.push(b'_');
                    push_name(&mut self.name, name);
                    self.push_value(value, depth + 1, out);
                    self.name.truncate(before);
                }
            }
            Some(b'{' | b'[') => {
                self.push_own_name(out);
                push_string(out, value);
            }
            Some(b't' | b'f') => {
                self.push_own_name(out);
                out.push(b'"');
                out.extend_from_slice(value.as_bytes());
                out.push(b'"');
            }
            Some(b'n') | None => {}
            _ => {
                self.push_own_name(out);
                out.extend_from_slice(value.as_bytes());
            }
        }
    }

    fn push_own_name(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(&self.name);
        out.extend_from_slice(b"\":");
    }
}

/// Appends a name as it stands in JSON: letters, digits, `_`, `.` and `-`, others as `_`.
fn push_name(out: &mut Vec<u8>, name: &str) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.bytes().all(fits) {
        return out.extend_from_slice(name.as_bytes());
    }
    let name = match name.contains('\\') {
        true => serde_json::from_str(&format!("\"{name}\"")).map_or(Cow::Borrowed(name), Cow::Owned),
        false => Cow::Borrowed(name),
    };
    out.extend(name.chars().map(|c| u8::try_from(c).ok().filter(|byte| fits(*byte)).unwrap_or(b'_')));
}

#[cfg(test)]
mod tests {
    use super::Flatten;

    fn flat(object: &str) -> String {
        let mut out = Vec::new();
        Flatten::new("_").push(object, |value| value == "\"skipped\"", &mut out);
        let text = String::from_utf8(out).expect("text");
        serde_json::from_str::<serde_json::Value>(&format!("{{\"x\":0{text}}}")).expect("JSON");
        text
    }

    #[test]
    fn nested_objects_become_names_and_lists_text() {
        assert_eq!(
            flat(r#"{"a":{"b":{"c":1.50,"d":"x\n"},"e":{}},"f":[1,"\"",{}],"g":true,"h":null,"i":"skipped","j":-1e9}"#),
            r#","_a_b_c":1.50,"_a_b_d":"x\n","_f":"[1,\"\\\"\",{}]","_g":"true","_j":-1e9"#
        );
    }

    #[test]
    fn names_that_have_a_meaning_are_kept_under_another() {
        assert_eq!(
            flat(r#"{"id":1,"level":"warn","timestamp":"t","a":{"id":2}}"#),
            r#","_id_":1,"_level_name":"warn","_timestamp_":"t","_a_id":2"#
        );
        assert_eq!(flat(r#"{"level":30}"#), r#","_level_":30"#);
    }

    #[test]
    fn names_have_no_other_characters_than_receivers_take() {
        assert_eq!(flat(r#"{"a b.c-d_é\u00e9\"":1,"":2}"#), r#","_a_b.c-d____":1,"_":2"#);
    }

    #[test]
    fn what_is_nested_without_end_is_text() {
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        let text = flat(&deep);
        assert!(text.starts_with(",\"_a_a_a_a") && text.len() < 2 * deep.len(), "{}", text.len());
    }
}
