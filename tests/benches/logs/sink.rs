use anyhow::Result;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What a receiver speaks.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// Records that end with this byte.
    Delimited(u8),
    /// HTTP/1.1; each record of a body ends with a newline. The answer has this body.
    Http(&'static str),
    /// Lumberjack, version 2.
    Lumberjack,
}

/// What is done with each record of a `Delimited` stream, when it is to be looked at.
pub type Look = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A receiver that counts records and answers as its protocol asks for, and does no more.
#[derive(Debug)]
pub struct Sink {
    pub address: SocketAddr,
    records: Arc<AtomicU64>,
}

impl Sink {
    pub fn start(protocol: Protocol, look: Option<Look>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let records = Arc::new(AtomicU64::new(0));
        let counter = records.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (counter, look) = (counter.clone(), look.clone());
                // A connection that breaks has an end as any other: what is missing is missed by who waits for it.
                thread::spawn(move || receive(&connection, protocol, &counter, look.as_ref()));
            }
        });
        Ok(Self { address, records })
    }

    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

fn receive(connection: &TcpStream, protocol: Protocol, counter: &AtomicU64, look: Option<&Look>) -> Result<()> {
    match protocol {
        Protocol::Delimited(end) => delimited(connection, end, counter, look),
        Protocol::Http(answer) => http(connection, answer, counter),
        Protocol::Lumberjack => lumberjack(connection, counter),
    }
}

fn delimited(mut connection: &TcpStream, end: u8, counter: &AtomicU64, look: Option<&Look>) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut rest = Vec::new();
    loop {
        let length = connection.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let read = &buffer[..length];
        if let Some(look) = look {
            rest.extend_from_slice(read);
            let whole = memchr::memrchr(end, &rest).map_or(0, |last| last + 1);
            rest[..whole].split_inclusive(|byte| *byte == end).for_each(|record| look(record));
            rest.drain(..whole);
        }
        counter.fetch_add(memchr::memchr_iter(end, read).count() as u64, Ordering::Relaxed);
    }
}

fn http(connection: &TcpStream, answer: &str, counter: &AtomicU64) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, connection);
    let mut writer = connection;
    loop {
        let Some((length, encoding)) = head(&mut reader)? else { return Ok(()) };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = match encoding.as_str() {
            "gzip" => read_all(MultiGzDecoder::new(body.as_slice()))?,
            "zstd" => zstd::decode_all(body.as_slice())?,
            _ => body,
        };
        counter.fetch_add(memchr::memchr_iter(b'\n', &body).count() as u64, Ordering::Relaxed);
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        // In one piece: the kernel would hold back a second one until the first is acknowledged.
        writer.write_all(&[head.as_bytes(), answer.as_bytes()].concat())?;
    }
}

/// The length of the body that follows and how it is encoded; none at the end.
fn head(reader: &mut impl BufRead) -> Result<Option<(usize, String)>> {
    let (mut length, mut encoding, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Ok(Some((length, encoding)));
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse()?,
            Some(("content-encoding", value)) => value.clone_into(&mut encoding),
            _ => {}
        }
    }
}

fn lumberjack(connection: &TcpStream, counter: &AtomicU64) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, connection);
    let mut writer = connection;
    let (mut window, mut last) = (0, 0);
    loop {
        let mut kind = [0; 2];
        reader.read_exact(&mut kind)?;
        match kind[1] {
            b'W' => window = number(&mut reader)?,
            b'J' => last = event(&mut reader)?,
            b'C' => {
                let mut compressed = vec![0; number(&mut reader)? as usize];
                reader.read_exact(&mut compressed)?;
                let frames = read_all(ZlibDecoder::new(compressed.as_slice()))?;
                let mut frames = frames.as_slice();
                while let Some(rest) = frames.get(2..).filter(|rest| !rest.is_empty()) {
                    frames = rest;
                    last = event(&mut frames)?;
                }
            }
            other => anyhow::bail!("a frame of type {other}"),
        }
        if kind[1] != b'W' && last == window {
            counter.fetch_add(u64::from(window), Ordering::Relaxed);
            writer.write_all(&[b"2A".as_slice(), &window.to_be_bytes()].concat())?;
        }
    }
}

/// Reads an event behind the type of its frame; its number in the window.
fn event(reader: &mut impl Read) -> Result<u32> {
    let sequence = number(reader)?;
    let length = u64::from(number(reader)?);
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
    Ok(sequence)
}

fn number(reader: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_all(mut reader: impl Read) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all)?;
    Ok(all)
}
