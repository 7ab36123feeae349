/// The most digits of a length that is believed to be one.
const DIGITS: usize = 9;

/// Messages in a stream of bytes. Each may be framed by its length or end with a newline (RFC 6587, 3.4).
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    skip: Skip,
}

/// What is still to come of a message that was too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Skip {
    #[default]
    Nothing,
    ToNewline,
    Bytes(usize),
}

/// How the next message is framed.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Newline,
    /// So many bytes, behind so many of the length itself.
    Octets {
        header: usize,
        length: usize,
    },
    /// More is needed to tell.
    Unclear,
}

impl Frames {
    /// Where to put what comes next, with room for so much of it.
    pub(super) fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.buffer.reserve(bytes);
        &mut self.buffer
    }

    /// How much of an unfinished message is held.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives each whole message, and whether it was cut because it is longer than `limit`. What is left waits for more,
    /// unless nothing follows.
    pub(super) fn take(&mut self, limit: usize, is_last: bool, mut each: impl FnMut(&[u8], bool)) {
        let mut start = 0;
        while start < self.buffer.len() {
            let rest = &self.buffer[start..];
            let (done, skip) = match self.skip {
                Skip::Nothing => next(rest, limit, is_last, &mut each),
                skip => skipped(rest, skip),
            };
            self.skip = skip;
            if done == 0 {
                break;
            }
            start += done;
        }
        self.buffer.drain(..start);
        if self.buffer.is_empty() && self.buffer.capacity() > 128 << 10 {
            self.buffer = Vec::new();
        }
    }
}

/// Takes one message; how many bytes are done with, and what is to be skipped then.
fn next(rest: &[u8], limit: usize, is_last: bool, each: &mut impl FnMut(&[u8], bool)) -> (usize, Skip) {
    // Between messages: some senders end a message with both a length and a newline, or with NUL.
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0' | b' ')).count();
    if blank > 0 {
        return (blank, Skip::Nothing);
    }
    match framing(rest) {
        Framing::Octets { header, length } => {
            let message = &rest[header..];
            if message.len() >= length && length <= limit {
                each(trimmed(&message[..length]), false);
                return (header + length, Skip::Nothing);
            }
            if message.len() >= limit && length > limit {
                each(&message[..limit], true);
                return (header + limit, Skip::Bytes(length - limit));
            }
            if is_last && !message.is_empty() {
                each(message, true);
                return (rest.len(), Skip::Nothing);
            }
            (0, Skip::Nothing)
        }
        Framing::Unclear if !is_last => (0, Skip::Nothing),
        Framing::Newline | Framing::Unclear => match memchr::memchr(b'\n', rest) {
            Some(newline) if newline <= limit => {
                each(trimmed(&rest[..newline]), false);
                (newline + 1, Skip::Nothing)
            }
            None if rest.len() <= limit => {
                if !is_last {
                    return (0, Skip::Nothing);
                }
                each(trimmed(rest), false);
                (rest.len(), Skip::Nothing)
            }
            _ => {
                each(&rest[..limit], true);
                (limit, Skip::ToNewline)
            }
        },
    }
}

fn skipped(rest: &[u8], skip: Skip) -> (usize, Skip) {
    match skip {
        Skip::Nothing => (0, skip),
        Skip::ToNewline => match memchr::memchr(b'\n', rest) {
            Some(newline) => (newline + 1, Skip::Nothing),
            None => (rest.len(), skip),
        },
        Skip::Bytes(bytes) if bytes > rest.len() => (rest.len(), Skip::Bytes(bytes - rest.len())),
        Skip::Bytes(bytes) => (bytes, Skip::Nothing),
    }
}

/// A length is one only if a priority follows it: a line may begin with a number too.
fn framing(rest: &[u8]) -> Framing {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS || rest[0] == b'0' {
        return Framing::Newline;
    }
    match rest[digits..] {
        [] | [b' '] => Framing::Unclear,
        [b' ', b'<', ..] => {
            let length = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
            length.map_or(Framing::Newline, |length| Framing::Octets { header: digits + 1, length })
        }
        _ => Framing::Newline,
    }
}

fn trimmed(message: &[u8]) -> &[u8] {
    let end = message.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b'\0')).map_or(0, |last| last + 1);
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::Frames;

    /// The messages of a stream that comes in pieces of `piece` bytes.
    fn taken(stream: &[u8], piece: usize, limit: usize) -> Vec<String> {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        let mut each = |message: &[u8], cut: bool| {
            all.push(format!("{}{}", String::from_utf8_lossy(message), if cut { "…" } else { "" }));
        };
        for piece in stream.chunks(piece) {
            frames.room(piece.len()).extend_from_slice(piece);
            frames.take(limit, false, &mut each);
        }
        frames.take(limit, true, &mut each);
        assert_eq!(frames.held(), 0);
        all
    }

    #[test]
    fn both_framings_are_told_apart_message_by_message_however_they_come() {
        let stream =
            b"<13>one\n7 <13>two9 <13>th\nre\n<13>four\r\n2026 was a year\n11 <13>five\0\n\n<13>six\0\n<13>end";
        let expected =
            ["<13>one", "<13>two", "<13>th\nre", "<13>four", "2026 was a year", "<13>five", "<13>six", "<13>end"];
        for piece in 1..stream.len() {
            assert_eq!(taken(stream, piece, 100), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_its_rest_skipped() {
        for piece in 1..20 {
            assert_eq!(taken(b"<13>345678\n<1>b\n", piece, 6), ["<13>34…", "<1>b"], "in pieces of {piece}");
            assert_eq!(taken(b"10 <13>456789<1>b\n", piece, 6), ["<13>45…", "<1>b"], "in pieces of {piece}");
        }
        assert_eq!(taken(b"999999999 <13>unfinished", 7, 100), ["<13>unfinished…"]);
        assert_eq!(taken(b"99999999999 <13>x", 7, 100), ["99999999999 <13>x"]);
        assert_eq!(taken(b"12", 1, 100), ["12"]);
    }
}
