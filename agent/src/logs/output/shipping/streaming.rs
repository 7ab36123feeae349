use super::ending::{after, at};
use super::repeats::Suspects;
use super::{STALLED, Shipping, stalled};
use crate::logs::output::stream::{Failure, Transport};
use crate::logs::source::cursor::PIECE;
use crate::logs::status::Hindrance;
use hostwright_core::backoff::Backoff;
use jiff::Timestamp;
use std::time::Duration;
use tokio::task::{block_in_place, yield_now};
use tokio::time::sleep;

/// The first and the longest wait between attempts to connect.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The first and the longest wait between looks at the send queue: nothing tells when it becomes empty.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));

impl Shipping {
    /// Ships over one connection after the other until told to stop.
    pub(super) async fn stream(&mut self) {
        let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
        while let Err(failure) = self.connect_and_ship(&mut backoff).await {
            if failure.expected {
                continue;
            }
            self.task.health.hindered(Hindrance::Connection, &self.task.name, failure.why);
            if self.pause(backoff.next_delay()).await.is_break() {
                return;
            }
        }
    }

    /// Ends without error when it was told to stop.
    async fn connect_and_ship(&mut self, backoff: &mut Backoff) -> Result<(), Failure> {
        let Some(mut transport) = self.open().await? else { return Ok(()) };
        self.task.health.reached(&self.task.name);
        self.repeats.opened();
        let result = self.ship(&mut transport, backoff).await;
        if let Err(failure) = &result {
            if failure.expected
                && let Ok(unacknowledged) = transport.settle()
            {
                self.acknowledge(unacknowledged, false);
            }
            let back = self.take_back(failure.reset);
            if matches!(transport, Transport::Connection(_))
                && let Some(suspects) = self.repeats.broke(&back)
            {
                self.tell_of(suspects);
            }
        }
        result
    }

    /// The same lines are sent again and again: says which.
    fn tell_of(&mut self, Suspects { file, from, to, count }: Suspects) {
        let path = self.lanes.cursor(file).map(|cursor| cursor.file.origin.display().to_string());
        let why = format!(
            "{count} connections to {} broke one after the other with the same lines on their way ({}, bytes {from} to {to}): nobody is behind it, or somebody on the way (a firewall, the receiver) does not stand one of these lines; see what its log says, and leave such lines out with a filter `drop` (they are sent again until all are taken)",
            self.task.settings.platform.address(),
            path.as_deref().unwrap_or("a file that is gone"),
        );
        self.task.health.hindered(Hindrance::Repeats, &self.task.name, why);
    }

    /// Opens a transport, and keeps positions meanwhile; none when told to stop.
    async fn open(&mut self) -> Result<Option<Transport>, Failure> {
        let platform = self.task.settings.platform.clone();
        let opening = Transport::open(&platform);
        tokio::pin!(opening);
        loop {
            self.take_in();
            self.store_if_due();
            tokio::select! {
                opened = &mut opening => return opened.map(Some),
                _ = self.task.files.changed() => {}
                result = self.task.positions.stored() => self.stored(result),
                () = self.ending.begun() => return Ok(None),
            }
        }
    }

    async fn ship(&mut self, transport: &mut Transport, backoff: &mut Backoff) -> Result<(), Failure> {
        let mut patience = PATIENCE.0;
        loop {
            self.take_in();
            transport.check()?;
            if self.repeats.went_on() {
                self.task.health.cleared(Hindrance::Repeats, &self.task.name);
                backoff.reset();
            }
            let filled = self.has_work() && block_in_place(|| self.fill_stream());
            if filled {
                self.send(transport).await?;
                patience = PATIENCE.0;
            }
            if !self.flight.is_empty() && (!filled || self.flight.unsettled() >= self.batch() / 2) {
                let unacknowledged = transport.settle()?;
                if self.acknowledge(unacknowledged, transport.acknowledges_unread()) && !self.repeats.is_told() {
                    backoff.reset();
                }
            }
            self.store_if_due();
            if !filled {
                if self.ending.is_over(self.flight.is_empty() && !self.lanes.any_ready()) {
                    return Ok(());
                }
                if self.flight.is_empty() && self.may_read_more() {
                    // No record is left of what was read, and more is there.
                    yield_now().await;
                    continue;
                }
                self.wait(transport, &mut patience).await?;
            }
        }
    }

    /// Reads and encodes up to a piece; whether there is something to send.
    fn fill_stream(&mut self) -> bool {
        self.out.clear();
        if !self.may_read() {
            return false;
        }
        let now = format!("{:.6}", Timestamp::now());
        if self.read_letters(&now) {
            return true;
        }
        while self.out.bytes.len() < PIECE && self.is_within_batch() && self.read_piece(&now) {}
        !self.out.bytes.is_empty()
    }

    /// Whether a piece more would be no more than a crash may send again.
    fn is_within_batch(&self) -> bool {
        self.flight.unsettled() + PIECE as u64 <= self.batch().max(PIECE as u64)
    }

    fn may_read_more(&mut self) -> bool {
        self.may_read() && self.is_within_batch() && self.lanes.any_ready() && !self.ending.has_begun()
    }

    async fn send(&mut self, transport: &mut Transport) -> Result<(), Failure> {
        let Self { task, ending, out, .. } = self;
        let sending = transport.send(&out.bytes);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                () = ending.over() => return Err(Failure::closed("stopped while it took nothing".into())),
                () = sleep(STALLED) => task.health.hindered(Hindrance::Acknowledgement, &task.name, stalled(&task.settings)),
            }
        }
    }

    /// Waits until there is something to do. All arms are cancel-safe.
    async fn wait(&mut self, transport: &Transport, patience: &mut Duration) -> Result<(), Failure> {
        let look = (!self.flight.is_empty()).then_some(*patience);
        let store = (self.is_dirty && !self.task.positions.is_storing()).then(|| self.task.positions.late_at());
        let (held, holds) = (self.held_until(), self.repeats.remaining());
        let (mut stored, mut resend) = (None, None);
        tokio::select! {
            _ = self.task.files.changed() => {}
            () = at(held) => {}
            spoken = transport.spoken() => spoken?,
            () = after(look) => *patience = (*patience * 2).min(PATIENCE.1),
            () = at(store) => {}
            () = after(holds) => {}
            result = self.task.positions.stored() => stored = Some(result),
            Some(order) = self.task.resends.recv() => resend = Some(order),
            () = self.ending.begun(), if !self.ending.has_begun() => {}
            () = self.ending.over() => {}
        }
        self.heed(stored, resend);
        Ok(())
    }
}
