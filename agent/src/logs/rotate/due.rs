use hostwright_core::config::logs::rotate::{Period, Rotate};
use jiff::{RoundMode, Timestamp, Unit, Zoned, ZonedRound};
use std::path::Path;

/// Whether a file is large enough.
pub(super) fn by_size(size: u64, settings: &Rotate) -> bool {
    settings.size.is_some_and(|limit| size >= limit.0)
}

/// Whether a new day or hour has begun since the file was.
pub(super) fn by_time(since: Timestamp, now: &Zoned, settings: &Rotate) -> bool {
    let begin = match settings.every {
        None => return false,
        Some(Period::Day) => now.start_of_day(),
        Some(Period::Hour) => now.round(ZonedRound::new().smallest(Unit::Hour).mode(RoundMode::Trunc)),
    };
    // A day that the calendar cannot hold is no day to rotate at.
    begin.is_ok_and(|begin| since < begin.timestamp())
}

/// When a file that was never rotated began: at its birth, if the file system tells, else now.
pub(super) fn born(log: &Path, now: Timestamp) -> Timestamp {
    let born = log.metadata().and_then(|metadata| metadata.created()).ok();
    born.and_then(|born| Timestamp::try_from(born).ok()).filter(|born| *born <= now).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::by_time;
    use hostwright_core::config::logs::rotate::{Keep, Method, Period, Rotate, Suffix};
    use jiff::{Timestamp, Zoned};

    fn settings(every: Period) -> Rotate {
        Rotate {
            size: None,
            every: Some(every),
            method: Method::Rename,
            tell: None,
            suffix: Suffix::Date,
            compress: None,
            keep: Keep::default(),
        }
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_hosts_zone_and_an_hour_when_it_is_full() {
        let since: Timestamp = "2026-11-20T22:59:59Z".parse().expect("a time");
        let at = |text: &str| text.parse::<Zoned>().expect("a time");
        let before = at("2026-11-20T23:59:59.9+01:00[Europe/Paris]");
        let after = at("2026-11-21T00:00:00+01:00[Europe/Paris]");
        assert!(!by_time(since, &before, &settings(Period::Day)));
        assert!(by_time(since, &after, &settings(Period::Day)));
        assert!(by_time(since, &after, &settings(Period::Hour)));
        assert!(!by_time(since, &before, &settings(Period::Hour)));
    }
}
