use super::ours::Ours;
use crate::logs::record::{is_date, json};
use std::collections::HashSet;

/// The fields of a line, those under other names that a platform would refuse under their own.
#[derive(Debug, Default)]
pub struct Refitted {
    /// As they stand behind the opening brace.
    pub rest: String,
    /// Indices of those of our fields that the line has itself.
    pub taken: Vec<usize>,
}

/// A platform has an object or a value under a name, never both: a line's field of the other kind than ours gets an
/// underscore at its name's end, and so does `@timestamp` that is no date.
pub fn refitted(text: &str, ours: &[Ours]) -> Refitted {
    let mut names = HashSet::new();
    let _ = json::fields(text, |name, _| {
        names.insert(plain(name));
    });
    let mut refitted = Refitted::default();
    let _ = json::fields(text, |name, value| {
        let plain = plain(name);
        let ours = ours.iter().enumerate().find(|(_, ours)| ours.name == plain);
        let fits = match ours {
            Some((_, ours)) => ours.is_object == value.starts_with('{'),
            None => plain != "@timestamp" || is_date(value),
        };
        if !refitted.rest.is_empty() {
            refitted.rest.push(',');
        }
        if fits {
            refitted.taken.extend(ours.map(|(at, _)| at));
            refitted.rest.extend(["\"", name, "\""]);
        } else {
            refitted.rest.push_str(&serde_json::Value::from(free(plain, &mut names)).to_string());
        }
        refitted.rest.extend([":", value]);
    });
    refitted.rest.push('}');
    refitted
}

fn plain(name: &str) -> String {
    let mut plain = String::new();
    json::unescape(name, &mut plain);
    plain
}

/// A name that no field has.
fn free(mut name: String, names: &mut HashSet<String>) -> String {
    loop {
        name.push('_');
        if names.insert(name.clone()) {
            return name;
        }
    }
}
