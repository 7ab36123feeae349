//! The loop of one output: reads, sends, settles, stores.
//!
//! In: the list of files. Out: their lines, sent until they are acknowledged. What survives a restart is the positions
//! and the dead letters; both are durable before the files they came from may go.

/// When to stop.
mod ending;
/// Lines with which connections break again and again.
mod repeats;
/// Over platforms that answer each batch.
mod requesting;
/// What operators want to have sent again.
mod resend;
/// Over platforms that take a stream.
mod streaming;

use super::Origin;
use super::dead_letters::DeadLetters;
use super::flight::{Flight, Mark};
use super::lanes::{Lanes, Read};
use super::outgoing::Outgoing;
use super::replay::Replay;
use super::request;
use crate::logs::output::resend::Resend;
use crate::logs::positions::{Position, Positions};
use crate::logs::source::Source;
use crate::logs::source::cursor::{Cursor, PIECE, new_content};
use crate::logs::source::discover::Files;
use crate::logs::source::followed::FollowedFile;
use crate::logs::source::heritage::Inherited;
use crate::logs::source::identity::Digest;
use crate::logs::source::ledger::Ledger;
use crate::logs::status::{Health, Hindrance};

use ending::Ending;
use hostwright_core::config::logs::output::Output;
use repeats::Repeats;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Between looks at an event that is complete and cannot be read yet.
const HELD_PAUSE: Duration = Duration::from_millis(20);
/// Without acknowledgement for this long, an output is said to be stalled.
const STALLED: Duration = Duration::from_secs(10);
/// Between looks for a secret that is missing.
const SECRET: Duration = Duration::from_secs(5);
/// What an output is made of.
#[derive(Debug)]
pub struct Task {
    pub name: String,
    pub settings: Output,
    pub origin: Arc<Origin>,
    pub sources: Vec<Arc<Source>>,
    pub files: watch::Receiver<Files>,
    pub positions: Positions,
    pub health: Arc<Health>,
    /// What operators want to have sent again.
    pub resends: mpsc::Receiver<Resend>,
    /// The duty's folder for durable state.
    pub state: PathBuf,
    pub stop: CancellationToken,
}

/// Ships lines until it is told to stop, however often the connection breaks.
///
/// # Errors
/// The state is lost, which a restart of the duty repairs.
pub async fn run(mut task: Task) -> anyhow::Result<()> {
    if !resolved(&mut task).await {
        return Ok(());
    }
    let mut shipping = Shipping {
        lanes: Lanes::new(task.settings.platform.clone(), task.origin.clone()),
        dead_letters: DeadLetters::new(&task.state, &task.name),
        replay: None,
        ending: Ending { stop: task.stop.clone(), deadline: OnceLock::new() },
        task,
        known: Files::default(),
        flight: Flight::default(),
        repeats: Repeats::default(),
        out: Outgoing::default(),
        storing_bytes: 0,
        is_dirty: false,
        registration: Registration::Done,
    };
    shipping.open_replay();
    if request::answers_each_batch(&shipping.task.settings.platform) {
        shipping.request().await?;
    } else {
        shipping.stream().await;
    }
    shipping.store_at_last().await
}

/// Reads the secrets that records carry, however long that takes; whether they were there before the end.
async fn resolved(task: &mut Task) -> bool {
    while let Err(error) = task.settings.platform.resolve() {
        task.health.hindered(Hindrance::Connection, &task.name, error.to_string());
        tokio::select! {
            () = tokio::time::sleep(SECRET) => {}
            () = task.stop.cancelled() => return false,
        }
    }
    true
}

struct Shipping {
    task: Task,
    ending: Ending,
    /// The list of files as it was last taken over.
    known: Files,
    lanes: Lanes,
    flight: Flight,
    repeats: Repeats,
    out: Outgoing,
    dead_letters: DeadLetters,
    replay: Option<Replay>,
    /// Acknowledged bytes whose positions are being stored.
    storing_bytes: u64,
    /// A position moved since the last store began.
    is_dirty: bool,
    registration: Registration,
}

/// Whether all files have a durable position. Nothing is shipped of a file before: one that is renamed while the agent
/// is down is found by its position alone, and one that was gone back in would be gone on with behind what was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    Done,
    Storing,
    Due,
}

impl Shipping {
    /// Takes over the list of files as it is now.
    fn take_in(&mut self) {
        let files = self.task.files.borrow_and_update().clone();
        if Arc::ptr_eq(&files, &self.known) {
            return;
        }
        self.known = files.clone();
        self.lanes.release();
        let is_followed = |sequence| files.binary_search_by_key(&sequence, |file| file.sequence).is_ok();
        for cursor in self.lanes.remove_unless(is_followed) {
            if !cursor.is_handed_on {
                // It may come back from where it was moved to.
                self.task.positions.remember(Position::of(&cursor));
            }
            self.task.positions.forget(cursor.file.sequence);
        }
        for file in files.iter() {
            if let Some(slot) = file.source.slot(&self.task.name)
                && !self.lanes.has(file.sequence)
            {
                if file.former.is_some_and(|former| self.lanes.is_in_flight(former)) {
                    // Where its copy begins is known when that has settled: this list is taken over again then.
                    if let Some(heritage) = &file.heritage {
                        self.lanes.hold(heritage.of);
                    }
                    self.known = Files::default();
                    break;
                }
                self.begin(file.clone(), slot);
            }
        }
    }

    fn begin(&mut self, file: Arc<FollowedFile>, slot: usize) {
        let mut start = file.start.as_deref().copied().unwrap_or_default();
        let heritage = file.heritage.as_deref().filter(|heritage| self.lanes.has(heritage.of));
        let position = match heritage.map(|heritage| self.lanes.hand_on(heritage)) {
            Some((inherited, position)) => {
                if let Inherited::Behind(point) = inherited {
                    start = point;
                }
                position
            }
            None => {
                let relatives = self.lanes.family(&file.source.name, &file.family);
                self.task.positions.claim(&file, relatives)
            }
        };
        let (point, head, content, ledger) = position.map_or_else(
            || (start, Digest::default(), 0, Ledger { skipped: start.offset, ..Ledger::default() }),
            |p| (p.point, p.head, p.content, p.ledger),
        );
        let content = if content == 0 { new_content() } else { content };
        let mut cursor = Cursor::new(file, slot, point, head, content);
        cursor.ledger = ledger;
        cursor.take_head();
        self.lanes.add(cursor);
        self.is_dirty = true;
        self.registration = Registration::Due;
    }

    /// The most of a source's bytes that may be on their way or not yet durably acknowledged: what a crash sends again.
    fn batch(&self) -> u64 {
        self.task.settings.batch.bytes.0
    }

    /// When to look at events at the ends of files again: complete if nothing follows. One that cannot be read now is
    /// looked at a little later.
    fn held_until(&mut self) -> Option<std::time::Instant> {
        let soon = std::time::Instant::now() + HELD_PAUSE;
        self.lanes.held_until().map(|until| until.max(soon))
    }

    /// Whether files may be read: each has a durable position, and so has each dead letter.
    fn may_read(&mut self) -> bool {
        self.registration == Registration::Done && self.flush_dead_letters()
    }

    /// Whether there may be something to read. While it is read another thread takes over from this one, which costs more than
    /// to look here first: an output is woken several times for each batch.
    fn has_work(&self) -> bool {
        let has_letters = || self.replay.as_ref().is_some_and(|replay| !replay.is_read());
        let is_any = || has_letters() || !self.dead_letters.is_flushed() || self.lanes.any_ready();
        self.registration == Registration::Done && is_any()
    }

    /// Reads and encodes one piece of the next file that has something; whether there was one.
    fn read_piece(&mut self, now: &str) -> bool {
        let Some(index) = self.lanes.next_ready() else { return false };
        if self.lanes.take_head(index) {
            // Durable before its first line is sent: it shows after a crash that ids belong to this content.
            (self.is_dirty, self.registration) = (true, Registration::Due);
            return false;
        }
        match self.lanes.read(index, now, &mut self.out) {
            Read::Piece(mark) => self.flight.sent(mark),
            Read::Nothing => {}
            Read::Replaced(position) => self.note_replaced(*position),
            Read::Failed(path, error) => {
                let why = format!("cannot read {}: {error}", path.display());
                self.task.health.hindered(Hindrance::Reading, &self.task.name, why);
            }
        }
        for refused in self.out.refused.drain(..) {
            self.dead_letters.add(&refused);
        }
        true
    }

    /// Whether all dead letters are durable.
    fn flush_dead_letters(&mut self) -> bool {
        if self.dead_letters.is_flushed() {
            return true;
        }
        match self.dead_letters.flush() {
            Ok(()) => self.task.health.cleared(Hindrance::DeadLetters, &self.task.name),
            Err(error) => {
                let why = format!(
                    "cannot write {}: {error}; shipping waits, because refused lines would be lost",
                    self.dead_letters.path().display()
                );
                self.task.health.hindered(Hindrance::DeadLetters, &self.task.name, why);
            }
        }
        self.dead_letters.is_flushed()
    }

    fn note_replaced(&mut self, replaced: Position) {
        log::info!(output = self.task.name; "logs: {} was truncated; it is read from its beginning", replaced.path);
        self.is_dirty = true;
        self.task.positions.remember(replaced);
    }

    /// Moves positions; whether any moved.
    fn acknowledge(&mut self, unacknowledged: u64, keep_doubt: bool) -> bool {
        let marks = self.flight.acknowledged(unacknowledged, keep_doubt);
        for mark in &marks {
            if !self.lanes.acknowledge(mark) && !mark.is_of_letters() {
                self.task.positions.acknowledge(mark.content, &mark.from, &mark.to);
            }
        }
        if marks.iter().any(Mark::is_of_letters) {
            self.letters_acknowledged();
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

    /// Goes back to where nothing is lost with the connection; what is sent again.
    fn take_back(&mut self, reset: bool) -> Vec<(Mark, bool)> {
        let back = self.flight.take_back(reset);
        if back.iter().any(|(mark, _)| mark.is_of_letters()) {
            self.open_replay();
        }
        // Newest first, so that the oldest has the last word.
        for (mark, was_acknowledged) in back.iter().rev() {
            if !self.lanes.take_back(mark, *was_acknowledged) && !mark.is_of_letters() {
                self.task.positions.go_back(mark.content, &mark.from);
            }
            self.is_dirty = true;
        }
        if back.iter().any(|(_, was_acknowledged)| *was_acknowledged) {
            // At once, and before anything is sent again: who starts after a kill begins behind nothing that was lost.
            self.registration = Registration::Due;
        }
        self.lanes.give_up_decoders();
        back
    }

    /// Goes on after a wait.
    fn heed(&mut self, stored: Option<anyhow::Result<()>>, resend: Option<Resend>) {
        if let Some(result) = stored {
            self.stored(result);
        }
        if let Some(order) = resend {
            self.resend(order);
        }
    }

    fn store_if_due(&mut self) {
        let is_due = self.registration == Registration::Due
            || self.task.positions.is_late()
            || self.flight.unstored() >= self.batch() / 2;
        // What outputs lack, for who asks what was lost.
        let is_dirty = self.is_dirty || self.task.positions.is_old();
        if !is_dirty || !is_due || self.task.positions.is_storing() {
            return;
        }
        // A position behind a dead letter that is not durable would lose it.
        match self.flush_dead_letters() {
            true => self.store(),
            false => self.task.positions.postpone(),
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

    /// Waits before the next attempt to connect, and keeps positions meanwhile; a break when told to stop.
    async fn pause(&mut self, delay: Duration) -> std::ops::ControlFlow<()> {
        let until = Instant::now() + delay;
        loop {
            // A file that comes up now and is renamed before the platform is back is found by its position.
            self.take_in();
            self.store_if_due();
            tokio::select! {
                _ = self.task.files.changed() => {}
                Some(order) = self.task.resends.recv() => self.resend(order),
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
        // Also if no position moved: what the output lacks is stored with them.
        self.store();
        self.task.positions.stored().await
    }
}

fn stalled(settings: &Output) -> String {
    format!(
        "{} has taken nothing for {} s; see whether it is overloaded or hangs (lines wait in their files)",
        settings.platform.address(),
        STALLED.as_secs()
    )
}
