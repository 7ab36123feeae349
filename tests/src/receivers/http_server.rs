//! An HTTP/1.1 server (RFC 9112) on threads of its own, with faults to order.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::listening::Listening;

/// A request as it came in, its body decoded.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many bytes the body had on its way.
    pub encoded_length: usize,
}

/// What it is answered.
#[derive(Debug)]
pub struct Reply {
    /// With `Self::RESET` there is no answer: the connection is reset.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What goes wrong with the next request, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is read, and not carried out: this status is the answer, with these header fields.
    Status(u16, Vec<(String, String)>),
    /// The request is read, and not carried out: the connection ends.
    CutBefore,
    /// The request is carried out, but the connection ends without an answer.
    CutAfter,
    /// The request is read, and never answered.
    Stall,
}

impl Reply {
    pub const RESET: u16 = 0;

    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into() }
    }
}

impl Request {
    /// The header field's value; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Gives each request to its handler. The port stays the same through `stop` and `start_again`.
pub struct HttpServer {
    listening: Listening,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    /// Longer bodies are dropped unread.
    most: usize,
    faults: Mutex<VecDeque<Fault>>,
}

impl HttpServer {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::start_dropping(usize::MAX, handler)
    }

    /// One that drops bodies of more than `most` bytes, as fast as the kernel can: nothing but their length is known.
    pub fn start_dropping(most: usize, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let shared = Arc::new(Shared { handler: Box::new(handler), most, faults: Mutex::default() });
        let serving = shared.clone();
        let listening = Listening::start(move |connection, stopped| {
            if let Err(error) = serving.serve(connection, stopped) {
                eprintln!("the receiver ends a connection: {error:#}");
            }
        })?;
        Ok(Self { listening, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next requests go wrong in these ways, one each.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// How many ordered faults have not happened yet.
    pub fn outstanding_faults(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// Begins an outage: connections break, the port refuses.
    pub fn stop(&mut self) {
        self.listening.stop();
    }

    /// Ends the outage.
    pub fn start_again(&mut self) -> Result<()> {
        self.listening.start_again()
    }
}

impl Shared {
    fn serve(&self, connection: &TcpStream, stopped: &AtomicBool) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, connection);
        while let Some(request) = read_request(&mut reader, self.most)? {
            let fault = lock(&self.faults).pop_front();
            let reply = match fault {
                None => (self.handler)(&request),
                Some(Fault::Status(status, headers)) => Reply { status, headers, body: b"{}".to_vec() },
                Some(Fault::CutBefore) => return Ok(()),
                Some(Fault::CutAfter) => {
                    (self.handler)(&request);
                    return Ok(());
                }
                Some(Fault::Stall) => {
                    while !stopped.load(Ordering::SeqCst) && !is_closed(connection) {
                        thread::sleep(Duration::from_millis(20));
                    }
                    return Ok(());
                }
            };
            if reply.status == Reply::RESET {
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(connection, sockopt::Linger, &at_once)?;
                return Ok(());
            }
            write_reply(connection, &reply)?;
        }
        Ok(())
    }
}

fn is_closed(connection: &TcpStream) -> bool {
    let _ = connection.set_read_timeout(Some(Duration::from_millis(10)));
    match connection.peek(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// None when the client has closed.
fn read_request(reader: &mut BufReader<&TcpStream>, most: usize) -> Result<Option<Request>> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => return Ok(None),
        other => other?,
    };
    let parts: Vec<_> = line.trim_end().split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { bail!("no request line of HTTP/1.1: {line:?}") };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the header section was cut");
        let Some(line) = line.strip_suffix("\r\n") else { bail!("a header line without CRLF: {line:?}") };
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("no header field: {line:?}"))?;
        ensure!(!name.is_empty() && !name.contains(' '), "no header field: {line:?}");
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (name.to_owned(), unescaped(value))).collect();
    let mut request = Request { method, path: path.to_owned(), query, headers, body: Vec::new(), encoded_length: 0 };
    ensure!(request.header("host").is_some_and(|host| !host.is_empty()), "a request without Host (RFC 9112, 3.2)");
    let length = body_length(&request)?;
    if request.header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
        // Whoever asks waits for it (RFC 9110, 10.1.1).
        let mut client = *reader.get_ref();
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.encoded_length = length;
    if length > most {
        drop_body(reader, length)?;
        return Ok(Some(request));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).context("the body was cut")?;
    request.body = decoded(body, request.header("content-encoding"))?;
    Ok(Some(request))
}

fn body_length(request: &Request) -> Result<usize> {
    let Some(length) = request.header("content-length") else {
        ensure!(request.header("transfer-encoding").is_none(), "a body in chunks is not expected: its length is known");
        return Ok(0);
    };
    length.parse().with_context(|| format!("Content-Length: {length}"))
}

/// What the kernel has of it is not copied (MSG_TRUNC of tcp(7)).
fn drop_body(reader: &mut BufReader<&TcpStream>, length: usize) -> Result<()> {
    let at_hand = reader.buffer().len().min(length);
    reader.consume(at_hand);
    let (mut left, mut nowhere) = (length - at_hand, vec![0; 1 << 20]);
    while left > 0 {
        let most = left.min(nowhere.len());
        let connection = reader.get_ref().as_raw_fd();
        let dropped = recv(connection, &mut nowhere[..most], MsgFlags::MSG_TRUNC)?;
        ensure!(dropped > 0, "the body was cut");
        left -= dropped;
    }
    Ok(())
}

fn decoded(body: Vec<u8>, encoding: Option<&str>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match encoding {
        // Snappy's blocks are the business of those who know how long they may be.
        None | Some("snappy") => return Ok(body),
        Some("gzip") => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut out)?,
        Some("zstd") => zstd::stream::read::Decoder::new(&body[..])?.read_to_end(&mut out)?,
        Some(other) => bail!("Content-Encoding: {other} is not known"),
    };
    Ok(out)
}

/// Without its percent-encoding (RFC 3986, 2.1).
pub fn unescaped(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_reply(mut connection: &TcpStream, reply: &Reply) -> Result<()> {
    let mut head = format!("HTTP/1.1 {} -\r\n", reply.status);
    // An answer to HEAD tells the length of another body.
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.status == 204 {
        // No content, and no length of it (RFC 9110, 8.6).
        head = head.replacen("Content-Length: 0\r\n", "", 1);
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&reply.body);
    Ok(connection.write_all(&bytes)?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
