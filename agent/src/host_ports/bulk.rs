use super::exchange::Exchange;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// From this much in one read on, more of the kind is expected.
pub const MUCH: usize = 64 << 10;
/// Less than this at once, and it is over.
const LITTLE: usize = 16 << 10;
/// What an ordinary user may ask a pipe to hold.
const PIPE: i32 = 1 << 20;

/// Moves data from one socket to the other within the kernel, while there is much of it: it is not copied into this
/// process and out again. Returns when there is little, and whether that was the end.
///
/// `held_up` learns of bytes that wait for a slow client. `goes_on` is asked before each move: once it says no, this process has to see the bytes.
pub async fn bulk(
    (from, to): (&TcpStream, &TcpStream),
    held_up: Option<&Exchange>,
    goes_on: impl Fn() -> bool,
    hears: impl Fn(),
) -> io::Result<bool> {
    let Ok((read, write)) = pipe() else { return Ok(false) };
    while goes_on() {
        let moved = from.async_io(Interest::READABLE, || pass(from, &write)).await?;
        if moved == 0 {
            return Ok(true);
        }
        hears();
        let mut left = moved;
        while left > 0 {
            match to.try_io(Interest::WRITABLE, || pass_up_to(&read, to, left)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => left -= taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(exchange) = held_up {
                        exchange.hold_up(true);
                    }
                    to.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(exchange) = held_up {
            exchange.hold_up(false);
        }
        if moved < LITTLE {
            break;
        }
    }
    Ok(false)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // A user with many of them gets smaller ones.
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE));
    Ok((read, write))
}

fn pass(from: &TcpStream, into: &OwnedFd) -> io::Result<usize> {
    let most = usize::try_from(PIPE).unwrap_or(LITTLE);
    Ok(splice(from, None, into, None, most, SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK)?)
}

fn pass_up_to(from: &OwnedFd, to: &TcpStream, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK)?)
}
