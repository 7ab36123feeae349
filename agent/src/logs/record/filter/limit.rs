use crate::logs::record::{Id, Record};
use hostwright_core::config::logs::filter::RateLimit;

/// A time that is this much older than the present window is no straggler: the clock was set back.
const LATE_WINDOWS: i64 = 10;

/// The time in which records of one file are counted: by the records' own time, so that a backlog that is read at once
/// is limited as it would have been line by line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    number: i64,
    count: u64,
    last: Id,
}

impl Window {
    /// Counts a record; whether it is still within the limit.
    pub fn admits(&mut self, limit: RateLimit, record: &Record<'_>) -> bool {
        let per = i64::try_from(limit.per.as_nanos()).unwrap_or(i64::MAX).max(1);
        let number = record.time.nanoseconds().div_euclid(per);
        // What was taken back from a connection is read once more, and must not be dropped for having been counted.
        let is_again = record.id.content != self.last.content || record.id.offset <= self.last.offset;
        if is_again || number > self.number || self.number.saturating_sub(number) > LATE_WINDOWS {
            (self.number, self.count) = (number, 0);
        }
        self.last = record.id;
        self.count += 1;
        self.count <= limit.lines
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use crate::logs::record::{Id, Record, Time};
    use hostwright_core::config::logs::filter::RateLimit;
    use std::time::Duration;

    fn admitted(window: &mut Window, records: &[(u64, i64)]) -> Vec<u64> {
        let limit = RateLimit { lines: 2, per: Duration::from_secs(1) };
        let admits = |(offset, milliseconds): &(u64, i64)| {
            let time = Time::Nanoseconds(milliseconds * 1_000_000);
            let id = Id { content: 1, offset: *offset, check: 0 };
            let record = Record { text: "", cut: false, object: None, time, severity: None, id };
            window.admits(limit, &record).then_some(*offset)
        };
        records.iter().filter_map(admits).collect()
    }

    #[test]
    fn so_many_records_pass_in_each_second_of_their_own_time() {
        let records = [(1, 0), (2, 100), (3, 900), (4, 1000), (5, 950), (6, 1999), (7, 2000)];
        assert_eq!(admitted(&mut Window::default(), &records), [1, 2, 4, 5, 7]);
    }

    #[test]
    fn what_is_read_again_is_not_dropped_for_having_been_counted() {
        let mut window = Window::default();
        assert_eq!(admitted(&mut window, &[(1, 0), (2, 0), (3, 0)]), [1, 2]);
        assert_eq!(admitted(&mut window, &[(1, 0), (2, 0), (3, 0)]), [1, 2]);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        assert_eq!(admitted(&mut Window::default(), &[(1, 60_000), (2, 60_000), (3, 60_000), (4, 0)]), [1, 2, 4]);
    }
}
