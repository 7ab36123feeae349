use super::Failure;
use hostwright_core::config::logs::output::Syslog;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CONNECT: Duration = Duration::from_secs(5);
/// A receiver that vanished without a word is noticed after this long with data on its way.
const VANISHED: Duration = Duration::from_secs(120);
/// ... and after this long without.
const KEEPALIVE_SECONDS: u32 = 60;

mod ioctl {
    #![expect(unsafe_code, reason = "an ioctl; it writes one int, which is given by reference")]

    nix::ioctl_read_bad!(
        /// SIOCOUTQ, which has the number of TIOCOUTQ (tcp(7)): bytes in the send queue.
        send_queue,
        nix::libc::TIOCOUTQ,
        nix::libc::c_int
    );

    pub fn unacknowledged(socket: std::os::fd::RawFd) -> nix::Result<u64> {
        let mut bytes = 0;
        // SAFETY: the caller's socket is open, and the kernel writes one int to where `bytes` is.
        unsafe { send_queue(socket, &raw mut bytes) }?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

/// A connection to a syslog receiver. The protocol has no acknowledgement; that of TCP is the best there is: the
/// receiver's kernel has it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
}

impl Connection {
    pub async fn open(settings: &Syslog) -> Result<Self, Failure> {
        let address = settings.address.0.clone();
        let refused = |error: io::Error| {
            Failure::closed(format!(
                "cannot connect to {address}: {error}; see that the receiver runs and a firewall lets it through (lines wait in their files)"
            ))
        };
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(&address));
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", CONNECT.as_secs()));
        let stream = connecting.await.map_err(|_| timed_out()).and_then(|result| result).map_err(refused)?;
        prepare(&stream).map_err(|error| refused(error.into()))?;
        stream.set_nodelay(true).map_err(refused)?;
        Ok(Self { stream, address })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await.map_err(|error| reset(&self.address, &error))
    }

    /// Bytes that the receiver's kernel has not acknowledged.
    pub fn unacknowledged(&self) -> Result<u64, Failure> {
        let bytes = ioctl::unacknowledged(self.stream.as_raw_fd()).map_err(|e| reset(&self.address, &e.into()))?;
        // The queue of a broken connection is empty too.
        self.check()?;
        Ok(bytes)
    }

    /// Whether the connection stands. What a receiver says is read and ignored.
    pub fn check(&self) -> Result<(), Failure> {
        loop {
            match self.stream.try_read(&mut [0; 512]) {
                Ok(0) => return Err(Failure::closed(format!("{} closed the connection", self.address))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(reset(&self.address, &error)),
            }
        }
    }

    /// Waits until the receiver says something or ends the connection. Cancel-safe.
    pub async fn spoken(&self) -> Result<(), Failure> {
        self.stream.readable().await.map_err(|error| reset(&self.address, &error))?;
        self.check()
    }
}

fn prepare(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::TcpUserTimeout, &u32::try_from(VANISHED.as_millis()).unwrap_or(u32::MAX))?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)
}

fn reset(address: &str, error: &io::Error) -> Failure {
    Failure::reset(format!("the connection to {address} broke: {error}"))
}
