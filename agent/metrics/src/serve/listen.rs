use anyhow::{Context as _, bail};
use hostwright_core::config::metrics::listen::Listen;
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 128;

/// Listens on every address, or on the sockets that systemd handed over.
///
/// # Errors
/// One cannot be had: which one, why, and what to do.
pub fn listen(wanted: &Listen) -> anyhow::Result<Vec<TcpListener>> {
    match wanted {
        Listen::Addresses(addresses) => bind(addresses),
        Listen::Systemd => handed_over(),
    }
}

/// Lets go of addresses that a thread which hangs still listens on, so that they can be had again. What systemd handed
/// over stays open.
pub fn close(wanted: &Listen, listeners: &[std::net::TcpListener]) {
    if matches!(wanted, Listen::Addresses(_)) {
        for listener in listeners {
            // One that is closed already is what is wanted.
            let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
        }
    }
}

fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let any4 = |port| addresses.iter().any(|other| other.port() == port && other.ip().is_ipv4());
    let bind = |address: &SocketAddr| {
        // [::] takes IPv4 too, unless that is listened on by itself.
        let only6 = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && any4(address.port());
        let bound = match bind_one(*address, only6) {
            // Every address of a host without IPv6 is every one of IPv4.
            Err(error) if is_without_ipv6(&error) && address.ip().is_unspecified() => {
                bind_one(SocketAddr::from(([0, 0, 0, 0], address.port())), false)
            }
            bound => bound,
        };
        bound.map_err(|error| {
            let text = refused(*address, &error);
            anyhow::Error::new(error).context(text)
        })
    };
    addresses.iter().map(bind).collect()
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

fn bind_one(address: SocketAddr, only6: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if only6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program holds the port, and `ss -ltnp 'sport = :{}'` names it; stop that one (often \
             `systemctl disable --now prometheus-node-exporter`) or set metrics.listen to another port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "the host has no such address (`ip address` lists those it has); set metrics.listen to one of them"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are not for this service; set metrics.listen to a higher one".to_owned()
        }
        _ => "set metrics.listen to another address".to_owned(),
    };
    format!("cannot listen on {address}: {remedy}")
}

/// The sockets of sd_listen_fds(3). They stay open for the next start of the duty, which gets copies as this one does.
fn handed_over() -> anyhow::Result<Vec<TcpListener>> {
    let descriptors = sd_notify::listen_fds().context("cannot use the sockets that systemd handed over")?;
    let listeners: Vec<TcpListener> = descriptors.map(copy).collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        bail!(
            "metrics.listen is systemd, but systemd handed over no socket; enable a socket unit with \
             Service=hostwright-agent.service and ListenStream=9100, or set metrics.listen to addresses"
        );
    }
    Ok(listeners)
}

fn copy(descriptor: RawFd) -> anyhow::Result<TcpListener> {
    #[expect(unsafe_code, reason = "nobody closes what systemd handed over: the process keeps it for later starts")]
    // SAFETY: the descriptor is open, as systemd says in LISTEN_FDS, and stays so.
    let kept = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let copy = || {
        let listener = std::net::TcpListener::from(kept.try_clone_to_owned()?);
        // A socket of another kind has no such address.
        listener.local_addr()?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    copy().context("a socket that systemd handed over is no TCP socket; give ListenStream= a port")
}

#[cfg(test)]
mod tests {
    use super::{Listen, bind, listen};

    fn refusal(addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().expect("address")).collect();
        format!("{:#}", bind(&addresses).expect_err("refused"))
    }

    #[tokio::test]
    async fn a_refused_address_is_named_with_what_to_do() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = holder.local_addr().expect("address");
        let text = refusal(&["127.0.0.1:0", &address.to_string()]);
        let want = format!(
            "cannot listen on {address}: another program holds the port, and `ss -ltnp 'sport = :{}'`",
            address.port()
        );
        assert!(text.starts_with(&want) && text.ends_with("(os error 98)"), "{text}");
        let text = refusal(&["203.0.113.1:9100"]);
        assert!(text.contains("203.0.113.1:9100: the host has no such address"), "{text}");
    }

    #[tokio::test]
    async fn ipv4_and_ipv6_can_be_listened_on_side_by_side() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped: this host has no IPv6");
            return;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free").port();
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|address| address.parse().expect("address"));
        assert_eq!(bind(&both).expect("bound").len(), 2);
    }

    #[tokio::test]
    async fn where_systemd_hands_over_nothing_it_is_told_how_it_would() {
        let text = listen(&Listen::Systemd).expect_err("none").to_string();
        assert!(text.contains("systemd handed over no socket"), "{text}");
    }
}
