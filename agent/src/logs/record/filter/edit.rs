use crate::logs::record::{Record, json};
use std::collections::BTreeMap;

/// A change of an object's fields.
#[derive(Debug)]
pub enum Edit {
    Rename(BTreeMap<String, String>),
    Remove(Vec<String>),
    Add(BTreeMap<String, String>),
}

/// Whether a name, as it stands in a JSON text, is this one.
pub fn is_name(name: &str, wanted: &str) -> bool {
    if !name.contains('\\') {
        return name == wanted;
    }
    let mut plain = String::new();
    json::unescape(name, &mut plain);
    plain == wanted
}

impl Edit {
    /// Appends the changed text. A text that is no object stays what it is, unless fields are added to it: then it is
    /// their `message`.
    pub fn push(&self, text: &str, record: &Record<'_>, is_object: bool, out: &mut String) {
        match self {
            Self::Add(fields) if !is_object => {
                let start = message(text, record);
                add(fields, &start, out);
            }
            _ if !is_object => out.push_str(text),
            Self::Add(fields) => add(fields, text, out),
            Self::Remove(names) => {
                keep(text, out, |name| (!names.iter().any(|gone| is_name(name, gone))).then_some(None));
            }
            Self::Rename(names) => rename(names, text, out),
        }
    }
}

fn rename(names: &BTreeMap<String, String>, text: &str, out: &mut String) {
    let mut found = Vec::new();
    let _ = json::fields(text, |name, _| found.extend(names.iter().find(|(from, _)| is_name(name, from))));
    keep(text, out, |name| match found.iter().find(|(from, _)| is_name(name, from)) {
        Some((_, to)) => Some(Some(to)),
        // Two fields of one name are no good JSON: the one that is renamed is meant.
        None if found.iter().any(|(_, to)| is_name(name, to)) => None,
        None => Some(None),
    });
}

/// Appends an object with the fields for which `decide` gives something: another name, or none for the same.
fn keep<'a>(text: &str, out: &mut String, decide: impl Fn(&str) -> Option<Option<&'a String>>) {
    out.push('{');
    let _ = json::fields(text, |name, value| {
        let Some(other) = decide(name) else { return };
        if out.len() > 1 {
            out.push(',');
        }
        match other {
            Some(other) => json::push_string(other, out),
            None => out.extend(["\"", name, "\""]),
        }
        out.push(':');
        out.push_str(value);
    });
    out.push('}');
}

/// Appends the object with the fields that it has not.
fn add(fields: &BTreeMap<String, String>, text: &str, out: &mut String) {
    let mut missing: Vec<_> = fields.iter().collect();
    let _ = json::fields(text, |name, _| missing.retain(|(new, _)| !is_name(name, new)));
    let text = text.trim_ascii();
    out.push_str(text.strip_suffix('}').unwrap_or(text).trim_ascii_end());
    for (name, value) in missing {
        if !out.ends_with('{') {
            out.push(',');
        }
        json::push_string(name, out);
        out.push(':');
        json::push_string(value, out);
    }
    out.push('}');
}

/// A text as an object.
fn message(text: &str, record: &Record<'_>) -> String {
    let mut time = Vec::new();
    record.time.push_rfc3339(&mut time);
    let mut object = String::from("{\"time\":");
    json::push_string(&String::from_utf8_lossy(&time), &mut object);
    object.push_str(if record.cut { ",\"cut\":true,\"message\":" } else { ",\"message\":" });
    json::push_string(text, &mut object);
    object.push('}');
    object
}

#[cfg(test)]
mod tests {
    use super::Edit;
    use crate::logs::record::{Id, Record, Time};

    fn edited(edit: &Edit, text: &str) -> String {
        let time = Time::Text("2026-11-20T10:11:12Z");
        let record = Record { text, cut: false, object: None, time, severity: None, id: Id::default() };
        let mut out = String::new();
        edit.push(text, &record, text.starts_with('{'), &mut out);
        out
    }

    fn map(entries: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_are_renamed_and_take_the_place_of_others() {
        let edit = Edit::Rename(map(&[("a", "b"), ("é", "e")]));
        assert_eq!(edited(&edit, r#"{"b":1,"a":{"a":2},"\u00e9":3}"#), r#"{"b":{"a":2},"e":3}"#);
        assert_eq!(edited(&edit, r#"{"b":1}"#), r#"{"b":1}"#);
        assert_eq!(edited(&edit, "{}"), "{}");
        assert_eq!(edited(&edit, "text"), "text");
    }

    #[test]
    fn fields_are_removed() {
        let edit = Edit::Remove(vec!["a".into(), "b".into()]);
        assert_eq!(edited(&edit, r#"{ "a" : 1 , "c" : "x" , "b" : [] }"#), r#"{"c":"x"}"#);
        assert_eq!(edited(&edit, r#"{"a":1}"#), "{}");
    }

    #[test]
    fn fields_are_added_unless_they_are_there_and_a_text_becomes_a_message() {
        let edit = Edit::Add(map(&[("a", "x\"y"), ("b", "z")]));
        assert_eq!(edited(&edit, r#"{"a":1} "#), r#"{"a":1,"b":"z"}"#);
        assert_eq!(edited(&edit, "{ }"), r#"{"a":"x\"y","b":"z"}"#);
        assert_eq!(edited(&edit, "te\"xt"), r#"{"time":"2026-11-20T10:11:12Z","message":"te\"xt","a":"x\"y","b":"z"}"#);
    }
}
