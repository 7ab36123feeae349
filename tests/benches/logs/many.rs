use super::shipper::{Shipper, all_in};
use super::sink::{Look, Protocol, Sink};
use super::steady::files;
use crate::table::{Goal, Table};
use crate::usage::{peak_resident, resident};
use anyhow::{Context, Result};
use hostwright_tests::wait::eventually;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const COUNT: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
const UNIT: &str = "s";

/// What 10,000 files cost, and how soon their lines are shipped.
pub fn run(table: &mut Table) {
    let name = "10,000 files";
    if !table.wants(name) {
        return;
    }
    match measure() {
        Ok(found) => {
            table.add((&format!("{name}: memory for each"), "kB"), Goal::AtMost(2.0), Ok(found.kilobytes_each), None);
            table.add((&format!("{name}: most memory"), "MB resident"), Goal::None, Ok(found.peak), None);
            table.add(
                (&format!("{name}: start to a new line shipped"), UNIT),
                Goal::AtMost(1.0),
                Ok(found.start),
                None,
            );
            table.add(
                (&format!("{name}: a quiet file's line beside a noisy one"), UNIT),
                Goal::AtMost(2.0),
                Ok(found.fair),
                None,
            );
        }
        Err(error) => table.add((name, UNIT), Goal::AtMost(1.0), Err(error), None),
    }
}

struct Found {
    kilobytes_each: f64,
    peak: f64,
    start: f64,
    fair: f64,
}

fn measure() -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let mut all = files(folder.path(), COUNT)?;
    let marked = Arc::new(AtomicU64::new(0));
    let sink = Sink::start(Protocol::Delimited(b'\n'), Some(mark_counter(marked.clone())))?;
    let output = format!("syslog: {{address: '{}', framing: newline}}", sink.address);
    let alone = memory_of_one(&output)?;
    let mut shipper = Shipper::agent(&all_in(folder.path()), "json", &output)?;
    eventually("all files' lines arrived", PATIENCE, || sink.records() >= 3 * COUNT as u64)
        .with_context(|| shipper.said())?;
    // What it took to begin goes back when nothing new has come for some seconds.
    thread::sleep(Duration::from_secs(6));
    let kilobytes_each = (resident(shipper.process())? - alone) * 1000.0 / COUNT as f64;
    // The files are known now: a start with them.
    if let Shipper::Agent(agent) = &mut shipper {
        agent.terminate()?;
        agent.start_again()?;
    }
    let began = Instant::now();
    all[COUNT / 2].write_all(b"{\"mark\":1}\n")?;
    eventually("a new line", PATIENCE, || marked.load(Ordering::Relaxed) >= 1).with_context(|| shipper.said())?;
    let start = began.elapsed().as_secs_f64();
    let fair = beside_a_noisy_one(folder.path(), &mut all, &marked)?;
    Ok(Found { kilobytes_each, peak: peak_resident(shipper.process())?, start, fair })
}

/// The longest that a line of a quiet file takes while another file grows as fast as it can.
fn beside_a_noisy_one(folder: &Path, all: &mut [File], marked: &AtomicU64) -> Result<f64> {
    let mut noisy = File::options().append(true).create(true).open(folder.join("noisy.log"))?;
    let block = vec![b"{\"level\":\"info\",\"message\":\"noise\"}\n".as_slice(); 3000].concat();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded by the disk's room: 2 GB at most.
            for _ in 0..20_000 {
                if over.load(Ordering::Relaxed) || noisy.write_all(&block).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let worst = (0..10).try_fold(0.0f64, |worst, round| {
            let (before, began) = (marked.load(Ordering::Relaxed), Instant::now());
            all[round * 997].write_all(b"{\"mark\":1}\n")?;
            eventually("a quiet file's line", PATIENCE, || marked.load(Ordering::Relaxed) > before)?;
            Ok(worst.max(began.elapsed().as_secs_f64()))
        });
        over.store(true, Ordering::Relaxed);
        worst
    })
}

fn memory_of_one(output: &str) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    files(folder.path(), 1)?;
    let mut shipper = Shipper::agent(&all_in(folder.path()), "json", output)?;
    if let Shipper::Agent(agent) = &mut shipper {
        agent.wait_ready(PATIENCE)?;
    }
    thread::sleep(Duration::from_secs(3));
    resident(shipper.process())
}

fn mark_counter(marked: Arc<AtomicU64>) -> Look {
    Arc::new(move |record: &[u8]| {
        if memchr::memmem::find(record, b"{\"mark\":1}").is_some() {
            marked.fetch_add(1, Ordering::Relaxed);
        }
    })
}
