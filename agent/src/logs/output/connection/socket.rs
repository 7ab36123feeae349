use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::TcpStream;

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

/// Bytes in the send queue: what the other side's kernel has not acknowledged.
pub fn unacknowledged(stream: &TcpStream) -> nix::Result<u64> {
    ioctl::unacknowledged(stream.as_raw_fd())
}

/// Whether the other side ended the connection in order, after it had read everything.
pub fn has_ended(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Ok(0))
}

/// Sets how soon a broken connection is noticed.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    setsockopt(stream, sockopt::TcpUserTimeout, &u32::try_from(VANISHED.as_millis()).unwrap_or(u32::MAX))?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)?;
    stream.set_nodelay(true)
}
