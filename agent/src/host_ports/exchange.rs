use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

/// What both directions know of the connection.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Who spoke last.
    last: AtomicU8,
    /// Whether the client began with a request of HTTP/1.
    is_http: AtomicBool,
    /// Whether bytes of the container are held here because the client does not take them.
    is_held_up: AtomicBool,
    /// Counts what was said.
    pub(super) moves: AtomicU32,
    pub(super) is_leaving: AtomicBool,
}

const NOBODY: u8 = 0;
const CLIENT: u8 = 1;
const CONTAINER: u8 = 2;

impl Exchange {
    /// Whether the client may be about to send its next request: the container spoke last and all of it was passed on.
    pub(super) fn is_answered(&self) -> bool {
        self.is_http.load(Relaxed) && self.last.load(Relaxed) == CONTAINER && !self.is_held_up.load(Relaxed)
    }

    /// Whether nobody owes anybody anything: before the first word, and after an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.last.load(Relaxed) == NOBODY || self.is_answered()
    }

    /// Whether bytes of the container wait here for the client.
    pub(super) fn hold_up(&self, is_held_up: bool) {
        self.is_held_up.store(is_held_up, Relaxed);
    }

    pub(super) fn hears_client(&self, bytes: &[u8]) {
        if self.last.load(Relaxed) == NOBODY {
            self.is_http.store(is_request(bytes), Relaxed);
        }
        self.last.store(CLIENT, Relaxed);
        self.moves.fetch_add(1, Relaxed);
    }

    pub(super) fn hears_container(&self) {
        self.last.store(CONTAINER, Relaxed);
        self.moves.fetch_add(1, Relaxed);
    }
}

/// Whether these bytes begin with the request line of HTTP/1 (RFC 9112, section 3).
///
/// Asked only where a request may begin: a body, or a frame of another protocol, that looks like one is not possible
/// there unless the client speaks before it was answered.
pub fn is_request(bytes: &[u8]) -> bool {
    const LONGEST_LINE: usize = 8 << 10;
    let head = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = memchr::memchr(b'\n', head) else { return false };
    let mut words = head[..end].trim_ascii_end().split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_method = |word: &[u8]| (3..=16).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
    method.is_some_and(is_method)
        && target.is_some_and(|target| !target.is_empty())
        && version.is_some_and(|version| version.starts_with(b"HTTP/1."))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_request;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_request_line_is_told_from_other_bytes() {
        for yes in [REQUEST, b"OPTIONS * HTTP/1.0\n", b"DELETE /a?b=c HTTP/1.1\r\nX: y"] {
            assert!(is_request(yes), "{}", yes.escape_ascii());
        }
        for no in
            [&b""[..], b"GET / HTTP/1.1", b"PRI * HTTP/2.0\r\n\r\n", b"get / HTTP/1.1\r\n", b"\x16\x03\x01\n", b"A\n"]
        {
            assert!(!is_request(no), "{}", no.escape_ascii());
        }
    }
}
