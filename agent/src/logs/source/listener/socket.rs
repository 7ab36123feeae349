use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use nix::sys::stat::fstat;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};

/// The largest datagram: the most that a Unix socket lets a sender send, unless its limits were raised.
pub(super) const LARGEST: usize = 256 << 10;
/// What the kernel is asked to keep for us of datagrams that were not read yet.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket that gives connections.
#[derive(Debug)]
pub(super) enum Streams {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// A socket that gives datagrams.
#[derive(Debug)]
pub(super) enum Datagrams {
    Udp(UdpSocket),
    Unix { socket: UnixDatagram, _file: SocketFile },
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The name of a Unix socket, which goes with it.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Streams {
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Self> {
        let open = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        open().map(Self::Tcp).map_err(|error| at(format_args!("TCP {address}"), &error))
    }

    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let open = || {
            remove_stale(path, |path| unix::UnixStream::connect(path).map(drop))?;
            let listener = UnixListener::bind(path)?;
            let file = SocketFile(path.to_owned());
            fs::set_permissions(path, Permissions::from_mode(0o666))?;
            Ok(Self::Unix { listener, _file: file })
        };
        open().map_err(|error: io::Error| at(path.display(), &error))
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Datagrams {
    pub(super) fn udp(address: SocketAddr) -> io::Result<Self> {
        let open = || {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(with_buffer(socket))
        };
        open().map(Self::Udp).map_err(|error| at(format_args!("UDP {address}"), &error))
    }

    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let open = || {
            remove_stale(path, |path| unix::UnixDatagram::unbound()?.connect(path))?;
            let socket = with_buffer(UnixDatagram::bind(path)?);
            let file = SocketFile(path.to_owned());
            // As /dev/log: whoever runs here may log.
            fs::set_permissions(path, Permissions::from_mode(0o666))?;
            Ok(Self::Unix { socket, _file: file })
        };
        open().map_err(|error: io::Error| at(path.display(), &error))
    }

    /// Messages come from this host and name no host.
    pub(super) fn are_local(&self) -> bool {
        matches!(self, Self::Unix { .. })
    }

    /// Waits until there is one. Cancel-safe. An error is met again by the next receive.
    pub(super) async fn readable(&self) {
        let _ = match self {
            Self::Udp(socket) => socket.readable().await,
            Self::Unix { socket, .. } => socket.readable().await,
        };
    }

    /// How many datagrams the kernel dropped because we did not read fast enough; a Unix socket holds its senders back.
    pub(super) fn dropped_by_kernel(&self) -> u64 {
        let Self::Udp(socket) = self else { return 0 };
        let Ok(inode) = fstat(socket).map(|stat| stat.st_ino.to_string()) else { return 0 };
        let of_file = |path: &str| {
            let text = fs::read_to_string(path).ok()?;
            text.lines().find_map(|line| dropped_of(line, &inode))
        };
        ["/proc/net/udp", "/proc/net/udp6"].into_iter().find_map(of_file).unwrap_or(0)
    }

    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.try_recv(buffer),
            Self::Unix { socket, .. } => socket.try_recv(buffer),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The last column of a line of `/proc/net/udp`, if it is about the socket of this inode (the tenth one).
fn dropped_of(line: &str, inode: &str) -> Option<u64> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    (columns.get(9) == Some(&inode)).then(|| columns.last()?.parse().ok()).flatten()
}

/// The kernel gives less where net.core.rmem_max is less, which is no reason not to listen.
fn with_buffer<S: AsFd>(socket: S) -> S {
    let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER);
    socket
}

/// Removes the name of a socket on which nobody listens any more.
fn remove_stale(path: &Path, connect: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if metadata.file_type().is_socket() && connect(path).is_err_and(is_refused) {
        return fs::remove_file(path);
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "something else is there"))
}

fn at(place: impl std::fmt::Display, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; end what listens there, or choose another place",
        io::ErrorKind::PermissionDenied => "; see that the agent may (a port below 1024 takes CAP_NET_BIND_SERVICE)",
        io::ErrorKind::NotFound => "; create its folder",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::dropped_of;

    #[test]
    fn the_kernels_drops_are_those_of_the_socket_itself() {
        let line = " 3170: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 12";
        assert_eq!(dropped_of(line, "4711"), Some(12));
        assert_eq!(dropped_of(line, "2"), None);
        assert_eq!(dropped_of("  sl  local_address", "4711"), None);
    }
}
