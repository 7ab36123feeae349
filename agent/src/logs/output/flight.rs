use crate::logs::record::Tally;
use crate::logs::source::identity::Point;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a receiver's kernel took and the receiver perhaps never read, when a connection was reset: a receive buffer
/// (net.ipv4.tcp_rmem allows 6 MiB, which newer kernels fill with content) and a moment to read it.
const DOUBT_BYTES: u64 = 8 << 20;
const DOUBT_TIME: Duration = Duration::from_secs(10);
/// A receiver that acknowledges nothing for as long does not read.
const STALLED: Duration = Duration::from_secs(1);

/// A piece of a file on its way.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The file's sequence number.
    pub file: u64,
    /// The cursor's when it was read.
    pub epoch: u32,
    /// What the content is called.
    pub content: u64,
    pub from: Point,
    pub to: Point,
    pub tally: Tally,
    /// How many bytes it was encoded into.
    pub encoded: u64,
}

impl Mark {
    /// Of dead letters that are sent again: of no file, and of no position.
    pub fn of_letters(encoded: u64) -> Self {
        let (from, to) = (Point::default(), Point::default());
        Self { file: u64::MAX, epoch: 0, content: 0, from, to, tally: Tally::default(), encoded }
    }

    pub fn is_of_letters(&self) -> bool {
        self.file == u64::MAX
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.to.offset - self.from.offset
    }
}

/// What was sent and is not acknowledged, and what was but may have to be sent again.
#[derive(Debug, Default)]
pub struct Flight {
    sent: VecDeque<Mark>,
    /// Encoded bytes in `sent`.
    encoded: u64,
    /// Source bytes in `sent`.
    bytes: u64,
    /// Source bytes acknowledged since the positions were last stored.
    unstored: u64,
    doubtful: VecDeque<(Instant, Mark)>,
    doubtful_bytes: u64,
    acknowledged_at: Option<Instant>,
}

impl Flight {
    pub fn sent(&mut self, mark: Mark) {
        if self.sent.is_empty() {
            self.acknowledged_at = Some(Instant::now());
        }
        self.encoded += mark.encoded;
        self.bytes += mark.bytes();
        self.sent.push_back(mark);
    }

    /// All but the last `unacknowledged` encoded bytes have arrived: the marks of whole pieces that have.
    pub fn acknowledged(&mut self, unacknowledged: u64, keep_doubt: bool) -> Vec<Mark> {
        let now = Instant::now();
        let was_stalled = self.stalled() >= STALLED;
        let mut done = Vec::new();
        while let Some(mark) = self.sent.front().copied() {
            if self.encoded - mark.encoded < unacknowledged {
                break;
            }
            self.sent.pop_front();
            self.encoded -= mark.encoded;
            self.bytes -= mark.bytes();
            self.unstored += mark.bytes();
            self.acknowledged_at = Some(now);
            done.push(mark);
            if keep_doubt {
                self.doubtful.push_back((now, mark));
                self.doubtful_bytes += mark.encoded;
            }
        }
        if was_stalled && !done.is_empty() {
            // It only begins to read what it had by then.
            self.doubtful.iter_mut().for_each(|(at, _)| *at = now);
        }
        self.forget_certain(now);
        done
    }

    /// Notes a record that the platform refused: its line is a dead letter when its piece is acknowledged.
    pub fn refused(&mut self, content: u64, offset: u64, length: u64) {
        let is_in = |mark: &&mut Mark| mark.content == content && (mark.from.offset..mark.to.offset).contains(&offset);
        if let Some(mark) = self.sent.iter_mut().find(is_in) {
            mark.tally.dead(length);
        }
    }

    /// Takes back everything that may not have arrived, oldest first: what is unacknowledged, and after a reset what
    /// is in doubt. Marks that had been acknowledged come with `true`.
    pub fn take_back(&mut self, reset: bool) -> Vec<(Mark, bool)> {
        self.forget_certain(Instant::now());
        let doubtful = std::mem::take(&mut self.doubtful);
        let sent = std::mem::take(&mut self.sent);
        *self = Self { unstored: self.unstored, ..Self::default() };
        let doubtful = doubtful.into_iter().filter(|_| reset).map(|(_, mark)| (mark, true));
        doubtful.chain(sent.into_iter().map(|mark| (mark, false))).collect()
    }

    /// Source bytes that a crash would send again.
    pub fn unsettled(&self) -> u64 {
        self.bytes + self.unstored
    }

    pub fn unstored(&self) -> u64 {
        self.unstored
    }

    /// The positions of `bytes` acknowledged bytes have become durable.
    pub fn stored(&mut self, bytes: u64) {
        self.unstored = self.unstored.saturating_sub(bytes);
    }

    /// Bytes of the files without acknowledgement.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How long something has been on its way without any acknowledgement.
    pub fn stalled(&self) -> Duration {
        match self.acknowledged_at {
            Some(since) if !self.sent.is_empty() => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn forget_certain(&mut self, now: Instant) {
        // Whoever takes nothing more has not read what he has.
        let is_heard = self.stalled() < STALLED;
        while let Some((at, mark)) = self.doubtful.front() {
            let is_certain = is_heard && now.duration_since(*at) >= DOUBT_TIME;
            if self.doubtful_bytes <= DOUBT_BYTES && !is_certain {
                break;
            }
            self.doubtful_bytes -= mark.encoded;
            self.doubtful.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DOUBT_TIME, Flight, Mark};
    use crate::logs::record::Tally;
    use crate::logs::source::identity::Point;
    use std::time::Instant;

    fn mark(from: u64, to: u64) -> Mark {
        let point = |offset| Point { offset, ..Point::default() };
        Mark {
            file: 1,
            epoch: 0,
            content: 0,
            from: point(from),
            to: point(to),
            tally: Tally::default(),
            encoded: 2 * (to - from),
        }
    }

    #[test]
    fn only_whole_pieces_are_acknowledged() {
        let mut flight = Flight::default();
        flight.sent(mark(0, 10));
        flight.sent(mark(10, 30));
        assert!(flight.acknowledged(41, true).is_empty());
        assert_eq!(flight.acknowledged(40, true).len(), 1);
        assert_eq!(flight.unsettled(), 30, "acknowledged but not stored counts");
        flight.stored(10);
        assert_eq!(flight.unsettled(), 20);
        assert_eq!(flight.acknowledged(0, true).len(), 1);
        assert!(flight.is_empty());
    }

    #[test]
    fn a_close_takes_back_what_is_unacknowledged_and_a_reset_what_is_in_doubt_too() {
        for (reset, expected) in [(false, vec![10]), (true, vec![0, 10])] {
            let mut flight = Flight::default();
            flight.sent(mark(0, 10));
            flight.sent(mark(10, 30));
            flight.acknowledged(40, true);
            let back: Vec<_> = flight.take_back(reset).iter().map(|(mark, _)| mark.from.offset).collect();
            assert_eq!(back, expected);
            assert!(flight.is_empty());
        }
    }

    #[test]
    fn what_a_stalled_receiver_has_stays_in_doubt() {
        let long_ago = Instant::now().checked_sub(2 * DOUBT_TIME).expect("the machine runs for as long");
        for (stalled, expected) in [(false, vec![10, 30]), (true, vec![0, 10, 30])] {
            let mut flight = Flight::default();
            for (from, to) in [(0, 10), (10, 30), (30, 40)] {
                flight.sent(mark(from, to));
            }
            flight.acknowledged(60, true);
            flight.doubtful[0].0 = long_ago;
            if stalled {
                flight.acknowledged_at = Some(long_ago);
            }
            flight.acknowledged(20, true);
            let back: Vec<_> = flight.take_back(true).iter().map(|(mark, _)| mark.from.offset).collect();
            assert_eq!(back, expected);
        }
    }
}
