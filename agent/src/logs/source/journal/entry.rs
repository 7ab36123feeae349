use crate::logs::source::spool::entry::Entry;
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The fields that are renamed, in the order in which a record has them. Of several fields of one name the first counts.
const RENAMED: [(&str, &str); 19] = [
    // What systemd itself says of a unit is about that unit.
    ("unit", "UNIT"),
    ("unit", "_SYSTEMD_UNIT"),
    ("user_unit", "USER_UNIT"),
    ("user_unit", "_SYSTEMD_USER_UNIT"),
    ("identifier", "SYSLOG_IDENTIFIER"),
    ("pid", "_PID"),
    ("pid", "SYSLOG_PID"),
    ("uid", "_UID"),
    ("gid", "_GID"),
    ("comm", "_COMM"),
    ("exe", "_EXE"),
    ("cmdline", "_CMDLINE"),
    ("transport", "_TRANSPORT"),
    ("hostname", "_HOSTNAME"),
    ("boot_id", "_BOOT_ID"),
    ("slice", "_SYSTEMD_SLICE"),
    ("kernel_device", "_KERNEL_DEVICE"),
    ("kernel_subsystem", "_KERNEL_SUBSYSTEM"),
    ("stream_id", "_STREAM_ID"),
];
/// Fields that are in a record under other names, or repeat what is.
const LEFT_OUT: [&str; 6] = ["MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_TIMESTAMP", "SYSLOG_RAW", "SYSLOG_PID"];
/// Names with a meaning in a record: fields that an application calls so keep their capitals.
const TAKEN: [&str; 12] = [
    "cursor",
    "time",
    "timestamp",
    "level",
    "severity",
    "facility",
    "message",
    "msg",
    "host",
    "labels",
    "source",
    "file",
];

/// A line of the journal's JSON: names with their values. Fields that were logged several times are lists.
#[derive(Deserialize)]
struct Fields<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, Field<'a>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Field<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    /// Not UTF-8, or with control characters.
    Binary(Vec<u8>),
    Several(Vec<Field<'a>>),
    /// `null`: too long for journalctl.
    Null,
}

impl Field<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Binary(bytes) => String::from_utf8_lossy(bytes),
            Self::Several(all) => Cow::Owned(all.iter().map(Self::text).collect::<Vec<_>>().join("\n")),
            Self::Null => Cow::Borrowed(""),
        }
    }
}

/// Which entry it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub cursor: String,
    /// RFC 3339.
    pub time: String,
}

impl Position {
    /// Of a line that was made by [`push_line`].
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            cursor: String,
            time: String,
        }
        let line: Line = serde_json::from_slice(line).ok()?;
        Some(Self { cursor: line.cursor, time: line.time })
    }

    /// Of what journalctl gave, even if it was cut.
    pub(super) fn of_entry(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let cursor = text_after(&text, "\"__CURSOR\"")?;
        let time = text_after(&text, "\"__REALTIME_TIMESTAMP\"").and_then(microseconds);
        Some(Self { cursor: cursor.to_owned(), time: rfc3339(time) })
    }

    /// The same moment and content: the first two parts of a cursor change when a journal file is copied.
    pub(super) fn is_same_entry(&self, other: &Self) -> bool {
        let parts = |cursor: &str| -> BTreeMap<String, String> {
            let all = cursor.split(';').filter_map(|part| part.split_once('='));
            let own = all.filter(|(name, _)| !matches!(*name, "s" | "i"));
            own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        self.cursor == other.cursor || (self.cursor.contains("x=") && parts(&self.cursor) == parts(&other.cursor))
    }
}

/// What became of an entry.
pub(super) struct Made {
    pub is_cut: bool,
    pub is_malformed: bool,
}

/// Appends an entry as a line of ours, no longer than `limit`.
pub(super) fn push_line(text: &[u8], limit: usize, lines: &mut Vec<u8>) -> Made {
    let text = String::from_utf8_lossy(text);
    match serde_json::from_str::<Fields<'_>>(&text) {
        Ok(fields) => Made { is_cut: push(&fields.0, limit, lines), is_malformed: false },
        Err(_) => Made { is_cut: push_unread(&text, limit, lines), is_malformed: true },
    }
}

fn push(fields: &BTreeMap<Cow<'_, str>, Field<'_>>, limit: usize, lines: &mut Vec<u8>) -> bool {
    let text = |name: &str| fields.get(name).map(Field::text);
    let mut entry = Entry::begin(lines, limit);
    entry.text("cursor", &text("__CURSOR").unwrap_or_default());
    entry.text("time", &rfc3339(text("__REALTIME_TIMESTAMP").as_deref().and_then(microseconds)));
    for (name, field) in [("level", "PRIORITY"), ("facility", "SYSLOG_FACILITY")] {
        if let Some(number) = text(field).and_then(|text| text.parse().ok()) {
            entry.number(name, number);
        }
    }
    let mut last = "";
    for (name, field) in RENAMED {
        if name == last {
            continue;
        }
        // Anybody may log a field UNIT; that of the system's manager can be believed.
        if field == "UNIT" && text("_SYSTEMD_UNIT").as_deref() != Some("init.scope") {
            continue;
        }
        let Some(value) = text(field).filter(|value| !value.is_empty()) else { continue };
        last = name;
        match value.parse::<u64>() {
            Ok(number) if matches!(name, "pid" | "uid" | "gid") => entry.number(name, number),
            _ => entry.text(name, &value),
        }
    }
    // An application's own fields; those that begin with an underscore are the journal's.
    for (field, value) in fields.iter().filter(|(field, _)| is_own(field)) {
        let name = field.to_ascii_lowercase();
        let is_taken = TAKEN.contains(&name.as_str()) || RENAMED.iter().any(|(renamed, _)| *renamed == name);
        entry.text(if is_taken { field } else { &name }, &value.text());
    }
    entry.end(&text("MESSAGE").unwrap_or_default())
}

fn is_own(field: &str) -> bool {
    !field.starts_with('_') && !LEFT_OUT.contains(&field) && RENAMED.iter().all(|(_, renamed)| *renamed != field)
}

/// An entry that was longer than may be held in memory, or is no JSON: as text, with its cursor, or it would be read
/// again and again.
fn push_unread(text: &str, limit: usize, lines: &mut Vec<u8>) -> bool {
    let position = Position::of_entry(text.as_bytes());
    let mut entry = Entry::begin(lines, limit);
    if let Some(position) = position {
        entry.text("cursor", &position.cursor);
        entry.text("time", &position.time);
    }
    entry.is_cut();
    entry.end(text)
}

/// The string behind a name, in the text of a JSON object, of a value that has no escapes. What stands there may be a
/// value with the same text.
fn text_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices(name).find_map(|(at, _)| {
        let rest = text[at + name.len()..].trim_start().strip_prefix(':')?;
        rest.trim_start().strip_prefix('"')?.split('"').next()
    })
}

fn microseconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(text.parse().ok()?).ok()
}

fn rfc3339(time: Option<Timestamp>) -> String {
    format!("{:.6}", time.unwrap_or_else(Timestamp::now))
}

#[cfg(test)]
mod tests {
    use super::{Position, push_line};
    use serde_json::{Value, json};

    const ENTRY: &str = r#"{"__CURSOR":"s=a;i=1;b=c;m=d;t=e;x=f","__REALTIME_TIMESTAMP":"1795169472123456","_PID":"1","PRIORITY":"3","SYSLOG_FACILITY":"3","SYSLOG_IDENTIFIER":"systemd","_SYSTEMD_UNIT":"init.scope","UNIT":"ssh.service","MESSAGE":"Started ssh.","_CAP_EFFECTIVE":"0","CODE_LINE":["1","2"],"HOST":"x","BINARY":[104,255]}"#;

    fn made(entry: &str) -> (Value, bool, bool) {
        let mut lines = Vec::new();
        let made = push_line(entry.as_bytes(), 4096, &mut lines);
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
        (serde_json::from_slice(&lines).expect("JSON"), made.is_cut, made.is_malformed)
    }

    #[test]
    fn an_entry_has_the_fields_that_operators_know() {
        let (value, cut, malformed) = made(ENTRY);
        assert!(!cut && !malformed);
        let expected = json!({
            "cursor": "s=a;i=1;b=c;m=d;t=e;x=f", "time": "2026-11-20T10:11:12.123456Z", "level": 3, "facility": 3,
            "unit": "ssh.service", "identifier": "systemd", "pid": 1,
            "binary": "h\u{fffd}", "code_line": "1\n2", "HOST": "x", "message": "Started ssh.",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_message_that_is_no_text_is_decoded_and_one_that_was_cut_keeps_its_cursor() {
        let (value, ..) = made(r#"{"__CURSOR":"c","MESSAGE":[27,91,49,109,104,105]}"#);
        assert_eq!(value["message"], "\u{1b}[1mhi");
        let (value, cut, malformed) = made(&ENTRY[..150]);
        assert!(cut && malformed);
        assert_eq!((&value["cursor"], &value["cut"]), (&json!("s=a;i=1;b=c;m=d;t=e;x=f"), &json!(true)));
        assert_eq!(value["time"], "2026-11-20T10:11:12.123456Z");
    }

    #[test]
    fn the_line_that_was_made_says_which_entry_it_was() {
        let mut lines = Vec::new();
        push_line(ENTRY.as_bytes(), 4096, &mut lines);
        let (line, entry) =
            (Position::of_line(&lines).expect("one"), Position::of_entry(ENTRY.as_bytes()).expect("one"));
        assert_eq!(line, entry);
        let misleading = ENTRY.replacen('{', r#"{"A":"__CURSOR","B":"__REALTIME_TIMESTAMP","#, 1);
        assert_eq!(Position::of_entry(misleading.as_bytes()), Some(line.clone()));
        let copied = Position { cursor: "s=z;i=9;b=c;m=d;t=e;x=f".into(), time: String::new() };
        let other = Position { cursor: "s=a;i=2;b=c;m=d;t=e;x=0".into(), time: String::new() };
        assert!(line.is_same_entry(&copied) && !line.is_same_entry(&other));
    }
}
