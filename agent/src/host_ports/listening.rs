use super::table::{Listen, Protocol};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use sd_notify::NotifyState;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// Connections that may wait for a target; the kernel's `net.core.somaxconn` has the last word.
const QUEUE: i32 = 4096;

/// The sockets that an earlier process left with systemd, by their names.
pub fn left_with_systemd() -> HashMap<String, OwnedFd> {
    let descriptors = sd_notify::listen_fds_with_names().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let kept = descriptors.into_iter().filter_map(|(descriptor, name)| {
        #[expect(unsafe_code, reason = "the process itself never closes what systemd handed over")]
        // SAFETY: the descriptor is open, as systemd says in LISTEN_FDS, and stays so.
        let kept = unsafe { BorrowedFd::borrow_raw(descriptor) };
        Some((name, kept.try_clone_to_owned().ok()?))
    });
    kept.collect()
}

/// Leaves a socket with systemd, so that it outlives this process.
pub fn leave_with_systemd(listen: &Listen, socket: &OwnedFd) {
    let name = stored_name(listen);
    let states = [NotifyState::FdStore, NotifyState::FdName(&name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[socket.as_fd()]) {
        log::warn!("systemd does not keep the socket of {listen}: {error}");
    }
}

/// Takes it back.
pub fn forget_at_systemd(listen: &Listen) {
    let name = stored_name(listen);
    // Outside systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
}

/// A name of systemd's must not hold a colon.
pub fn stored_name(listen: &Listen) -> String {
    listen.to_string().replace(':', "_").replace('/', "-")
}

/// A socket for a port.
///
/// # Errors
/// It cannot be had.
pub fn open(wanted: &Listen) -> io::Result<OwnedFd> {
    let family = if wanted.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match wanted.protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let opened = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if wanted.protocol == Protocol::Tcp {
        setsockopt(&opened, sockopt::ReuseAddr, &true)?;
        // Each connection has these from here, without a call of its own: nothing waits for more to send, and a client
        // that is gone without a word is noticed.
        setsockopt(&opened, sockopt::TcpNoDelay, &true)?;
        setsockopt(&opened, sockopt::KeepAlive, &true)?;
    }
    if wanted.address.is_ipv6() {
        setsockopt(&opened, sockopt::Ipv6V6Only, &true)?;
    }
    bind(opened.as_raw_fd(), &SockaddrStorage::from(wanted.address))?;
    if wanted.protocol == Protocol::Tcp {
        listen(&opened, Backlog::new(QUEUE)?)?;
    }
    Ok(opened)
}

/// Why a port cannot be had, with what to do.
pub fn explain(listen: &Listen, error: &io::Error) -> String {
    let (port, flag) = (listen.address.port(), if listen.protocol == Protocol::Tcp { "t" } else { "u" });
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program holds it, and `ss -ln{flag}p 'sport = :{port}'` names that one")
        }
        io::ErrorKind::AddrNotAvailable => "the host has no such address; `ip address` lists those it has".into(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 take root or CAP_NET_BIND_SERVICE; see systemctl cat hostwright-ports".into()
        }
        _ => "choose another port".into(),
    };
    format!("the port {listen} cannot be had: {error}; {remedy}")
}

/// Whether this host has IPv6 at all.
pub fn has_ipv6() -> bool {
    fs::metadata("/proc/net/if_inet6").is_ok_and(|file| file.is_file())
        && socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).is_ok()
}
