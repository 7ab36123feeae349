#![expect(
    unsafe_code,
    reason = "options of TCP for which no crate has safe names; each is given its own struct by reference"
)]

use super::segment::Segment;
use crate::host_ports::kernel::flows::Scales;
use nix::errno::Errno;
use nix::libc::{self, c_int, socklen_t};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

// What follows is linux/tcp.h, "TCP_REPAIR".
const REPAIR: c_int = 19;
const REPAIR_QUEUE: c_int = 20;
const QUEUE_SEQUENCE: c_int = 21;
const REPAIR_OPTIONS: c_int = 22;
const TIME_STAMP: c_int = 24;
const REPAIR_WINDOW: c_int = 29;
const RECEIVED: c_int = 1;
const SENT: c_int = 2;
const OPTION_WINDOW: u32 = 3;
const OPTION_SELECTIVE: u32 = 4;
const OPTION_TIME_STAMPS: u32 = 8;
/// The client's own limit is not known any more. So much passes everywhere.
const LARGEST_SEGMENT: c_int = 1220;

/// An option that both sides agreed on when the connection began.
#[repr(C)]
#[derive(Clone, Copy)]
struct Agreed {
    kind: u32,
    value: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Window {
    set_by: u32,
    open: u32,
    largest: u32,
    own: u32,
    own_from: u32,
}

/// A socket that is the host's end of the segment's connection, with the segment's payload as read. It says nothing yet.
pub fn take(segment: &Segment<'_>, scales: &Scales) -> io::Result<OwnedFd> {
    let taken = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    set(&taken, REPAIR, &1)?;
    for (queue, next) in [(SENT, segment.acknowledged), (RECEIVED, segment.end())] {
        set(&taken, REPAIR_QUEUE, &queue)?;
        set(&taken, QUEUE_SEQUENCE, &next)?;
    }
    set(&taken, libc::TCP_MAXSEG, &LARGEST_SEGMENT)?;
    bind(taken.as_raw_fd(), &SockaddrIn::from(segment.host))?;
    connect(taken.as_raw_fd(), &SockaddrIn::from(segment.client))?;
    let mut agreed = Vec::new();
    if let Some((client, own)) = scales.windows {
        agreed.push(Agreed { kind: OPTION_WINDOW, value: u32::from(client) | (u32::from(own) << 16) });
    }
    if scales.is_selective {
        agreed.push(Agreed { kind: OPTION_SELECTIVE, value: 0 });
    }
    if segment.echo.is_some() {
        agreed.push(Agreed { kind: OPTION_TIME_STAMPS, value: 0 });
    }
    set_all(&taken, REPAIR_OPTIONS, &agreed)?;
    if let Some(echo) = segment.echo {
        set(&taken, TIME_STAMP, &echo.wrapping_add(1))?;
    }
    let mut window: Window =
        get(&taken, REPAIR_WINDOW, Window { set_by: 0, open: 0, largest: 0, own: 0, own_from: 0 })?;
    window.set_by = segment.end();
    window.open = u32::from(segment.window) << scales.windows.map_or(0, |(client, _)| client.min(14));
    window.largest = window.largest.max(window.open);
    set(&taken, REPAIR_WINDOW, &window)?;
    Ok(taken)
}

/// The connection is like any other from here on; the client hears that its request has arrived.
pub fn let_go_on(taken: &OwnedFd) -> io::Result<()> {
    set(taken, REPAIR, &0)
}

fn set<T: Copy>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    set_all(socket, option, std::slice::from_ref(value))
}

fn set_all<T: Copy>(socket: &OwnedFd, option: c_int, values: &[T]) -> io::Result<()> {
    let length = size_of_val(values) as socklen_t;
    // SAFETY: the values are live and as long as is said.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, values.as_ptr().cast(), length) };
    Ok(Errno::result(done).map(drop)?)
}

fn get<T: Copy>(socket: &OwnedFd, option: c_int, mut value: T) -> io::Result<T> {
    let mut length = size_of::<T>() as socklen_t;
    // SAFETY: the value is live and as long as is said, and any bits are one.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw mut value).cast(), &raw mut length)
    };
    Errno::result(done)?;
    Ok(value)
}
