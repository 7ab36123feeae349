use super::answers::MOST;
use super::intake::{AT_A_TIME, Next};
use super::offer::Offer;
use super::pipeline::{Done, MISSING, MOST_QUEUED, Pipeline, WALK_EVERY, Walk};
use super::sighting::{Cause, Eyes, Sightings};
use std::io;
use std::time::Instant;

/// The share of time that may go into walks: one in fifty-one.
const PAUSE_PER_WALK: u32 = 50;
/// Walks fill the queue so far. The rest is for what the kernel tells and for what has failed.
const FULL: usize = MOST_QUEUED / 2;
/// With fewer waiting than this it is filled again.
const REFILL: usize = FULL / 2;
/// Products that were uploaded and deleted here whose keys stay theirs: another one of that key would overwrite the only
/// copy. The latest, because memory is bounded.
const DELETED: usize = 10_000;

/// With how many waiting there is room for one more. What somebody asks for may be found by no walk.
fn room_for(offer: &Offer) -> usize {
    if offer.at_once { MOST_QUEUED + MOST } else { MOST_QUEUED }
}

/// The looks of a pipeline at its folder, and what they bring.
impl Pipeline {
    pub(super) fn look_after_events(&mut self) {
        let happened = self.intake.watch.take(&self.setting.finder.folder);
        let Next { paths, folders, everything } = self.intake.after(happened);
        if everything {
            self.walk_at = Instant::now();
        }
        self.look(paths);
        for (folder, said) in folders {
            let cause = if said { Cause::Said } else { Cause::Look };
            self.see(move |eyes| eyes.walk(&folder, cause, MOST_QUEUED), Done::Looked);
        }
    }

    pub(super) fn look_at_due(&mut self) {
        let due = self.intake.waiting.take_due(Instant::now(), AT_A_TIME);
        self.look(due.into_iter().map(|path| (path.to_string(), Cause::Look)).collect());
    }

    pub(super) fn look(&mut self, paths: Vec<(String, Cause)>) {
        if !paths.is_empty() {
            self.see(move |eyes| eyes.look(&paths), Done::Looked);
        }
    }

    /// Looks, on a thread that may block.
    pub(super) fn see(
        &mut self,
        look: impl FnOnce(&Eyes) -> io::Result<Sightings> + Send + 'static,
        done: impl FnOnce(io::Result<Sightings>) -> Done + Send + 'static,
    ) {
        let eyes = self.intake.eyes.clone();
        self.running.spawn_blocking(move || done(look(&eyes)));
    }

    /// Walks everything, while events are still taken. The first watch comes before the walk, so that nothing happens
    /// between the two unseen.
    pub(super) fn start_walk(&mut self) {
        let now = Instant::now();
        if self.walking || self.walk_due() > now {
            return;
        }
        (self.walking, self.more) = (true, false);
        let eyes = self.intake.eyes.clone();
        // Else it stays here, and tells meanwhile.
        let is_new = !self.intake.watch.is_of(&eyes.finder.folder);
        let mut watch = is_new.then(|| std::mem::take(&mut self.intake.watch));
        let room = FULL.saturating_sub(self.queue.ready());
        let under_way: Vec<_> = self.queue.paths().chain(self.uploading.keys()).cloned().collect();
        self.running.spawn_blocking(move || {
            if let Some(watch) = &mut watch {
                watch.renew(&eyes.finder.folder);
            }
            let began = Instant::now();
            eyes.ledger.begin_walk();
            for path in under_way {
                eyes.ledger.see(&path);
            }
            let result = eyes.walk("", Cause::Look, room);
            Done::Walked(Box::new(Walk { watch, took: began.elapsed(), result }))
        });
    }

    /// Fills the queue from where the last walk had enough: a walk of everything for each filling would look at each product
    /// as often as the queue is filled.
    pub(super) fn go_on(&mut self) {
        if self.walking || self.queue.ready() >= REFILL || self.queue.len() > FULL {
            return;
        }
        let Some(rest) = self.rest.take() else { return };
        self.walking = true;
        let room = FULL - self.queue.ready();
        self.see(move |eyes| eyes.go_on(rest, room), Done::WentOn);
    }

    pub(super) fn went_on(&mut self, mut result: io::Result<Sightings>) {
        self.walking = false;
        match &mut result {
            Ok(sightings) => self.rest = sightings.rest.take(),
            Err(_) => self.more = true,
        }
        self.looked(result);
    }

    pub(super) fn looked(&mut self, result: io::Result<Sightings>) {
        match result {
            Ok(mut sightings) => {
                self.more |= sightings.has_more();
                self.to_clear.append(&mut sightings.to_clear);
                let offers = self.intake.take(sightings);
                self.enqueue(offers);
            }
            // A walk finds it, or says the same of everything.
            Err(_) => self.walk_at = self.walk_at.min(Instant::now() + MISSING),
        }
    }

    pub(super) fn looked_at_all(&mut self, result: io::Result<Sightings>) {
        let Ok(mut sightings) = result else { return };
        self.rest = sightings.rest.take();
        self.more |= sightings.more;
        self.to_clear.append(&mut sightings.to_clear);
        let offers = self.intake.take_all(sightings);
        self.enqueue(offers);
    }

    pub(super) fn enqueue(&mut self, offers: Vec<Offer>) {
        for offer in offers {
            let path = &offer.found.path;
            // It may have been confirmed since it was seen.
            let asked = (!self.setting.product.key.is_of_the_moment()).then_some(&*offer.asked);
            let fingerprint = &offer.found.stamp.fingerprint;
            if self.uploader.ledger.holds(path, fingerprint, &self.setting.place, asked).is_some() {
                continue;
            }
            if let Some(under_way) = self.uploading.get_mut(path) {
                under_way.again |= !under_way.stamp.same_content(&offer.found.stamp);
            } else if self.queue.len() >= room_for(&offer) && self.queue.key_of(path).is_none() {
                self.more = true;
                self.give_back(&offer.found.path, &offer.key);
            } else {
                self.queue.offer(offer);
            }
        }
    }

    pub(super) fn walked(&mut self, walk: Walk) {
        self.walking = false;
        let now = Instant::now();
        (self.walked_at, self.walk_took) = (now, walk.took);
        if let Some(watch) = walk.watch {
            self.intake.watch = watch;
        }
        self.walk_at = now + WALK_EVERY;
        let trouble = walk.result.as_ref().err().map(|error| self.folder_trouble(error));
        let incomplete = !walk.result.as_ref().is_ok_and(|sightings| !sightings.incomplete);
        if trouble.is_some() {
            self.walk_at = now + MISSING;
        } else {
            self.finish_deletions(walk.result.as_ref().map_or(&[], |sightings| &sightings.deleting));
            self.looked_at_all(walk.result);
        }
        if !incomplete {
            let keep = if self.setting.product.afterwards.takes_away() { DELETED } else { 0 };
            for (path, claim) in self.uploader.ledger.end_walk(keep) {
                self.intake.give_back(&path, &claim);
            }
        }
        self.ask_time();
        self.row.update(|row| {
            row.walked = true;
            row.folder_trouble = trouble;
        });
    }

    /// Asks the store for its time, where this host's clock is in doubt.
    fn ask_time(&mut self) {
        let ages = self.setting.ages.clone();
        if let Some(bucket) = self.gate.bucket().filter(|_| ages.doubts()) {
            self.running.spawn(async move {
                if let Some(ahead) = bucket.ask_time().await {
                    ages.told(ahead);
                }
                Done::Nothing
            });
        }
    }

    /// When the next walk is due: for what the kernel did not tell, or because the queue has room for more.
    pub(super) fn walk_due(&self) -> Instant {
        let routine = self.walk_at.max(self.walked_at + self.walk_took * PAUSE_PER_WALK);
        match self.more && self.rest.is_none() && self.queue.len() < REFILL {
            true => routine.min(self.walked_at + self.walk_took),
            false => routine,
        }
    }
}
