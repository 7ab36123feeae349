use super::ending::at;
use super::{Shipping, Task};
use crate::logs::output::outgoing::Refused;
use crate::logs::output::request::batch::Batch;
use crate::logs::output::request::courier::Settled;
use crate::logs::output::request::{self, Courier};
use crate::logs::source::cursor::PIECE;
use bytes::Bytes;
use jiff::Timestamp;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinHandle, block_in_place, yield_now};

/// The batch that is being filled, and the one that is under way.
struct Portions {
    batches: Sender<Batch>,
    settled: Receiver<Settled>,
    courier: JoinHandle<()>,
    /// When the first line of the batch that is being filled was read.
    began: Option<Instant>,
    /// What of the flight the batch under way is, in encoded bytes, if there is one.
    under_way: Option<u64>,
    /// What of the flight is being filled, in the file's bytes.
    filled: u64,
    /// The buffer of a batch that was settled.
    spare: Vec<u8>,
}

impl Drop for Portions {
    fn drop(&mut self) {
        self.courier.abort();
    }
}

impl Shipping {
    /// Ships one batch after the other until told to stop: one is read and encoded while the one before is under way.
    pub(super) async fn request(&mut self) -> anyhow::Result<()> {
        let (batches, to_courier) = mpsc::channel(1);
        let (from_courier, settled) = mpsc::channel(1);
        let Task { settings, name, origin, health, state, .. } = &self.task;
        let courier = Courier::new(settings.platform.clone(), origin.clone(), (name, health.clone()), state);
        let courier = tokio::spawn(courier.run(to_courier, from_courier));
        let spare = Vec::new();
        let mut portions = Portions { batches, settled, courier, began: None, under_way: None, filled: 0, spare };
        self.out.itemised = true;
        loop {
            self.take_in();
            if self.has_work() {
                block_in_place(|| self.fill_batch(&mut portions));
            }
            self.send_batch(&mut portions).await?;
            if portions.under_way.is_none() && self.out.items.is_empty() {
                // Pieces of which no record is left.
                self.acknowledge(0, false);
                let was_filled = std::mem::take(&mut portions.filled) > 0;
                if was_filled && self.may_read() && self.lanes.any_ready() && !self.ending.has_begun() {
                    self.store_if_due();
                    yield_now().await;
                    continue;
                }
            }
            self.store_if_due();
            if self.ending.is_over(self.flight.is_empty() && !self.lanes.any_ready()) {
                return Ok(());
            }
            self.wait_for_answer(&mut portions).await?;
        }
    }

    fn fill_batch(&mut self, portions: &mut Portions) {
        if !self.may_read() {
            return;
        }
        let now = format!("{:.6}", Timestamp::now());
        if self.out.items.is_empty() {
            self.read_letters(&now);
        }
        while !self.is_full(portions) {
            let before = self.flight.bytes();
            if !self.read_piece(&now) {
                break;
            }
            portions.filled += self.flight.bytes() - before;
        }
        if portions.began.is_none() && !self.out.items.is_empty() {
            portions.began = Some(Instant::now());
        }
    }

    /// Whether another piece could be too much for the batch that is being filled. Short lines become several times as
    /// long with what is put around them, and memory holds that.
    fn is_full(&self, portions: &Portions) -> bool {
        let most = self.batch().max(PIECE as u64);
        let by_bytes = portions.filled + PIECE as u64 > most || self.out.bytes.len() as u64 >= most;
        by_bytes || self.out.items.len() >= self.task.settings.batch.lines
    }

    /// When the batch that is being filled is to be sent, if nothing is under way.
    fn due_at(&self, portions: &Portions) -> Option<Instant> {
        let began = portions.began.filter(|_| portions.under_way.is_none())?;
        let at_once = self.is_full(portions) || self.ending.has_begun();
        Some(began + if at_once { Duration::ZERO } else { self.task.settings.batch.age })
    }

    /// Hands the batch to the courier, if it is due and a crash would not send more than one batch again.
    async fn send_batch(&mut self, portions: &mut Portions) -> anyhow::Result<()> {
        if self.due_at(portions).is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        let unstored = self.flight.unstored();
        let one_by_one = request::begins_where_it_ended(&self.task.settings.platform);
        if unstored > 0 && (one_by_one || unstored + portions.filled > self.batch()) {
            if !self.task.positions.is_storing() && self.flush_dead_letters() {
                self.store();
            }
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.out.bytes, std::mem::take(&mut portions.spare));
        self.out.bytes.clear();
        portions.under_way = Some(bytes.len() as u64);
        (portions.began, portions.filled) = (None, 0);
        let batch = Batch {
            bytes: Bytes::from(bytes),
            items: std::mem::take(&mut self.out.items),
            groups: std::mem::take(&mut self.out.groups),
        };
        portions.batches.send(batch).await.map_err(|_| anyhow::anyhow!("the courier ended"))
    }

    fn settle(&mut self, settled: Settled, portions: &mut Portions) {
        let Settled { batch, refused } = settled;
        for (index, why) in refused {
            let (item, group) = (batch.items[index], batch.groups.iter().find(|group| group.items.contains(&index)));
            self.flight.refused(item.content, item.offset, item.length);
            let Some(facts) = group.map(|group| group.facts.clone()) else { continue };
            let text = block_in_place(|| self.lanes.text(&facts, &item));
            let (content, offset, length) = (item.content, item.offset, item.length);
            self.dead_letters.add(&Refused { facts, content, offset, length, why, text });
        }
        // What is being filled by now was not sent.
        self.acknowledge(self.out.bytes.len() as u64, false);
        portions.under_way = None;
        let Batch { bytes, mut items, .. } = batch;
        if let Ok(bytes) = bytes.try_into_mut() {
            portions.spare = bytes.into();
        }
        if self.out.items.is_empty() {
            items.clear();
            self.out.items = items;
        }
    }

    /// Waits until there is something to do. All arms are cancel-safe.
    async fn wait_for_answer(&mut self, portions: &mut Portions) -> anyhow::Result<()> {
        let store = (self.is_dirty && !self.task.positions.is_storing()).then(|| self.task.positions.late_at());
        let is_storing = self.flight.unstored() > 0 && self.task.positions.is_storing();
        let blocked = is_storing || !self.dead_letters.is_flushed();
        let due = self.due_at(portions).filter(|_| !blocked);
        let held = self.held_until();
        let (mut stored, mut settled, mut resend) = (None, None, None);
        tokio::select! {
            _ = self.task.files.changed() => {}
            () = at(held) => {}
            answer = portions.settled.recv() => {
                settled = Some(answer.ok_or_else(|| anyhow::anyhow!("the courier ended"))?);
            }
            () = at(due) => {}
            () = at(store) => {}
            result = self.task.positions.stored() => stored = Some(result),
            Some(order) = self.task.resends.recv() => resend = Some(order),
            () = self.ending.begun(), if !self.ending.has_begun() => {}
            () = self.ending.over() => {}
        }
        self.heed(stored, resend);
        if let Some(settled) = settled {
            self.settle(settled, portions);
        }
        Ok(())
    }
}
