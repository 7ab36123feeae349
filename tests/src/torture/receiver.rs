use super::arrivals::Arrivals;
use super::gate::Hold;
use super::idle;
use super::world::World;
use crate::port::Port;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A receiver of messages over TCP, one connection after the other, that stalls, reads slowly, resets, closes, accepts
/// and reads nothing, and refuses.
#[derive(Debug)]
pub struct Receiver {
    pub port: Port,
    pub protocol: Protocol,
    /// Connections that were broken with bytes unread.
    pub resets: AtomicU64,
    /// Connections that were closed in order.
    pub closes: AtomicU64,
}

/// What a run's receiver without acknowledgements takes, by the run's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// With octet counting (RFC 6587, 3.4.1).
    Syslog,
    /// GELF 1.1, each message with a NUL behind it.
    Gelf,
}

/// Twice as much, which the kernel makes of it, is what a connection gets by default, overhead included.
const RECEIVE_BUFFER: usize = 3 << 20;
/// How long the agent may take to make durable what it is to send again: its positions are at most a second late.
const NOTICED: Duration = Duration::from_secs(2);

/// What a receiver does with a connection, beside reading it.
#[derive(Clone, Copy, Debug)]
enum Whim {
    Stall(u64),
    ReadSlowly,
    Reset,
    Close,
}

impl Receiver {
    pub fn new(world: &World) -> anyhow::Result<Self> {
        let protocol = if world.rng("protocol").bool() { Protocol::Gelf } else { Protocol::Syslog };
        Ok(Self { port: Port::reserve()?, protocol, resets: AtomicU64::new(0), closes: AtomicU64::new(0) })
    }

    /// As an output of the agent.
    pub fn settings(&self) -> String {
        let address = self.port.address();
        match self.protocol {
            Protocol::Syslog => format!("{{syslog: {{address: '{address}'}}}}"),
            Protocol::Gelf => format!("{{gelf: {{address: '{address}'}}}}"),
        }
    }

    /// Receives until the run is over.
    pub fn run(&self, arrivals: &Arrivals, world: &World) -> io::Result<()> {
        let mut serving = Serving {
            receiver: self,
            arrivals,
            world,
            rng: world.rng("receiver"),
            hold: None,
            next_break: Instant::now(),
        };
        while !world.calm.is_over() {
            serving.listen()?;
            idle(&mut serving.rng, 0..1500);
        }
        Ok(())
    }
}

struct Serving<'a> {
    receiver: &'a Receiver,
    arrivals: &'a Arrivals,
    world: &'a World,
    rng: fastrand::Rng,
    /// Since a connection was broken, until the agent has noticed and stored what it is to send again: what it was
    /// about to send again is known to itself alone.
    hold: Option<(Hold, Option<Instant>)>,
    /// No connection is broken before: the agent's end shall have its time too.
    next_break: Instant,
}

impl Serving<'_> {
    /// Serves some connections, and refuses then.
    fn listen(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.receiver.port.address())?;
        listener.set_nonblocking(true)?;
        // Connections inherit it. Machines with more than Linux' default of 6 MiB would let more be lost unread.
        setsockopt(&listener, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        let connections = self.rng.u32(1..5);
        let mut served = 0;
        while !self.world.calm.is_over() && (served < connections || !self.may_refuse()) {
            match accepted(&listener)? {
                Some((connection, from)) => {
                    if let Some((_, until)) = &mut self.hold {
                        *until = Some(Instant::now() + NOTICED);
                    }
                    self.serve(&connection, from, true)?;
                    served += 1;
                }
                None => idle(&mut self.rng, 2..10),
            }
            self.release();
        }
        // What stands in the queue would be reset: nobody but a running agent could send it again.
        let hold = self.world.gate.hold();
        while let Some((connection, from)) = accepted(&listener)? {
            match self.world.gate.hold_with_connection(from) {
                Some(_) => self.receiver.resets.fetch_add(1, Ordering::Relaxed),
                None => self.serve(&connection, from, false).map(|()| 0)?,
            };
        }
        // While somebody waits for the holds to end there is no new one: that of a reset goes on all the same.
        self.hold = hold.map(|hold| (hold, None)).or(self.hold.take());
        drop(listener);
        self.world.story.tell("receiver refuses");
        Ok(())
    }

    fn has_whims(&self) -> bool {
        !self.world.calm.has_begun() && self.world.has("whims")
    }

    fn may_refuse(&self) -> bool {
        self.has_whims() && Instant::now() >= self.next_break
    }

    fn release(&mut self) {
        if self.hold.take_if(|(_, until)| until.is_some_and(|until| until <= Instant::now())).is_some() {
            self.next_break = Instant::now() + Duration::from_millis(self.rng.u64(1000..5000));
        }
    }

    /// Reads one connection to its end.
    fn serve(&mut self, connection: &TcpStream, from: SocketAddr, whims: bool) -> io::Result<()> {
        connection.set_nonblocking(false)?;
        connection.set_read_timeout(Some(Duration::from_millis(20)))?;
        self.world.story.tell("receiver accepts");
        let mut messages = Messages::of(self.receiver.protocol);
        let mut next_whim = Instant::now() + Duration::from_millis(self.rng.u64(50..2000));
        let mut slow_until = Instant::now();
        while !self.world.calm.is_over() {
            self.release();
            let most = if Instant::now() < slow_until { 2000 } else { 256 << 10 };
            if !messages.read(connection, most, self.arrivals)? {
                self.world.story.tell("receiver sees the end");
                return Ok(());
            }
            if Instant::now() < slow_until {
                idle(&mut self.rng, 1..3);
            }
            if Instant::now() < next_whim || !whims || !self.has_whims() {
                continue;
            }
            next_whim = Instant::now() + Duration::from_millis(self.rng.u64(50..2000));
            let whim = whim(&mut self.rng);
            self.world.story.tell(&format!("receiver: {whim:?}"));
            match whim {
                Whim::Stall(milliseconds) => idle(&mut self.rng, milliseconds..milliseconds + 1),
                Whim::ReadSlowly => slow_until = Instant::now() + Duration::from_millis(self.rng.u64(100..2000)),
                Whim::Reset if Instant::now() < self.next_break => {}
                Whim::Reset if self.reset(connection, from)? => return Ok(()),
                Whim::Reset => self.world.story.tell("receiver: no reset, the sender is gone"),
                Whim::Close => return self.close(connection, &mut messages),
            }
        }
        Ok(())
    }

    /// Breaks the connection when it is dropped, if the one who sent is there to notice.
    fn reset(&mut self, connection: &TcpStream, from: SocketAddr) -> io::Result<bool> {
        let Some(hold) = self.world.gate.hold_with_connection(from) else { return Ok(false) };
        // Accepts and never acknowledges, for a while.
        if self.rng.bool() {
            idle(&mut self.rng, 10..3000);
        }
        self.hold = Some((hold, None));
        self.receiver.resets.fetch_add(1, Ordering::Relaxed);
        setsockopt(connection, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
        Ok(true)
    }

    /// What came until the other side noticed is still read.
    fn close(&self, connection: &TcpStream, messages: &mut Messages) -> io::Result<()> {
        self.receiver.closes.fetch_add(1, Ordering::Relaxed);
        connection.shutdown(Shutdown::Write).or_else(ended)?;
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && messages.read(connection, 256 << 10, self.arrivals)? {}
        Ok(())
    }
}

fn accepted(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn whim(rng: &mut fastrand::Rng) -> Whim {
    match rng.u8(..8) {
        0..2 => Whim::Stall(rng.u64(50..1000)),
        2 => Whim::Stall(rng.u64(1000..2500)),
        3 => Whim::ReadSlowly,
        4..7 => Whim::Reset,
        _ => Whim::Close,
    }
}

/// A connection that the agent's end took with it has ended, as others do.
fn ended(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::NotConnected | ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    }
}

/// Messages out of a stream.
struct Messages {
    protocol: Protocol,
    buffer: Vec<u8>,
    room: Vec<u8>,
}

impl Messages {
    fn of(protocol: Protocol) -> Self {
        Self { protocol, buffer: Vec::new(), room: Vec::new() }
    }

    /// Reads once and takes in the messages that are complete; whether the stream goes on.
    fn read(&mut self, mut connection: &TcpStream, most: usize, arrivals: &Arrivals) -> io::Result<bool> {
        self.room.resize(most, 0);
        let length = match connection.read(&mut self.room) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(true),
            Err(error) => return ended(error).map(|()| false),
        };
        self.buffer.extend_from_slice(&self.room[..length]);
        let mut rest = self.buffer.as_slice();
        while let Some((message, further)) = self.protocol.split(rest)? {
            match self.protocol {
                Protocol::Syslog => arrivals.take(message),
                Protocol::Gelf => take_gelf(message, arrivals),
            }
            rest = further;
        }
        let done = self.buffer.len() - rest.len();
        self.buffer.drain(..done);
        Ok(true)
    }
}

impl Protocol {
    /// The first message and what follows it.
    fn split(self, bytes: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
        match self {
            Self::Syslog => split_counted(bytes),
            Self::Gelf => {
                let end = memchr::memchr(0, bytes);
                Ok(end.map(|end| (&bytes[..end], &bytes[end + 1..])))
            }
        }
    }
}

/// A line without a message of its own is one as a whole.
fn take_gelf(message: &[u8], arrivals: &Arrivals) {
    let message: Result<serde_json::Value, _> = serde_json::from_slice(message);
    match message.as_ref().map(|message| message["short_message"].as_str()) {
        Ok(Some(line)) => arrivals.take(line.as_bytes()),
        Ok(None) => arrivals.complain("a GELF message without a text".into()),
        Err(error) => arrivals.complain(format!("no GELF: {error}")),
    }
}

fn split_counted(bytes: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let Some(space) = bytes.iter().take(12).position(|byte| *byte == b' ') else {
        return if bytes.len() < 12 { Ok(None) } else { Err(not_framed(bytes)) };
    };
    let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or_else(|| not_framed(bytes))?;
    Ok(bytes[space + 1..].split_at_checked(length))
}

fn not_framed(bytes: &[u8]) -> io::Error {
    io::Error::other(format!(
        "no length before the message: {}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
    ))
}
