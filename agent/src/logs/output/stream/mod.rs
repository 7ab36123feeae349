//! Ways to a platform that take a stream of bytes and tell at most how many of them arrived.

/// A file that records are appended to.
mod appended;
/// A receiver of datagrams.
mod datagrams;

use super::connection::{Broken, Connection};
use appended::AppendedFile;
use datagrams::DatagramSocket;
use hostwright_core::config::logs::output::gelf::Protocol;
use hostwright_core::config::logs::output::{Platform, Receiver, ovh};
use tokio::task::block_in_place;

/// Why a transport is no good any more.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// A sentence with the address or path, the reason and the remedy.
    pub why: String,
    /// What was acknowledged last may not have been read: it is sent again too.
    pub reset: bool,
    /// Nothing is wrong; it is to be opened anew, at once.
    pub expected: bool,
}

impl Failure {
    /// It ended in order, or was never open: what was acknowledged has arrived.
    pub fn closed(why: String) -> Self {
        Self { why, reset: false, expected: false }
    }

    /// Somebody rotated the file that is written.
    pub fn moved(why: String) -> Self {
        Self { why, reset: false, expected: true }
    }
}

impl From<Broken> for Failure {
    fn from(Broken { why, reset }: Broken) -> Self {
        Self { why, reset, expected: false }
    }
}

fn no_stream() -> Failure {
    Failure::closed("it answers each batch, and takes no stream".into())
}

/// An open way to a log platform. Bytes go in order; how much of them is unacknowledged can be asked.
#[derive(Debug)]
pub enum Transport {
    /// No acknowledgement but TCP's: the receiver's kernel has it.
    Connection(Connection),
    /// No acknowledgement at all.
    Datagrams(DatagramSocket),
    File(AppendedFile),
}

impl Transport {
    pub async fn open(settings: &Platform) -> Result<Self, Failure> {
        match settings {
            Platform::Syslog(settings) => Self::connect(&settings.receiver).await,
            Platform::Gelf(settings) => match settings.protocol {
                Protocol::Tcp => Self::connect(&settings.receiver).await,
                Protocol::Udp { .. } => DatagramSocket::open(&settings.receiver.address).await.map(Self::Datagrams),
            },
            Platform::Ovh(settings) => match &settings.protocol {
                ovh::Protocol::Gelf(settings) => Self::connect(&settings.receiver).await,
                ovh::Protocol::Syslog(settings) => Self::connect(&settings.receiver).await,
                ovh::Protocol::Ltsv(receiver) => Self::connect(receiver).await,
                ovh::Protocol::Lumberjack(_) | ovh::Protocol::Bulk(_) => Err(no_stream()),
            },
            Platform::File(path) => block_in_place(|| AppendedFile::open(path)).map(Self::File),
            _ => Err(no_stream()),
        }
    }

    async fn connect(receiver: &Receiver) -> Result<Self, Failure> {
        Ok(Self::Connection(Connection::open(receiver).await?))
    }

    /// Sends; success does not mean acknowledged.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Connection(connection) => Ok(connection.send(bytes).await?),
            Self::Datagrams(socket) => socket.send(bytes).await,
            Self::File(file) => block_in_place(|| file.send(bytes)),
        }
    }

    /// Does what can be done for acknowledgement, and tells how many of the sent bytes lack it.
    pub fn settle(&mut self) -> Result<u64, Failure> {
        match self {
            Self::Connection(connection) => Ok(connection.unacknowledged()?),
            Self::Datagrams(socket) => socket.check().map(|()| 0),
            Self::File(file) => block_in_place(|| file.confirm()).map(|()| 0),
        }
    }

    /// Whether an acknowledgement leaves a doubt that whoever is to have the lines has read them.
    pub fn acknowledges_unread(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Fails if the transport is no good any more. Cheap.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self {
            Self::Connection(connection) => Ok(connection.check()?),
            Self::Datagrams(socket) => socket.check(),
            Self::File(file) => file.check(),
        }
    }

    /// Waits for the other side to say something, which is not expected unless it closes: see [`Self::check`] then.
    /// Cancel-safe.
    pub async fn spoken(&self) -> Result<(), Failure> {
        match self {
            Self::Connection(connection) => Ok(connection.spoken().await?),
            Self::Datagrams(socket) => socket.spoken().await,
            Self::File(_) => std::future::pending().await,
        }
    }
}
