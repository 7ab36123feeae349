use super::batch::{Batch, Selection};
use super::unanswered::{Remedy, Unheard};
use super::{NotTaken, Platform, Undelivered};
use crate::logs::output::Origin;
use crate::logs::status::{Health, Hindrance};
use hostwright_core::backoff::Backoff;
use hostwright_core::config::logs::output as config;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::sleep;

#[cfg(test)]
mod tests;

/// The first and the longest wait before the same is sent again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A platform may ask for no longer a wait than this.
const LONGEST: Duration = Duration::from_secs(600);
/// So many records refused in a row, with none taken, may be no matter of the records.
const SUSPICIOUS: usize = 20;
/// So many others are tried at once, when something is not taken.
const TRIED: usize = 4;
const NONE: &str = "it takes no record at all: see whether the output is configured as it wants";

/// A log platform that answers each request.
pub trait Deliver: Send {
    /// Sends items, and says which of them were not taken although others were; none if all were.
    ///
    /// # Errors
    /// Nothing is known to have been taken, apart from what `Undelivered` says.
    fn deliver(&mut self, items: Selection<'_>) -> impl Future<Output = Result<Vec<NotTaken>, Undelivered>> + Send;

    /// What an operator should know of the platform, and was not told yet.
    fn remark(&mut self) -> Option<String> {
        None
    }

    /// How many records of what was taken the platform has thrown away, as it says without saying which; since the last
    /// call.
    fn thrown_away(&mut self) -> u64 {
        0
    }
}

/// What has become of a batch: its platform has all of it, but for what it will never take.
#[derive(Debug)]
pub struct Settled {
    pub batch: Batch,
    /// Indices of items, with what the platform said.
    pub refused: Vec<(usize, String)>,
}

/// A batch that is being settled.
struct Settling<'b> {
    batch: &'b Batch,
    /// Indices of items that are to be sent together, in order.
    portions: VecDeque<Vec<usize>>,
    /// Indices of items, with what the platform said.
    refused: Vec<(usize, String)>,
    doubt: Doubt,
    unheard: Unheard,
    backoff: Backoff,
}

/// What is not known of a platform that does not take something.
#[derive(Debug, Default)]
struct Doubt {
    /// It took something else of the same batch.
    is_let_in: bool,
    /// So many records were refused since it took one.
    refused: usize,
    /// So many others were tried.
    tried: u32,
}

impl<'b> Settling<'b> {
    fn new(batch: &'b Batch) -> Self {
        let portions = VecDeque::from([(0..batch.items.len()).collect()]);
        let (doubt, unheard) = (Doubt::default(), Unheard::default());
        Self { batch, portions, refused: Vec::new(), doubt, unheard, backoff: Backoff::new(AGAIN.0, AGAIN.1) }
    }

    /// Sends what was not taken as a whole in two portions.
    fn halve(&mut self, indices: &[usize]) {
        let (first, second) = indices.split_at(indices.len() / 2);
        self.portions.push_front(second.to_vec());
        self.portions.push_front(first.to_vec());
    }
}

impl Doubt {
    const NONE: Self = Self { is_let_in: true, refused: 0, tried: 0 };

    /// Which of so many is tried next: the first, and then further and further on, past any that are alike.
    fn place(&mut self, count: usize) -> usize {
        let place = self.next_place() % count;
        self.tried = (self.tried + 1) % (usize::BITS - 1);
        place
    }

    fn next_place(&self) -> usize {
        (1 << self.tried) - 1
    }
}

/// Takes batches to a platform, one after the other, each until it is settled.
#[derive(Debug)]
pub struct Courier {
    settings: config::Platform,
    origin: Arc<Origin>,
    output: String,
    health: Arc<Health>,
    /// For what is to survive a restart.
    place: PathBuf,
    /// The last record that the platform took.
    taken: Option<Batch>,
}

impl Courier {
    /// Of an output; `state` is the duty's folder for durable state.
    pub fn new(
        settings: config::Platform,
        origin: Arc<Origin>,
        (output, health): (&str, Arc<Health>),
        state: &Path,
    ) -> Self {
        let place = state.join(format!("hours-{output}.json"));
        Self { settings, origin, output: output.to_owned(), health, place, taken: None }
    }

    /// Runs until there are no more batches to come.
    pub async fn run(mut self, mut batches: Receiver<Batch>, settled: Sender<Settled>) {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        let mut platform = loop {
            match Platform::open(&self.settings, (&self.origin, Some(&self.place))).await {
                Ok(platform) => break platform,
                Err(error) => {
                    self.health.hindered(Hindrance::Connection, &self.output, format!("{error:#}"));
                    sleep(backoff.next_delay()).await;
                }
            }
        };
        // Whether it answers shows with the first batch; a host without a line to ship is well all the same.
        self.health.reached(&self.output);
        while let Some(batch) = batches.recv().await {
            let refused = self.settle(&mut platform, &batch).await;
            if settled.send(Settled { batch, refused }).await.is_err() {
                return;
            }
        }
    }

    /// Sends a batch, and again what was not taken of it, in portions as small as it takes. Ends when each item was
    /// taken or refused for good.
    async fn settle(&mut self, platform: &mut impl Deliver, batch: &Batch) -> Vec<(usize, String)> {
        let mut way = Settling::new(batch);
        while let Some(indices) = way.portions.pop_front() {
            if indices.is_empty() {
                continue;
            }
            let delivered = platform.deliver(Selection { batch, indices: &indices }).await;
            if let Some(remark) = platform.remark() {
                self.health.remarked(&self.output, remark);
            }
            match delivered {
                Ok(not_taken) => {
                    self.health.thrown_away(platform.thrown_away());
                    self.took(&mut way, indices, not_taken).await;
                }
                Err(Undelivered::Again { why, after, taken }) => {
                    way.portions.push_front(indices[taken.min(indices.len())..].to_vec());
                    self.wait(&mut way, why, after).await;
                }
                Err(Undelivered::Unanswered { why, taken }) => {
                    if taken > 0 {
                        way.unheard.answered();
                    }
                    let left = indices[taken.min(indices.len())..].to_vec();
                    self.unanswered((platform, &mut way), left, why).await;
                }
                Err(undelivered) => {
                    let Some((why, after)) = self.part(&mut way, indices, undelivered) else { continue };
                    if self.takes_another(platform, &mut way).await {
                        way.doubt = Doubt::NONE;
                    } else {
                        self.wait(&mut way, why, after).await;
                    }
                }
            }
        }
        way.refused
    }

    async fn took(&mut self, way: &mut Settling<'_>, indices: Vec<usize>, not_taken: Vec<NotTaken>) {
        way.unheard.answered();
        if not_taken.len() < indices.len() {
            way.doubt = Doubt::NONE;
        }
        if not_taken.is_empty() {
            self.taken = indices.last().map(|last| way.batch.only(*last));
        }
        let again = self.sort_out(&indices, not_taken, &mut way.refused);
        if again.is_empty() {
            self.health.reached(&self.output);
            way.backoff.reset();
        } else {
            // Who takes the half of it each time is at work: what is left need not wait longer and longer.
            if 2 * again.len() <= indices.len() {
                way.backoff.reset();
            }
            sleep(way.backoff.next_delay()).await;
            way.portions.push_front(again);
        }
    }

    /// Says what hinders, and waits a while.
    async fn wait(&self, way: &mut Settling<'_>, why: String, after: Option<Duration>) {
        self.health.hindered(Hindrance::Connection, &self.output, why);
        sleep(way.backoff.next_delay().max(after.unwrap_or_default().min(LONGEST))).await;
    }

    /// Parts what was not taken as a whole; a single record is refused. If it may be for no record that nothing is taken, all
    /// stays, and the reason is given.
    fn part(
        &self,
        way: &mut Settling<'_>,
        indices: Vec<usize>,
        undelivered: Undelivered,
    ) -> Option<(String, Option<Duration>)> {
        let held = match undelivered {
            Undelivered::Forbidden { why, remedy, after } if !way.doubt.is_let_in => {
                (format!("{why}; {remedy}"), after)
            }
            undelivered => match indices[..] {
                [_] if way.doubt.refused >= SUSPICIOUS => (format!("{} ({NONE})", undelivered.why()), None),
                [index] => {
                    let why = undelivered.why();
                    self.health.refused(&self.output, &why);
                    way.doubt.refused += 1;
                    way.refused.push((index, why));
                    return None;
                }
                _ => {
                    way.halve(&indices);
                    return None;
                }
            },
        };
        way.portions.push_front(indices);
        Some(held)
    }

    /// Sends again what nobody answered, in smaller portions after a while. A record alone is given up only where others are
    /// taken at the same time: when nothing is, the way is broken, and all waits.
    async fn unanswered(
        &mut self,
        (platform, way): (&mut impl Deliver, &mut Settling<'_>),
        left: Vec<usize>,
        why: String,
    ) {
        match (way.unheard.remedy(left.len()), &left[..]) {
            (_, []) => {}
            (Remedy::Part, _) => way.halve(&left),
            (Remedy::TryAnother, [index]) => {
                let index = *index;
                way.portions.push_front(left);
                let is_taken = self.takes_a_later(platform, way).await;
                if is_taken {
                    way.backoff.reset();
                    way.doubt = Doubt::NONE;
                }
                if way.unheard.witness(is_taken) {
                    way.portions.pop_front();
                    let why = way.unheard.why(&why);
                    self.health.refused(&self.output, &why);
                    way.refused.push((index, why));
                    return way.unheard.answered();
                }
                self.wait(way, why, None).await;
            }
            _ => {
                way.portions.push_front(left);
                self.wait(way, why, None).await;
            }
        }
    }

    /// Whether the platform takes one that comes after the first that waits; if there is none, the last one that it took.
    async fn takes_a_later(&mut self, platform: &mut impl Deliver, way: &mut Settling<'_>) -> bool {
        let waiting: usize = way.portions.iter().map(Vec::len).sum();
        let mut place = 1;
        while place < waiting {
            if self.takes(platform, way, place).await {
                return true;
            }
            place *= 2;
        }
        match &self.taken {
            Some(taken) => {
                let known = Selection { batch: taken, indices: &[0] };
                platform.deliver(known).await.is_ok_and(|not_taken| not_taken.is_empty())
            }
            None => false,
        }
    }

    /// Whether the platform takes another record than what it does not take: then that is for what is in it. One that waits
    /// is tried, further on each time; where none does, the last one that it took.
    async fn takes_another(&mut self, platform: &mut impl Deliver, way: &mut Settling<'_>) -> bool {
        let waiting: usize = way.portions.iter().map(Vec::len).sum();
        for _ in 0..TRIED.min(waiting - 1) {
            let place = way.doubt.place(waiting);
            if self.takes(platform, way, place).await {
                return true;
            }
        }
        let Some(taken) = self.taken.as_ref().filter(|_| way.doubt.next_place() + 1 >= waiting) else { return false };
        let known = Selection { batch: taken, indices: &[0] };
        platform.deliver(known).await.is_ok_and(|not_taken| not_taken.is_empty())
    }

    /// Whether the platform takes the item at a place among those that wait; then it waits no more.
    async fn takes(&self, platform: &mut impl Deliver, way: &mut Settling<'_>, mut place: usize) -> bool {
        for portion in &mut way.portions {
            if place < portion.len() {
                let one = Selection { batch: way.batch, indices: &[portion[place]] };
                let is_taken = platform.deliver(one).await.is_ok_and(|not_taken| not_taken.is_empty());
                if is_taken {
                    portion.remove(place);
                }
                return is_taken;
            }
            place -= portion.len();
        }
        false
    }

    /// Notes what was refused; returns the indices of what is to be sent again.
    fn sort_out(&self, indices: &[usize], not_taken: Vec<NotTaken>, refused: &mut Vec<(usize, String)>) -> Vec<usize> {
        let mut again = Vec::new();
        let mut why_again = None;
        for NotTaken { index, refused: is_refused, why } in not_taken {
            let Some(&index) = indices.get(index) else { continue };
            if is_refused {
                self.health.refused(&self.output, &why);
                refused.push((index, why));
            } else {
                again.push(index);
                why_again = Some(why);
            }
        }
        if let Some(why) = why_again {
            let why = format!("took {} of {} records not yet: {why}", again.len(), indices.len());
            self.health.hindered(Hindrance::Connection, &self.output, why);
        }
        again
    }
}
