use super::segment::Segment;
use crate::host_ports::exchange::is_request;
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Connections that are remembered. What is beyond is moved a request later.
const MOST: usize = 1 << 16;

/// Whoever was silent for so long has its answer: nobody sends several requests in a row with this much between them.
const SILENCE: Duration = Duration::from_secs(1);

/// How far each connection is.
#[derive(Debug)]
pub struct Borders {
    since: Instant,
    seen: HashMap<(SocketAddrV4, SocketAddrV4), Seen>,
}

#[derive(Debug)]
enum Seen {
    /// The number of the byte after what the client said last, and what it had heard then.
    Said {
        end: u32,
        heard: u32,
    },
    Taken,
    /// It cannot be moved.
    Kept,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the container.
    Pass,
    /// Its connection can be taken over before it.
    Border,
    /// Its connection has been; the client sends it again.
    Gone,
}

impl Borders {
    /// All that is said from a time on will be looked at.
    pub fn new(since: Instant) -> Self {
        Self { since, seen: HashMap::new() }
    }

    /// A border is where the client begins a request with the byte after what it said last, and has heard something
    /// since then: the answer. The first packet of a connection that is seen is one after a silence alone.
    pub fn look(&mut self, segment: &Segment<'_>) -> Verdict {
        let flow = (segment.client, segment.host);
        let said = match self.seen.get(&flow) {
            Some(Seen::Taken) => return Verdict::Gone,
            Some(Seen::Kept) => return Verdict::Pass,
            Some(Seen::Said { end, heard }) => Some((*end, *heard)),
            None => None,
        };
        if segment.is_control {
            self.seen.remove(&flow);
            return Verdict::Pass;
        }
        let is_old = said.is_some_and(|(end, _)| !is_after(segment.end(), end));
        if segment.payload.is_empty() || is_old {
            return Verdict::Pass;
        }
        let is_answered = match said {
            Some((end, heard)) => segment.sequence == end && is_after(segment.acknowledged, heard),
            None => self.since.elapsed() >= SILENCE,
        };
        if self.seen.len() >= MOST {
            self.seen.clear();
        }
        if is_request(segment.payload) && (said.is_some() && !is_answered || is_several(segment.payload)) {
            // Answers are owed that only the container can give (RFC 9112, section 9.3.2).
            self.seen.insert(flow, Seen::Kept);
            return Verdict::Pass;
        }
        if is_answered && is_request(segment.payload) {
            self.seen.insert(flow, Seen::Taken);
            return Verdict::Border;
        }
        self.seen.insert(flow, Seen::Said { end: segment.end(), heard: segment.acknowledged });
        Verdict::Pass
    }

    /// It could not be taken.
    pub fn keep(&mut self, segment: &Segment<'_>) {
        self.seen.insert((segment.client, segment.host), Seen::Kept);
    }
}

/// Whether more requests follow the first.
fn is_several(payload: &[u8]) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    let end = payload.windows(END.len()).position(|bytes| bytes == END);
    end.is_some_and(|end| is_request(&payload[end + END.len()..]))
}

/// The numbers of TCP go round.
fn is_after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::{Borders, SILENCE, Verdict};
    use crate::host_ports::kernel::moving::segment::Segment;
    use std::time::Instant;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn segment(sequence: u32, acknowledged: u32, payload: &[u8]) -> Segment<'_> {
        let address = |text: &str| text.parse().expect("address");
        Segment {
            client: address("192.0.2.2:50000"),
            host: address("192.0.2.1:80"),
            sequence,
            acknowledged,
            window: 500,
            is_control: false,
            echo: None,
            payload,
        }
    }

    #[test]
    fn a_connection_is_taken_where_a_request_follows_an_answer_and_nothing_of_it_goes_on() {
        let mut borders = Borders::new(Instant::now());
        let length = REQUEST.len() as u32;
        // The numbers go round within the first request.
        let first = u32::MAX - 5;
        let second = first.wrapping_add(length);
        assert_eq!(borders.look(&segment(first, 100, REQUEST)), Verdict::Pass, "it may be one of several in a row");
        assert_eq!(borders.look(&segment(first, 200, REQUEST)), Verdict::Pass, "sent again");
        assert_eq!(borders.look(&segment(second, 200, b"")), Verdict::Pass, "says nothing");
        assert_eq!(borders.look(&segment(second, 200, REQUEST)), Verdict::Border);
        assert_eq!(borders.look(&segment(second, 200, REQUEST)), Verdict::Gone);
        assert_eq!(borders.look(&segment(second.wrapping_add(length), 300, b"")), Verdict::Gone);
    }

    #[test]
    fn what_is_no_request_after_an_answer_goes_on() {
        let length = REQUEST.len() as u32;
        for (what, next) in [
            ("not answered", segment(length, 100, REQUEST)),
            ("something is missing before it", segment(length + 9, 200, REQUEST)),
            ("not a request", segment(length, 200, b"\x00\x01frame\n")),
            ("the end", Segment { is_control: true, ..segment(length, 200, REQUEST) }),
        ] {
            let mut borders = Borders::new(Instant::now());
            borders.look(&segment(0, 100, REQUEST));
            assert_eq!(borders.look(&next), Verdict::Pass, "{what}");
        }
        // A client that asks before it has its answer is left alone from then on.
        for ahead in [segment(length, 100, REQUEST), segment(length, 200, &[REQUEST, REQUEST].concat())] {
            let mut borders = Borders::new(Instant::now());
            borders.look(&segment(0, 100, REQUEST));
            assert_eq!(borders.look(&ahead), Verdict::Pass);
            assert_eq!(borders.look(&segment(ahead.end(), 300, REQUEST)), Verdict::Pass);
        }
        let mut borders = Borders::new(Instant::now());
        borders.look(&segment(0, 100, REQUEST));
        assert_eq!(borders.look(&segment(length, 200, REQUEST)), Verdict::Border);
        borders.keep(&segment(length, 200, REQUEST));
        assert_eq!(borders.look(&segment(2 * length, 300, REQUEST)), Verdict::Pass, "it could not be taken");
        let mut borders = Borders::new(Instant::now() - SILENCE);
        assert_eq!(borders.look(&segment(0, 100, REQUEST)), Verdict::Border, "silent until now");
    }
}
