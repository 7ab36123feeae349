//! A receiver of Lumberjack, version 2, as Logstash's input `beats` is one: a fake that checks every byte.
//!
//! It keeps what it has acknowledged and nothing else, so that whoever relies on more loses lines.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::ZlibDecoder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::listening::Listening;
use crate::certificates::Certificates;
use crate::wait::eventually;

/// A longer frame than this comes from a sender that has lost its place.
const LONGEST_FRAME: usize = 64 << 20;

/// What happens to the next window, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many events are acknowledged, then the connection ends.
    CutAfter(u32),
    /// So many events are acknowledged, then nothing is said any more.
    StallAfter(u32),
    /// It takes its time, and says so; then all is acknowledged.
    Busy(Duration),
    /// Each event is acknowledged by itself.
    OneByOne,
}

/// The port stays the same through `stop` and `start_again`.
#[derive(Debug)]
pub struct LumberjackServer {
    listening: Listening,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    faults: Mutex<VecDeque<Fault>>,
    events: Mutex<Vec<Value>>,
    /// What came in and is no Lumberjack.
    complaints: Mutex<Vec<String>>,
}

impl LumberjackServer {
    pub fn start() -> Result<Self> {
        Self::launch(None)
    }

    pub fn start_tls(certificates: &Certificates) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificates.path("server.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(certificates.path("server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Self::launch(Some(Arc::new(config)))
    }

    fn launch(tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let shared =
            Arc::new(Shared { tls, faults: Mutex::default(), events: Mutex::default(), complaints: Mutex::default() });
        let serving = shared.clone();
        let listening = Listening::start(move |connection, _| {
            if let Err(error) = serving.serve(connection)
                && !is_end(&error)
            {
                lock(&serving.complaints).push(format!("{error:#}"));
            }
        })?;
        Ok(Self { listening, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// The next windows go so, one each.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    pub fn outstanding_faults(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// What was acknowledged, in the order of arrival.
    ///
    /// # Errors
    /// Something came in that is no Lumberjack.
    pub fn events(&self) -> Result<Vec<Value>> {
        let complaints = lock(&self.shared.complaints);
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(lock(&self.shared.events).clone())
    }

    pub fn wait_for_events(&self, count: usize, timeout: Duration) -> Result<Vec<Value>> {
        eventually(&format!("{count} events at the receiver"), timeout, || {
            let there = lock(&self.shared.events).len();
            if there >= count {
                self.events()
            } else {
                bail!("{there} have arrived {:?}", lock(&self.shared.complaints))
            }
        })
    }

    /// Ends all connections, as a receiver does with idle ones.
    pub fn close_connections(&self) {
        self.listening.close_connections();
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
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        match &self.tls {
            Some(config) => self.take_windows(StreamOwned::new(ServerConnection::new(config.clone())?, stream)),
            None => self.take_windows(stream),
        }
    }

    fn take_windows(&self, mut stream: impl Read + Write) -> Result<()> {
        loop {
            let events = next_window(&mut stream)?;
            let count = u32::try_from(events.len())?;
            let fault = lock(&self.faults).pop_front();
            match fault {
                None => self.acknowledge(&mut stream, &events, 0..count)?,
                Some(Fault::CutAfter(some)) => {
                    return self.acknowledge(&mut stream, &events, 0..some.min(count));
                }
                Some(Fault::StallAfter(some)) => {
                    self.acknowledge(&mut stream, &events, 0..some.min(count))?;
                    // Until the sender has had enough.
                    let _ = stream.read(&mut [0]);
                    return Ok(());
                }
                Some(Fault::Busy(time)) => {
                    for _ in 0..4 {
                        thread::sleep(time / 4);
                        acknowledge(&mut stream, 0)?;
                    }
                    self.acknowledge(&mut stream, &events, 0..count)?;
                }
                Some(Fault::OneByOne) => {
                    for number in 0..count {
                        self.acknowledge(&mut stream, &events, number..number + 1)?;
                    }
                }
            }
        }
    }

    /// Keeps the events and says so.
    fn acknowledge(&self, stream: &mut impl Write, events: &[Value], range: std::ops::Range<u32>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let kept = events.get(range.start as usize..range.end as usize).context("an acknowledgement of too much")?;
        lock(&self.events).extend_from_slice(kept);
        acknowledge(stream, range.end as usize)
    }
}

/// Waits for a window; its events.
///
/// # Errors
/// The connection ended ([`is_end`]), or what came is no window.
pub fn next_window(stream: &mut impl Read) -> Result<Vec<Value>> {
    let count = header(stream, b'W')?;
    read_window(stream, count)
}

/// Says that so many events of the window are there.
pub fn acknowledge(stream: &mut impl Write, events: usize) -> Result<()> {
    let mut frame = b"2A".to_vec();
    frame.extend_from_slice(&u32::try_from(events)?.to_be_bytes());
    Ok(stream.write_all(&frame).and_then(|()| stream.flush())?)
}

/// The events of a window: frames of one event each, or one compressed frame with all of them.
fn read_window(stream: &mut impl Read, count: u32) -> Result<Vec<Value>> {
    ensure!(count > 0, "a window of no events");
    let mut first = [0; 2];
    stream.read_exact(&mut first)?;
    match first {
        [b'2', b'J'] => {
            let mut events = vec![event_after_type(stream, 1)?];
            for number in 2..=count {
                events.push(event(stream, number)?);
            }
            Ok(events)
        }
        [b'2', b'C'] => {
            let mut frame = vec![0; length(stream)?];
            stream.read_exact(&mut frame)?;
            let mut zlib = ZlibDecoder::new(&frame[..]);
            let mut content = Vec::new();
            zlib.read_to_end(&mut content)
                .map_err(|error| anyhow::anyhow!("no zlib in a compressed frame: {error}"))?;
            ensure!(zlib.into_inner().is_empty(), "something follows the zlib stream of a compressed frame");
            let mut rest = &content[..];
            let events = (1..=count).map(|number| event(&mut rest, number).context("in a compressed frame"));
            let events = events.collect::<Result<Vec<_>>>().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            ensure!(rest.is_empty(), "{} bytes follow the events of a compressed frame", rest.len());
            Ok(events)
        }
        other => bail!("neither events nor a compressed frame: {}", other.escape_ascii()),
    }
}

fn event(stream: &mut impl Read, number: u32) -> Result<Value> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    ensure!(head == *b"2J", "no event: {}", head.escape_ascii());
    event_after_type(stream, number)
}

fn event_after_type(stream: &mut impl Read, number: u32) -> Result<Value> {
    let found = number_of(stream)?;
    ensure!(found == number, "event {found} where {number} is due");
    let mut text = vec![0; length(stream)?];
    stream.read_exact(&mut text)?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| anyhow::anyhow!("{error}: {}", text.escape_ascii()))?;
    let time = value["@timestamp"].as_str().unwrap_or_default();
    ensure!(value.is_object() && time.contains('T'), "no event with a time: {value}");
    Ok(value)
}

fn header(stream: &mut impl Read, kind: u8) -> Result<u32> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    ensure!(head == [b'2', kind], "no frame of type {:?}: {}", char::from(kind), head.escape_ascii());
    number_of(stream)
}

fn number_of(stream: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn length(stream: &mut impl Read) -> Result<usize> {
    let length = number_of(stream)? as usize;
    ensure!(length <= LONGEST_FRAME, "a frame of {length} bytes");
    Ok(length)
}

/// Whether a connection only ended, or was ended.
pub fn is_end(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
