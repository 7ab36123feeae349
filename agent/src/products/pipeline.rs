use super::after;
use super::ask::Ask;
use super::claims::{Claim, Claims};
use super::courier::Outbox;
use super::find::Place;
use super::folder::Stamp;
use super::found::Found;
use super::gate::Gate;
use super::intake::Intake;
use super::ledger::Ledger;
use super::notice::{self, Notifier};
use super::overview::{Row, Uploading};
use super::queue::{Entry, Queue};
use super::setting::Setting;
use super::sighting::Sightings;
use super::upload::{Outcome, Uploader};
use super::watch::Watch;
use hostwright_core::bucket::{Bucket, BucketError, Profile, Progress};
use hostwright_core::state::StateError;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// So many products wait in memory; the others are found again by a walk.
pub(super) const MOST_QUEUED: usize = 3_000;
/// A walk from time to time finds what the kernel did not tell.
pub(super) const WALK_EVERY: Duration = Duration::from_secs(30);
/// How soon a folder that is missing is looked for again.
pub(super) const MISSING: Duration = Duration::from_secs(2);
/// What a crash in between takes is found again in the bucket by size and SHA-256, so that nothing is sent twice.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// How soon what others have not uploaded yet is looked at again.
const WANTED: Duration = Duration::from_secs(3);
/// How soon a product that waits for others is looked at again.
const HELD: Duration = Duration::from_secs(1);

/// One product folder from events to objects: look → queue → upload → ledger → afterwards.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) setting: Arc<Setting>,
    pub(super) row: Row,
    pub(super) intake: Intake,
    pub(super) uploader: Arc<Uploader>,
    pub(super) outbox: Outbox,
    pub(super) gate: Gate,
    /// What the bucket was found to do.
    pub(super) profile: Option<Profile>,
    pub(super) state: PathBuf,
    pub(super) queue: Queue,
    pub(super) uploading: HashMap<Arc<str>, UnderWay>,
    pub(super) running: JoinSet<Done>,
    pub(super) to_clear: Vec<Found>,
    pub(super) clearing: bool,
    pub(super) saving: bool,
    pub(super) next_save: Instant,
    /// When the next walk is wanted.
    pub(super) walk_at: Instant,
    /// When the last one ended, and what it took.
    pub(super) walked_at: Instant,
    pub(super) walk_took: Duration,
    pub(super) walking: bool,
    /// Where the last walk found more than the queue took.
    pub(super) rest: Option<Place>,
    /// Whether there is more than the queue took, wherever.
    pub(super) more: bool,
    pub(super) next_report: Instant,
    /// Bytes of products that were confirmed, since the start.
    pub(super) bytes: u64,
}

/// A product that is being uploaded.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) key: Arc<str>,
    pub(super) stamp: Stamp,
    /// Whether it was taken for its age.
    pub(super) oldest: bool,
    pub(super) small: bool,
    /// Whether something happened to it meanwhile.
    pub(super) again: bool,
    pub(super) progress: Progress,
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
    /// A walk from where an earlier one had enough.
    WentOn(io::Result<Sightings>),
    /// With what somebody asked.
    Answer(Box<(io::Result<Sightings>, Ask)>),
    /// And whether some stay for now, because others have not uploaded them: a walk finds them again.
    Cleared(Vec<Cleared>, bool),
    Saved(Result<(), StateError>),
    Nothing,
}

/// A local product, and what is in the way of its end.
type Cleared = (Found, Result<(), String>);

/// A walk of everything.
#[derive(Debug)]
pub(super) struct Walk {
    /// If the folder is another one than before.
    pub(super) watch: Option<Watch>,
    pub(super) took: Duration,
    pub(super) result: io::Result<Sightings>,
}

impl Pipeline {
    /// Reads the ledger.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(setting: Arc<Setting>, state: &Path, claims: Arc<Claims>, row: Row) -> anyhow::Result<Self> {
        let ledger = Ledger::open(&state.join(format!("{}.ledger", setting.name)), &setting.place)?;
        let to = notice::names(&setting.product.notice);
        let outbox = Outbox::open(state.join(format!("{}.notices", setting.name)), to)?;
        let now = Instant::now();
        Ok(Self {
            intake: Intake::new(setting.name.clone(), setting.product.conflict, setting.eyes(&ledger), claims),
            uploader: Arc::new(setting.uploader(&ledger)),
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
            rest: None,
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
            self.go_on();
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

    /// Asks a bucket that is not in use whether it can be, and settles what an earlier process left in it.
    fn probe(&mut self) {
        if self.gate.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.gate.probing();
        let (setting, uploader, state) = (self.setting.clone(), self.uploader.clone(), self.state.clone());
        let under_way: HashSet<_> = self.uploading.keys().cloned().collect();
        let keys: HashSet<_> = self.uploading.values().map(|one| one.key.clone()).collect();
        self.running.spawn(async move {
            let probed = Box::pin(async {
                let bucket = Bucket::open(&setting.product.bucket, &setting.bucket)?;
                let profile = bucket.prepare(&state).await?;
                uploader.settle(&bucket, (&under_way, &keys)).await?;
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
            self.setting.ages.told(bucket.clock_ahead());
            bucket
        }));
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
            Done::WentOn(result) => self.went_on(result),
            Done::Answer(answer) => self.answer(answer.0, answer.1),
            Done::Cleared(results, some_stay) => self.cleared(results, some_stay),
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

    /// Does with confirmed products what is to be done with them, once the ledger is durable.
    fn start_clearing(&mut self) {
        if self.clearing || self.to_clear.is_empty() {
            return;
        }
        self.clearing = true;
        let products = std::mem::take(&mut self.to_clear);
        let (eyes, setting) = (self.intake.eyes.clone(), self.setting.clone());
        self.running.spawn(async move {
            // Where the state cannot be written (a full disk, say) the bucket's word is enough: space comes first.
            let _ = eyes.ledger.save().await;
            let (all, mut free) = (products.len(), Vec::with_capacity(products.len()));
            for found in products {
                if !setting.desk.is_wanted(&setting.name, &setting.product.watch.join(&*found.path)).await {
                    free.push(found);
                }
            }
            let some_stay = free.len() < all;
            let clear = move |found: Found| {
                let result = after::clear(&eyes.finder, &found, &setting.product.afterwards);
                (found, result)
            };
            let cleared = tokio::task::spawn_blocking(move || free.into_iter().map(clear).collect::<Vec<_>>());
            Done::Cleared(cleared.await.unwrap_or_default(), some_stay)
        });
    }

    fn cleared(&mut self, results: Vec<Cleared>, some_stay: bool) {
        self.clearing = false;
        if some_stay {
            self.walk_at = self.walk_at.min(Instant::now() + WANTED);
        }
        for (found, result) in results {
            match result {
                Ok(()) => self.intake.refused.remove(&*found.path),
                Err(why) => self.intake.refused.insert(found.path.to_string(), why),
            };
        }
    }

    /// Goes on with deletions that an earlier process did not end.
    pub(super) fn finish_deletions(&mut self, hidden: &[String]) {
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
    pub(super) fn give_back(&self, path: &Arc<str>, key: &Arc<str>) {
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

    fn start_saving(&mut self) {
        if self.saving || self.next_save > Instant::now() || !self.uploader.ledger.is_unsaved() {
            return;
        }
        self.saving = true;
        let ledger = self.uploader.ledger.clone();
        self.running.spawn(async move { Done::Saved(ledger.save().await) });
    }
}
