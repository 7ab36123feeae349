//! Lines that belong together become one event.
//!
//! In: a piece of a file. Out: its complete events. Nothing is kept between pieces: an event that may go on is left
//! unread, and its lines come again with those that follow.

/// Lines that a container engine split.
mod engine;
/// Lines of one event whose lines a container engine wrote.
mod inside;
/// Lines that an application wrote for one event.
mod multiline;
/// Events that may go on.
mod open;

pub use engine::Engine;
pub use inside::Inside;
pub use multiline::Multiline;
pub use open::Open;

use std::time::Duration;

/// An engine writes the parts of a line at once; if the rest does not come in this time, it does not come.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which lines belong together.
#[derive(Debug)]
pub enum Joining {
    /// None.
    Lines,
    Multiline(Multiline),
    Engine(Engine),
    /// Of the lines that an engine wrote.
    Inside(Inside),
}

impl Joining {
    /// How long a file is quiet before its last event counts as complete; none if there are no events.
    pub fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Lines => None,
            Self::Multiline(multiline) => Some(multiline.timeout),
            Self::Engine(_) => Some(ENGINE_TIMEOUT),
            Self::Inside(inside) => Some(inside.multiline.timeout),
        }
    }

    /// The longest piece that it takes to find an event: one of the longest with the line behind it.
    pub fn longest_piece(&self, limit: usize) -> usize {
        // For line end and byte order mark.
        let line = limit + 8;
        if matches!(self, Self::Lines) { line } else { 2 * line }
    }
}

#[cfg(test)]
mod tests {
    use super::{Engine, Inside, Joining, Multiline};
    use crate::logs::source::lines::{Following, Piece, split};
    use regex::bytes::Regex;
    use std::time::Duration;

    /// Text, offset, length, whether it is cut.
    type Event = (String, u64, usize, bool);

    fn at_once(bytes: &[u8], joining: &Joining, limit: usize) -> Vec<Event> {
        in_pieces(bytes, joining, limit, |_, all| all)
    }

    /// Reads as a cursor does, so much at a time as `ends` says.
    fn in_pieces(
        bytes: &[u8],
        joining: &Joining,
        limit: usize,
        mut ends: impl FnMut(usize, usize) -> usize,
    ) -> Vec<Event> {
        let (mut found, mut done, mut inside, mut end) = (Vec::new(), 0, false, 0);
        loop {
            end = ends(end, bytes.len()).clamp(end, bytes.len());
            let following = if end == bytes.len() { Following::Nothing } else { Following::Perhaps };
            let piece = Piece { bytes: &bytes[done..end], offset: done as u64, limit, following, borrowed: &[] };
            let split = split(piece, joining, &mut inside, |line| {
                found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.offset, line.length, line.cut));
            });
            done += split.bytes;
            if following == Following::Nothing {
                assert_eq!(done, bytes.len(), "all is done with");
                assert!(!split.holds_event);
                return found;
            }
        }
    }

    fn joinings() -> Vec<Joining> {
        let multiline = |regex: &str, is_start| Multiline {
            regex: Regex::new(regex).expect("valid"),
            is_start,
            timeout: Duration::from_secs(1),
        };
        let inside = |engine| Joining::Inside(Inside { engine, multiline: multiline(r"^(p|b|\s)", false) });
        vec![
            Joining::Lines,
            Joining::Multiline(multiline("^[A-Z]", true)),
            Joining::Multiline(multiline(r"^\s", false)),
            Joining::Engine(Engine::Cri),
            Joining::Engine(Engine::Docker),
            inside(Engine::Cri),
            inside(Engine::Docker),
        ]
    }

    #[test]
    fn events_are_the_same_whatever_pieces_they_come_in_and_take_each_byte_once() {
        let mut random = fastrand::Rng::with_seed(11);
        let parts = [
            "A first line\n",
            " continued\n",
            "\n",
            "B\r\n",
            "other\n",
            "no end",
            "a line that is longer than the limit of the test allows to be\n",
            "2016-10-06T00:17:09Z stdout F whole\n",
            "2016-10-06T00:17:09Z stdout P part\n",
            "2016-10-06T00:17:09Z stderr P part\n",
            "2016-10-06T00:17:09Z stderr F end\n",
            "2016-10-06T00:17:10.5Z stdout F  more\n",
            "{\"log\":\"\\tat x\\n\",\"stream\":\"stderr\",\"time\":\"2016-10-06T00:17:09Z\"}\n",
            "{\"log\":\"z\\n\",\"stream\":\"stdout\",\"time\":\"2016-10-06T00:17:10.5Z\"}\n",
            "{\"log\":\"a\\n\",\"stream\":\"stdout\"}\n",
            "{\"log\":\"b\",\"stream\":\"stdout\"}\n",
            "{\"log\":\"c\",\"stream\":\"stderr\"}\n",
            "{\"log\":\"d\\n\",\"stream\":\"stderr\"}\n",
            "\u{feff}",
            "é",
            "\u{0}",
        ];
        for round in 0..4000 {
            let text: String = (0..random.usize(..14)).map(|_| parts[random.usize(..parts.len())]).collect();
            let joining = &joinings()[round % 7];
            let limit = [40, 100, 1000][random.usize(..3)];
            let expected = at_once(text.as_bytes(), joining, limit);
            let step = 1 + random.usize(..60);
            let found = in_pieces(text.as_bytes(), joining, limit, |end, _| end + 1 + (end + step) % step);
            assert_eq!(found, expected, "{joining:?} {limit} {text:?}");
            let taken: usize = expected.iter().map(|(.., length, _)| length).sum();
            assert!(taken <= text.len(), "{expected:?}");
            if expected.iter().all(|(.., is_cut)| !is_cut) {
                assert_eq!(taken, text.len(), "{joining:?} {text:?} {expected:?}");
            }
        }
    }

    #[test]
    fn an_event_is_held_until_nothing_comes_any_more() {
        let (cri, docker) = ("2016Z stdout P x\n", "{\"log\":\"b\",\"stream\":\"stdout\"}\n");
        let texts = ["A\n b\n", "A\n b\n", cri, docker, cri, docker];
        for (joining, text) in joinings().iter().skip(1).zip(texts) {
            let text = format!("{text}unfinished");
            let given = |following| {
                let mut count = 0;
                let piece = Piece { bytes: text.as_bytes(), offset: 0, limit: 100, following, borrowed: &[] };
                let split = split(piece, joining, &mut false, |_| count += 1);
                (count, split.bytes, split.holds_event)
            };
            assert_eq!(given(Following::Perhaps), (0, 0, true), "{joining:?}");
            assert_eq!(given(Following::NotSoon), (1, text.len() - "unfinished".len(), false), "{joining:?}");
        }
    }
}
