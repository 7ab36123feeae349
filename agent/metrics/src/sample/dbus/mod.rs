//! Questions to services of the system's message bus, which may never answer, for a caller that must.
//!
//! In: calls of methods with texts as arguments. Out: the replies that come in time. A connection stays open from scrape
//! to scrape, and while a service is silent it is not asked again. Nothing survives a restart.
//!
//! The protocol is written out here in place of a library: a dozen kinds of values, no service of our own, no signals.
//! What libraries offer is a runtime, a thread or a proxy per object, and a wait that ends with the answer; what is
//! needed is one write with many calls, one buffer for their replies, and a wait that ends with the deadline.

/// A socket that speaks the protocol.
mod connection;
/// How messages look.
mod message;

pub use connection::Sockets;
pub use message::{Call, Reader, Value};

use connection::Connection;
use std::io;
use std::time::{Duration, Instant};

/// A service that takes longer counts as silent; it answers within milliseconds.
const DEADLINE: Duration = Duration::from_secs(1);
/// Where not even a connection comes about, the next one is tried after this long.
const RETRY: Duration = Duration::from_secs(30);
/// The bus allows 128 calls of a connection that are not answered yet.
const MOST_AT_ONCE: usize = 64;

/// The bus, as far as it is there.
pub struct Bus {
    sockets: Sockets,
    connection: Option<Connection>,
    /// Since when nothing is heard.
    silent: Option<Instant>,
    /// For tests.
    deadline: Duration,
}

impl Bus {
    /// Nothing is opened before the first question.
    pub fn new(sockets: Sockets) -> Self {
        Self { sockets, connection: None, silent: None, deadline: DEADLINE }
    }

    #[cfg(test)]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Where it is spoken to.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Makes calls, and gives each its reply's body, or none where it is an error. Returns within the deadline.
    ///
    /// # Errors
    /// There is no bus, or not all replies came.
    pub fn ask(&mut self, calls: &[Call<'_>], mut answer: impl FnMut(usize, Option<Reader<'_>>)) -> io::Result<()> {
        let until = Instant::now() + self.deadline;
        let mut first = 0;
        for chunk in calls.chunks(MOST_AT_ONCE) {
            // What was kept since the last scrape may have been closed since.
            let was_kept = first == 0 && self.connection.is_some();
            let mut result = self.ask_once(chunk, until, |at, body| answer(first + at, body));
            if was_kept && result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
                self.connection = None;
                result = self.ask_once(chunk, until, |at, body| answer(first + at, body));
            }
            self.note(result, until)?;
            first += chunk.len();
        }
        Ok(())
    }

    fn ask_once(
        &mut self,
        calls: &[Call<'_>],
        until: Instant,
        answer: impl FnMut(usize, Option<Reader<'_>>),
    ) -> io::Result<()> {
        let connection = self.connected(until)?;
        connection.send(calls, until)?;
        connection.receive(until, answer)
    }

    /// After a scrape: a connection on which signals come that nobody reads is not kept.
    pub fn rest(&mut self) {
        self.connection = self.connection.take().filter(Connection::is_quiet);
    }

    /// A connection on which nothing is due.
    fn connected(&mut self, until: Instant) -> io::Result<&mut Connection> {
        if let (Some(since), Some(connection)) = (self.silent, &mut self.connection) {
            // What was asked then may be answered by now; if not, waiting again would delay every scrape.
            match connection.receive(Instant::now(), |_, _| ()) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(silence(since)),
                Err(_) => self.connection = None,
                Ok(()) => {}
            }
            self.silent = None;
        } else if let Some(since) = self.silent.filter(|since| since.elapsed() < RETRY) {
            return Err(silence(since));
        }
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.sockets, until)?);
        }
        self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn note(&mut self, result: io::Result<()>, until: Instant) -> io::Result<()> {
        match result {
            Ok(()) => {
                self.silent = None;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let asked = until.checked_sub(self.deadline).unwrap_or(until);
                self.silent.get_or_insert(asked);
                self.connection = self.connection.take().filter(Connection::awaits_replies);
                Err(error)
            }
            Err(error) => {
                self.connection = None;
                Err(error)
            }
        }
    }
}

fn silence(since: Instant) -> io::Error {
    let seconds = since.elapsed().as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("it has not answered for {seconds} s, and is not asked until it does"),
    )
}

#[cfg(test)]
mod tests;
