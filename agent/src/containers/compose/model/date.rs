use jiff::civil::{Date as Day, DateTime, Time};
use jiff::tz::Offset;

/// A date or time, which Go's YAML makes of plain texts such as 2024-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    at: DateTime,
    offset: Offset,
}

impl Date {
    /// Reads `2024-1-2`, `2024-1-2 3:4:5.6`, `2024-1-2T3:4:5.6Z` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = match text.find(['T', 't', ' ']) {
            Some(index) => (&text[..index], Some((&text[index..=index], &text[index + 1..]))),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = parts.next().filter(|year| year.len() == 4 && is_digits(year))?;
        let (month, day) = (number(parts.next()?)?, number(parts.next()?)?);
        let day = Day::new(year.parse().ok()?, month, day).ok().filter(|_| parts.next().is_none())?;
        let (time, offset) = match rest {
            None => (Time::midnight(), Offset::UTC),
            Some((" ", time)) => (clock(time)?, Offset::UTC),
            Some((_, time)) => {
                let split = time.find(['Z', '+', '-'])?;
                (clock(&time[..split])?, zone(&time[split..])?)
            }
        };
        Some(Self { at: day.to_datetime(time), offset })
    }

    /// As JSON has it.
    pub fn json(&self) -> String {
        let zone = if self.minutes() == 0 { "Z".to_owned() } else { self.zone() };
        format!("{}{}{zone}", self.at.strftime("%Y-%m-%dT%H:%M:%S"), self.fraction())
    }

    fn minutes(&self) -> i32 {
        self.offset.seconds() / 60
    }

    fn zone(&self) -> String {
        let (minutes, sign) = (self.minutes().abs(), if self.minutes() < 0 { '-' } else { '+' });
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn fraction(&self) -> String {
        let digits = format!(".{:09}", self.at.subsec_nanosecond());
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// `3:4:5.6`.
fn clock(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = parts.next().is_none() && is_digits(fraction) && fraction.len() <= 9;
    let nanoseconds = format!("{fraction:0<9}").parse().ok().filter(|_| fits)?;
    Time::new(hour, minute, second, nanoseconds).ok()
}

/// `Z` or `-05:00`.
fn zone(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) =
        text.get(1..)?.split_once(':').filter(|(hours, minutes)| hours.len() + minutes.len() == 4)?;
    let minutes = i32::from(number(hours)?) * 60 + i32::from(number(minutes)?);
    Offset::from_seconds(sign * minutes * 60).ok()
}

fn number(text: &str) -> Option<i8> {
    text.parse().ok().filter(|_| text.len() <= 2 && is_digits(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn dates_are_read_as_go_does() {
        for (text, json) in [
            ("2024-01-01", "2024-01-01T00:00:00Z"),
            ("2024-1-1", "2024-01-01T00:00:00Z"),
            ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
            ("2024-01-01 10:00:00", "2024-01-01T10:00:00Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
        ] {
            let date = Date::parse(text).expect(text);
            assert_eq!(date.json(), json, "{text}");
        }
        for text in
            ["2024-13-01", "2024-01", "24-01-01", "2024-01-01-01", "2001-12-14 21:59:43.10 -5", "2024-01-01T10:00"]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
