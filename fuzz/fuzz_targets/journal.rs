//! What is made of a journal's entry is one JSON line within its limit that knows its cursor, whatever was logged.
#![no_main]

use hostwright_fuzz::logs::source::journal::{cursors, line};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

const CURSOR: &str = "s=0639c7a0d9f64;i=4c9;b=8d2c;m=1f4;t=62f;x=a1";
/// A line has room for its cursor and the beginning of its message, at least.
const LEAST: usize = 512;

fn check(entry: &[u8], limit: usize) -> Vec<u8> {
    let (line, is_cut) = line(entry, limit);
    assert!(line.ends_with(b"\n") && line.iter().filter(|byte| **byte == b'\n').count() == 1);
    assert!(line.len() <= limit + 1, "{} of {limit}", line.len());
    let value: Map<String, Value> = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(value.get("cut").is_some_and(|cut| *cut == true), is_cut);
    line
}

fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), Value::from)
}

fuzz_target!(|input: (u16, Vec<(&str, &[u8])>, &[u8])| {
    let (limit, fields, raw) = input;
    let limit = LEAST + usize::from(limit);
    // An application's fields have capitals, digits and underscores, of which none is the first.
    let name = |name: &str| name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let fields = fields.into_iter().map(|(own, value)| (name(own).trim_start_matches('_').to_owned(), text(value)));
    let (before, after): (Vec<_>, Vec<_>) = fields.enumerate().partition(|(at, _)| at % 2 == 0);
    let mut parts: Vec<_> =
        before.into_iter().map(|(_, (name, value))| format!("{}:{value}", Value::from(name))).collect();
    parts.push(format!("\"__CURSOR\":\"{CURSOR}\",\"__REALTIME_TIMESTAMP\":\"1795169472123456\""));
    parts.extend(after.into_iter().map(|(_, (name, value))| format!("{}:{value}", Value::from(name))));
    let entry = format!("{{{}}}", parts.join(","));
    let line = check(entry.as_bytes(), limit);
    for cursor in cursors(entry.as_bytes(), &line) {
        assert_eq!(cursor.as_deref(), Some(CURSOR), "{entry}");
    }
    check(raw, limit);
});
