use super::message::Reading;
use super::{legacy, structured};
use crate::logs::source::spool::entry::Entry;
use serde_json::Value;

/// user.notice, for a message that does not say (RFC 3164, 4.3.3).
const DEFAULT_PRIORITY: u8 = 13;

/// What became of a message.
#[derive(Debug)]
pub(super) struct Made {
    pub is_cut: bool,
    pub is_malformed: bool,
}

impl Reading<'_> {
    /// Appends a message as a line of ours, no longer than `limit`.
    pub(super) fn push_line(&self, message: &[u8], is_cut: bool, limit: usize, lines: &mut Vec<u8>) -> Made {
        let text = String::from_utf8_lossy(message);
        let (priority, rest) = priority(&text);
        let structured = rest.strip_prefix("1 ").map(structured::read);
        let is_malformed = priority.is_none() || structured.as_ref().is_some_and(Option::is_none);
        let message = structured.flatten().unwrap_or_else(|| legacy::read(rest, self));
        let priority = priority.unwrap_or(DEFAULT_PRIORITY);

        let mut entry = Entry::begin(lines, limit);
        entry.text("time", &format!("{:.6}", message.time.unwrap_or(self.now)));
        entry.number("level", u64::from(priority % 8));
        entry.number("facility", u64::from(priority / 8));
        let fields = [
            ("hostname", message.hostname),
            ("app_name", message.app_name),
            ("procid", message.procid),
            ("msgid", message.msgid),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                entry.text(name, value);
            }
        }
        if !message.structured_data.is_empty() {
            entry.value("structured_data", &Value::Object(message.structured_data));
        }
        if is_cut {
            entry.is_cut();
        }
        Made { is_cut: entry.end(message.text), is_malformed }
    }
}

/// `<PRI>` and what follows it.
fn priority(text: &str) -> (Option<u8>, &str) {
    let found = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).and_then(|(digits, rest)| {
        let fits = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let priority = digits.parse::<u8>().ok().filter(|priority| fits && *priority <= 191)?;
        Some((priority, rest))
    });
    found.map_or((None, text), |(priority, rest)| (Some(priority), rest))
}

#[cfg(test)]
mod tests {
    use crate::logs::source::listener::message::Reading;
    use jiff::tz::TimeZone;
    use serde_json::{Value, json};

    fn line(message: &str, is_local: bool) -> (Value, bool) {
        let zone = TimeZone::get("Europe/Paris").expect("a zone");
        let reading = Reading { now: "2026-11-20T10:11:12Z".parse().expect("a time"), zone: &zone, is_local };
        let mut lines = Vec::new();
        let made = reading.push_line(message.as_bytes(), false, 4096, &mut lines);
        (serde_json::from_slice(&lines).expect("JSON"), made.is_malformed)
    }

    #[test]
    fn a_message_of_rfc_5424_has_its_fields_and_structured_data() {
        let message = "<165>1 2026-10-11T22:14:15.003+02:00 mymachine.example.com evntslog 12 ID47 \
                       [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"li\\]c\\\\\"][b x=\"1\" x=\"2\"] \u{feff}An event";
        let expected = json!({
            "time": "2026-10-11T20:14:15.003000Z", "level": 5, "facility": 20, "hostname": "mymachine.example.com",
            "app_name": "evntslog", "procid": "12", "msgid": "ID47",
            "structured_data": {"exampleSDID@32473": {"iut": "3", "eventSource": "App\"li]c\\"}, "b": {"x": ["1", "2"]}},
            "message": "An event",
        });
        assert_eq!(line(message, false), (expected, false));
        let bare = json!({"time": "2026-11-20T10:11:12.000000Z", "level": 5, "facility": 1, "message": ""});
        assert_eq!(line("<13>1 - - - - - -", false), (bare, false));
    }

    #[test]
    fn a_message_of_rfc_3164_has_the_year_and_zone_of_the_host() {
        let message = "<34>Nov 11 22:14:15 mymachine su[42]: 'su root' failed";
        let expected = json!({
            "time": "2026-11-11T21:14:15.000000Z", "level": 2, "facility": 4, "hostname": "mymachine", "app_name": "su",
            "procid": "42", "message": "'su root' failed",
        });
        assert_eq!(line(message, false), (expected, false));
        // In January a message of December is of last year; on a local socket no host is named.
        assert_eq!(line("<13>Dec  1 00:00:00 cron: x", true).0["time"], "2025-11-30T23:00:00.000000Z");
        assert_eq!(line("<13>Nov 20 11:11:12 cron: x", true).0["app_name"], "cron");
        assert_eq!(line("<13>Nov 20 11:11:12 cron[1]: x", false).0["hostname"], Value::Null);
        assert_eq!(line("<13>2026-11-20T10:11:12.5+00:00 h app: x", false).0["time"], "2026-11-20T10:11:12.500000Z");
    }

    #[test]
    fn what_is_in_no_form_is_kept_as_it_is() {
        for (message, text, malformed) in [
            ("no priority", "no priority", true),
            ("<192>too high", "<192>too high", true),
            ("<13>no time: here", "no time: here", false),
            ("<13>Feb 31 00:00:00 h a: x", "Feb 31 00:00:00 h a: x", false),
            ("<13>1 yesterday h a p m - x", "1 yesterday h a p m - x", true),
            ("<13>1 - h a p m [broken x", "1 - h a p m [broken x", true),
            ("<13>", "", false),
            ("", "", true),
        ] {
            let (value, is_malformed) = line(message, false);
            assert_eq!((&value["message"], is_malformed), (&json!(text), malformed), "{message}");
        }
    }
}
