//! What stands in front of a store and fails as networks and stores do: connections that are cut, bytes that change,
//! stores that are busy, parts that are acknowledged and lost. It can speak TLS to the client.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use md5::{Digest as _, Md5};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Certificates;

const TIMEOUT: Duration = Duration::from_secs(120);
const PIECE: usize = 64 << 10;
/// What arrives late of a body.
const LATE: usize = 1 << 10;

/// What happens to a request that has a body of at least a mebibyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// The answer is 503 SlowDown.
    Busy,
    /// One bit of the body changes.
    Corrupt,
    /// The answer is success, and the store never hears of it.
    Swallow,
    /// All arrives, and the answer does not.
    NoAnswer,
}

/// When a request stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the store hears of it.
    Before,
    /// When the store has all but its last bytes, and its client has sent those too: they arrive when it goes on.
    Late,
    /// When the store has done it, before its client hears of that.
    After,
}

/// A request that is to stand still, until this is dropped: then its connection ends, for its client.
#[derive(Debug)]
pub struct Hold {
    reached: Receiver<()>,
    _release: Sender<()>,
}

impl Hold {
    /// Waits until the request is there.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        self.reached.recv_timeout(limit).context("no such request came")
    }
}

/// The other end of a hold.
#[derive(Debug)]
struct Trap {
    /// What the request's first line has in it, all of them.
    words: Vec<String>,
    moment: Moment,
    reached: Sender<()>,
    released: Receiver<()>,
}

impl Trap {
    fn stand_still(self) -> io::Error {
        let _ = self.reached.send(());
        let _ = self.released.recv_timeout(TIMEOUT);
        io::ErrorKind::ConnectionReset.into()
    }
}

/// Listens in front of a store.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    tls: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<Fault>,
    /// Of requests without a body, for completions.
    completions: VecDeque<Fault>,
    requests: Vec<String>,
    trap: Option<Trap>,
}

struct Head {
    text: String,
    length: u64,
}

impl Front {
    pub fn start(store: &str, tls: Option<&Certificates>) -> Result<Self> {
        let backend: SocketAddr = store.trim_start_matches("http://").parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let config = tls.map(server_config).transpose()?;
        let state = Arc::<Mutex<State>>::default();
        let front = Self { address, tls: tls.is_some(), state: state.clone() };
        thread::spawn(move || {
            // Ends with the test's process.
            for client in listener.incoming().flatten() {
                let (config, state) = (config.clone(), state.clone());
                thread::spawn(move || serve(client, config, backend, &state));
            }
        });
        Ok(front)
    }

    /// `http://127.0.0.1:PORT`, or with `https`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Lets the next requests with large bodies fail so, one after the other.
    pub fn fail(&self, faults: &[Fault]) {
        locked(&self.state).faults.extend(faults);
    }

    /// Lets the next completions of uploads in parts fail so.
    pub fn fail_completions(&self, faults: &[Fault]) {
        locked(&self.state).completions.extend(faults);
    }

    /// Lets the next request stand still whose first line has these words in it.
    pub fn hold(&self, words: &[&str], moment: Moment) -> Hold {
        let ((reached, told), (release, released)) = (channel(), channel());
        let words = words.iter().map(ToString::to_string).collect();
        locked(&self.state).trap = Some(Trap { words, moment, reached, released });
        Hold { reached: told, _release: release }
    }

    /// Faults that nothing has met yet.
    pub fn left(&self) -> usize {
        let state = locked(&self.state);
        state.faults.len() + state.completions.len()
    }

    /// The lines of the requests since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).requests)
    }

    /// Waits for a request that begins so, which is seen at most half a millisecond late.
    pub fn wait_for(&self, request: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        while !self.requests().iter().any(|line| line.starts_with(request)) {
            ensure!(began.elapsed() < limit, "no {request}");
            thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server_config(certificates: &Certificates) -> Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_slice(&fs::read(certificates.path("server.pem"))?)?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(certificates.path("server.key"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key)?))
}

/// One request of a connection; whatever goes wrong ends it, as it would in a network.
fn serve(client: TcpStream, tls: Option<Arc<ServerConfig>>, backend: SocketAddr, state: &Mutex<State>) {
    let _ = client.set_read_timeout(Some(TIMEOUT));
    let _ = client.set_write_timeout(Some(TIMEOUT));
    let _ = match tls {
        None => carry(client, backend, state),
        Some(config) => ServerConnection::new(config)
            .map_err(io::Error::other)
            .and_then(|connection| carry(StreamOwned::new(connection, client), backend, state)),
    };
}

fn carry(client: impl Read + Write, backend: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::with_capacity(PIECE, client);
    let head = read_head(&mut client)?;
    let (fault, trap) = {
        let mut state = locked(state);
        let line = head.text.lines().next().unwrap_or_default().to_owned();
        let of_s3 = line.starts_with("POST ") && line.contains("uploadId=");
        let completion = of_s3 || line.contains("multipart-manifest=put");
        let trap = state.trap.take_if(|trap| trap.words.iter().all(|word| line.contains(word)));
        state.requests.push(line);
        let fault = match head.length {
            _ if completion => state.completions.pop_front(),
            length if length >= 1 << 20 => state.faults.pop_front(),
            _ => None,
        };
        (fault, trap)
    };
    let after = match trap {
        Some(trap) if trap.moment == Moment::Before => return Err(trap.stand_still()),
        Some(trap) if trap.moment == Moment::Late => {
            let mut body = Vec::new();
            client.take(head.length).read_to_end(&mut body)?;
            let (first, last) = body.split_at(body.len().saturating_sub(LATE));
            let mut store = TcpStream::connect(backend)?;
            store.write_all(head.text.as_bytes())?;
            store.write_all(first)?;
            let gone = trap.stand_still();
            store.write_all(last)?;
            io::copy(&mut store, &mut io::sink())?;
            return Err(gone);
        }
        other => other,
    };
    match fault {
        Some(Fault::Busy) => {
            drain(&mut client, head.length)?;
            let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            return answer(client.get_mut(), "503 Slow Down", "", body);
        }
        Some(Fault::Swallow) => {
            let etag = format!("ETag: \"{}\"\r\n", drain(&mut client, head.length)?);
            return answer(client.get_mut(), "201 Created", &etag, "");
        }
        _ => {}
    }
    let mut store = TcpStream::connect(backend)?;
    store.set_read_timeout(Some(TIMEOUT))?;
    store.write_all(head.text.as_bytes())?;
    pass_body(&mut client, &mut store, head.length, fault)?;
    if fault == Some(Fault::NoAnswer) || after.is_some() {
        // The store has done all when its answer is there.
        io::copy(&mut store, &mut io::sink())?;
        return after.map_or(Ok(()), |trap| Err(trap.stand_still()));
    }
    io::copy(&mut store, client.get_mut())?;
    client.get_mut().flush()
}

/// The head of a request, as it goes to the store: for one request alone, and with the body at once.
fn read_head(client: &mut impl Read) -> io::Result<Head> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut head = String::new();
    let mut length = 0;
    for line in text.trim_end().split("\r\n") {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line.split(':').nth(1).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
        }
        if name != "connection" && name != "expect" {
            head.push_str(line);
            head.push_str("\r\n");
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    Ok(Head { text: head, length })
}

fn pass_body(client: &mut impl Read, store: &mut impl Write, length: u64, fault: Option<Fault>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut passed = 0;
    while passed < length {
        let most = usize::try_from(length - passed).unwrap_or(PIECE).min(PIECE);
        let read = client.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if fault == Some(Fault::Corrupt) && passed == 0 {
            buffer[0] ^= 1;
        }
        store.write_all(&buffer[..read])?;
        passed += read as u64;
        if matches!(fault, Some(Fault::Cut(after)) if passed >= after) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}

/// Reads a body and gives its MD5.
fn drain(client: &mut impl Read, length: u64) -> io::Result<String> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; PIECE];
    let mut body = client.take(length);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn answer(client: &mut impl Write, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(client, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    client.flush()
}
