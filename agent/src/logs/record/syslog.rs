//! Syslog messages as they stand in files: RFC 5424, RFC 3164, and what syslog daemons write without a priority.

use super::json;
use super::time::{Time, Zone};
use jiff::Timestamp;

/// Appends a message as a JSON object: `time`, `facility`, `severity`, `host`, `app`, `procid`, `msgid`, `data` (the
/// structured data), `message`. None if it is no syslog message.
pub fn push_json(line: &str, zone: &Zone, out: &mut String) -> Option<()> {
    let (priority, rest) = priority(line);
    out.push('{');
    if let Some(priority) = priority {
        out.push_str(&format!("\"facility\":{},\"severity\":{},", priority >> 3, priority & 7));
    }
    match rest.strip_prefix("1 ").filter(|_| priority.is_some()) {
        Some(rest) => push_rfc5424(rest, out)?,
        None => push_rfc3164(rest, zone, out)?,
    }
    out.push('}');
    Some(())
}

/// `<13>`, up to facility 23 and severity 7.
fn priority(line: &str) -> (Option<u8>, &str) {
    let found = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let is_number = |digits: &str| (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match found {
        Some((digits, rest)) if is_number(digits) => match digits.parse() {
            Ok(priority @ 0..=191) => (Some(priority), rest),
            _ => (None, line),
        },
        _ => (None, line),
    }
}

/// Behind the version: `TIME HOST APP PROCID MSGID DATA MESSAGE`, each but the last `-` if there is none.
fn push_rfc5424(text: &str, out: &mut String) -> Option<()> {
    let mut rest = text;
    for name in ["time", "host", "app", "procid", "msgid"] {
        let (value, behind) = rest.split_once(' ')?;
        if value.is_empty() {
            return None;
        }
        if value != "-" {
            if name == "time" {
                Time::of(value, &Zone::Utc)?;
            }
            push_field(name, value, out);
        }
        rest = behind;
    }
    let message = match rest.strip_prefix('-') {
        Some(behind) => behind,
        None => push_data(rest, out)?,
    };
    let message = if message.is_empty() { message } else { message.strip_prefix(' ')? };
    // A byte order mark says that the message is UTF-8, which everything is here.
    push_last("message", message.strip_prefix('\u{feff}').unwrap_or(message), out);
    Some(())
}

/// Structured data: `[id name="value" …][…]`; what follows it.
fn push_data<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let mut rest = text;
    out.push_str("\"data\":{");
    let mut is_first = true;
    while let Some(element) = rest.strip_prefix('[') {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        rest = push_element(element, out)?;
    }
    out.push_str("},");
    (!is_first).then_some(rest)
}

fn push_element<'a>(element: &'a str, out: &mut String) -> Option<&'a str> {
    let end = element.find([' ', ']']).filter(|end| *end > 0)?;
    json::push_string(&element[..end], out);
    out.push_str(":{");
    let mut rest = &element[end..];
    let mut names: Vec<&str> = Vec::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, behind) = parameter.split_once("=\"")?;
        if name.is_empty() || name.contains([' ', ']', '"']) {
            return None;
        }
        let mut value = String::new();
        let mut characters = behind.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    escaped @ ('"' | '\\' | ']') => value.push(escaped),
                    other => value.extend(['\\', other]),
                },
                (_, other) => value.push(other),
            }
        };
        // A name may be there more than once (RFC 5424, 6.3.3), which JSON has no place for: the first one counts.
        if !names.contains(&name) {
            if !names.is_empty() {
                out.push(',');
            }
            json::push_string(name, out);
            out.push(':');
            json::push_string(&value, out);
            names.push(name);
        }
        rest = &behind[end + 1..];
    }
    out.push('}');
    rest.strip_prefix(']')
}

/// `Nov 20 10:11:12 host app[123]: message`, or with an RFC 3339 time as syslog daemons write into files.
fn push_rfc3164(text: &str, zone: &Zone, out: &mut String) -> Option<()> {
    let (time, rest) = match Time::before(text, Some(zone)) {
        Some((time, length)) => (time, &text[length..]),
        None => (traditional(text.get(..15)?, zone)?, &text[15..]),
    };
    out.push_str("\"time\":\"");
    let mut written = Vec::new();
    time.push_rfc3339(&mut written);
    out.push_str(std::str::from_utf8(&written).ok()?);
    out.push_str("\",");
    let (host, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    if host.is_empty() {
        return None;
    }
    push_field("host", host, out);
    let (app, procid, message) = tag(rest);
    for (name, value) in [("app", app), ("procid", procid)] {
        if let Some(value) = value {
            push_field(name, value, out);
        }
    }
    push_last("message", message, out);
    Some(())
}

/// `app[123]: message`; a message without a tag is all message.
fn tag(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let end = text.find(|c: char| c == ':' || c == '[' || c.is_whitespace()).unwrap_or(0);
    let (app, rest) = text.split_at(end);
    let (procid, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((procid, rest)) => (Some(procid), rest),
        None => (None, rest),
    };
    match rest.strip_prefix(':') {
        Some(message) if !app.is_empty() => (Some(app), procid, message.strip_prefix(' ').unwrap_or(message)),
        _ => (None, None, text),
    }
}

/// `Nov 20 10:11:12`, of the year that makes it the last such moment.
fn traditional<'a>(text: &str, zone: &Zone) -> Option<Time<'a>> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let bytes: &[u8; 15] = text.as_bytes().try_into().ok()?;
    if (bytes[3], bytes[6], bytes[9], bytes[12]) != (b' ', b' ', b':', b':') {
        return None;
    }
    let month = i8::try_from(MONTHS.iter().position(|month| month.as_bytes() == &bytes[..3])?).ok()? + 1;
    let number = |at: usize| -> Option<i8> {
        let tens = if at == 4 && bytes[at] == b' ' { 0 } else { char::from(bytes[at]).to_digit(10)? };
        i8::try_from(tens * 10 + char::from(bytes[at + 1]).to_digit(10)?).ok()
    };
    let now = Timestamp::now();
    let this_year = now.to_zoned(jiff::tz::TimeZone::UTC).year();
    // A year more for clocks and zones that are ahead at its turn.
    [this_year + 1, this_year, this_year - 1, this_year - 2].into_iter().find_map(|year| {
        let civil =
            jiff::civil::DateTime::new(year, month, number(4)?, number(7)?, number(10)?, number(13)?, 0).ok()?;
        let time = Time::of_civil(civil, zone)?;
        (i128::from(time.nanoseconds()) < now.as_nanosecond() + 86_400_000_000_000).then_some(time)
    })
}

fn push_field(name: &str, value: &str, out: &mut String) {
    push_last(name, value, out);
    out.push(',');
}

fn push_last(name: &str, value: &str, out: &mut String) {
    json::push_string(name, out);
    out.push(':');
    json::push_string(value, out);
}

#[cfg(test)]
mod tests {
    use super::{Zone, push_json, traditional};
    use serde_json::{Value, json};

    fn parsed(line: &str) -> Option<Value> {
        let mut out = String::new();
        push_json(line, &Zone::Utc, &mut out)?;
        Some(serde_json::from_str(&out).expect("JSON"))
    }

    #[test]
    fn a_message_of_rfc_5424_has_its_fields() {
        let line = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"li\\]\" iut=\"4\"][b@1] \u{feff}An event";
        assert_eq!(
            parsed(line),
            Some(json!({
                "facility": 20, "severity": 5, "time": "2003-10-11T22:14:15.003Z", "host": "mymachine.example.com",
                "app": "evntslog", "msgid": "ID47",
                "data": {"exampleSDID@32473": {"iut": "3", "eventSource": "App\"li]"}, "b@1": {}},
                "message": "An event",
            }))
        );
        assert_eq!(parsed("<0>1 - - - - - -"), Some(json!({"facility": 0, "severity": 0, "message": ""})));
    }

    #[test]
    fn a_message_of_a_daemons_file_has_its_fields() {
        assert_eq!(
            parsed("2026-11-20T11:11:12.123456+01:00 web sshd[42]: Accepted: yes"),
            Some(json!({
                "time": "2026-11-20T11:11:12.123456+01:00", "host": "web", "app": "sshd", "procid": "42",
                "message": "Accepted: yes",
            }))
        );
        let old = parsed("<34>Oct 11 22:14:15 mymachine su: 'su root' failed").expect("a message");
        assert_eq!(
            (&old["severity"], &old["app"], &old["message"]),
            (&json!(2), &json!("su"), &json!("'su root' failed"))
        );
        assert!(old["time"].as_str().is_some_and(|time| time.ends_with("-10-11T22:14:15.000000Z")), "{old}");
        let bare = parsed("Oct  1 22:14:15 web just text").expect("a message");
        assert_eq!((&bare["message"], bare.get("app")), (&json!("just text"), None));
    }

    #[test]
    fn what_is_no_message_is_none() {
        for line in [
            "",
            "text",
            "<192>1 - - - - - -",
            "<13>1 - - -",
            "<13>1 x - - - - -",
            "<13>1 - - - - - [a",
            "<13>1 - - - - - [a b=c]",
            "<13>1 - - - - - -x",
            "Foo 11 22:14:15 host text",
            "Oct 41 22:14:15 host text",
            "Oct 11 22:14:15 host",
            "Oct 11 22:14:1é host x",
            "<13>",
            "<>1 - - - - - - x",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }

    #[test]
    fn a_leap_day_is_of_the_last_leap_year() {
        // Of the last two years and this one there is a leap year in three of four.
        if let Some(time) = traditional("Feb 29 10:11:12", &Zone::Utc) {
            let mut out = Vec::new();
            time.push_rfc3339(&mut out);
            assert!(String::from_utf8_lossy(&out).ends_with("-02-29T10:11:12.000000Z"));
        }
    }

    #[test]
    fn whatever_comes_out_of_random_text_is_a_json_object() {
        let mut random = fastrand::Rng::with_seed(6);
        let parts = [
            "<13>",
            "1 ",
            "- ",
            "-",
            "[a",
            " b=\"",
            "c\"",
            "]",
            "\\",
            " ",
            "2026-11-20T10:11:12Z ",
            "Oct 11 22:14:15 ",
            "é",
            "x: ",
            "app[1]: ",
        ];
        let mut found = 0;
        for round in 0..50_000 {
            let start = if round % 2 == 0 { "<13>1 - - - - - " } else { "<13>" };
            let line: String = (0..random.usize(..10)).map(|_| parts[random.usize(..parts.len())]).collect();
            found += usize::from(parsed(&format!("{start}{line}")).is_some());
        }
        assert!(found > 1000, "{found}");
    }
}
