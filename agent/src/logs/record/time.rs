use jiff::Timestamp;

/// When a record happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// RFC 3339 with at most six decimals, as the line has it.
    Text(&'a str),
    /// Nanoseconds since 1970.
    Nanoseconds(i64),
}

impl Time<'_> {
    /// Nanoseconds since 1970; those of now where the text means no time (such as the 31st of February).
    pub fn nanoseconds(self) -> i64 {
        let timestamp = match self {
            Self::Nanoseconds(nanoseconds) => return nanoseconds,
            Self::Text(text) => text.parse().unwrap_or_else(|_| Timestamp::now()),
        };
        i64::try_from(timestamp.as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// Appends it as RFC 3339 with at most six decimals.
    pub fn push_rfc3339(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Nanoseconds(nanoseconds) => {
                let timestamp = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
                // Writing to memory does not fail.
                let _ = std::io::Write::write_fmt(out, format_args!("{timestamp:.6}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn a_time_is_the_same_as_text_and_as_number() {
        let text = "2026-11-20T10:11:12.123456Z";
        let nanoseconds = Time::Text(text).nanoseconds();
        assert_eq!(nanoseconds, 1_795_169_472_123_456_000);
        let mut out = Vec::new();
        Time::Nanoseconds(nanoseconds).push_rfc3339(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), text);
        assert_eq!(Time::Text("2026-11-20T11:11:12.123456+01:00").nanoseconds(), nanoseconds);
    }
}
