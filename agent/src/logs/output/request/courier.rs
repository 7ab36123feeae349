use super::batch::{Batch, Selection};
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
        Self { batch, portions, refused: Vec::new(), doubt: Doubt::default(), backoff: Backoff::new(AGAIN.0, AGAIN.1) }
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
                    let (first, second) = indices.split_at(indices.len() / 2);
                    way.portions.push_front(second.to_vec());
                    way.portions.push_front(first.to_vec());
                    return None;
                }
            },
        };
        way.portions.push_front(indices);
        Some(held)
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

#[cfg(test)]
mod tests {
    use super::{Courier, Deliver};
    use crate::logs::output::Origin;
    use crate::logs::output::request::batch::{Batch, Item, Selection};
    use crate::logs::output::request::{NotTaken, Undelivered};
    use hostwright_core::config::logs::output::Platform;
    use std::collections::VecDeque;
    use std::path::Path;

    type Answer = Result<Vec<NotTaken>, Undelivered>;
    type Script = Box<dyn Fn(&[usize]) -> Answer + Send>;

    /// A platform that answers as told and notes what it took.
    struct Scripted {
        answers: VecDeque<Script>,
        seen: Vec<Vec<usize>>,
    }

    impl Deliver for Scripted {
        async fn deliver(&mut self, items: Selection<'_>) -> Answer {
            self.seen.push(items.indices.to_vec());
            match self.answers.len() {
                0 => Ok(Vec::new()),
                1 => self.answers[0](items.indices),
                _ => self.answers.pop_front().map_or_else(|| Ok(Vec::new()), |answer| answer(items.indices)),
            }
        }
    }

    fn batch(count: usize) -> Batch {
        let item =
            |index| Item { is_dated: true, end: index + 1, time: 0, content: 0, offset: index as u64, length: 1 };
        Batch { bytes: vec![b'x'; count].into(), items: (0..count).map(item).collect(), groups: Vec::new() }
    }

    fn courier() -> Courier {
        tokio::time::pause();
        let origin = Origin { host: String::new(), labels: Default::default() };
        Courier::new(Platform::File("/x".into()), origin.into(), ("es", Default::default()), Path::new("/x"))
    }

    async fn settled(count: usize, answers: Vec<Script>) -> (Vec<(usize, String)>, Vec<Vec<usize>>) {
        let mut platform = Scripted { answers: answers.into(), seen: Vec::new() };
        let refused = courier().settle(&mut platform, &batch(count)).await;
        (refused, platform.seen)
    }

    fn not_taken(index: usize, refused: bool) -> NotTaken {
        NotTaken { index, refused, why: "so".into() }
    }

    #[tokio::test]
    async fn what_was_not_taken_is_sent_again_alone_and_what_was_refused_is_not() {
        let (refused, seen) = settled(
            4,
            vec![
                Box::new(|_| Ok(vec![not_taken(1, false), not_taken(2, true), not_taken(3, false)])),
                Box::new(|_| Ok(vec![not_taken(1, false)])),
                Box::new(|_| Ok(Vec::new())),
            ],
        )
        .await;
        assert_eq!(refused, [(2, "so".to_owned())]);
        assert_eq!(seen, [vec![0, 1, 2, 3], vec![1, 3], vec![3]]);
    }

    #[tokio::test]
    async fn trouble_sends_the_same_again_but_for_what_was_acknowledged() {
        let again = |taken| Err(Undelivered::Again { why: "down".into(), after: None, taken });
        let (refused, seen) =
            settled(3, vec![Box::new(move |_| again(0)), Box::new(move |_| again(2)), Box::new(|_| Ok(Vec::new()))])
                .await;
        assert!(refused.is_empty());
        assert_eq!(seen, [vec![0, 1, 2], vec![0, 1, 2], vec![2]]);
    }

    #[tokio::test]
    async fn the_one_record_that_a_platform_refuses_is_found_by_halving() {
        let refuse = |indices: &[usize]| match indices.contains(&5) {
            true => Err(Undelivered::Refused("bad".into())),
            false => Ok(Vec::new()),
        };
        let (refused, seen) = settled(8, vec![Box::new(refuse)]).await;
        assert_eq!(refused, [(5, "bad".to_owned())]);
        let taken: Vec<_> = seen.iter().filter(|portion| !portion.contains(&5)).flatten().copied().collect();
        assert_eq!(taken, [0, 1, 2, 3, 4, 6, 7], "in order");
    }

    #[tokio::test]
    async fn a_platform_that_refuses_everything_is_asked_again_and_no_line_is_given_up_for_it() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let mend_later = move |_: &[usize]| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 200 {
            true => Err(Undelivered::Refused("no such pipeline".into())),
            false => Ok(Vec::new()),
        };
        let (refused, _) = settled(1000, vec![Box::new(mend_later)]).await;
        assert_eq!(refused.len(), super::SUSPICIOUS);
    }

    fn forbidden() -> Answer {
        Err(Undelivered::Forbidden { why: "403".into(), remedy: "see the credentials", after: None })
    }

    fn dislike(bad: std::ops::Range<usize>) -> Script {
        Box::new(move |indices| match indices.iter().any(|index| bad.contains(index)) {
            true => forbidden(),
            false => Ok(Vec::new()),
        })
    }

    #[tokio::test]
    async fn a_record_that_a_firewall_dislikes_is_found_and_the_others_come_in_order() {
        let (refused, seen) = settled(1000, vec![dislike(500..501)]).await;
        assert_eq!(refused.len(), 1);
        assert!(refused[0].0 == 500 && refused[0].1.contains("firewall"), "{refused:?}");
        let taken: Vec<_> = seen.iter().filter(|portion| !portion.contains(&500)).flatten().copied().collect();
        assert!(taken.is_sorted() && taken.len() == 999 && seen.len() < 30, "{} requests", seen.len());
    }

    #[tokio::test]
    async fn an_attack_in_many_lines_from_the_first_one_on_holds_back_no_other() {
        let (refused, seen) = settled(1000, vec![dislike(0..100)]).await;
        assert!(refused.iter().map(|(index, _)| *index).eq(0..100), "{refused:?}");
        assert!(seen.len() < 300, "{} requests", seen.len());
    }

    #[tokio::test]
    async fn a_platform_that_lets_nobody_in_gets_all_later_and_few_requests_until_then() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let mend_later = move |_: &[usize]| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 40 {
            true => forbidden(),
            false => Ok(Vec::new()),
        };
        let (refused, seen) = settled(1000, vec![Box::new(mend_later)]).await;
        assert!(refused.is_empty(), "{refused:?}");
        let lengths = |attempt: &[Vec<usize>]| attempt.iter().map(Vec::len).collect::<Vec<_>>();
        assert!(seen[..40].chunks(5).all(|attempt| lengths(attempt) == [1000, 1, 1, 1, 1]), "{seen:?}");
    }

    #[tokio::test]
    async fn a_record_alone_is_given_up_only_if_one_that_was_taken_before_is_taken_again() {
        let (batch, bad) = (batch(1), batch(2).only(1));
        let answers: Vec<Script> = vec![
            Box::new(|_| Ok(Vec::new())),
            // The bad one, the one before, the bad one once more, and the one before again.
            Box::new(|_| forbidden()),
            Box::new(|_| forbidden()),
            Box::new(|_| forbidden()),
            Box::new(|_| Ok(Vec::new())),
            Box::new(|_| forbidden()),
        ];
        let mut platform = Scripted { answers: answers.into(), seen: Vec::new() };
        let mut courier = courier();
        assert!(courier.settle(&mut platform, &batch).await.is_empty());
        assert_eq!(courier.settle(&mut platform, &bad).await.len(), 1);
        assert_eq!(platform.seen.len(), 6);
    }
}
