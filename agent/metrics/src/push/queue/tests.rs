use super::{Lost, Queue, Record, Taken};
use std::collections::BTreeMap;
use std::path::Path;

/// A record of so many samples.
fn record(time: i64, samples: usize) -> Record {
    // Text that hardly compresses, so that sizes are what they seem.
    let line = |number| format!("m{number}{{r=\"{:032x}{:032x}\"}} {time}\n", fastrand::u128(..), fastrand::u128(..));
    Record::new(time, (0..samples).map(line).collect())
}

fn open(folder: &Path) -> Queue {
    Queue::open(folder, 1 << 20).expect("opened")
}

fn times(taken: Option<Taken>) -> Vec<i64> {
    taken.into_iter().flat_map(|taken| taken.records).map(|record| record.time).collect()
}

#[test]
fn records_come_in_order_over_restarts_and_none_after_its_acknowledgement() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut seen = Vec::new();
    for run in 0..5 {
        let mut queue = open(folder.path());
        for step in 0..4 {
            let (lost, error) = queue.append(&record(run * 10 + step, 3));
            assert!(lost == Lost::default() && error.is_none());
        }
        // Two are sent in each run but the last; what is taken and not acknowledged comes again.
        let (taken, _) = queue.take(6);
        seen.extend(times(taken));
        queue.acknowledge().expect("stored");
        let _ = queue.take(6);
    }
    let mut queue = open(folder.path());
    assert_eq!(queue.samples(), (20 - 10) * 3);
    while !queue.is_empty() {
        let (taken, _) = queue.take(7);
        seen.extend(times(taken));
        queue.acknowledge().expect("stored");
    }
    let want: Vec<i64> = (0..5).flat_map(|run| (0..4).map(move |step| run * 10 + step)).collect();
    assert_eq!(seen, want);
    queue.append(&record(99, 1));
    drop(queue);
    let mut queue = open(folder.path());
    assert_eq!(times(queue.take(9).0), [99]);
    queue.acknowledge().expect("stored");
    drop(queue);
    open(folder.path());
    assert_eq!(folder.path().read_dir().expect("list").count(), 1, "the position alone is left");
}

#[test]
fn a_record_that_is_too_large_goes_in_parts_and_a_restart_goes_on_between_them() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut queue = open(folder.path());
    queue.append(&record(1, 10));
    queue.append(&record(2, 2));
    let part = |queue: &mut Queue| {
        let taken = queue.take(4).0.expect("something");
        (taken.records.len(), taken.records[0].time, taken.part)
    };
    assert_eq!(part(&mut queue), (1, 1, 0..4));
    queue.acknowledge().expect("stored");
    assert_eq!(part(&mut queue), (1, 1, 4..8));
    queue.acknowledge().expect("stored");
    drop(queue);
    let mut queue = open(folder.path());
    assert_eq!(queue.samples(), 4);
    assert_eq!(part(&mut queue), (1, 1, 8..10));
    queue.acknowledge().expect("stored");
    assert_eq!(part(&mut queue), (1, 2, 0..2));
    queue.acknowledge().expect("stored");
    assert!(queue.is_empty());
}

#[test]
fn the_oldest_goes_when_the_buffer_is_full_and_every_sample_is_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut queue = open(folder.path());
    let mut lost = 0;
    for time in 0..400 {
        lost += queue.append(&record(time, 100)).0.samples;
        assert!(queue.bytes() <= 1 << 20, "{}", queue.bytes());
    }
    assert!(lost > 0 && lost + queue.samples() == 400 * 100, "{lost} and {}", queue.samples());
    let on_disk: u64 =
        folder.path().read_dir().expect("list").map(|f| f.and_then(|f| f.metadata()).expect("a file").len()).sum();
    assert!(on_disk <= (1 << 20) + 100, "{on_disk}");
    let first = times(queue.take(1000).0);
    assert_eq!(first, (first[0]..first[0] + 10).collect::<Vec<_>>(), "in order, without a gap");
    // What is on the way is not lost when its segment goes.
    let mut lost_then = 0;
    for time in 400..500 {
        lost_then += queue.append(&record(time, 100)).0.samples;
    }
    queue.acknowledge().expect("stored");
    assert_eq!(lost + lost_then + 1000 + queue.samples(), 500 * 100);
}

#[test]
fn damage_costs_the_record_that_has_it_and_a_torn_end_nothing_else() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut queue = open(folder.path());
    for time in 0..5 {
        queue.append(&record(time, 10));
    }
    drop(queue);
    let path = folder.path().join("0000000001.records");
    let mut bytes = std::fs::read(&path).expect("read");
    let whole = bytes.len();
    bytes[whole / 2] ^= 1;
    bytes.truncate(whole - 3);
    std::fs::write(&path, bytes).expect("written");
    let mut queue = open(folder.path());
    queue.append(&record(9, 10));
    let (taken, lost) = queue.take(1000);
    assert_eq!((times(taken), lost), (vec![0, 1, 3, 9], Lost { records: 1, samples: 10 }));
}

#[test]
fn a_power_cut_that_leaves_zeros_or_garbage_ends_the_segment() {
    for tail in [vec![0; 4096], vec![0xff; 4096]] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut queue = open(folder.path());
        queue.append(&record(1, 10));
        drop(queue);
        let path = folder.path().join("0000000001.records");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes.extend(tail);
        std::fs::write(&path, bytes).expect("written");
        std::fs::write(folder.path().join("0000000002.records"), b"nonsense").expect("written");
        assert_eq!(times(open(folder.path()).take(1000).0), [1]);
    }
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_newest_in_memory() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut queue = open(&folder.path().join("queue"));
    // More than a segment: the next one needs a file of its own.
    queue.append(&record(0, 4000));
    let mut lost = BTreeMap::new();
    std::fs::remove_dir_all(folder.path().join("queue")).expect("gone");
    for time in 1..=100 {
        let (gone, error) = queue.append(&record(time, 1));
        assert!(error.is_some());
        lost.insert(time, gone.samples);
    }
    assert_eq!(lost.values().sum::<usize>(), 36);
    let (taken, gone) = queue.take(1000);
    assert_eq!(times(taken), (37..=100).collect::<Vec<_>>());
    assert_eq!(gone.samples, 4000, "the one whose file is gone");
}
