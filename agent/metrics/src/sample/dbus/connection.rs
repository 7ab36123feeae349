use super::message::{self, Call, ERROR, Message, REPLY, Reader};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::unistd::geteuid;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

const READ_AT_ONCE: usize = 16 << 10;
/// An answer to a request to authenticate is one line.
const LONGEST_LINE: usize = 1024;

/// Where the bus is, and where a service is without one.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// The system's bus, to any user.
    pub bus: PathBuf,
    /// A service's own socket, to root alone.
    pub private: Option<PathBuf>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { bus: "/run/dbus/system_bus_socket".into(), private: None }
    }
}

/// A connection that is authenticated.
pub struct Connection {
    stream: UnixStream,
    is_private: bool,
    /// Of the last call.
    serial: u32,
    /// Of the first of the calls that were sent last.
    first: u32,
    /// How many were sent last.
    sent: u32,
    /// How many of them have no reply yet.
    due: u32,
    out: Vec<u8>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects to the bus, or to the service where there is no bus.
    pub fn open(sockets: &Sockets, until: Instant) -> io::Result<Self> {
        let bus = connect(&sockets.bus);
        let (stream, is_private) = match (bus, &sockets.private) {
            (Ok(stream), _) => (stream, false),
            (Err(error), Some(private)) if error.kind() != io::ErrorKind::TimedOut => {
                (connect(private).map_err(|_| error)?, true)
            }
            (Err(error), _) => return Err(error),
        };
        let mut connection = Self {
            stream,
            is_private,
            serial: 0,
            first: 1,
            sent: 0,
            due: 0,
            out: Vec::new(),
            buffer: Vec::new(),
            filled: 0,
        };
        connection.authenticate(until)?;
        if !is_private {
            let service = "org.freedesktop.DBus";
            let path = "/org/freedesktop/DBus";
            let hello = Call { destination: service, path, interface: service, member: "Hello", arguments: &[] };
            connection.send(&[hello], until)?;
            connection.receive(until, |_, _| ())?;
        }
        Ok(connection)
    }

    /// As the user that this process is.
    fn authenticate(&mut self, until: Instant) -> io::Result<()> {
        let mut user = String::new();
        for digit in geteuid().to_string().bytes() {
            // Writing to a text cannot fail.
            let _ = write!(user, "{digit:02x}");
        }
        self.out = format!("\0AUTH EXTERNAL {user}\r\n").into_bytes();
        self.flush(until)?;
        loop {
            if let Some(end) = self.buffer[..self.filled].windows(2).position(|pair| pair == b"\r\n") {
                let is_accepted = self.buffer.starts_with(b"OK ");
                self.consume(end + 2);
                if !is_accepted {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it refuses this user"));
                }
                self.out = b"BEGIN\r\n".to_vec();
                return self.flush(until);
            }
            if self.filled > LONGEST_LINE {
                return Err(io::Error::other("it does not speak D-Bus"));
            }
            self.fill(until)?;
        }
    }

    /// Whether nothing comes that was not asked for.
    pub fn is_quiet(&self) -> bool {
        !self.is_private || self.due > 0
    }

    /// Whether replies may still come: every call was sent whole.
    pub fn awaits_replies(&self) -> bool {
        self.due > 0 && self.out.is_empty()
    }

    /// Sends calls, which are all due then.
    pub fn send(&mut self, calls: &[Call<'_>], until: Instant) -> io::Result<()> {
        self.out.clear();
        (self.sent, self.due) = (0, 0);
        for call in calls {
            // 0 is no serial number.
            self.serial = self.serial.checked_add(1).unwrap_or(1);
            message::write(&mut self.out, self.serial, call);
            self.sent += 1;
        }
        self.first = self.serial.wrapping_sub(self.sent).wrapping_add(1);
        self.due = self.sent;
        self.flush(until)
    }

    /// Takes replies until none is due. Each comes with its place among the calls that were sent last.
    pub fn receive(&mut self, until: Instant, mut each: impl FnMut(usize, Option<Reader<'_>>)) -> io::Result<()> {
        while self.due > 0 {
            let mut used = 0;
            while let Some(message) = Message::read(&self.buffer[used..self.filled])? {
                used += message.length;
                let at = message.reply_serial.wrapping_sub(self.first);
                if matches!(message.kind, REPLY | ERROR) && at < self.sent {
                    self.due -= 1;
                    each(at as usize, (message.kind == REPLY).then_some(message.body));
                }
            }
            self.consume(used);
            if self.due > 0 {
                self.fill(until)?;
            }
        }
        Ok(())
    }

    fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }

    fn flush(&mut self, until: Instant) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(0) => return Err(ended()),
                Ok(written) => sent += written,
                Err(error) => self.wait_after(error, PollFlags::POLLOUT, until)?,
            }
        }
        self.out.clear();
        Ok(())
    }

    fn fill(&mut self, until: Instant) -> io::Result<()> {
        if self.buffer.len() - self.filled < READ_AT_ONCE {
            self.buffer.resize(self.filled + 2 * READ_AT_ONCE, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(ended()),
                Ok(read) => {
                    self.filled += read;
                    return Ok(());
                }
                Err(error) => self.wait_after(error, PollFlags::POLLIN, until)?,
            }
        }
    }

    fn wait_after(&self, error: io::Error, flags: PollFlags, until: Instant) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => {}
            _ => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        // A millisecond more than what is left, so that nothing spins before the end.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.stream.as_fd(), flags)], timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")
}

/// Never waits: where a service takes no more connections, it does not answer.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(socket.into()),
        Err(nix::Error::EAGAIN) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no connection")),
        Err(errno) => Err(errno.into()),
    }
}
