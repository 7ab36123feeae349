use super::Failure;
use crate::logs::output::encode::datagrams;
use hostwright_core::config::values::HostPort;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::sleep;

/// A receiver's buffer holds some hundred datagrams unless somebody made it larger, and drops what comes beyond: after
/// so many it is given time to read them. Some ten thousand a second still go.
const BURST: u32 = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// A receiver of datagrams. Nobody acknowledges them; at most its host says that nobody listens.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    address: String,
}

impl DatagramSocket {
    pub async fn open(address: &HostPort) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::closed(format!("cannot send to {}: {error} (lines wait in their files)", address.0))
        };
        let resolved = lookup_host(&address.0).await.map_err(failed)?.next();
        let to = resolved.ok_or_else(|| failed(io::Error::other("its name has no address")))?;
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(from).await.map_err(failed)?;
        socket.connect(to).await.map_err(failed)?;
        Ok(Self { socket, address: address.0.clone() })
    }

    /// Sends the datagrams that stand in `bytes`, each behind its length.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        for (number, datagram) in (1..).zip(datagrams::each(bytes)) {
            self.socket.send(datagram).await.map_err(|error| self.refused(&error))?;
            if number % BURST == 0 {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Fails if the receiver's host said that nobody listens.
    pub fn check(&self) -> Result<(), Failure> {
        loop {
            match self.socket.try_recv(&mut [0; 512]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.refused(&error)),
            }
        }
    }

    /// Waits until the receiver's host says something. Cancel-safe.
    pub async fn spoken(&self) -> Result<(), Failure> {
        self.socket.readable().await.map_err(|error| self.refused(&error))
    }

    /// What was sent of late has perhaps not arrived either.
    fn refused(&self, error: &io::Error) -> Failure {
        Failure {
            why: format!(
                "cannot send to {}: {error}; see that the receiver runs (lines wait in their files)",
                self.address
            ),
            reset: true,
            expected: false,
        }
    }
}
