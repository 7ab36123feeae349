//! Severities of syslog (RFC 5424, table 2) from the words and numbers of loggers.

/// From a JSON value as it stands: a name, a number of syslog's, or one of pino's and bunyan's.
pub fn of_value(value: &str) -> Option<u8> {
    let text = super::json::content(value).unwrap_or(value);
    of_text(text)
}

/// From a word or a number.
pub fn of_text(text: &str) -> Option<u8> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return of_name(text);
    }
    match text.parse::<u8>().ok()? {
        number @ 0..=7 => Some(number),
        10 | 20 => Some(7),
        30 => Some(6),
        40 => Some(4),
        50 => Some(3),
        60 => Some(2),
        // Other numbers mean other things in other languages' loggers.
        _ => None,
    }
}

fn of_name(name: &str) -> Option<u8> {
    let mut lower = [0; 16];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"info" | b"informational" | b"information" => Some(6),
        b"debug" | b"trace" | b"verbose" | b"fine" | b"finer" | b"finest" => Some(7),
        b"warn" | b"warning" => Some(4),
        b"error" | b"err" | b"severe" => Some(3),
        b"notice" => Some(5),
        b"critical" | b"crit" | b"fatal" | b"dpanic" | b"panic" => Some(2),
        b"alert" => Some(1),
        b"emerg" | b"emergency" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of_value;

    #[test]
    fn names_and_numbers_of_common_loggers_are_known() {
        for (value, severity) in [
            ("\"WARN\"", Some(4)),
            ("\"Error\"", Some(3)),
            ("\"informational\"", Some(6)),
            ("3", Some(3)),
            ("\"3\"", Some(3)),
            ("30", Some(6)),
            ("60", Some(2)),
            ("35", None),
            ("8", None),
            ("300", None),
            ("-1", None),
            ("3.0", None),
            ("null", None),
            ("\"\"", None),
            ("\"a name longer than any\"", None),
        ] {
            assert_eq!(of_value(value), severity, "{value}");
        }
    }
}
