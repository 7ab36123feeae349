use super::made::Made;
use super::observed::{Container, Observed, State};
use super::plan::Plan;
use super::update::versions::Versions;
use hostwright_core::backoff::Backoff;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A container that has run this long has not crashed at its start.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// A container that is to leave its traffic is given this long; then what still clings to it is cut off.
const DRAIN: Duration = Duration::from_secs(10);
/// A container that is paused for longer goes on. `docker commit` and backups pause one for seconds.
const MOST_PAUSE: Duration = Duration::from_secs(15);
/// A connection that was taken a moment before the switch may not be counted yet.
const LEAST_DRAIN: Duration = Duration::from_millis(300);

/// What happened in earlier rounds and bears on the next. The versions, and how containers were made, survive a restart:
/// for all else a fresh look costs nothing.
#[derive(Debug)]
pub struct Memory {
    attempts: BTreeMap<String, Attempts>,
    pub versions: Versions,
    /// Since when containers are to leave their traffic, by id.
    draining: BTreeMap<String, Instant>,
    /// Since when containers are seen to be paused, by id.
    paused: BTreeMap<String, Instant>,
    pub made: Made,
    /// When the last container of each service was exchanged.
    pub exchanged: BTreeMap<String, Timestamp>,
}

/// What was tried for a service, or for something that services share.
#[derive(Debug)]
struct Attempts {
    count: u32,
    backoff: Backoff,
    not_before: Instant,
    /// Why the last one failed, if it did.
    failure: Option<String>,
}

impl Memory {
    pub fn new(versions: Versions, made: Made) -> Self {
        Self {
            attempts: BTreeMap::new(),
            versions,
            draining: BTreeMap::new(),
            paused: BTreeMap::new(),
            made,
            exchanged: BTreeMap::new(),
        }
    }

    /// Those of the containers that are to leave their traffic which still must not be stopped. `attached` says how many
    /// connections each carries; without it nobody knows.
    pub fn busy<'c>(
        &mut self,
        draining: impl Iterator<Item = &'c str>,
        attached: Option<&BTreeMap<String, usize>>,
    ) -> BTreeSet<String> {
        let now = Instant::now();
        let draining: BTreeSet<&str> = draining.collect();
        self.draining.retain(|id, _| draining.contains(id.as_str()));
        let Some(attached) = attached else { return draining.into_iter().map(str::to_owned).collect() };
        let is_busy = |id: &&str| {
            let since = *self.draining.entry((*id).to_owned()).or_insert(now);
            let age = now.duration_since(since);
            age < LEAST_DRAIN || (age < DRAIN && attached.contains_key(*id))
        };
        draining.into_iter().filter(is_busy).map(str::to_owned).collect()
    }

    /// The containers that have been paused for too long, and when the next one will have been.
    pub fn long_paused(&mut self, observed: &Observed) -> (BTreeSet<String>, Option<Duration>) {
        let now = Instant::now();
        let paused = observed.containers.iter().filter(|container| container.state == State::Paused);
        let since =
            |container: &Container| (container.id.clone(), self.paused.get(&container.id).copied().unwrap_or(now));
        self.paused = paused.map(since).collect();
        let left = |since: &Instant| MOST_PAUSE.saturating_sub(now.duration_since(*since));
        let next = self.paused.values().map(left).filter(|left| !left.is_zero()).min();
        let long = self.paused.iter().filter(|(_, since)| left(since).is_zero()).map(|(id, _)| id.clone());
        (long.collect(), next)
    }

    /// Forgets what was tried for a service.
    pub fn forget(&mut self, service: &str) {
        self.attempts.remove(service);
    }

    /// Notes that something was tried; the next try comes after a pause that grows.
    pub fn tried(&mut self, what: &str, result: Result<(), String>) {
        let attempts = self.attempts.entry(what.to_owned()).or_insert_with(|| Attempts {
            count: 0,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            not_before: Instant::now(),
            failure: None,
        });
        attempts.count += 1;
        attempts.failure = result.err();
        attempts.not_before = Instant::now() + attempts.backoff.next_delay();
    }

    /// Forgets all attempts: a changed file deserves a fresh start.
    pub fn clear(&mut self) {
        self.attempts.clear();
    }

    /// Forgets what needs no further attempt: a fresh container keeps its count until it has run for a while, so that
    /// one that crashes at its start is not started without pause.
    pub fn settle(&mut self, plan: &Plan, observed: &Observed) {
        self.attempts.retain(|name, attempts| {
            if plan.is_pending(name) {
                return true;
            }
            attempts.failure = None;
            let container = observed.of_service(name).filter(|container| container.state == State::Running);
            container
                .and_then(|container| container.started)
                .is_some_and(|started| Timestamp::now().duration_since(started).unsigned_abs() < WELL_AFTER)
        });
    }

    /// Those that were tried a moment ago.
    pub fn held(&self) -> BTreeSet<String> {
        let now = Instant::now();
        self.attempts.iter().filter(|(_, attempts)| attempts.not_before > now).map(|(name, _)| name.clone()).collect()
    }

    /// When the next thing may be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        let now = Instant::now();
        self.attempts.values().map(|attempts| attempts.not_before).filter(|at| *at > now).min()
    }

    /// What failed last, by service.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attempts.iter().filter_map(|(name, attempts)| Some((name.as_str(), attempts.failure.as_deref()?)))
    }

    /// How often each service was tried since it last ran well.
    pub fn starts(&self) -> BTreeMap<String, u32> {
        self.attempts.iter().map(|(name, attempts)| (name.clone(), attempts.count)).collect()
    }

    /// How often a service was tried since it last ran well.
    pub fn attempts(&self, service: &str) -> u32 {
        self.attempts.get(service).map_or(0, |attempts| attempts.count)
    }
}
