use jiff::tz::TimeZone;

const SECOND: i64 = 1_000_000_000;
/// The length of `0000-00-00T00:00:00`.
const SECONDS_END: usize = 19;

/// When a record happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// RFC 3339 with at most six decimals, as the line has it.
    Text(&'a str),
    /// Nanoseconds since 1970.
    Nanoseconds(i64),
}

/// The zone of times that do not name theirs.
#[derive(Clone, Debug, Default)]
pub enum Zone {
    #[default]
    Utc,
    Named(TimeZone),
}

impl<'a> Time<'a> {
    /// Of a text that is a time as a whole: RFC 3339, or what is near it (a space for the T, a comma before decimals,
    /// more of them, no zone or one without its colon).
    pub fn of(text: &'a str, zone: &Zone) -> Option<Self> {
        let written = Written::at_start_of(text.as_bytes())?;
        (written.length == text.len()).then(|| written.time(text, zone))?
    }

    /// Of a text that begins with a time, and how long that is. The time must name its zone unless `zone` is given.
    pub fn before(text: &'a str, zone: Option<&Zone>) -> Option<(Self, usize)> {
        let written = Written::at_start_of(text.as_bytes())?;
        if written.offset.is_none() && zone.is_none() {
            return None;
        }
        Some((written.time(&text[..written.length], zone.unwrap_or(&Zone::Utc))?, written.length))
    }

    /// Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size, with any decimals.
    /// Numbers before 1973 are something else.
    pub fn of_number(text: &str) -> Option<Self> {
        if text.contains(['e', 'E']) {
            let number: f64 = text.parse().ok()?;
            return Self::of_number(&format!("{number:.6}")).filter(|_| number < 1e20);
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) {
            return None;
        }
        let whole: i64 = whole.parse().ok()?;
        let unit = match whole {
            100_000_000..100_000_000_000 => SECOND,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1000,
            100_000_000_000_000_000.. => 1,
            _ => return None,
        };
        let mut nanoseconds = whole.checked_mul(unit)?;
        let mut place = unit / 10;
        for digit in decimals.bytes() {
            nanoseconds = nanoseconds.checked_add(place * i64::from(digit - b'0'))?;
            place /= 10;
        }
        Some(Self::Nanoseconds(nanoseconds))
    }

    /// Of a day and a time without a zone.
    pub fn of_civil(civil: jiff::civil::DateTime, zone: &Zone) -> Option<Self> {
        let zone = match zone {
            Zone::Utc => &TimeZone::UTC,
            Zone::Named(zone) => zone,
        };
        let timestamp = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        Some(Self::Nanoseconds(i64::try_from(timestamp.as_nanosecond()).ok()?))
    }

    /// Nanoseconds since 1970; those of now where the text means no time.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Nanoseconds(nanoseconds) => nanoseconds,
            Self::Text(text) => Written::at_start_of(text.as_bytes())
                .and_then(|written| written.nanoseconds())
                .unwrap_or_else(|| i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)),
        }
    }

    /// Appends it as RFC 3339 with at most six decimals.
    pub fn push_rfc3339(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Nanoseconds(nanoseconds) => {
                let (seconds, nanoseconds) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
                let (year, month, day) = civil_of(seconds.div_euclid(86400));
                let of_day = seconds.rem_euclid(86400);
                let mut text = *b"0000-00-00T00:00:00.000000Z";
                for (place, number) in [
                    (0..4, year),
                    (5..7, month),
                    (8..10, day),
                    (11..13, of_day / 3600),
                    (14..16, of_day / 60 % 60),
                    (17..19, of_day % 60),
                    (20..26, nanoseconds / 1000),
                ] {
                    fill_digits(&mut text[place], number);
                }
                out.extend_from_slice(&text);
            }
        }
    }
}

fn fill_digits(places: &mut [u8], number: i64) {
    let mut rest = number.unsigned_abs();
    for place in places.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// A time as it is written at the beginning of a text.
struct Written {
    /// Since 1970, as if it were UTC.
    seconds: i64,
    nanoseconds: i64,
    /// Of the zone, in seconds; none if it names no zone.
    offset: Option<i64>,
    length: usize,
    /// As RFC 5424, 6.2.3 narrows RFC 3339, so that it may be shipped as it stands.
    is_strict: bool,
}

impl Written {
    fn at_start_of(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; SECONDS_END] = bytes.first_chunk()?;
        let two = |at: usize| digits(&head[at..at + 2]);
        if (head[4], head[7], head[13], head[16]) != (b'-', b'-', b':', b':') || !b"Tt ".contains(&head[10]) {
            return None;
        }
        let (year, month, day) = (digits(&head[..4])?, two(5)?, two(8)?);
        let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
        // The years that nanoseconds reach into; whether they reach the moment is seen when they are counted.
        let is_day = (1677..=2262).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_length(year, month)).contains(&day);
        if !is_day || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut written = Self {
            seconds: days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second,
            nanoseconds: 0,
            offset: None,
            length: SECONDS_END,
            is_strict: head[10] == b'T' && second < 60,
        };
        written.decimals(bytes);
        written.zone(bytes);
        Some(written)
    }

    fn decimals(&mut self, bytes: &[u8]) {
        let Some(separator @ (b'.' | b',')) = bytes.get(self.length) else { return };
        let mut place = SECOND / 10;
        let mut at = self.length + 1;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            self.nanoseconds += place * i64::from(digit - b'0');
            place /= 10;
            at += 1;
        }
        let count = at - self.length - 1;
        if count > 0 {
            self.length = at;
            self.is_strict &= *separator == b'.' && count <= 6;
        }
    }

    fn zone(&mut self, bytes: &[u8]) {
        let rest = bytes.get(self.length..).unwrap_or_default();
        let (space, rest) = match rest {
            [b' ', rest @ ..] => (1, rest),
            _ => (0, rest),
        };
        let (offset, length) = match rest {
            [b'Z' | b'z', ..] => (Some(0), 1),
            [b'+' | b'-', h1, h2, b':', m1, m2, ..] => (offset(rest[0], [*h1, *h2, *m1, *m2]), 6),
            [b'+' | b'-', h1, h2, m1, m2, ..] if m1.is_ascii_digit() => (offset(rest[0], [*h1, *h2, *m1, *m2]), 5),
            [b'+' | b'-', h1, h2, ..] => (offset(rest[0], [*h1, *h2, b'0', b'0']), 3),
            _ => (None, 0),
        };
        if offset.is_some() {
            self.offset = offset;
            self.length += space + length;
            self.is_strict &= space == 0 && (rest[0] == b'Z' || length == 6);
        }
    }

    fn nanoseconds(&self) -> Option<i64> {
        (self.seconds - self.offset.unwrap_or(0)).checked_mul(SECOND)?.checked_add(self.nanoseconds)
    }

    /// `text` is where it is written.
    fn time<'a>(&self, text: &'a str, zone: &Zone) -> Option<Time<'a>> {
        let nanoseconds = self.nanoseconds()?;
        if self.is_strict && self.offset.is_some() {
            return Some(Time::Text(text));
        }
        match zone {
            Zone::Named(_) if self.offset.is_none() => {
                let civil =
                    jiff::Timestamp::from_nanosecond(nanoseconds.into()).ok()?.to_zoned(TimeZone::UTC).datetime();
                Time::of_civil(civil, zone)
            }
            _ => Some(Time::Nanoseconds(nanoseconds)),
        }
    }
}

fn offset(sign: u8, [h1, h2, m1, m2]: [u8; 4]) -> Option<i64> {
    let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
    let seconds = hours * 3600 + minutes * 60;
    (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let mut number = 0;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970 of a day of the Gregorian calendar. Years are counted from March, so that leap days come last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The day of the Gregorian calendar of so many days since 1970: year, month, day.
fn civil_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{Time, Zone};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    const MOMENT: i64 = 1_795_169_472_123_456_000;

    fn of(text: &str) -> Option<Time<'_>> {
        Time::of(text, &Zone::Utc)
    }

    fn written(nanoseconds: i64) -> String {
        let mut out = Vec::new();
        Time::Nanoseconds(nanoseconds).push_rfc3339(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_time_is_the_same_as_text_and_as_number() {
        let text = "2026-11-20T10:11:12.123456Z";
        assert_eq!(Time::Text(text).nanoseconds(), MOMENT);
        assert_eq!(written(MOMENT), text);
        assert_eq!(Time::Text("2026-11-20T11:11:12.123456+01:00").nanoseconds(), MOMENT);
    }

    #[test]
    fn what_every_platform_takes_stays_as_it_is_and_the_rest_is_normalised() {
        for text in ["2026-11-20T10:11:12Z", "2026-11-20T10:11:12.1-01:30", "2026-11-20T10:11:12.123456+00:00"] {
            assert_eq!(of(text), Some(Time::Text(text)));
        }
        for text in [
            "2026-11-20 10:11:12.123456",
            "2026-11-20 10:11:12,123456",
            "2026-11-20T10:11:12.123456000Z",
            "2026-11-20t10:11:12.1234560z",
            "2026-11-20T11:11:12.123456+0100",
            "2026-11-20 05:11:12.123456 -05",
            "2026-11-20T10:11:12.123456",
        ] {
            assert_eq!(of(text), Some(Time::Nanoseconds(MOMENT)), "{text}");
        }
        assert_eq!(of("2026-11-20T10:11:12.1234567891Z").map(Time::nanoseconds), Some(MOMENT + 789));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T10:60:00Z",
            "2026-11-20",
            "2026-11-20T10:11",
            "2026-11-20T10:11:12Zx",
            "2026-11-20T10:11:12+25:00",
            "2026-11-20T10:11:12.",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026/11/20 10:11:12",
            "2026-11-20T1é:11:12",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_to_nanoseconds_by_their_size() {
        let number = |text| Time::of_number(text).map(Time::nanoseconds);
        for text in ["1795169472.123456", "1795169472123.456", "1795169472123456", "1795169472123456000"] {
            assert_eq!(number(text), Some(MOMENT), "{text}");
        }
        assert_eq!(number("1795169472"), Some(MOMENT / 1_000_000_000 * 1_000_000_000));
        assert_eq!(number("1.795169472123e9"), Some(MOMENT / 1_000_000 * 1_000_000));
        for text in [
            "0",
            "12",
            "20261120",
            "-1795169472",
            "",
            ".",
            "1795169472.",
            "1e300",
            "99999999999999999999",
            "20261120101112",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_of_the_zone_that_is_configured() {
        let zone = Zone::Named(TimeZone::fixed(jiff::tz::offset(2)));
        let time = Time::of("2026-11-20 12:11:12.123456", &zone).expect("a time");
        assert_eq!(time, Time::Nanoseconds(MOMENT));
        assert_eq!(Time::of("2026-11-20 10:11:12.123456Z", &zone).expect("a time"), time);
        assert_eq!(Time::before("2026-11-20 12:11:12.123456 text", Some(&zone)), Some((time, 26)));
        assert_eq!(Time::before("2026-11-20 12:11:12.123456 text", None), None);
        assert!(Time::before("2026-11-20 12:11:12Z text", None).is_some());
    }

    #[test]
    fn times_are_read_and_written_as_jiff_does() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..50_000 {
            let nanoseconds = random.i64(-9_200_000_000_000_000_000..9_200_000_000_000_000_000) / 1000 * 1000;
            let timestamp = Timestamp::from_nanosecond(nanoseconds.into()).expect("in range");
            let text = format!("{timestamp:.6}");
            assert_eq!(written(nanoseconds), text);
            assert_eq!(of(&text), Some(Time::Text(&text)));
            assert_eq!(Time::Text(&text).nanoseconds(), nanoseconds);
        }
    }
}
