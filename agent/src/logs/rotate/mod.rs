//! Rotation by us, for applications that have nobody who does it: rename or copy, tell the writer, compress, clean up.
//!
//! In: the followed files of sources with `rotate:`. Out: generations beside them, in the same folder. What survives a
//! restart: `rotations.json` in the duty's state folder says when each log was rotated, and what was begun: each step
//! is noted before it is done, and the next start goes on with it. Nothing is deleted that an output lacks, unless
//! `force_bytes` says so, which is counted and shown.

/// Rotated files made smaller.
mod compress;
/// Rotation of a file that its writer keeps open.
mod copy_truncate;
/// When a file is rotated.
mod due;
/// The rotated files of a log.
mod generations;
/// What is deleted.
mod keep;
/// What rotated files are called.
mod names;
/// What was begun.
mod record;
/// Rotation of a file whose writer opens a new one.
mod rename;
/// What was done, and what hinders it.
pub mod report;
/// How a writer learns that its file has another name.
mod tell;

use super::source::Source;
use super::source::discover::Files;
use super::source::followed::FollowedFile;
use super::source::identity::Key;
use compress::Compressing;
use generations::Generation;
use hostwright_core::config::logs::Logs;
use hostwright_core::config::logs::rotate::{Method, Rotate};
use hostwright_core::config::logs::source::Kind;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use record::Record;
use report::Rotation;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Between looks at what is due.
const TURN: Duration = Duration::from_secs(1);
/// Between looks at all rotated files.
const CLEAN_UP: Duration = Duration::from_secs(5);
/// What failed is tried again after this long.
const AGAIN: Duration = Duration::from_secs(15);

/// What the sources ask for.
pub fn jobs(settings: &Logs, sources: &[Arc<Source>]) -> Vec<Job> {
    let job = |source: &Arc<Source>| {
        let Kind::Files(files) = &settings.sources.get(&source.name)?.kind else { return None };
        let (settings, report) = files.rotate.clone().zip(source.rotation.clone())?;
        let source = source.clone();
        Some(Job { source, settings, report, began: false, cleaned_up: None, failed: HashMap::new() })
    };
    sources.iter().filter_map(job).collect()
}

/// Rotates until told to stop.
///
/// # Errors
/// The record of earlier runs cannot be read.
pub async fn run(
    mut jobs: Vec<Job>,
    files: watch::Receiver<Files>,
    state: PathBuf,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if jobs.is_empty() {
        stop.cancelled().await;
        return Ok(());
    }
    let mut rotator =
        Rotator { record: Record::open(&state)?, files, zone: TimeZone::system(), compressing: Compressing::default() };
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        for job in &mut jobs {
            rotator.turn(job).await;
        }
    }
    rotator.compressing.stop().await;
    Ok(())
}

/// What is done for one source.
#[derive(Debug)]
pub struct Job {
    source: Arc<Source>,
    settings: Rotate,
    report: Arc<Rotation>,
    /// What an earlier run left unfinished was removed.
    began: bool,
    cleaned_up: Option<Instant>,
    /// What could not be done, and when.
    failed: HashMap<PathBuf, Instant>,
}

struct Rotator {
    record: Record,
    files: watch::Receiver<Files>,
    zone: TimeZone,
    compressing: Compressing,
}

/// The followed files of a source.
struct Followed {
    by_path: HashMap<PathBuf, Arc<FollowedFile>>,
    by_key: HashMap<Key, Arc<FollowedFile>>,
    /// Paths of logs while they are written.
    logs: BTreeSet<PathBuf>,
    /// Those whose generations cannot be told by their names.
    nameless: BTreeSet<PathBuf>,
}

impl Followed {
    fn of(files: &Files, source: &str) -> Self {
        let mut followed =
            Self { by_path: HashMap::new(), by_key: HashMap::new(), logs: BTreeSet::new(), nameless: BTreeSet::new() };
        for file in files.iter().filter(|file| file.source.name == source) {
            if file.origin.to_str().is_none() {
                followed.nameless.insert(file.origin.to_path_buf());
                continue;
            }
            followed.logs.insert(file.family.to_path_buf());
            followed.by_key.insert(file.key, file.clone());
            if let Some(path) = file.path() {
                followed.by_path.insert(path.to_path_buf(), file.clone());
            }
        }
        followed
    }
}

impl Rotator {
    async fn turn(&mut self, job: &mut Job) {
        let followed = Followed::of(&self.files.borrow().clone(), &job.source.name);
        let now = Timestamp::now().to_zoned(self.zone.clone());
        for log in &followed.logs {
            if job.failed.get(log).is_some_and(|at| at.elapsed() < AGAIN) {
                continue;
            }
            let result = block_in_place(|| self.rotate_if_due(job, log, &followed, &now));
            job.note(log, "rotate", result);
            if self.record.is_untold(log) {
                let result = self.tell(job, log).await;
                job.note(log, "tell the writer of", result);
            }
        }
        for log in &followed.nameless {
            if job.failed.contains_key(log) {
                continue;
            }
            let why = "its name is not UTF-8: call it otherwise, or have another program rotate it";
            job.note(log, "rotate", Err(io::Error::other(why)));
        }
        if job.cleaned_up.is_none_or(|at| at.elapsed() >= CLEAN_UP) {
            job.cleaned_up = Some(Instant::now());
            block_in_place(|| self.clean_up(job, &followed));
        }
        if let Some(result) = self.compressing.ended(&mut self.record).await {
            job.report.compressed(&job.source.name, result);
        }
    }

    fn rotate_if_due(&mut self, job: &Job, log: &Path, followed: &Followed, now: &Zoned) -> io::Result<()> {
        if let Some(copy) = self.record.copying(log) {
            return self.copy_truncate(job, log, &copy, now);
        }
        let Some(file) = followed.by_path.get(log) else { return Ok(()) };
        file.look()?;
        let since = self.record.begun_at(log, || due::born(log, now.timestamp()))?;
        let is_due = due::by_size(file.size(), &job.settings) || due::by_time(since, now, &job.settings);
        if !is_due {
            return Ok(());
        }
        if file.size() == 0 {
            // An empty file stays, and its time begins anew.
            return self.record.rotated(log, now.timestamp());
        }
        let target = names::target(log, file, &job.settings, &self.zone)?;
        match job.settings.method {
            Method::CopyTruncate => self.copy_truncate(job, log, &target, now),
            Method::Rename => {
                self.record.begin_rename(log, job.settings.tell.is_some())?;
                if let Err(error) = rename::rename(log, &target) {
                    self.record.told(log)?;
                    return Err(error);
                }
                self.record.rotated(log, now.timestamp())?;
                job.report.rotated(&job.source.name, log, &target);
                Ok(())
            }
        }
    }

    fn copy_truncate(&mut self, job: &Job, log: &Path, copy: &Path, now: &Zoned) -> io::Result<()> {
        self.record.begin_copy(log, copy)?;
        if copy_truncate::copy_truncate(log, copy)? {
            job.report.rotated(&job.source.name, log, copy);
        }
        self.record.rotated(log, now.timestamp())
    }

    async fn tell(&mut self, job: &Job, log: &Path) -> io::Result<()> {
        if let Some(how) = &job.settings.tell {
            block_in_place(|| rename::create_if_missing(log))?;
            tell::tell(how, log).await?;
        }
        self.record.told(log)
    }

    /// Deletes what is kept no longer, and compresses what is complete.
    fn clean_up(&mut self, job: &mut Job, followed: &Followed) {
        let folders: BTreeSet<_> = followed.logs.iter().filter_map(|log| log.parent()).collect();
        for folder in folders {
            let listed = generations::list(folder, &followed.logs, !job.began);
            let result = listed.and_then(|logs| {
                logs.into_iter().try_for_each(|(log, all)| self.clean_up_after(job, &log, (all, followed)))
            });
            job.note(folder, "clean up", result);
        }
        job.began |= !followed.logs.is_empty();
    }

    fn clean_up_after(&mut self, job: &Job, log: &Path, all: (Vec<Generation>, &Followed)) -> io::Result<()> {
        let (mut all, followed) = all;
        for generation in &mut all {
            let file = followed.by_key.get(&generation.key);
            generation.judge(file.map(Arc::as_ref), self.record.is_shipped(log, generation));
        }
        job.report.unknown(log, all.iter().filter(|generation| generation.is_unknown()).count());
        self.record.retain_shipped(log, &all);
        keep::apply(&mut all, &job.settings.keep, job)?;
        if let Some(method) = job.settings.compress
            && self.compressing.is_idle()
            && let Some(next) = all.iter().find(|generation| generation.is_to_be_compressed())
        {
            self.compressing.start(log, next, method);
        }
        Ok(())
    }
}

impl Job {
    fn note(&mut self, path: &Path, doing: &str, result: io::Result<()>) {
        match result {
            Ok(()) => self.report.cleared(&self.source.name, path, doing),
            Err(error) => {
                self.failed.insert(path.to_owned(), Instant::now());
                self.report.hindered(&self.source.name, path, doing, &error);
            }
        }
    }
}
