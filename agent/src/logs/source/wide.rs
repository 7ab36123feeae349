use super::identity::Content;
use super::joining::Joining;
use super::lines::{Following, Line, Piece, Split};
use hostwright_core::config::logs::Encoding;
use std::io;

/// Stands for what is no character. Not valid in UTF-8 either, so that it is counted as such.
const INVALID: u8 = 0xff;

/// In which order the bytes of UTF-16 come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    /// What the settings say, or the byte order mark that a file begins with; none if it is no UTF-16, as far as its
    /// first bytes are there to tell.
    pub fn of(encoding: Encoding, beginning: &[u8]) -> Option<Self> {
        match (encoding, beginning) {
            (Encoding::Utf16Le, _) => Some(Self::Little),
            (Encoding::Utf16Be, _) => Some(Self::Big),
            // Nothing in UTF-8 has these bytes.
            (Encoding::Utf8 | Encoding::Utf16, [0xff, 0xfe, ..]) => Some(Self::Little),
            (Encoding::Utf8 | Encoding::Utf16, [0xfe, 0xff, ..]) => Some(Self::Big),
            (Encoding::Utf16, _) => Some(Self::Little),
            _ => None,
        }
    }

    /// ... of a file.
    pub fn of_file(encoding: Encoding, file: &impl Content) -> io::Result<Option<Self>> {
        let mut beginning = [0; 2];
        let length = file.fill_at(&mut beginning, 0)?;
        Ok(Self::of(encoding, &beginning[..length]))
    }

    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Behind the last newline in some bytes that begin with a whole unit.
    pub fn behind_last_newline(self, bytes: &[u8]) -> Option<usize> {
        let (units, _) = bytes.as_chunks();
        units.iter().rposition(|unit| self.unit(*unit) == 0x0a).map(|unit| 2 * (unit + 1))
    }
}

/// Some UTF-16 as UTF-8, line by line found again.
struct Narrow {
    bytes: Vec<u8>,
    /// Where lines begin, here and there.
    lines: Vec<(usize, usize)>,
}

impl Narrow {
    fn of(wide: &[u8], order: Order, following: Following) -> Self {
        let (units, rest) = wide.as_chunks();
        let mut narrow = Self { bytes: Vec::with_capacity(units.len() + units.len() / 2), lines: vec![(0, 0)] };
        // Half of a pair at the end waits for the other half.
        let last = units.last().map_or(0, |unit| order.unit(*unit));
        let waits = following == Following::Perhaps && (0xd800..0xdc00).contains(&last);
        let whole = &units[..units.len() - usize::from(waits)];
        let mut place = 0;
        for character in char::decode_utf16(whole.iter().map(|unit| order.unit(*unit))) {
            match character {
                Ok(character) => {
                    narrow.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    place += 2 * character.len_utf16();
                }
                Err(_) => {
                    narrow.bytes.push(INVALID);
                    place += 2;
                }
            }
            if character == Ok('\n') {
                narrow.lines.push((narrow.bytes.len(), place));
            }
        }
        if following == Following::Nothing && !rest.is_empty() {
            narrow.bytes.push(INVALID);
        }
        narrow
    }

    /// Where in UTF-16 a place is.
    fn wide(&self, at: usize) -> usize {
        let line = self.lines.partition_point(|(narrow, _)| *narrow <= at).saturating_sub(1);
        let (narrow, wide) = self.lines[line];
        let units = self.bytes[narrow..at].iter().map(|byte| match byte {
            0x80..0xc0 => 0,
            0xf0..0xf8 => 2,
            _ => 1,
        });
        wide + 2 * units.sum::<usize>()
    }
}

/// Some UTF-16 as text.
pub fn text(bytes: &[u8], order: Order) -> String {
    String::from_utf8_lossy(&Narrow::of(bytes, order, Following::Nothing).bytes).into_owned()
}

/// Splits a piece of UTF-16 into lines, which are UTF-8; their places are those in the file.
pub fn split(
    piece: Piece<'_>,
    order: Order,
    joining: &Joining,
    inside_cut_line: &mut bool,
    mut each: impl FnMut(Line<'_>),
) -> Split {
    let narrow = Narrow::of(piece.bytes, order, piece.following);
    let place = |at: u64| usize::try_from(at - piece.offset).unwrap_or(usize::MAX).min(narrow.bytes.len());
    let split = super::lines::split(Piece { bytes: &narrow.bytes, ..piece }, joining, inside_cut_line, |line| {
        let start = narrow.wide(place(line.offset));
        let end = narrow.wide(place(line.offset + line.length as u64));
        each(Line { offset: piece.offset + start as u64, length: end - start, ..line });
    });
    // An odd byte at the very end has no place there.
    let bytes = match split.bytes == narrow.bytes.len() && piece.following == Following::Nothing {
        true => piece.bytes.len(),
        false => narrow.wide(split.bytes).min(piece.bytes.len()),
    };
    Split { bytes, ..split }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Order, split};
    use crate::logs::source::joining::Joining;
    use crate::logs::source::lines::{Following, Piece};

    fn wide(text: &str, order: Order) -> Vec<u8> {
        let bytes = |unit: u16| if order == Order::Little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    /// The lines with their places, and how many bytes are done with.
    fn lines(bytes: &[u8], order: Order, limit: usize, following: Following) -> (Vec<(String, u64, usize)>, usize) {
        let piece = Piece { bytes, offset: 0, limit, following, borrowed: &[] };
        let mut found = Vec::new();
        let split = split(piece, order, &Joining::Lines, &mut false, |line| {
            let mark = if line.cut { "…" } else { "" };
            found.push((String::from_utf8_lossy(line.bytes).into_owned() + mark, line.offset, line.length));
        });
        (found, split.bytes)
    }

    #[test]
    fn lines_of_utf_16_become_utf_8_and_keep_their_places() {
        for order in [Order::Little, Order::Big] {
            let bytes = wide("\u{feff}ä\r\n\u{a0a}😀\nrest", order);
            let (found, done) = lines(&bytes, order, 100, Following::Perhaps);
            assert_eq!(found, [("ä".to_owned(), 0, 8), ("\u{a0a}😀".to_owned(), 8, 8)]);
            assert_eq!(done, 16);
            let (found, done) = lines(&bytes[..23], order, 100, Following::Nothing);
            assert_eq!((found.len(), done), (3, 23), "an odd byte at the end is done with");
            assert_eq!(found[2].0, "res\u{fffd}");
        }
    }

    #[test]
    fn a_long_line_is_cut_at_a_character_and_half_a_pair_is_replaced() {
        let bytes = wide("aä😀bcdefghijkl\nx\n", Order::Little);
        let (found, done) = lines(&bytes, Order::Little, 8, Following::Perhaps);
        assert_eq!(found, [("aä😀b…".to_owned(), 0, 10), ("x".to_owned(), 32, 4)]);
        assert_eq!(done, bytes.len());
        let half = [wide("a", Order::Big), vec![0xd8, 0, 0, 0x0a]].concat();
        assert_eq!(lines(&half, Order::Big, 8, Following::Perhaps).0, [("a\u{fffd}".to_owned(), 0, 6)]);
    }

    #[test]
    fn pieces_of_any_length_give_the_same_lines() {
        let bytes = wide("one\n😀two😀\nthree\n", Order::Little);
        let expected = lines(&bytes, Order::Little, 100, Following::Nothing).0;
        for step in 1..bytes.len() {
            let (mut found, mut done, mut end) = (Vec::new(), 0, 0);
            while done < bytes.len() {
                end = (end + step).min(bytes.len());
                let piece = Piece {
                    bytes: &bytes[done..end],
                    offset: done as u64,
                    limit: 100,
                    following: Following::Perhaps,
                    borrowed: &[],
                };
                done += split(piece, Order::Little, &Joining::Lines, &mut false, |line| {
                    found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.offset, line.length));
                })
                .bytes;
            }
            assert_eq!(found, expected, "{step}");
        }
    }

    #[test]
    fn the_order_is_what_the_settings_or_the_first_bytes_say() {
        assert_eq!(Order::of(Encoding::Utf8, b"\xfe\xffab"), Some(Order::Big));
        assert_eq!(Order::of(Encoding::Utf8, b"ab"), None);
        assert_eq!(Order::of(Encoding::Latin1, b"\xff\xfe"), None);
        assert_eq!(Order::of(Encoding::Utf16, b"a\0"), Some(Order::Little));
        assert_eq!(Order::of(Encoding::Utf16Be, b""), Some(Order::Big));
    }
}
