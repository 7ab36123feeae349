use super::claims::Claims;
use super::folder::Folder;
use super::gate::Gate;
use super::intake::{Harvest, Intake, Scope};
use super::key::Keys;
use super::ledger::Ledger;
use super::overview::Row;
use super::queue::{Entry, Queue};
use super::upload::{Outcome, Uploader};
use crate::supervisor::Environment;
use hostwright_core::bucket::{Bucket, BucketError, Reason};
use hostwright_core::config::{buckets, products::Afterwards, products::Product};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Files of one product under way at once.
const AT_ONCE: usize = 4;
/// A walk from time to time finds what the kernel did not tell.
const WALK_EVERY: Duration = Duration::from_secs(30);
/// How soon a folder that is missing is looked for again.
const MISSING: Duration = Duration::from_secs(2);
/// Events come in bursts: one walk for all of a burst.
const BURST: Duration = Duration::from_millis(50);
/// The share of time that may go into walks: one in eleven.
const PAUSE_PER_WALK: u32 = 10;
/// What uploads under way are given to end when the agent stops.
const GRACE: Duration = Duration::from_secs(10);

/// One product with what it needs of the rest of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    bucket_name: String,
    bucket: buckets::Bucket,
    scope: Scope,
    metadata: Arc<Vec<(String, String)>>,
}

/// One product from folder to bucket: walk → queue → upload → ledger.
#[derive(Debug)]
pub(super) struct Pipeline {
    setting: Setting,
    row: Row,
    intake: Intake,
    uploader: Uploader,
    gate: Gate,
    queue: Queue,
    running: JoinSet<Done>,
    /// The paths under way, and whether each was taken for its age.
    uploading: HashMap<Arc<str>, bool>,
    /// When the next walk is wanted, and when it may be.
    walk_at: Instant,
    walk_not_before: Instant,
    woken: bool,
}

#[derive(Debug)]
enum Done {
    Probe(Result<Arc<Bucket>, BucketError>),
    Upload(Box<(Entry, Outcome)>),
}

impl Setting {
    /// Nothing if the bucket is not configured, which the configuration's check rules out.
    pub(super) fn new(
        name: String,
        product: Product,
        buckets: &BTreeMap<String, buckets::Bucket>,
        environment: &Environment,
    ) -> Option<Self> {
        let bucket = buckets.get(&product.bucket)?.clone();
        let labels = environment.host.labels.0.clone();
        // Headers carry visible ASCII; what is not stays out, as the rest of an object's story is not less true.
        let fits = |text: &str| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let labelled = labels.iter().map(|(name, value)| (format!("label-{}", name.replace('_', "-")), value.clone()));
        let metadata = std::iter::once(("host".to_owned(), environment.host_name.clone())).chain(labelled);
        let metadata = metadata.filter(|(_, value)| fits(value)).collect();
        let scope = Scope {
            product: name.as_str().into(),
            folder: Folder::new(product.watch),
            place: Bucket::place_of(&bucket).into(),
            keys: Keys { template: product.key, host: environment.host_name.clone(), labels },
            quiet: product.quiet,
            delete: product.afterwards == Afterwards::Delete,
        };
        Some(Self { name, bucket_name: product.bucket, bucket, scope, metadata: Arc::new(metadata) })
    }
}

impl Pipeline {
    /// Reads the ledger.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(setting: Setting, state: &Path, claims: Arc<Claims>, row: Row) -> anyhow::Result<Self> {
        let ledger = Ledger::open(state.join(format!("{}.json", setting.name)), &setting.scope.place)?;
        let folder = setting.scope.folder.clone();
        let uploader = Uploader {
            folder,
            ledger: ledger.clone(),
            place: setting.scope.place.clone(),
            metadata: setting.metadata.clone(),
        };
        Ok(Self {
            intake: Intake::new(setting.scope.clone(), ledger, claims),
            setting,
            row,
            uploader,
            gate: Gate::new(),
            queue: Queue::default(),
            running: JoinSet::new(),
            uploading: HashMap::new(),
            walk_at: Instant::now(),
            walk_not_before: Instant::now(),
            woken: false,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// A defect of this program.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.row.update(|row| row.sick = None);
        loop {
            self.probe();
            self.start_uploads();
            let saved = self.save().await;
            self.report();
            let next = self.next_due(saved).into();
            tokio::select! {
                // All are cancel-safe: tokio documents it of its own, and waiting loses no event.
                () = stop.cancelled() => break,
                () = self.intake.happened(), if !self.woken => {
                    self.woken = true;
                    self.walk_within(BURST);
                }
                Some(done) = self.running.join_next() => self.ended(done?),
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= self.walk_due() {
                self.walk().await;
            }
        }
        self.drain().await;
        Ok(())
    }

    async fn walk(&mut self) {
        let began = Instant::now();
        self.woken = false;
        let uploading = self.uploading_paths();
        let harvest = self.intake.walk(&uploading).await;
        let trouble = harvest.as_ref().err().map(|error| self.folder_trouble(error));
        self.walk_at = Instant::now() + if trouble.is_some() { MISSING } else { WALK_EVERY };
        let Harvest { finished, refused, in_use, unfinished, due } = harvest.unwrap_or_default();
        if let Some(due) = due {
            self.walk_at = self.walk_at.min(due);
        }
        self.queue.keep_only(&finished.iter().map(|(found, ..)| found.path.clone()).collect());
        for (found, key, may_be_there) in finished {
            self.queue.offer(found, key, may_be_there);
        }
        self.row.update(|row| {
            row.walked = true;
            row.folder_trouble = trouble;
            row.refused = refused.into_iter().collect();
            row.in_use = in_use.into_iter().collect();
            row.unfinished = unfinished;
        });
        self.walk_not_before = Instant::now() + began.elapsed() * PAUSE_PER_WALK;
    }

    /// Asks a bucket that is not in use whether it can be, and settles what an earlier process left in it.
    fn probe(&mut self) {
        if self.gate.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.gate.probing();
        let (setting, uploader, under_way) = (self.setting.clone(), self.uploader.clone(), self.uploading_paths());
        self.running.spawn(async move {
            let probed = Box::pin(async {
                let bucket = Bucket::open(&setting.bucket_name, &setting.bucket)?;
                match bucket.check().await {
                    // Rights to write need not be rights to list; what is denied, the first upload will say.
                    Err(error) if matches!(error.reason(), Reason::Denied { .. }) => log::warn!("{error}"),
                    checked => checked?,
                }
                uploader.settle(&bucket, &under_way).await?;
                Ok(Arc::new(bucket))
            });
            Done::Probe(probed.await)
        });
    }

    fn start_uploads(&mut self) {
        while self.uploading.len() < AT_ONCE
            && let Some(bucket) = self.gate.bucket()
        {
            let oldest = !self.uploading.values().any(|oldest| *oldest);
            let Some(entry) = self.queue.next(oldest, Instant::now()) else { return };
            self.uploading.insert(entry.found.path.clone(), oldest);
            let uploader = self.uploader.clone();
            self.running.spawn(Box::pin(async move {
                let outcome = uploader.upload(&bucket, &entry).await;
                Done::Upload(Box::new((entry, outcome)))
            }));
        }
    }

    fn ended(&mut self, done: Done) {
        let (entry, outcome) = match done {
            Done::Probe(result) => return self.gate.probed(result),
            Done::Upload(ended) => *ended,
        };
        self.uploading.remove(&entry.found.path);
        match outcome {
            Outcome::Confirmed(record) => {
                let (product, path) = (&self.setting.name, &entry.found.path);
                log::info!(product, key = record.key; "{product}: uploaded {path:?} as {:?}", record.key);
                self.uploader.ledger.record(&entry.found.path, record);
                self.queue.settled(&entry.found.path);
                self.gate.well();
                if self.setting.scope.delete {
                    self.walk_within(BURST);
                }
            }
            Outcome::NotAsFound => {
                self.queue.settled(&entry.found.path);
                self.walk_within(BURST);
            }
            Outcome::Unreadable(why) => self.queue.retry_later(entry, why, false, Instant::now()),
            Outcome::Failed(error) if error.concerns_bucket() => {
                self.gate.failed(&error);
                self.queue.put_back(entry);
            }
            Outcome::Failed(error) => {
                self.queue.retry_later(entry, error.to_string(), error.is_permanent(), Instant::now());
            }
        }
    }

    /// Tells whether everything is durable.
    async fn save(&self) -> bool {
        match self.uploader.ledger.save(false).await {
            Ok(saved) => {
                self.row.update(|row| row.state_trouble = None);
                saved
            }
            Err(error) => {
                // Uploads go on: what is not recorded is found again in the bucket.
                self.row.update(|row| row.state_trouble = Some(format!("{:#}", anyhow::Error::from(error))));
                false
            }
        }
    }

    fn report(&mut self) {
        if self.queue.len() == 0 && self.uploading.is_empty() && self.gate.bucket().is_some() {
            self.gate.well();
        }
        self.row.update(|row| {
            row.folder = self.setting.scope.folder.root().display().to_string();
            row.bucket = self.setting.scope.place.to_string();
            row.answered |= self.gate.bucket().is_some();
            row.waiting = self.queue.len();
            row.uploading = self.uploading.keys().map(ToString::to_string).collect();
            row.uploading.sort();
            row.uploaded = self.uploader.ledger.uploaded();
            row.failed = self.queue.failed().map(|(path, failure)| (path.to_string(), failure.sentence())).collect();
            row.bucket_trouble = self.gate.trouble().map(str::to_owned);
            row.last = self.uploader.ledger.last();
        });
    }

    /// Lets uploads that are under way end, for a while. What is cut off is settled at the next start.
    async fn drain(&mut self) {
        let deadline = tokio::time::Instant::now() + GRACE;
        while let Ok(Some(Ok(done))) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(done);
        }
        self.running.shutdown().await;
        if let Err(error) = self.uploader.ledger.save(true).await {
            log::error!("{}: {:#}", self.setting.name, anyhow::Error::from(error));
        }
    }

    fn next_due(&self, saved: bool) -> Instant {
        let retry = self.queue.due().filter(|_| self.gate.bucket().is_some() && self.uploading.len() < AT_ONCE);
        let save = (!saved).then(|| Instant::now() + Duration::from_secs(1));
        [self.gate.due(), retry, save].into_iter().flatten().fold(self.walk_due(), Instant::min)
    }

    fn walk_due(&self) -> Instant {
        self.walk_at.max(self.walk_not_before)
    }

    fn walk_within(&mut self, delay: Duration) {
        self.walk_at = self.walk_at.min(Instant::now() + delay);
    }

    fn uploading_paths(&self) -> HashSet<Arc<str>> {
        self.uploading.keys().cloned().collect()
    }

    fn folder_trouble(&self, error: &io::Error) -> String {
        let folder = self.setting.scope.folder.root().display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                format!("the folder {folder} is not there; it is waited for: create it, or correct `watch`")
            }
            _ => format!("the folder {folder} cannot be read: {error}"),
        }
    }
}
