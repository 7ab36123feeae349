//! Connections to receivers: TCP or TLS, straight or through a proxy.
//!
//! In: bytes. Out: bytes, in order, and how many of them the receiver's kernel has. A connection that is broken stays
//! so; nothing survives it.

/// Asking a proxy for a connection.
mod proxy;
/// What the kernel knows of a socket.
mod socket;
/// TLS on a connection.
mod tls;

use hostwright_core::config::logs::output::Receiver;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// For the way through a proxy and the agreement on TLS too.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a connection is no good any more.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// A sentence with the address, the reason and the remedy.
    pub why: String,
    /// It ended without order: what was acknowledged by TCP may not have been read.
    pub reset: bool,
}

/// A connection to a receiver.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    address: String,
    /// What a proxy's kernel took has not reached the receiver, and how the receiver's connection ended is not told.
    through_proxy: bool,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// # Errors
    /// The receiver or its proxy does not answer, or they and we do not agree.
    pub async fn open(settings: &Receiver) -> Result<Self, Broken> {
        let address = settings.address.0.clone();
        let timed_out = || Err(format!("no answer within {} s; {UNREACHABLE}", CONNECT.as_secs()));
        let opened = tokio::time::timeout(CONNECT, open(settings)).await.unwrap_or_else(|_| timed_out());
        match opened {
            Ok(wire) => Ok(Self { wire, address, through_proxy: settings.proxy.is_some() }),
            Err(why) => {
                let why = format!("cannot connect to {address}: {why} (lines wait in their files)");
                Err(Broken { why, reset: false })
            }
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Hands all of it to the kernel.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let sent = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes).await,
            Wire::Tls(stream) => async { stream.write_all(bytes).await.and(stream.flush().await) }.await,
        };
        sent.map_err(|error| self.broken(&error))
    }

    /// Waits for bytes. Cancel-safe.
    ///
    /// # Errors
    /// The connection ended or broke.
    pub async fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Broken> {
        let received = match &mut self.wire {
            Wire::Plain(stream) => stream.read(bytes).await,
            Wire::Tls(stream) => stream.read(bytes).await,
        };
        self.received(received)
    }

    /// Takes bytes that are there already.
    ///
    /// # Errors
    /// The connection ended or broke.
    pub fn try_receive(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, Broken> {
        let received = match &mut self.wire {
            Wire::Plain(stream) => stream.try_read(bytes),
            Wire::Tls(stream) => {
                let mut buffer = ReadBuf::new(bytes);
                match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
                    Poll::Ready(result) => result.map(|()| buffer.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        };
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => self.received(received).map(Some),
        }
    }

    /// Fails unless the connection stands. What a receiver says is read and ignored.
    ///
    /// # Errors
    /// The connection ended or broke.
    pub fn check(&mut self) -> Result<(), Broken> {
        while self.try_receive(&mut [0; 512])?.is_some() {}
        Ok(())
    }

    /// At most so many of the sent bytes are not acknowledged by the receiver's kernel: with TLS, which makes more of
    /// them, fewer are.
    ///
    /// # Errors
    /// The connection ended or broke.
    pub fn unacknowledged(&mut self) -> Result<u64, Broken> {
        let bytes = socket::unacknowledged(self.stream()).map_err(|error| self.broken(&error.into()))?;
        // The queue of a broken connection is empty too.
        self.check()?;
        Ok(bytes)
    }

    /// Waits until the receiver says something or ends the connection, which [`Self::check`] then tells. Cancel-safe.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn spoken(&self) -> Result<(), Broken> {
        self.stream().readable().await.map_err(|error| self.broken(&error))
    }

    fn received(&self, received: io::Result<usize>) -> Result<usize, Broken> {
        let closed = |reset| {
            let why = format!("{} closed the connection", self.address);
            Broken { why, reset: reset || self.through_proxy }
        };
        match received {
            // TLS says that it ends before TCP tells how.
            Ok(0) => Err(closed(!matches!(self.wire, Wire::Plain(_)) && !socket::has_ended(self.stream()))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(closed(false)),
            received => received.map_err(|error| self.broken(&error)),
        }
    }

    fn stream(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref().0,
        }
    }

    fn broken(&self, error: &io::Error) -> Broken {
        let why = format!("the connection to {} broke: {error}{}", self.address, tls::remedy(error));
        Broken { why, reset: true }
    }
}

const UNREACHABLE: &str = "see that the receiver runs and a firewall lets it through";

/// A connection, or a sentence's end: why there is none.
async fn open(settings: &Receiver) -> Result<Wire, String> {
    let first = settings.proxy.as_ref().map_or(&settings.address, |proxy| &proxy.address);
    let refused = |error: io::Error| match settings.proxy {
        Some(_) => format!("the proxy {} does not answer: {error}", first.0),
        None => format!("{error}; {UNREACHABLE}"),
    };
    let mut stream = TcpStream::connect(&first.0).await.map_err(refused)?;
    socket::prepare(&stream).map_err(refused)?;
    if let Some(settings_of_proxy) = &settings.proxy {
        let asked = proxy::connect(&mut stream, settings_of_proxy, &settings.address).await;
        asked.map_err(|why| format!("the proxy {} {why}", first.0))?;
    }
    match &settings.tls {
        Some(tls) => tls::agree(stream, tls, &settings.address).await.map(|stream| Wire::Tls(Box::new(stream))),
        None => Ok(Wire::Plain(stream)),
    }
}

#[cfg(test)]
mod tests;
