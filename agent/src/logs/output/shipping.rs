use super::Origin;
use super::encode::encoder;
use super::flight::{BATCH, Flight};
use super::lanes::{Lanes, Read};
use super::stream::{Failure, Transport};
use crate::logs::positions::{Position, Positions};
use crate::logs::source::cursor::{Cursor, PIECE, new_content};
use crate::logs::source::discover::Files;
use crate::logs::source::followed::FollowedFile;
use crate::logs::status::{Health, Hindrance};
use hostwright_core::backoff::Backoff;
use hostwright_core::config::logs::output::{Output, Platform};
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// The first and the longest wait between attempts to connect.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The first and the longest wait between looks at the send queue: nothing tells when it becomes empty.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));
/// Without acknowledgement for this long, an output is said to be stalled.
const STALLED: Duration = Duration::from_secs(10);
/// How long an output goes on after it was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// What an output is made of.
#[derive(Debug)]
pub struct Task {
    pub name: String,
    pub settings: Output,
    pub origin: Arc<Origin>,
    pub files: watch::Receiver<Files>,
    pub positions: Positions,
    pub health: Arc<Health>,
    pub stop: CancellationToken,
}

/// Ships lines until it is told to stop, however often the connection breaks.
///
/// # Errors
/// The state is lost, which a restart of the duty repairs.
pub async fn run(task: Task) -> anyhow::Result<()> {
    let mut shipping = Shipping {
        ending: Ending { stop: task.stop.clone(), deadline: OnceLock::new() },
        task,
        known: Files::default(),
        lanes: Lanes::default(),
        flight: Flight::default(),
        encoded: Vec::new(),
        storing_bytes: 0,
        is_dirty: false,
        registration: Registration::Done,
    };
    let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
    while let Err(failure) = shipping.connect_and_ship(&mut backoff).await {
        if failure.expected {
            continue;
        }
        shipping.task.health.hindered(Hindrance::Connection, &shipping.task.name, failure.why);
        if shipping.pause(backoff.next_delay()).await.is_break() {
            break;
        }
    }
    shipping.store_at_last().await
}

struct Shipping {
    task: Task,
    ending: Ending,
    /// The list of files as it was last taken over.
    known: Files,
    lanes: Lanes,
    flight: Flight,
    encoded: Vec<u8>,
    /// Acknowledged bytes whose positions are being stored.
    storing_bytes: u64,
    /// A position moved since the last store began.
    is_dirty: bool,
    registration: Registration,
}

/// Whether all files have a durable position. Nothing is shipped of a file before: one that is renamed while the agent
/// is down is found by its position alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    Done,
    Storing,
    Due,
}

impl Shipping {
    /// Ends without error when it was told to stop.
    async fn connect_and_ship(&mut self, backoff: &mut Backoff) -> Result<(), Failure> {
        let mut transport = tokio::select! {
            opened = Transport::open(&self.task.settings.platform) => opened?,
            () = self.ending.begun() => return Ok(()),
        };
        self.task.health.reached(&self.task.name);
        let result = self.ship(&mut transport, backoff).await;
        if let Err(failure) = &result {
            if failure.expected
                && let Ok(unacknowledged) = transport.settle()
            {
                self.acknowledge(unacknowledged, false);
            }
            self.take_back(failure.reset);
        }
        result
    }

    async fn ship(&mut self, transport: &mut Transport, backoff: &mut Backoff) -> Result<(), Failure> {
        let mut patience = PATIENCE.0;
        loop {
            self.take_in();
            transport.check()?;
            let filled = block_in_place(|| self.fill());
            if filled {
                self.send(transport).await?;
                patience = PATIENCE.0;
            }
            if !self.flight.is_empty() && (!filled || self.flight.unsettled() >= BATCH / 2) {
                let unacknowledged = transport.settle()?;
                if self.acknowledge(unacknowledged, transport.acknowledges_unread()) {
                    backoff.reset();
                }
            }
            self.store_if_due();
            if !filled {
                if self.ending.is_over(self.flight.is_empty() && !self.lanes.any_ready()) {
                    return Ok(());
                }
                self.wait(transport, &mut patience).await?;
            }
        }
    }

    /// Takes over the list of files as it is now.
    fn take_in(&mut self) {
        let files = self.task.files.borrow_and_update().clone();
        if Arc::ptr_eq(&files, &self.known) {
            return;
        }
        self.known = files.clone();
        let is_followed = |sequence| files.binary_search_by_key(&sequence, |file| file.sequence).is_ok();
        for cursor in self.lanes.remove_unless(is_followed) {
            // It may come back from where it was moved to.
            self.task.positions.remember(Position::of(&cursor));
        }
        for file in files.iter() {
            if let Some(slot) = file.source.slot(&self.task.name)
                && !self.lanes.has(file.sequence)
            {
                self.begin(file.clone(), slot);
            }
        }
    }

    fn begin(&mut self, file: Arc<FollowedFile>, slot: usize) {
        let relatives = self.lanes.family(&file.source.name, &file.family).map(Position::of);
        let position = self.task.positions.claim(&file, relatives);
        let (point, head, content) = position.map_or_else(Default::default, |p| (p.point, p.head, p.content));
        let content = if content == 0 { new_content() } else { content };
        let encoder = encoder(&self.task.settings.platform, &self.task.origin, &file.facts());
        self.lanes.add(Cursor::new(file, slot, point, head, content), encoder);
        self.is_dirty = true;
        self.registration = Registration::Due;
    }

    /// Reads and encodes up to a piece; whether there is something to send.
    fn fill(&mut self) -> bool {
        self.encoded.clear();
        if self.registration != Registration::Done {
            return false;
        }
        let now = format!("{:.6}", Timestamp::now());
        while self.encoded.len() < PIECE && self.flight.unsettled() + PIECE as u64 <= BATCH {
            let Some(index) = self.lanes.next_ready() else { break };
            match self.lanes.read(index, &now, &mut self.encoded) {
                Read::Piece(mark) => self.flight.sent(mark),
                Read::Nothing => {}
                Read::Replaced(position) => self.note_replaced(*position),
                Read::Failed(path, error) => {
                    let why = format!("cannot read {}: {error}", path.display());
                    self.task.health.hindered(Hindrance::Reading, &self.task.name, why);
                }
            }
        }
        !self.encoded.is_empty()
    }

    fn note_replaced(&mut self, replaced: Position) {
        log::info!(output = self.task.name; "logs: {} was truncated; it is read from its beginning", replaced.path);
        self.is_dirty = true;
        self.task.positions.remember(replaced);
    }

    async fn send(&mut self, transport: &mut Transport) -> Result<(), Failure> {
        let Self { task, ending, encoded, .. } = self;
        let sending = transport.send(encoded);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                () = ending.over() => return Err(Failure::closed("stopped while it took nothing".into())),
                () = sleep(STALLED) => task.health.hindered(Hindrance::Acknowledgement, &task.name, stalled(&task.settings)),
            }
        }
    }

    /// Moves positions; whether any moved.
    fn acknowledge(&mut self, unacknowledged: u64, keep_doubt: bool) -> bool {
        let marks = self.flight.acknowledged(unacknowledged, keep_doubt);
        for mark in &marks {
            self.lanes.acknowledge(mark);
        }
        if self.flight.stalled() >= STALLED {
            self.task.health.hindered(Hindrance::Acknowledgement, &self.task.name, stalled(&self.task.settings));
        } else if !marks.is_empty() {
            self.task.health.cleared(Hindrance::Acknowledgement, &self.task.name);
            self.task.health.cleared(Hindrance::Reading, &self.task.name);
        }
        self.is_dirty |= !marks.is_empty();
        !marks.is_empty()
    }

    /// Goes back to where nothing is lost with the connection.
    fn take_back(&mut self, reset: bool) {
        // Newest first, so that the oldest has the last word.
        for (mark, was_acknowledged) in self.flight.take_back(reset).iter().rev() {
            self.lanes.take_back(mark, *was_acknowledged);
            self.is_dirty = true;
        }
    }

    fn store_if_due(&mut self) {
        let is_due = self.registration == Registration::Due
            || self.task.positions.is_late()
            || self.flight.unstored() >= BATCH / 2;
        if self.is_dirty && is_due && !self.task.positions.is_storing() {
            self.store();
        }
    }

    fn store(&mut self) {
        self.is_dirty = false;
        if self.registration == Registration::Due {
            self.registration = Registration::Storing;
        }
        self.storing_bytes = self.flight.unstored();
        self.task.positions.store(self.lanes.cursors());
    }

    /// A disk that takes no positions does not end shipping: it risks duplicates after a crash, and no line.
    fn stored(&mut self, result: anyhow::Result<()>) {
        self.flight.stored(self.storing_bytes);
        if self.registration == Registration::Storing {
            self.registration = Registration::Done;
        }
        match result {
            Ok(()) => self.task.health.cleared(Hindrance::State, &self.task.name),
            Err(error) => {
                self.is_dirty = true;
                self.task.health.hindered(Hindrance::State, &self.task.name, format!("{error:#}"));
            }
        }
    }

    /// Waits until there is something to do. All arms are cancel-safe.
    async fn wait(&mut self, transport: &Transport, patience: &mut Duration) -> Result<(), Failure> {
        let look = (!self.flight.is_empty()).then_some(*patience);
        let store = (self.is_dirty && !self.task.positions.is_storing()).then(|| self.task.positions.late_at());
        let mut stored = None;
        tokio::select! {
            _ = self.task.files.changed() => {}
            spoken = transport.spoken() => spoken?,
            () = after(look) => *patience = (*patience * 2).min(PATIENCE.1),
            () = at(store) => {}
            result = self.task.positions.stored() => stored = Some(result),
            () = self.ending.begun(), if !self.ending.has_begun() => {}
            () = self.ending.over() => {}
        }
        if let Some(result) = stored {
            self.stored(result);
        }
        Ok(())
    }

    /// Waits before the next attempt to connect, and keeps positions meanwhile; a break when told to stop.
    async fn pause(&mut self, delay: Duration) -> std::ops::ControlFlow<()> {
        let until = Instant::now() + delay;
        loop {
            self.store_if_due();
            tokio::select! {
                () = sleep_until(until) => return std::ops::ControlFlow::Continue(()),
                result = self.task.positions.stored() => self.stored(result),
                () = self.ending.begun() => return std::ops::ControlFlow::Break(()),
            }
        }
    }

    async fn store_at_last(&mut self) -> anyhow::Result<()> {
        if self.task.positions.is_storing() {
            let result = self.task.positions.stored().await;
            self.stored(result);
        }
        if self.is_dirty {
            self.store();
            return self.task.positions.stored().await;
        }
        Ok(())
    }
}

/// When to stop: at once if there is nothing to do, else after a while.
#[derive(Debug)]
struct Ending {
    stop: CancellationToken,
    deadline: OnceLock<Instant>,
}

impl Ending {
    fn has_begun(&self) -> bool {
        self.stop.is_cancelled()
    }

    async fn begun(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until there is no more time.
    async fn over(&self) {
        self.stop.cancelled().await;
        sleep_until(self.deadline()).await;
    }

    fn is_over(&self, nothing_to_do: bool) -> bool {
        self.has_begun() && (nothing_to_do || Instant::now() >= self.deadline())
    }

    fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + DRAIN)
    }
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => sleep(delay).await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<std::time::Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn stalled(settings: &Output) -> String {
    let whom = match &settings.platform {
        Platform::Syslog(settings) => settings.address.0.clone(),
        Platform::File(path) => path.display().to_string(),
    };
    format!(
        "{whom} has taken nothing for {} s; see whether it is overloaded or hangs (lines wait in their files)",
        STALLED.as_secs()
    )
}
