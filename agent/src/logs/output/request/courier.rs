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
/// So many records refused in a row, with none taken, are no matter of the records.
const SUSPICIOUS: usize = 20;

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

/// Takes batches to a platform, one after the other, each until it is settled.
#[derive(Debug)]
pub struct Courier {
    settings: config::Platform,
    origin: Arc<Origin>,
    output: String,
    health: Arc<Health>,
    /// For what is to survive a restart.
    place: PathBuf,
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
        Self { settings, origin, output: output.to_owned(), health, place }
    }

    /// Runs until there are no more batches to come.
    pub async fn run(self, mut batches: Receiver<Batch>, settled: Sender<Settled>) {
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
    async fn settle(&self, platform: &mut impl Deliver, batch: &Batch) -> Vec<(usize, String)> {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        let mut refused = Vec::new();
        let mut suspicion = 0;
        let mut portions = VecDeque::from([(0..batch.items.len()).collect::<Vec<_>>()]);
        while let Some(indices) = portions.pop_front() {
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
                    let all = not_taken.len() == indices.len();
                    suspicion = if all { suspicion } else { 0 };
                    let again = self.sort_out(&indices, not_taken, &mut refused);
                    if again.is_empty() {
                        self.health.reached(&self.output);
                        backoff.reset();
                    } else {
                        sleep(backoff.next_delay()).await;
                        portions.push_front(again);
                    }
                }
                Err(Undelivered::Again { why, after, taken }) => {
                    self.health.hindered(Hindrance::Connection, &self.output, why);
                    sleep(backoff.next_delay().max(after.unwrap_or_default().min(LONGEST))).await;
                    portions.push_front(indices[taken.min(indices.len())..].to_vec());
                }
                Err(Undelivered::TooLarge(why) | Undelivered::Refused(why)) => match indices[..] {
                    [_] if suspicion >= SUSPICIOUS => {
                        let why = format!(
                            "{why} (it takes no record at all: see whether the output is configured as it wants)"
                        );
                        self.health.hindered(Hindrance::Connection, &self.output, why);
                        sleep(AGAIN.1).await;
                        portions.push_front(indices);
                    }
                    [index] => {
                        suspicion += 1;
                        self.health.refused(&self.output, &why);
                        refused.push((index, why));
                    }
                    _ => {
                        let (first, second) = indices.split_at(indices.len() / 2);
                        portions.push_front(second.to_vec());
                        portions.push_front(first.to_vec());
                    }
                },
            }
        }
        refused
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

    async fn settled(count: usize, answers: Vec<Script>) -> (Vec<(usize, String)>, Vec<Vec<usize>>) {
        tokio::time::pause();
        let item =
            |index| Item { is_dated: true, end: index + 1, time: 0, content: 0, offset: index as u64, length: 1 };
        let batch =
            Batch { bytes: vec![b'x'; count].into(), items: (0..count).map(item).collect(), groups: Vec::new() };
        let mut platform = Scripted { answers: answers.into(), seen: Vec::new() };
        let origin = Origin { host: String::new(), labels: Default::default() };
        let courier =
            Courier::new(Platform::File("/x".into()), origin.into(), ("es", Default::default()), Path::new("/x"));
        let refused = courier.settle(&mut platform, &batch).await;
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
}
