use super::message::{Message, Reading, without_mark};
use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};
use serde_json::Map;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Clocks differ: a time that is so little ahead of ours is not of last year.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// As long as names are that are no words of a message.
const LONGEST_NAME: usize = 255;

/// Reads what follows `<PRI>`, of RFC 3164 as it is found: with an RFC 3339 time or without a host. What has no time
/// is all text.
pub(super) fn read<'a>(text: &'a str, reading: &Reading<'_>) -> Message<'a> {
    let Some((time, rest)) = time(text, reading) else {
        return Message { text: without_mark(text), ..Message::default() };
    };
    let (hostname, rest) = if reading.is_local { (None, rest) } else { hostname(rest) };
    let (app_name, procid, text) = tag(rest);
    Message {
        time: Some(time),
        hostname,
        app_name,
        procid,
        msgid: None,
        structured_data: Map::new(),
        text: without_mark(text),
    }
}

/// `Nov 20 10:11:12` in the host's zone, or RFC 3339; and what follows it.
fn time<'a>(text: &'a str, reading: &Reading<'_>) -> Option<(Timestamp, &'a str)> {
    if let Some((stamp, rest)) = text.split_at_checked(15)
        && let Some(civil) = civil(stamp)
    {
        let rest = rest.strip_prefix(' ')?;
        return Some((latest(civil, reading)?, rest));
    }
    let (stamp, rest) = text.split_once(' ')?;
    Some((stamp.parse().ok()?, rest))
}

/// A time of which the year is not known: that of 2000, a leap year.
fn civil(stamp: &str) -> Option<DateTime> {
    let number = |range: std::ops::Range<usize>| stamp.get(range)?.trim_start().parse::<i8>().ok();
    let month = MONTHS.iter().position(|month| stamp.starts_with(month)).and_then(|at| i8::try_from(at + 1).ok())?;
    let separators = [(3, b' '), (6, b' '), (9, b':'), (12, b':')];
    if separators.iter().any(|(at, separator)| stamp.as_bytes()[*at] != *separator) {
        return None;
    }
    let (day, hour, minute, second) = (number(4..6)?, number(7..9)?, number(10..12)?, number(13..15)?);
    let day = Date::new(2000, month, day).ok()?;
    Some(day.to_datetime(Time::new(hour, minute, second, 0).ok()?))
}

/// In the latest year in which it is not ahead of us.
fn latest(civil: DateTime, reading: &Reading<'_>) -> Option<Timestamp> {
    let this_year = reading.now.to_zoned(reading.zone.clone()).year();
    let in_year = |year: i16| {
        // The 29th of February is not in every year.
        let day = Date::new(year, civil.month(), civil.day()).ok()?;
        let zoned = reading.zone.to_zoned(day.to_datetime(civil.time())).ok()?;
        Some(zoned.timestamp())
    };
    let all = [this_year - 1, this_year, this_year + 1].into_iter().filter_map(in_year);
    all.filter(|time| time.duration_since(reading.now) < AHEAD).max()
}

/// The host's name, unless a tag stands in its place; and what follows it.
fn hostname(text: &str) -> (Option<&str>, &str) {
    match text.split_once(' ') {
        Some((word, rest))
            if !word.is_empty() && word.len() <= LONGEST_NAME && !word.ends_with(':') && !word.contains('[') =>
        {
            (Some(word), rest)
        }
        _ => (None, text),
    }
}

/// `su[42]: ` or `su: `, the program's name and process; and what follows it.
fn tag(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let none = (None, None, text);
    let Some(end) = text.find([' ', ':', '[']).filter(|end| (1..=LONGEST_NAME).contains(end)) else { return none };
    let (name, rest) = text.split_at(end);
    let (process, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((process, rest)) if process.len() <= LONGEST_NAME => (Some(process).filter(|text| !text.is_empty()), rest),
        _ => (None, rest),
    };
    match rest.strip_prefix(':') {
        Some(rest) => (Some(name), process, rest.strip_prefix(' ').unwrap_or(rest)),
        None => none,
    }
}
