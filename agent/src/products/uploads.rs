use super::found::{Body, Found};
use super::key::numbered;
use super::pipeline::{Done, Pipeline, UnderWay};
use super::queue::Entry;
use super::sighting::Cause;
use super::upload::Outcome;
use hostwright_core::bucket::Progress;
use hostwright_core::config::products::{Afterwards, Conflict};
use std::time::Instant;

/// Beside those that may take long, so many small ones are under way: none of them waits for a large one's end, and the
/// time is the store's, not that of the way to it.
const QUICK: usize = 32;
const SMALL: u64 = 1 << 20;
/// Each of them is in memory in part while it is under way: so much of them at once.
const QUICK_BYTES: u64 = 8 << 20;

/// The uploads of a pipeline: which begin, and what becomes of those that end.
impl Pipeline {
    pub(super) fn start_uploads(&mut self) {
        while let Some(bucket) = self.gate.bucket() {
            let (quick, bytes) = self.quick();
            let (oldest, at_most) = match self.uploading.len() - quick < self.setting.product.at_once {
                true => (!self.uploading.values().any(|under_way| under_way.oldest), u64::MAX),
                false if quick < QUICK => (false, SMALL.min(QUICK_BYTES - bytes)),
                false => return,
            };
            let Some(entry) = self.queue.next(oldest, at_most, Instant::now()) else { return };
            let path = entry.found.path.clone();
            let small = entry.found.stamp.fingerprint.size <= SMALL;
            let progress = Progress::default();
            let under_way = UnderWay {
                key: entry.key.clone(),
                stamp: entry.found.stamp,
                oldest,
                small,
                again: false,
                progress: progress.clone(),
            };
            self.uploading.insert(path, under_way);
            let (uploader, outbox, setting) = (self.uploader.clone(), self.outbox.clone(), self.setting.clone());
            self.running.spawn(Box::pin(async move {
                let folder = setting.product.watch.join(folder_of(&entry.found));
                if let Some(why) = setting.desk.in_front(&setting.product.after, &folder).await {
                    return Done::Held(Box::new(entry), why);
                }
                let outcome = uploader.upload(&bucket, &entry, &progress).await;
                if let Outcome::Confirmed(confirmed) = &outcome {
                    // Before the ledger knows: then no crash loses it.
                    outbox.put(&confirmed.1).await;
                }
                Done::Upload(Box::new((entry, outcome)))
            }));
        }
    }

    /// How many of those under way are beside the others, and their bytes.
    pub(super) fn quick(&self) -> (usize, u64) {
        let sizes = self.uploading.values().filter(|one| one.small).map(|one| one.stamp.fingerprint.size);
        sizes.fold((0, 0), |(count, bytes), size| match count < QUICK && bytes + size <= QUICK_BYTES {
            true => (count + 1, bytes + size),
            false => (count, bytes),
        })
    }

    pub(super) fn uploaded(&mut self, mut entry: Entry, outcome: Outcome) {
        let path = entry.found.path.clone();
        let again = self.uploading.remove(&path).is_some_and(|under_way| under_way.again);
        match outcome {
            Outcome::Confirmed(confirmed) => {
                let (record, manifest) = *confirmed;
                self.bytes += manifest.bytes;
                let (product, key) = (&*self.setting.name, &*record.key);
                log::info!(product, key; "{product}: uploaded {path:?} as {key:?}");
                let before = self.uploader.ledger.key_of(&path);
                self.uploader.ledger.record(&path, record);
                if let Some(before) = before.filter(|before| before.key != entry.key)
                    && self.setting.product.conflict == Conflict::Refuse
                {
                    self.intake.give_back(&path, &before);
                }
                self.queue.settled(&path);
                self.gate.well();
                if matches!(self.setting.product.afterwards, Afterwards::Delete | Afterwards::Move(_)) {
                    self.to_clear.push(entry.found);
                }
            }
            Outcome::NotAsFound => {
                self.queue.settled(&path);
                self.give_back(&path, &entry.key);
                self.look(vec![(path.to_string(), Cause::Look)]);
            }
            Outcome::Taken => match self.intake.claim(&entry.found, &entry.asked, next_number(&entry)) {
                Ok(key) => {
                    self.give_back(&path, &std::mem::replace(&mut entry.key, key));
                    self.queue.put_back(entry);
                }
                Err(why) => self.queue.retry_later(entry, why, true, Instant::now()),
            },
            Outcome::Unreadable(why) => self.queue.retry_later(entry, why, false, Instant::now()),
            Outcome::Failed(error) if error.concerns_bucket() => {
                self.gate.failed(&error);
                self.queue.put_back(entry);
            }
            Outcome::Failed(error) => {
                self.queue.retry_later(entry, error.to_string(), error.is_permanent(), Instant::now());
            }
        }
        if again {
            self.look(vec![(path.to_string(), Cause::Look)]);
        }
    }
}

/// Where the products lie that go before this one: in its folder, and of a folder directly in the watched one in itself.
fn folder_of(found: &Found) -> &str {
    match found.path.rsplit_once('/') {
        Some((folder, _)) => folder,
        None if matches!(found.body, Body::Folder(_)) => &found.path,
        None => "",
    }
}

/// The number that comes behind that of the key that turned out to be taken.
fn next_number(entry: &Entry) -> u32 {
    let numbers = 1..u32::MAX;
    numbers.into_iter().find(|number| numbered(&entry.asked, *number) == *entry.key).map_or(2, |number| number + 1)
}
