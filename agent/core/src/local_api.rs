//! A client of the agent's local socket, for `hostwright-agent status` and for bootstrap, which waits for readiness.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket's name in the agent's runtime folder.
pub const SOCKET_NAME: &str = "agent.sock";
/// The socket where systemd started the agent.
pub const SOCKET: &str = "/run/hostwright/agent.sock";

/// Far more than a status takes; a bound, because whoever holds the socket could send for ever.
const MAX_ANSWER: u64 = 16 << 20;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The body.
    pub body: String,
}

/// Asks the agent: `GET path` over its socket.
///
/// HTTP/1.0 (RFC 1945), in which the body simply ends with the connection: what one request on a local socket needs.
///
/// # Errors
/// Nobody listens, the caller may not connect, the agent does not answer within `timeout`, or answers no HTTP.
pub fn get(socket: &Path, path: &str, timeout: Duration) -> io::Result<Answer> {
    ask(socket, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"), timeout)
}

/// Orders something of the agent: `POST path` over its socket, with a JSON body.
///
/// # Errors
/// As [`get`].
pub fn post(socket: &Path, path: &str, body: &str, timeout: Duration) -> io::Result<Answer> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    ask(socket, &format!("{head}Content-Length: {length}\r\n\r\n{body}"), timeout)
}

fn ask(socket: &Path, request: &str, timeout: Duration) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // In one piece: `write!` on the stream would send each part of the format by itself.
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP; is this the agent's socket?")
    })
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { code, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Answer, parse};

    #[test]
    fn an_answer_is_its_code_and_body_and_anything_else_is_none() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot ready\n");
        assert_eq!(answer, Some(Answer { code: 503, body: "not ready\n".into() }));
        assert_eq!(parse("SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(parse(""), None);
    }
}
