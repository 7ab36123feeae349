//! Devices and their small files under sysfs: in come paths, out go numbers and short texts.
//!
//! A device is found by its place in a folder and keeps its files open; what has one of them no more, or not yet, is
//! asked again at the next scrape. Nothing survives a restart.

/// A small file that is kept open.
mod attribute;
/// The devices in a folder.
mod devices;
/// What is read less often than at every scrape.
mod seldom;
/// Devices that have the same numbers, each in a file and a family of its own.
mod table;
/// Labels whose values are in files.
mod texts;

pub use attribute::{Attribute, Page};
pub use devices::{Devices, Entry, list};
pub use seldom::Seldom;
pub use table::{Column, Columns, Row, Unit, write};
pub use texts::Texts;

use super::CollectError;
use std::path::Path;

/// A number as in source code: `10`, `0x1f`, `017`, with or without sign.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let magnitude = unsigned(digits)?;
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { magnitude.try_into().ok() }
}

/// The same without sign.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', b'b' | b'B', digits @ ..] => (2, digits),
        [b'0', b'o' | b'O', digits @ ..] => (8, digits),
        [b'0', _, ..] => (8, &text[1..]),
        digits => (10, digits),
    };
    // The standard library takes a sign of its own.
    let digits = digits.first().filter(|first| first.is_ascii_alphanumeric()).and(Some(digits))?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// A decimal number with or without sign.
pub fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What a file holds that every such device must have.
pub fn required<'p>(file: &mut Attribute, page: &'p mut Page) -> Result<&'p [u8], CollectError> {
    let path = file.path.clone();
    file.read(page).map_err(|source| CollectError::reading(&path, source))
}

/// What a file holds, if there is one that can be read.
pub fn optional<'p>(file: &mut Attribute, page: &'p mut Page) -> Option<&'p [u8]> {
    file.read(page).ok()
}

/// The error that a file's content is not as expected.
pub fn malformed(path: &Path, expected: &str, found: &[u8]) -> CollectError {
    super::Text { path, bytes: found }.malformed(expected, found)
}

#[cfg(test)]
mod tests {
    use super::{integer, unsigned};

    #[test]
    fn numbers_are_read_in_the_base_that_they_are_written_in() {
        assert_eq!(
            (unsigned(b"0x1003"), unsigned(b"017"), unsigned(b"0"), unsigned(b"10")),
            (Some(4099), Some(15), Some(0), Some(10))
        );
        assert_eq!((integer(b"-1"), integer(b"+7"), integer(b"-0x10")), (Some(-1), Some(7), Some(-16)));
        assert_eq!((integer(b"-9223372036854775808"), integer(b"9223372036854775808")), (Some(i64::MIN), None));
        for text in [&b""[..], b"-", b"0x", b"08", b"1 ", b"++1", b"0x+1", b"-+1", b"\xff", b"18446744073709551616"] {
            assert_eq!((integer(text), unsigned(text)), (None, None), "{text:?}");
        }
    }
}
