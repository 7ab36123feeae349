/// One line without its end.
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
    fn new(bytes: &'a [u8], offset: u64, limit: usize) -> Self {
        let length = bytes.len();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
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

/// Gives each line of `bytes`, which stand at `offset` in their file, to `each`, and tells how many bytes are done with.
///
/// What follows the last newline waits, unless it is beyond the limit (then it is cut, and `inside_cut_line` says that
/// the rest is to be skipped up to the next newline) or `last` says that nothing will follow.
pub fn split<'a>(
    bytes: &'a [u8],
    offset: u64,
    limit: usize,
    inside_cut_line: &mut bool,
    last: bool,
    mut each: impl FnMut(Line<'a>),
) -> usize {
    let mut start = 0;
    for newline in memchr::memchr_iter(b'\n', bytes) {
        if !std::mem::take(inside_cut_line) {
            each(Line::new(&bytes[start..=newline], offset + start as u64, limit));
        }
        start = newline + 1;
    }
    let rest = &bytes[start..];
    if rest.is_empty() || *inside_cut_line {
        return bytes.len();
    }
    // One more than the limit may be a carriage return.
    if rest.len() > limit + 1 {
        each(Line::new(rest, offset + start as u64, limit));
        *inside_cut_line = true;
        return bytes.len();
    }
    if last {
        each(Line::new(rest, offset + start as u64, limit));
        return bytes.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::split;

    fn lines(bytes: &[u8], limit: usize, inside: &mut bool, last: bool) -> (Vec<String>, usize) {
        let mut found = Vec::new();
        let done = split(bytes, 0, limit, inside, last, |line| {
            found.push(format!("{}{}", String::from_utf8_lossy(line.bytes), if line.cut { "…" } else { "" }));
        });
        (found, done)
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
        assert_eq!(lines(b"a\n12345678", 4, &mut inside, false), (strings(&["a", "1234…"]), 10));
        assert!(inside);
        assert_eq!(lines(b"90", 4, &mut inside, false), (strings(&[]), 2));
        assert_eq!(lines(b"\nb\n", 4, &mut inside, false), (strings(&["b"]), 3));
        assert!(!inside);
        assert_eq!(lines(b"12345\n1234\r\n", 4, &mut inside, false).0, strings(&["1234…", "1234"]));
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(lines("aäöü\n".as_bytes(), 4, &mut false, false).0, strings(&["aä…"]));
    }

    #[test]
    fn a_line_knows_its_place_in_the_file() {
        let mut places = Vec::new();
        split(b"one\r\n\nrest", 10, 100, &mut false, true, |line| places.push((line.offset, line.length)));
        assert_eq!(places, [(10, 5), (15, 1), (16, 4)]);
    }
}
