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
    let item = |index| Item { is_dated: true, end: index + 1, time: 0, content: 0, offset: index as u64, length: 1 };
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
async fn what_is_taken_by_halves_does_not_wait_longer_and_longer() {
    let half = |indices: &[usize]| Ok((0..indices.len() / 2).map(|index| not_taken(index, false)).collect());
    let start = tokio::time::Instant::now();
    let (refused, seen) = settled(1 << 12, vec![Box::new(half)]).await;
    assert!(refused.is_empty());
    assert_eq!(seen.len(), 13);
    assert!(start.elapsed() < 13 * super::AGAIN.0, "{:?}", start.elapsed());
}

#[tokio::test]
async fn trouble_sends_the_same_again_but_for_what_was_acknowledged() {
    let again = |taken| Err(Undelivered::Again { why: "down".into(), after: None, taken });
    let (refused, seen) =
        settled(3, vec![Box::new(move |_| again(0)), Box::new(move |_| again(2)), Box::new(|_| Ok(Vec::new()))]).await;
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

fn cut(bad: std::ops::Range<usize>) -> Script {
    Box::new(move |indices| match indices.iter().any(|index| bad.contains(index)) {
        true => Err(Undelivered::Unanswered { why: "reset".into(), taken: 0 }),
        false => Ok(Vec::new()),
    })
}

#[tokio::test]
async fn a_record_for_which_connections_are_reset_is_found_and_the_others_come_in_order() {
    let (refused, seen) = settled(1000, vec![cut(500..501)]).await;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 500 && refused[0].1.contains("firewall"), "{refused:?}");
    let taken: Vec<_> = seen.iter().filter(|portion| !portion.contains(&500)).flatten().copied().collect();
    assert!(taken.is_sorted() && taken.len() == 999 && seen.len() < 40, "{} requests", seen.len());
}

#[tokio::test]
async fn many_records_for_which_connections_are_reset_hold_back_no_other() {
    let (refused, _) = settled(100, vec![cut(0..10)]).await;
    assert!(refused.iter().map(|(index, _)| *index).eq(0..10), "{refused:?}");
}

/// Each of so many requests is reset, of the first 300; all records come in the end.
async fn reset_each(every: usize) {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let mend_later = move |_: &[usize]| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match call < 300 && call.is_multiple_of(every) {
            true => Err(Undelivered::Unanswered { why: "reset".into(), taken: 0 }),
            false => Ok(Vec::new()),
        }
    };
    let (refused, seen) = settled(1000, vec![Box::new(mend_later)]).await;
    assert!(refused.is_empty(), "{every}: {refused:?}");
    let brought: std::collections::BTreeSet<_> = seen.iter().flatten().copied().collect();
    assert_eq!(brought.len(), 1000);
}

#[tokio::test]
async fn no_record_is_given_up_while_everything_is_reset() {
    reset_each(1).await;
}

#[tokio::test]
async fn no_record_is_given_up_while_every_other_request_is_reset() {
    reset_each(2).await;
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
