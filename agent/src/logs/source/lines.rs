use super::joining::Joining;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// So many NULs before a line are nobody's text: a hole that is left when a log is truncated while its writer goes on at
/// its former place, or when a machine loses power.
pub(super) const HOLE: usize = 16;

/// One line without its end; or an event, which is several lines with what is between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub bytes: &'a [u8],
    /// The line was longer than the limit, and this is its beginning.
    pub cut: bool,
    /// Where it begins, in the file.
    pub offset: u64,
    /// How many bytes of the file it takes, with its end; of a line that was cut, those that are kept.
    pub length: usize,
}

impl<'a> Line<'a> {
    /// Of the bytes with their line end.
    pub(super) fn new(bytes: &'a [u8], offset: u64, limit: usize) -> Self {
        let length = bytes.len();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let hole = hole(bytes, offset);
        let (bytes, offset, length) = (&bytes[hole..], offset + hole as u64, length - hole);
        let bytes = &bytes[byte_order_mark(bytes, offset)..];
        if bytes.len() <= limit {
            return Self { bytes, cut: false, offset, length };
        }
        // Not inside a character: its first bytes alone would count as invalid UTF-8.
        let mut end = limit;
        while end > limit.saturating_sub(4) && bytes[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        Self { bytes: &bytes[..end], cut: true, offset, length: end }
    }
}

/// A piece of a file as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    /// Where they stand in the file.
    pub offset: u64,
    /// The longest line.
    pub limit: usize,
    pub following: Following,
    /// Lines that the generation before has given, in order of their places.
    pub borrowed: &'a [Borrowed],
}

/// A line that an earlier generation gives with an event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// That generation, by its sequence number.
    pub by: u64,
    /// Where the line begins in this one.
    pub at: u64,
}

/// What may follow a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// More of the last line or event.
    Perhaps,
    /// Nothing came for so long that the last event is complete. A line without its end is not.
    NotSoon,
    Nothing,
}

/// What is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// So many bytes.
    pub bytes: usize,
    /// Behind them is an event that may be complete.
    pub holds_event: bool,
}

/// Gives each line of a piece, or each event, to `each`, and tells how much is done with.
///
/// An unfinished line waits, unless it is beyond the limit (then it is cut, and `inside_cut_line` says that the rest is
/// to be skipped up to the next newline) or nothing will follow. So does an event that may go on.
pub fn split(piece: Piece<'_>, joining: &Joining, inside_cut_line: &mut bool, mut each: impl FnMut(Line<'_>)) -> Split {
    match joining {
        Joining::Lines => {
            let bytes = physical(piece, inside_cut_line, |line, at| {
                each(Line::new(line, piece.offset + at as u64, piece.limit));
            });
            Split { bytes, holds_event: false }
        }
        Joining::Multiline(multiline) => multiline.split(piece, inside_cut_line, each),
        Joining::Engine(engine) => engine.split(piece, inside_cut_line, each),
        Joining::Inside(inside) => inside.split(piece, inside_cut_line, each),
    }
}

/// How long the byte order mark is that some bytes of a file begin with.
fn byte_order_mark(bytes: &[u8], offset: u64) -> usize {
    if offset == 0 && bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// How long the hole is that some bytes of a file begin with; the mark before it goes with it.
fn hole(bytes: &[u8], offset: u64) -> usize {
    let mark = byte_order_mark(bytes, offset);
    let nuls = bytes[mark..].iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - mark);
    if nuls < HOLE { 0 } else { mark + nuls }
}

/// Gives each line with its end, and where it stands in the piece; how many bytes are done with.
pub(super) fn physical<'a>(
    piece: Piece<'a>,
    inside_cut_line: &mut bool,
    mut each: impl FnMut(&'a [u8], usize),
) -> usize {
    let Piece { bytes, limit, following, borrowed, .. } = piece;
    let is_borrowed = |at: usize| {
        !borrowed.is_empty() && borrowed.binary_search_by_key(&(piece.offset + at as u64), |one| one.at).is_ok()
    };
    let mut start = 0;
    for newline in memchr::memchr_iter(b'\n', bytes) {
        if !std::mem::take(inside_cut_line) && !is_borrowed(start) {
            each(&bytes[start..=newline], start);
        }
        start = newline + 1;
    }
    if start == bytes.len() || *inside_cut_line {
        return bytes.len();
    }
    let hole = hole(&bytes[start..], piece.offset + start as u64);
    match start + hole == bytes.len() {
        true if hole > 0 && following == Following::Nothing => return bytes.len(),
        // As much as shows what it is stays, for the next look.
        true => start += hole.saturating_sub(HOLE),
        false => start += hole,
    }
    let rest = &bytes[start..];
    // One more than the limit may be a carriage return, three a byte order mark.
    if rest.len() > limit + 1 + BYTE_ORDER_MARK.len() {
        each(rest, start);
        *inside_cut_line = true;
        return bytes.len();
    }
    if following == Following::Nothing {
        each(rest, start);
        return bytes.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::{Following, Joining, Piece, split};

    fn lines(bytes: &[u8], limit: usize, inside: &mut bool, last: bool) -> (Vec<String>, usize) {
        let mut found = Vec::new();
        let following = if last { Following::Nothing } else { Following::Perhaps };
        let done =
            split(Piece { bytes, offset: 0, limit, following, borrowed: &[] }, &Joining::Lines, inside, |line| {
                found.push(format!("{}{}", String::from_utf8_lossy(line.bytes), if line.cut { "…" } else { "" }));
            });
        (found, done.bytes)
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    #[test]
    fn carriage_returns_go_and_an_unfinished_line_waits() {
        let result = lines(b"one\r\n\ntwo\nthr", 100, &mut false, false);
        assert_eq!(result, (strings(&["one", "", "two"]), 10));
    }

    #[test]
    fn an_unfinished_line_is_given_when_nothing_will_follow() {
        assert_eq!(lines(b"one\ntwo", 100, &mut false, true), (strings(&["one", "two"]), 7));
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_its_rest_skipped_even_across_reads() {
        let mut inside = false;
        assert_eq!(lines(b"a\n123456789", 4, &mut inside, false), (strings(&["a", "1234…"]), 11));
        assert!(inside);
        assert_eq!(lines(b"90", 4, &mut inside, false), (strings(&[]), 2));
        assert_eq!(lines(b"\nb\n", 4, &mut inside, false), (strings(&["b"]), 3));
        assert!(!inside);
        assert_eq!(lines(b"12345\n1234\r\n", 4, &mut inside, false).0, strings(&["1234…", "1234"]));
    }

    #[test]
    fn a_hole_is_no_text_however_long_and_what_follows_it_is_a_line() {
        let with = |nuls: usize, rest: &[u8]| [&vec![0; nuls][..], rest].concat();
        for nuls in [16, 50, 5000] {
            assert_eq!(lines(&with(nuls, b"one\n"), 30, &mut false, false), (strings(&["one"]), nuls + 4), "{nuls}");
            let mut inside = false;
            assert_eq!(lines(&with(nuls, b"o"), 30, &mut inside, false), (strings(&[]), nuls));
            assert_eq!(lines(&with(nuls, b""), 30, &mut inside, false), (strings(&[]), nuls - 16));
            assert_eq!(lines(&with(nuls, b""), 30, &mut inside, true), (strings(&[]), nuls));
            assert!(!inside, "no line was cut");
        }
        assert_eq!(lines(&with(3, b"one\n"), 30, &mut false, false).0, ["\0\0\0one"], "a few are somebody's text");
        let marked = [super::BYTE_ORDER_MARK, &with(50, b"one\n")].concat();
        assert_eq!(lines(&marked, 30, &mut false, false), (strings(&["one"]), 57));
        assert_eq!(lines(&marked[..53], 30, &mut false, false), (strings(&[]), 37));
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(lines("aäöü\n".as_bytes(), 4, &mut false, false).0, strings(&["aä…"]));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(lines("\u{feff}1234\n\u{feff}b".as_bytes(), 4, &mut false, true).0, strings(&["1234", "\u{feff}b"]));
        assert_eq!(lines("\u{feff}".as_bytes(), 4, &mut false, true).0, strings(&[""]));
    }

    #[test]
    fn a_line_knows_its_place_in_the_file() {
        let mut places = Vec::new();
        let piece =
            Piece { bytes: b"one\r\n\nrest", offset: 10, limit: 100, following: Following::Nothing, borrowed: &[] };
        split(piece, &Joining::Lines, &mut false, |line| places.push((line.offset, line.length)));
        assert_eq!(places, [(10, 5), (15, 1), (16, 4)]);
    }
}
