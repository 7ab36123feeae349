//! Syslog messages that are sent to us.
//!
//! In: connections and datagrams. Out: JSON lines in the source's spool. What survives a restart: what is in the spool,
//! which is everything that was read from a socket a moment ago; after a power cut, all but the last second. While the
//! spool is full, streams are not read, which holds back their senders; datagrams are dropped and counted.

/// Messages in a stream.
mod frames;
/// Messages of RFC 3164 and their relatives.
mod legacy;
/// A message made a line of ours.
mod line;
/// What is in a message, and what it is read with.
mod message;
/// Sockets that are listened on.
mod socket;
/// Messages of RFC 5424.
mod structured;

use super::intake::Intake;
use super::spool::feed::Feed;
use frames::Frames;
use hostwright_core::config::logs::listener::{Listener, Protocol};
use hostwright_duty::refusals::Refusals;
use jiff::tz::TimeZone;
use message::Reading;
use socket::{Datagrams, Streams};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Between attempts to listen.
const AGAIN: Duration = Duration::from_secs(2);
/// So many bytes of lines are written into the spool at once, if as many are there to be read.
const BATCH: usize = 256 << 10;
/// How much is read from a stream at once.
const PIECE: usize = 32 << 10;
/// So much of unfinished messages is held for all connections together; beyond it they are cut at `PIECE`.
const HELD: usize = 16 << 20;
/// At the end, what is there to be read is read for so long.
const DRAIN: Duration = Duration::from_millis(300);
/// At the end, so many batches of datagrams are taken in: more than the kernel keeps for us.
const MOST_AT_LAST: usize = 64;
/// Between looks at what the kernel dropped.
const LOOK: Duration = Duration::from_secs(5);
/// What is there to be read comes within this time.
const AT_HAND: Duration = Duration::from_millis(5);

/// Takes in messages until told to stop, and then what is there already.
pub async fn run(settings: Listener, feed: Arc<Feed>, stop: CancellationToken) {
    let shared = Arc::new(Shared {
        permits: Arc::new(Semaphore::new(settings.connections)),
        held: AtomicUsize::new(0),
        zone: TimeZone::system(),
        feed,
        stop,
    });
    let mut tasks = JoinSet::new();
    for address in &settings.listen {
        for protocol in &settings.protocols {
            let (shared, address) = (shared.clone(), *address);
            match protocol {
                Protocol::Tcp => tasks.spawn(async move { shared.streams(|| Streams::tcp(address)).await }),
                Protocol::Udp => tasks.spawn(async move { shared.datagrams(|| Datagrams::udp(address)).await }),
            };
        }
    }
    if let Some(path) = settings.unix {
        let shared = shared.clone();
        tasks.spawn(async move { shared.datagrams(|| Datagrams::unix(&path)).await });
    }
    if let Some(path) = settings.unix_stream {
        let shared = shared.clone();
        tasks.spawn(async move { shared.streams(|| Streams::unix(&path)).await });
    }
    shared.stop.cancelled().await;
    // What was read from a socket is nowhere else: it may go beyond the limit now.
    shared.feed.lift_limit();
    while tasks.join_next().await.is_some() {}
}

/// What all sockets of a source share.
struct Shared {
    permits: Arc<Semaphore>,
    /// Bytes of unfinished messages.
    held: AtomicUsize,
    zone: TimeZone,
    feed: Arc<Feed>,
    stop: CancellationToken,
}

impl Shared {
    /// Listens, however often that has to be tried; none when told to stop.
    async fn listen<S>(&self, open: impl Fn() -> io::Result<S>) -> Option<S> {
        let name = &self.feed.source.name;
        loop {
            match open() {
                Ok(socket) => {
                    self.feed.intake.cleared("listen", name);
                    return Some(socket);
                }
                Err(error) => self.feed.intake.hindered("listen", name, error.to_string()),
            }
            self.stop.run_until_cancelled(sleep(AGAIN)).await?;
        }
    }

    async fn streams(self: Arc<Self>, open: impl Fn() -> io::Result<Streams>) {
        let Some(streams) = self.listen(open).await else { return };
        let mut refusals = Refusals::of(format!("logs: {}", self.feed.source.name));
        let mut connections = JoinSet::new();
        while let Some(permit) = self.permit().await {
            let Some(accepted) = self.stop.run_until_cancelled(streams.accept()).await else { break };
            match accepted {
                Ok(stream) => {
                    connections.spawn(self.clone().connection(stream, permit));
                }
                Err(error) => refusals.wait_after(&error).await,
            }
            while connections.try_join_next().is_some() {}
        }
        drop(streams);
        while connections.join_next().await.is_some() {}
    }

    /// The right to one connection more; further ones wait in the kernel.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let name = &self.feed.source.name;
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            self.feed.intake.cleared("connections", name);
            return Some(permit);
        }
        let why = "as many connections as it takes are open, and further ones wait; raise connections:";
        self.feed.intake.hindered("connections", name, why.into());
        let permit = self.stop.run_until_cancelled(self.permits.clone().acquire_owned()).await?;
        self.feed.intake.cleared("connections", name);
        permit.ok()
    }

    async fn connection(self: Arc<Self>, mut stream: impl AsyncRead + Unpin, _permit: OwnedSemaphorePermit) {
        let mut frames = Frames::default();
        let mut lines = Vec::new();
        let mut deadline = None;
        loop {
            let read = if let Some(deadline) = deadline {
                // Told to stop: what is at hand, and no longer than until the deadline.
                let read = timeout(AT_HAND, stream.read_buf(frames.room(PIECE)));
                timeout_at(deadline, read).await.ok().and_then(Result::ok)
            } else {
                let Some(read) = self.stop.run_until_cancelled(stream.read_buf(frames.room(PIECE))).await else {
                    deadline = Some(Instant::now() + DRAIN);
                    continue;
                };
                Some(read)
            };
            let is_last = !matches!(read, Some(Ok(1..)));
            self.take_frames(&mut frames, is_last, &mut lines);
            self.feed.append_all(&mut lines).await;
            if is_last {
                return;
            }
        }
    }

    /// Makes lines of the whole messages, and of what there is of another one if nothing follows.
    fn take_frames(&self, frames: &mut Frames, is_last: bool, lines: &mut Vec<u8>) {
        let before = frames.held();
        let limit = if self.held.load(Ordering::Relaxed) > HELD { PIECE } else { self.feed.source.line_limit };
        let reading = Reading::now(&self.zone, false);
        frames.take(limit.min(self.feed.source.line_limit), is_last, |message, is_cut| {
            self.take_message(&reading, message, is_cut, lines);
        });
        if is_last {
            frames.clear();
        }
        self.held.fetch_add(frames.held(), Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    fn take_message(&self, reading: &Reading<'_>, message: &[u8], is_cut: bool, lines: &mut Vec<u8>) {
        let intake = &self.feed.intake;
        let made = reading.push_line(message, is_cut, self.feed.source.line_limit, lines);
        Intake::count(&intake.messages, 1);
        Intake::count(&intake.cut, u64::from(made.is_cut));
        Intake::count(&intake.malformed, u64::from(made.is_malformed));
    }

    async fn datagrams(self: Arc<Self>, open: impl Fn() -> io::Result<Datagrams>) {
        let Some(datagrams) = self.listen(open).await else { return };
        let mut buffer = vec![0; socket::LARGEST];
        let (mut is_last, mut dropped) = (false, 0);
        let mut looks = interval(LOOK);
        while !is_last {
            tokio::select! {
                () = datagrams.readable() => {}
                () = self.stop.cancelled() => is_last = true,
                _ = looks.tick() => {
                    let now = datagrams.dropped_by_kernel();
                    Intake::count(&self.feed.intake.dropped, now.saturating_sub(dropped));
                    dropped = now;
                }
            }
            self.take_datagrams(&datagrams, &mut buffer);
        }
        // What is there still, and no more than a busy sender could add meanwhile.
        for _ in 0..MOST_AT_LAST {
            if !self.take_datagrams(&datagrams, &mut buffer) {
                break;
            }
        }
    }

    /// Takes in what is there; whether there was anything.
    fn take_datagrams(&self, datagrams: &Datagrams, buffer: &mut [u8]) -> bool {
        let reading = Reading::now(&self.zone, datagrams.are_local());
        let mut lines = Vec::new();
        while lines.len() < BATCH
            && let Ok(length) = datagrams.try_receive(buffer)
        {
            let message = buffer[..length].trim_ascii_end();
            let message = message.strip_suffix(b"\0").unwrap_or(message);
            self.take_message(&reading, message, length == buffer.len(), &mut lines);
        }
        if lines.is_empty() {
            return false;
        }
        self.feed.append(&mut lines);
        let dropped = memchr::memchr_iter(b'\n', &lines).count() as u64;
        Intake::count(&self.feed.intake.dropped, dropped);
        true
    }
}
