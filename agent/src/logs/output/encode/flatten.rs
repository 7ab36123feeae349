use super::json::push_string;
use super::types;
use crate::logs::record::json;

/// What is nested deeper goes as JSON text: so deep is no log line, and each level is looked through once more.
const DEEPEST: usize = 16;
/// Names that receivers have a meaning of their own for.
const RESERVED: [&[u8]; 11] = [
    b"X-OVH-TOKEN",
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

/// What a receiver makes of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Names and values as they are.
    Any,
    /// OVH's Log Data Platform: names end in their type and have no dots, values are not too long to be indexed.
    Ovh,
}

impl Rules {
    /// In characters, of a record's message. (OVH: "field naming conventions".)
    pub fn longest_message(self) -> usize {
        match self {
            Self::Any => usize::MAX,
            Self::Ovh => 32_768,
        }
    }

    /// In bytes, of any other value: longer ones cannot be indexed (Lucene's limit of a term).
    fn longest_value(self) -> usize {
        match self {
            Self::Any => usize::MAX,
            Self::Ovh => 32_766,
        }
    }
}

/// How fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `,"name":value`
    Json,
    /// A tab, and `name:value`.
    Ltsv,
}

/// Writes the fields of a JSON object flat: `{"a":{"b":1}}` as `,"_a_b":1`.
///
/// Strings and numbers stay as they are, lists become their JSON text and booleans theirs, nulls are left out. A name
/// that receivers have a meaning of their own for gets an underscore at its end, and a level by name is `level_name`.
#[derive(Debug)]
pub struct Flatten {
    form: Form,
    rules: Rules,
    /// What stands before each name.
    prefix: &'static [u8],
    /// The name of the field that is written.
    name: Vec<u8>,
    clipped: bool,
}

impl Flatten {
    pub fn new(prefix: &'static str, rules: Rules) -> Self {
        Self { form: Form::Json, rules, prefix: prefix.as_bytes(), name: prefix.into(), clipped: false }
    }

    pub fn ltsv(rules: Rules) -> Self {
        Self { form: Form::Ltsv, ..Self::new("", rules) }
    }

    /// Appends the fields of the object but for those whose value `skip` tells; whether one had to be clipped.
    pub fn push(&mut self, object: &str, skip: impl Fn(&str) -> bool, out: &mut Vec<u8>) -> bool {
        self.clipped = false;
        self.name.truncate(self.prefix.len());
        // It was found to be an object before.
        let _ = json::fields(object, |name, value| {
            if skip(value) {
                return;
            }
            self.push_name(name);
            let own = &self.name[self.prefix.len()..];
            if RESERVED.contains(&own) {
                let ending: &[u8] = if own == b"level" && value.starts_with('"') { b"_name" } else { b"_" };
                self.name.extend_from_slice(ending);
            }
            self.push_value(value, 1, out);
            self.name.truncate(self.prefix.len());
        });
        self.clipped
    }

    fn push_value(&mut self, value: &str, depth: usize, out: &mut Vec<u8>) {
        let before = self.name.len();
        match value.as_bytes().first() {
            Some(b'{') if depth < DEEPEST => {
                let _ = json::fields(value, |name, value| {
                    self.name.push(b'_');
                    self.push_name(name);
                    self.push_value(value, depth + 1, out);
                    self.name.truncate(before);
                });
            }
            Some(b'{' | b'[') => self.push_text(value, out),
            Some(b'"') => self.push_string(value, out),
            Some(b't' | b'f') => {
                let ending = if self.rules == Rules::Ovh { types::ending_for_bool(self.own()) } else { "" };
                self.push_field(ending, out);
                self.push_words(value, out);
            }
            Some(b'n') | None => {}
            Some(_) => self.push_number(value, out),
        }
    }

    /// A string as it stands in JSON.
    fn push_string(&mut self, value: &str, out: &mut Vec<u8>) {
        if value.len() > self.rules.longest_value() || self.form == Form::Ltsv || has_code_units(value) {
            return self.push_text(&json::text(value), out);
        }
        let ending = match self.rules {
            Rules::Any => "",
            // A text with escapes in it is of no other type.
            Rules::Ovh => types::ending_for_text(self.own(), value.trim_matches('"')),
        };
        self.push_field(ending, out);
        out.extend_from_slice(value.as_bytes());
    }

    fn push_number(&mut self, number: &str, out: &mut Vec<u8>) {
        let ending = match self.rules {
            Rules::Any => Some(""),
            Rules::Ovh => types::ending_for_number(self.own(), number),
        };
        match ending {
            Some(ending) => {
                self.push_field(ending, out);
                out.extend_from_slice(number.as_bytes());
            }
            None => self.push_text(number, out),
        }
    }

    fn push_text(&mut self, text: &str, out: &mut Vec<u8>) {
        let end = text.floor_char_boundary(self.rules.longest_value());
        self.clipped |= end < text.len();
        let text = &text[..end];
        let ending = if self.rules == Rules::Ovh { types::ending_for_text(self.own(), text) } else { "" };
        self.push_field(ending, out);
        self.push_words(text, out);
    }

    fn push_words(&self, text: &str, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => push_string(out, text),
            Form::Ltsv => push_ltsv_value(out, text),
        }
    }

    /// The name that the receiver takes it for.
    fn own(&self) -> &[u8] {
        &self.name[self.prefix.len()..]
    }

    /// Appends what stands before a value.
    fn push_field(&self, ending: &str, out: &mut Vec<u8>) {
        let (before, behind): (&[u8], &[u8]) = match self.form {
            Form::Json => (b",\"", b"\":"),
            Form::Ltsv => (b"\t", b":"),
        };
        for part in [before, &self.name, ending.as_bytes(), behind] {
            out.extend_from_slice(part);
        }
    }

    /// Appends to the name one as it stands in JSON: letters, digits, `_`, `.` and `-`; others become `_`.
    fn push_name(&mut self, name: &str) {
        let dots = self.rules == Rules::Any;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (dots && byte == b'.');
        if name.bytes().all(fits) {
            return self.name.extend_from_slice(name.as_bytes());
        }
        let mut text = String::new();
        json::unescape(name, &mut text);
        let name = text;
        self.name.extend(name.chars().map(|c| u8::try_from(c).ok().filter(|byte| fits(*byte)).unwrap_or(b'_')));
    }
}

/// Whether a string as it stands in JSON may have half a surrogate pair in it, for which receivers drop records.
pub fn has_code_units(value: &str) -> bool {
    memchr::memmem::find(value.as_bytes(), b"\\u").is_some()
}

/// Appends text as an LTSV value, which has no tab and no line's end (<http://ltsv.org>).
pub fn push_ltsv_value(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\0' => out.extend_from_slice(b"\\0"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flatten, Rules};

    fn flat(object: &str) -> String {
        flat_by(Rules::Any, object)
    }

    fn flat_by(rules: Rules, object: &str) -> String {
        let mut out = Vec::new();
        Flatten::new("_", rules).push(object, |value| value == "\"skipped\"", &mut out);
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
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        let text = flat(&deep);
        assert!(text.starts_with(",\"_a_a_a_a") && text.len() < 2 * deep.len(), "{}", text.len());
    }

    #[test]
    fn towards_ovh_names_end_in_their_type_and_have_no_dots() {
        let object = r#"{"a.b":1,"c_int":"x","d":{"e":1e999,"f":false},"g_ip":"::1","h_date":[1],"X-OVH-TOKEN":"t"}"#;
        assert_eq!(
            flat_by(Rules::Ovh, object),
            r#","_a_b_long":1,"_c_int_string":"x","_d_e":"1e999","_d_f_bool":"false","_g_ip":"::1","_h_date_string":"[1]","_X-OVH-TOKEN_":"t""#
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        assert_eq!(flat(r#"{"a":"\ud83d\ude00\ud800x\u000a","\udfff":1}"#), ",\"_a\":\"😀\u{fffd}x\\n\",\"__\":1");
    }

    #[test]
    fn ltsv_has_no_tab_and_no_line_end_in_a_value() {
        let mut out = Vec::new();
        let object = r#"{"a":{"b":"x\ty\n"},"c":true,"d":1.5,"e":["\t"],"f":"12"}"#;
        Flatten::ltsv(Rules::Ovh).push(object, |_| false, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "\ta_b:x\\ty\\n\tc_bool:true\td_double:1.5\te:[\"\\t\"]\tf:12");
    }

    #[test]
    fn towards_ovh_no_value_is_too_long_to_be_indexed() {
        let text = flat_by(Rules::Ovh, &format!(r#"{{"a":"\n{}"}}"#, "ä".repeat(20_000)));
        assert_eq!(text.len(), r#","_a":"\n""#.len() + 32_765 - 1);
    }
}
