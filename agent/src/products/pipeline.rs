use super::after;
use super::ask::Ask;
use super::claims::{Claim, Claims};
use super::courier::Outbox;
use super::folder::Stamp;
use super::found::Found;
use super::gate::Gate;
use super::intake::{AT_A_TIME, Intake, Next, Offer};
use super::key::numbered;
use super::ledger::Ledger;
use super::notice::{self, Notifier};
use super::overview::{Row, Uploading};
use super::queue::{Entry, Queue};
use super::setting::Setting;
use super::sighting::{Cause, Eyes, Sightings};
use super::upload::{Outcome, Uploader};
use super::watch::Watch;
use hostwright_core::bucket::{Bucket, BucketError, Profile, Progress};
use hostwright_core::config::products::{Afterwards, Conflict};
use hostwright_core::state::StateError;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Beside those that may take long, so many small ones are under way: none of them waits for a large one's end.
const QUICK: usize = 2;
const SMALL: u64 = 1 << 20;
/// So many products wait in memory; the others are found again by a walk.
const MOST_QUEUED: usize = 10_000;
/// A walk from time to time finds what the kernel did not tell.
const WALK_EVERY: Duration = Duration::from_secs(30);
/// How soon a folder that is missing is looked for again.
const MISSING: Duration = Duration::from_secs(2);
/// The share of time that may go into walks: one in fifty-one.
const PAUSE_PER_WALK: u32 = 50;
/// What a crash in between takes is found again in the bucket by size and SHA-256, so that nothing is sent twice.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// How soon a product that waits for others is looked at again.
const HELD: Duration = Duration::from_secs(1);
/// Products that were uploaded and deleted here whose keys stay theirs: another one of that key would overwrite the only
/// copy. The latest, because memory is bounded.
const DELETED: usize = 10_000;

/// One product folder from events to objects: look → queue → upload → ledger → afterwards.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) setting: Setting,
    pub(super) row: Row,
    pub(super) intake: Intake,
    pub(super) uploader: Uploader,
    pub(super) outbox: Outbox,
    pub(super) gate: Gate,
    /// What the bucket was found to do.
    pub(super) profile: Option<Profile>,
    state: PathBuf,
    pub(super) queue: Queue,
    pub(super) uploading: HashMap<Arc<str>, UnderWay>,
    pub(super) running: JoinSet<Done>,
    to_clear: Vec<Found>,
    clearing: bool,
    saving: bool,
    next_save: Instant,
    /// When the next walk is wanted.
    walk_at: Instant,
    /// When the last one ended, and what it took.
    walked_at: Instant,
    walk_took: Duration,
    walking: bool,
    /// Whether there is more than the queue took.
    more: bool,
    pub(super) next_report: Instant,
    /// Bytes of products that were confirmed, since the start.
    pub(super) bytes: u64,
}

/// A product that is being uploaded.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) key: Arc<str>,
    stamp: Stamp,
    /// Whether it was taken for its age.
    oldest: bool,
    small: bool,
    /// Whether something happened to it meanwhile.
    again: bool,
    progress: Progress,
}

impl UnderWay {
    pub(super) fn shown(&self, path: &str) -> Uploading {
        let (size, sent) = (self.stamp.fingerprint.size, self.progress.done());
        Uploading { path: path.to_owned(), key: self.key.to_string(), size, sent }
    }
}

/// Something that ended.
#[derive(Debug)]
pub(super) enum Done {
    Probe(Result<(Arc<Bucket>, Profile), Box<BucketError>>),
    Upload(Box<(Entry, Outcome)>),
    /// It has to wait for another one.
    Held(Box<Entry>, String),
    Looked(io::Result<Sightings>),
    Walked(Box<Walk>),
    /// With what somebody asked.
    Answer(Box<(io::Result<Sightings>, Ask)>),
    Cleared(Vec<(Found, Result<(), String>)>),
    Saved(Result<(), StateError>),
    Nothing,
}

/// A walk of everything.
#[derive(Debug)]
pub(super) struct Walk {
    /// If the folder is another one than before.
    watch: Option<Watch>,
    took: Duration,
    result: io::Result<Sightings>,
}

impl Pipeline {
    /// Reads the ledger.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(setting: Setting, state: &Path, claims: Arc<Claims>, row: Row) -> anyhow::Result<Self> {
        let ledger = Ledger::open(&state.join(format!("{}.ledger", setting.name)), &setting.place)?;
        let to = notice::names(&setting.product.notice);
        let outbox = Outbox::open(state.join(format!("{}.notices", setting.name)), to)?;
        let now = Instant::now();
        Ok(Self {
            intake: Intake::new(setting.name.clone(), setting.product.conflict, setting.eyes(&ledger), claims),
            uploader: setting.uploader(&ledger),
            queue: Queue::new(setting.product.quarantine_after),
            setting,
            row,
            outbox,
            gate: Gate::new(),
            profile: None,
            state: state.to_owned(),
            running: JoinSet::new(),
            uploading: HashMap::new(),
            to_clear: Vec::new(),
            clearing: false,
            saving: false,
            next_save: now,
            walk_at: now,
            walked_at: now,
            walk_took: Duration::ZERO,
            walking: false,
            more: false,
            next_report: now,
            bytes: 0,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// A defect of this program.
    pub(super) async fn run(mut self, asks: &mut mpsc::Receiver<Ask>, stop: &CancellationToken) -> anyhow::Result<()> {
        self.row.update(|row| row.sick = None);
        let courier = self.outbox.clone().deliver(Notifier::new(&self.setting.product.notice), stop.child_token());
        // It ends with this pipeline, whose letters another one would deliver a second time.
        let _courier = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(courier));
        loop {
            self.probe();
            self.start_uploads();
            self.start_walk();
            self.start_clearing();
            self.start_saving();
            self.report(false);
            let next = self.next_due().into();
            tokio::select! {
                // All are cancel-safe: tokio documents it of its own, and waiting loses no event.
                () = stop.cancelled() => break,
                () = self.intake.watch.happened() => self.look_after_events(),
                Some(done) = self.running.join_next() => self.ended(done?),
                Some(ask) = asks.recv() => self.asked(ask),
                () = tokio::time::sleep_until(next) => self.look_at_due(),
            }
        }
        self.drain().await;
        Ok(())
    }

    fn look_after_events(&mut self) {
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

    fn look_at_due(&mut self) {
        let due = self.intake.waiting.take_due(Instant::now(), AT_A_TIME);
        self.look(due.into_iter().map(|path| (path.to_string(), Cause::Look)).collect());
    }

    fn look(&mut self, paths: Vec<(String, Cause)>) {
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
    fn start_walk(&mut self) {
        let now = Instant::now();
        if self.walking || self.walk_due() > now {
            return;
        }
        (self.walking, self.more) = (true, false);
        let eyes = self.intake.eyes.clone();
        // Else it stays here, and tells meanwhile.
        let is_new = !self.intake.watch.is_of(&eyes.finder.folder);
        let mut watch = is_new.then(|| std::mem::take(&mut self.intake.watch));
        let room = MOST_QUEUED.saturating_sub(self.queue.len());
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

    /// Asks a bucket that is not in use whether it can be, and settles what an earlier process left in it.
    fn probe(&mut self) {
        if self.gate.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.gate.probing();
        let (setting, uploader, state) = (self.setting.clone(), self.uploader.clone(), self.state.clone());
        let under_way: HashSet<_> = self.uploading.keys().cloned().collect();
        self.running.spawn(async move {
            let probed = Box::pin(async {
                let bucket = Bucket::open(&setting.product.bucket, &setting.bucket)?;
                let profile = bucket.prepare(&state).await?;
                uploader.settle(&bucket, &under_way).await?;
                Ok((Arc::new(bucket), profile))
            });
            Done::Probe(probed.await.map_err(Box::new))
        });
    }

    fn probed(&mut self, result: Result<(Arc<Bucket>, Profile), Box<BucketError>>) {
        self.gate.probed(result.map_err(|error| *error).map(|(bucket, profile)| {
            let missing = profile.missing();
            if !missing.is_empty() && self.profile.as_ref() != Some(&profile) {
                // Rights to write need not be rights to list; what is denied, the first upload will say.
                log::warn!("{}: the bucket {} lacks {}", self.setting.name, self.setting.place, missing.join(", "));
            }
            self.profile = Some(profile);
            bucket
        }));
    }

    fn start_uploads(&mut self) {
        while let Some(bucket) = self.gate.bucket() {
            let small = self.uploading.values().filter(|under_way| under_way.small).count();
            let large = self.uploading.len() - small.min(QUICK);
            let (oldest, at_most) = match large < self.setting.product.at_once {
                true => (!self.uploading.values().any(|under_way| under_way.oldest), u64::MAX),
                false if small < QUICK => (false, SMALL),
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
                let folder = setting.product.watch.join(&*entry.found.path);
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

    pub(super) fn ended(&mut self, done: Done) {
        match done {
            Done::Probe(result) => self.probed(result),
            Done::Upload(ended) => self.uploaded(ended.0, ended.1),
            Done::Held(entry, why) => {
                self.uploading.remove(&entry.found.path);
                self.queue.hold(*entry, why, Instant::now() + HELD);
            }
            Done::Looked(result) => self.looked(result),
            Done::Walked(walk) => self.walked(*walk),
            Done::Answer(answer) => self.answer(answer.0, answer.1),
            Done::Cleared(results) => self.cleared(results),
            Done::Nothing => {}
            Done::Saved(result) => {
                self.saving = false;
                self.next_save = Instant::now() + SAVE_EVERY * if result.is_err() { 5 } else { 1 };
                // Uploads go on: what is not recorded is found again in the bucket.
                let trouble = result.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
                self.row.update(|row| row.state_trouble = trouble);
            }
        }
    }

    pub(super) fn looked(&mut self, result: io::Result<Sightings>) {
        match result {
            Ok(mut sightings) => {
                self.more |= sightings.more;
                self.to_clear.append(&mut sightings.to_clear);
                let offers = self.intake.take(sightings);
                self.enqueue(offers);
            }
            // A walk finds it, or says the same of everything.
            Err(_) => self.walk_at = self.walk_at.min(Instant::now() + MISSING),
        }
    }

    fn looked_at_all(&mut self, result: io::Result<Sightings>) {
        let Ok(mut sightings) = result else { return };
        self.more |= sightings.more;
        self.to_clear.append(&mut sightings.to_clear);
        let offers = self.intake.take_all(sightings);
        self.enqueue(offers);
    }

    fn enqueue(&mut self, offers: Vec<Offer>) {
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
            } else if self.queue.len() >= MOST_QUEUED && self.queue.key_of(path).is_none() {
                self.more = true;
                self.give_back(&offer.found.path, &offer.key);
            } else {
                self.queue.offer(offer);
            }
        }
    }

    fn walked(&mut self, walk: Walk) {
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
        self.row.update(|row| {
            row.walked = true;
            row.folder_trouble = trouble;
        });
    }

    fn uploaded(&mut self, mut entry: Entry, outcome: Outcome) {
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

    /// Does with confirmed products what is to be done with them, once the ledger is durable.
    fn start_clearing(&mut self) {
        if self.clearing || self.to_clear.is_empty() {
            return;
        }
        self.clearing = true;
        let products = std::mem::take(&mut self.to_clear);
        let (eyes, afterwards) = (self.intake.eyes.clone(), self.setting.product.afterwards.clone());
        self.running.spawn(async move {
            // Where the state cannot be written (a full disk, say) the bucket's word is enough: space comes first.
            let _ = eyes.ledger.save().await;
            let clear = move |found: Found| {
                let result = after::clear(&eyes.finder, &found, &afterwards);
                (found, result)
            };
            let cleared = tokio::task::spawn_blocking(move || products.into_iter().map(clear).collect());
            Done::Cleared(cleared.await.unwrap_or_default())
        });
    }

    fn cleared(&mut self, results: Vec<(Found, Result<(), String>)>) {
        self.clearing = false;
        for (found, result) in results {
            match result {
                Ok(()) => self.intake.refused.remove(&*found.path),
                Err(why) => self.intake.refused.insert(found.path.to_string(), why),
            };
        }
    }

    /// Goes on with deletions that an earlier process did not end.
    fn finish_deletions(&mut self, hidden: &[String]) {
        if self.intake.has_walked() || hidden.is_empty() {
            return;
        }
        let (finder, hidden) = (self.setting.finder.clone(), hidden.to_vec());
        self.running.spawn_blocking(move || {
            for path in hidden {
                if let Err(error) = after::finish(&finder, &path) {
                    log::warn!("{path:?} was uploaded, but cannot be deleted: {error}");
                }
            }
            Done::Nothing
        });
    }

    /// Gives back the key that a product was to have, unless it had it before.
    fn give_back(&self, path: &Arc<str>, key: &Arc<str>) {
        let claim = Claim { place: self.setting.place.clone(), key: key.clone() };
        if self.uploader.ledger.key_of(path).as_ref() != Some(&claim) {
            self.intake.give_back(path, &claim);
        }
    }

    fn next_due(&self) -> Instant {
        let free = self.gate.bucket().is_some() && self.uploading.len() < self.setting.product.at_once;
        let retry = self.queue.due().filter(|_| free);
        let save = (!self.saving && self.uploader.ledger.is_unsaved()).then_some(self.next_save);
        let walk = (!self.walking).then(|| self.walk_due());
        let due = [self.gate.due(), retry, save, walk, self.intake.waiting.next(), self.shown_until()];
        let latest = Instant::now() + WALK_EVERY;
        due.into_iter().flatten().fold(latest, Instant::min)
    }

    /// When the next walk is due: for what the kernel did not tell, or because the queue has room for more.
    fn walk_due(&self) -> Instant {
        let routine = self.walk_at.max(self.walked_at + self.walk_took * PAUSE_PER_WALK);
        match self.more && self.queue.len() < MOST_QUEUED / 2 {
            true => routine.min(self.walked_at + self.walk_took),
            false => routine,
        }
    }

    fn start_saving(&mut self) {
        if self.saving || self.next_save > Instant::now() || !self.uploader.ledger.is_unsaved() {
            return;
        }
        self.saving = true;
        let ledger = self.uploader.ledger.clone();
        self.running.spawn(async move { Done::Saved(ledger.save().await) });
    }
}

/// The number that comes behind that of the key that turned out to be taken.
fn next_number(entry: &Entry) -> u32 {
    let numbers = 1..u32::MAX;
    numbers.into_iter().find(|number| numbered(&entry.asked, *number) == *entry.key).map_or(2, |number| number + 1)
}
