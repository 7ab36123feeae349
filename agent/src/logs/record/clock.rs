use super::json;
use super::time::{Time, Zone};
use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;

/// Finds when a record happened.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The field that holds the time, if not one of those that are known.
    pub field: Option<String>,
    /// How it is written, with strftime's conversions, if that is not known by itself.
    pub format: Option<String>,
    /// None if nothing was configured: then a text that begins with a time must name its zone.
    pub zone: Option<Zone>,
}

impl Clock {
    /// Of a JSON value as it stands.
    pub fn of_value<'a>(&self, value: &'a str) -> Option<Time<'a>> {
        let text = json::content(value).unwrap_or(value);
        if let Some(format) = &self.format {
            let (time, length) = self.formatted(format, text)?;
            return (length == text.len()).then_some(time);
        }
        match text.as_bytes() {
            // A date's dash; a number has none there.
            [_, _, _, _, b'-', ..] => Time::of(text, self.zone.as_ref().unwrap_or(&Zone::Utc)),
            [b'0'..=b'9', ..] => Time::of_number(text),
            _ => None,
        }
    }

    /// Of a line of text that begins with its time, perhaps in brackets.
    pub fn of_line<'a>(&self, line: &'a str) -> Option<Time<'a>> {
        let text = line.strip_prefix('[').unwrap_or(line);
        match &self.format {
            Some(format) => self.formatted(format, text).map(|(time, _)| time),
            None => Time::before(text, self.zone.as_ref()).map(|(time, _)| time),
        }
    }

    /// By strftime's conversions. A form without a year means the one that is nearest before now.
    fn formatted<'a>(&self, format: &str, text: &str) -> Option<(Time<'a>, usize)> {
        let (mut parts, length) = BrokenDownTime::parse_prefix(format, text).ok()?;
        if let Ok(timestamp) = parts.to_timestamp() {
            return Some((Time::Nanoseconds(i64::try_from(timestamp.as_nanosecond()).ok()?), length));
        }
        let zone = self.zone.as_ref().unwrap_or(&Zone::Utc);
        if parts.year().is_some() {
            return Some((Time::of_civil(parts.to_datetime().ok()?, zone)?, length));
        }
        let now = Timestamp::now();
        let this_year = now.to_zoned(jiff::tz::TimeZone::UTC).year();
        for year in [this_year, this_year - 1] {
            parts.set_year(Some(year)).ok()?;
            let time = parts.to_datetime().ok().and_then(|civil| Time::of_civil(civil, zone));
            // A clock that is a little ahead is no year behind.
            if let Some(time) = time
                && i128::from(time.nanoseconds()) < now.as_nanosecond() + 86_400_000_000_000
            {
                return Some((time, length));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::logs::record::time::{Time, Zone};

    const MOMENT: i64 = 1_795_169_472_000_000_000;

    fn formatted(format: &str) -> Clock {
        Clock { field: None, format: Some(format.into()), zone: Some(Zone::Utc) }
    }

    #[test]
    fn a_value_is_a_date_or_a_number_as_text_or_not() {
        let clock = Clock::default();
        for value in [
            "\"2026-11-20 10:11:12\"",
            "1795169472",
            "\"1795169472\"",
            "1795169472000",
            "1.795169472e9",
            "1795169472.0",
        ] {
            assert_eq!(clock.of_value(value), Some(Time::Nanoseconds(MOMENT)), "{value}");
        }
        for value in
            ["null", "[1795169472]", "{}", "\"now\"", "12", "-5", "\"\"", "true", "\"2026\\u002d11-20 10:11:12\""]
        {
            assert_eq!(clock.of_value(value), None, "{value}");
        }
    }

    #[test]
    fn a_form_is_read_in_a_field_and_before_a_line() {
        let clock = formatted("%d/%b/%Y:%H:%M:%S %z");
        assert_eq!(clock.of_value("\"20/Nov/2026:11:11:12 +0100\""), Some(Time::Nanoseconds(MOMENT)));
        assert_eq!(clock.of_value("\"20/Nov/2026:11:11:12 +0100 more\""), None);
        assert_eq!(clock.of_line("[20/Nov/2026:11:11:12 +0100] GET /"), Some(Time::Nanoseconds(MOMENT)));
        assert_eq!(clock.of_line("other"), None);
    }

    #[test]
    fn a_form_without_a_year_means_the_last_such_day() {
        let time = formatted("%b %d %H:%M:%S").of_line("Mar  1 10:11:12 host").expect("a time");
        let age = jiff::Timestamp::now().as_nanosecond() - i128::from(time.nanoseconds());
        assert!((-86_400_000_000_000..400 * 86_400_000_000_000).contains(&age), "{age}");
    }
}
