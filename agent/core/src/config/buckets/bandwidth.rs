use crate::config::values::{FromNode, mismatch, parse_size};
use crate::yaml::Node;
use jiff::civil::{DateTime, Weekday};

const MINUTES_OF_DAY: u16 = 24 * 60;

/// How many bytes a second may go, by day of the week and time of the day of this host's time zone.
///
/// One rate (`10MiB`), or rclone's timetable: `08:00,512KiB 18:00,10MiB 23:00,off`, where a day may stand before the
/// time: `Mon-08:00,1MiB Sat-00:00,off`. Each rate holds until the next time of the table, over midnight and the week.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    /// By minutes since Monday's midnight, ascending; not empty. No rate means no limit.
    changes: Vec<(u16, Option<u64>)>,
}

impl Bandwidth {
    /// The bytes a second that may go at a local time, or nothing where there is no limit.
    pub fn at(&self, now: DateTime) -> Option<u64> {
        let day = now.date().weekday().to_monday_zero_offset().unsigned_abs();
        let minute = u16::from(day) * MINUTES_OF_DAY
            + u16::from(now.hour().unsigned_abs()) * 60
            + u16::from(now.minute().unsigned_abs());
        let begun = self.changes.iter().rev().find(|(from, _)| *from <= minute);
        begun.or(self.changes.last()).and_then(|(_, rate)| *rate)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(rate) = rate(text) {
            return Some(Self { changes: vec![(0, rate)] });
        }
        let mut changes = Vec::new();
        for entry in text.split_whitespace() {
            let (time, value) = entry.split_once(',')?;
            let rate = rate(value)?;
            match time.split_once('-') {
                Some((day, time)) => changes.push((weekday(day)? * MINUTES_OF_DAY + minute_of_day(time)?, rate)),
                None => {
                    let minute = minute_of_day(time)?;
                    changes.extend((0..7).map(|day| (day * MINUTES_OF_DAY + minute, rate)));
                }
            }
        }
        // Of two for the same minute the later one in the text counts.
        changes.reverse();
        changes.sort_by_key(|(from, _)| *from);
        changes.dedup_by_key(|(from, _)| *from);
        (!changes.is_empty()).then_some(Self { changes })
    }
}

/// A rate with its unit: rclone's bare numbers are KiB and those elsewhere bytes, so that none is taken.
fn rate(text: &str) -> Option<Option<u64>> {
    if text == "off" {
        return Some(None);
    }
    let text = text.strip_suffix("/s").unwrap_or(text);
    let rate = parse_size(text).filter(|rate| *rate > 0)?;
    text.ends_with(|c: char| c.is_ascii_alphabetic()).then_some(Some(rate))
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn weekday(text: &str) -> Option<u16> {
    let days = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
    let text = text.to_ascii_lowercase();
    let (_, day) = days.into_iter().find(|(name, _)| text.starts_with(name))?;
    let whole = format!("{day:?}").to_ascii_lowercase();
    whole.starts_with(&text).then(|| day.to_monday_zero_offset().unsigned_abs().into())
}

impl FromNode for Bandwidth {
    const EXPECTED: &'static str =
        "bytes a second with a unit such as 10MiB, or a timetable such as \"08:00,512KiB 18:00,10MiB 23:00,off\"";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(Self::parse).ok_or_else(|| mismatch::<Self>(node))
    }
}

#[cfg(test)]
mod tests {
    use super::Bandwidth;
    use jiff::civil::DateTime;

    fn at(text: &str, time: &str) -> Option<u64> {
        Bandwidth::parse(text).expect(text).at(time.parse::<DateTime>().expect("time"))
    }

    #[test]
    fn a_rate_holds_until_the_next_time_over_midnight_and_the_week() {
        let day = "08:00,512KiB 12:00,10M 18:00,30MB 23:00,off";
        // 2026-11-21 is a Saturday.
        for (time, rate) in [
            ("2026-11-21T07:59", None),
            ("2026-11-21T08:00", Some(512 << 10)),
            ("2026-11-22T11:59:59", Some(512 << 10)),
            ("2026-11-23T12:00", Some(10 << 20)),
            ("2026-11-23T22:59", Some(30_000_000)),
            ("2026-11-23T23:00", None),
        ] {
            assert_eq!(at(day, time), rate, "{time}");
        }
        let week = "Mon-08:00,1MiB friday-18:00,off";
        assert_eq!(at(week, "2026-11-21T12:00"), None);
        assert_eq!(at(week, "2026-11-23T07:00"), None);
        assert_eq!(at(week, "2026-11-23T08:00"), Some(1 << 20));
        assert_eq!(at("10MiB/s", "2026-11-23T08:00"), Some(10 << 20));
    }

    #[test]
    fn what_is_no_timetable_is_refused() {
        for text in ["", "10", "08:00", "8:00,1M", "24:00,1M", "08:60,1M", "Mo-08:00,1M", "08:00,0M", "08:00,10", "0"] {
            assert_eq!(Bandwidth::parse(text), None, "{text}");
        }
    }
}
