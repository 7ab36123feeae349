use crate::logs::record::Time;
use std::io::Write;

/// `2026-11-20T10:11:12`
const SECOND: usize = 19;

/// Writes times as seconds since 1970. Records that follow one another often share a second, which is parsed once.
#[derive(Debug, Default)]
pub struct Seconds {
    text: [u8; SECOND],
    number: i64,
}

impl Seconds {
    /// Appends a decimal number with as many decimals as the time has, six at most.
    pub fn push(&mut self, time: Time<'_>, out: &mut Vec<u8>) {
        if let Time::Text(text) = time
            && let Some((second, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(SECOND))
        {
            if self.text != second.as_bytes() {
                self.number = time.nanoseconds().div_euclid(1_000_000_000);
                self.text.copy_from_slice(second.as_bytes());
            }
            if self.number >= 0 {
                // Writing to memory does not fail.
                let _ = write!(out, "{}", self.number);
                out.extend_from_slice(fraction.as_bytes());
                return;
            }
        }
        let microseconds = time.nanoseconds().div_euclid(1000);
        let sign = if microseconds < 0 { "-" } else { "" };
        let (seconds, rest) = (microseconds.unsigned_abs() / 1_000_000, microseconds.unsigned_abs() % 1_000_000);
        let _ = write!(out, "{sign}{seconds}.{rest:06}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Seconds, Time};

    #[test]
    fn a_time_is_written_as_seconds_with_its_decimals() {
        let mut seconds = Seconds::default();
        for (time, expected) in [
            (Time::Text("2026-11-20T10:11:12.123456Z"), "1795169472.123456"),
            (Time::Text("2026-11-20T10:11:12Z"), "1795169472"),
            (Time::Text("2026-11-20T10:11:13.5Z"), "1795169473.5"),
            (Time::Text("2026-11-20T11:11:12.25+01:00"), "1795169472.250000"),
            (Time::Nanoseconds(1_795_169_472_123_456_789), "1795169472.123456"),
            (Time::Nanoseconds(-1_500_000_000), "-1.500000"),
            (Time::Text("1969-12-31T23:59:58.5Z"), "-1.500000"),
        ] {
            let mut out = Vec::new();
            seconds.push(time, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
