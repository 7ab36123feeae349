use crate::logs::source::lines::{Following, Line, Piece, Split, physical};
use regex::bytes::Regex;
use std::ops::Range;
use std::time::Duration;

/// Lines that belong together by what they look like.
#[derive(Debug)]
pub struct Multiline {
    pub regex: Regex,
    /// What matches begins an event; else it goes on with one.
    pub is_start: bool,
    pub timeout: Duration,
}

/// Where an event stands in the piece.
type Place = Range<usize>;

impl Multiline {
    /// Whether a line begins an event.
    pub(super) fn begins(&self, line: &[u8]) -> bool {
        self.regex.is_match(line) == self.is_start
    }

    /// Gives each event. One that is longer than the limit is given in several, of which all but the last are marked:
    /// an expression that does not fit costs the look of the log and not its content.
    pub fn split(&self, piece: Piece<'_>, inside_cut_line: &mut bool, mut each: impl FnMut(Line<'_>)) -> Split {
        let mut open: Option<Place> = None;
        let mut give = |place: Place, cut: bool| {
            let line = Line::new(&piece.bytes[place.clone()], piece.offset + place.start as u64, usize::MAX);
            each(Line { cut, ..line });
        };
        let mut cut_at = None;
        let done = physical(piece, inside_cut_line, |raw, at| {
            let line = Line::new(raw, piece.offset + at as u64, piece.limit);
            let end = at + raw.len();
            // A hole of NULs before it is no part of an event.
            let at = usize::try_from(line.offset - piece.offset).unwrap_or(at);
            let begins = line.cut || self.begins(line.bytes);
            match &mut open {
                Some(place) if !begins && end - place.start <= piece.limit => place.end = end,
                _ => {
                    if let Some(place) = open.take() {
                        give(place, !begins);
                    }
                    if line.cut {
                        // It is longer than any event may become.
                        give(at..at + line.length, true);
                        cut_at = Some(at);
                    } else {
                        open = Some(at..end);
                    }
                }
            }
        });
        match open {
            None => Split { bytes: done, holds_event: false },
            Some(place) if piece.following == Following::Perhaps => Split { bytes: place.start, holds_event: true },
            Some(place) => {
                give(place, false);
                Split { bytes: done, holds_event: false }
            }
        }
    }
}
