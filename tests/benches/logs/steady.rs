use super::input::Lines;
use super::shipper::{Shipper, Template, all_in};
use super::sink::{Look, Protocol, Sink};
use crate::table::{Goal, Table};
use crate::usage::{cpu_seconds, fine_cpu_seconds, resident};
use anyhow::{Context, Result};
use hostwright_tests::wait::eventually;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PER_SECOND: u64 = 10_000;
const RATE_LASTS: Duration = Duration::from_secs(10);
const IDLE_LASTS: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);
const OUTPUT: &str = "syslog: {address: 'ADDRESS', framing: newline}";

/// Costs and lags of following files that are written at a steady rate, or not at all.
pub fn run(table: &mut Table) {
    for (count, goal) in [(1, 3.0), (100, 5.0)] {
        let name = format!("10,000 lines/s in {count} file(s)");
        if !table.wants(&name) {
            continue;
        }
        let ours = at_rate(count, |files, sink| {
            Shipper::agent(files, "json", &OUTPUT.replace("ADDRESS", &sink.address.to_string()))
        });
        let peer = at_rate(count, |files, sink| Shipper::rsyslog(files, Template::Rfc5424, sink.address));
        let (cpu, lag) = (|rate: &Rate| rate.percent, |rate: &Rate| rate.lag_ms);
        let told = |error: &anyhow::Error| anyhow::anyhow!("{error:#}");
        let of = |rate: &Result<Rate>, what: fn(&Rate) -> f64| rate.as_ref().map(what).map_err(told);
        table.add((&name, "% of a core"), Goal::AtMost(goal), of(&ours, cpu), Some(of(&peer, cpu)));
        table.add((&format!("{name}: lag p99"), "ms"), Goal::AtMost(250.0), of(&ours, lag), Some(of(&peer, lag)));
    }
    let name = "1,000 idle files";
    if table.wants(name) {
        let (percent, memory) = split(idle(1000));
        table.add((name, "% of a core"), Goal::AtMost(0.1), percent, None);
        table.add((&format!("{name}: memory"), "MB resident"), Goal::None, memory, None);
    }
    if table.wants("idle") {
        let (percent, memory) = split(idle(1));
        table.add(("idle, 1 file", "% of a core"), Goal::None, percent, None);
        table.add(("idle, 1 file: memory", "MB resident"), Goal::AtMost(15.0), memory, None);
    }
}

#[derive(Debug)]
struct Rate {
    percent: f64,
    lag_ms: f64,
}

fn split(pair: Result<(f64, f64)>) -> (Result<f64>, Result<f64>) {
    match pair {
        Ok((first, second)) => (Ok(first), Ok(second)),
        Err(error) => (Err(anyhow::anyhow!("{error:#}")), Err(error)),
    }
}

/// Files with some lines each, in a folder of their own.
pub fn files(folder: &Path, count: usize) -> Result<Vec<File>> {
    let mut lines = Lines::default();
    let file = |number: usize| {
        let mut text = Vec::new();
        (0..3).for_each(|_| lines.push(&mut text));
        let path = folder.join(format!("app-{number}.log"));
        fs::write(&path, text)?;
        Ok(File::options().append(true).open(path)?)
    };
    (0..count).map(file).collect()
}

fn at_rate(count: usize, shipper: impl Fn(&str, &Sink) -> Result<Shipper>) -> Result<Rate> {
    let folder = tempfile::tempdir()?;
    let mut files = files(folder.path(), count)?;
    let lags = Arc::new(Mutex::new(Vec::new()));
    let sink = Sink::start(Protocol::Delimited(b'\n'), Some(lag_counter(lags.clone())))?;
    let shipper = shipper(&all_in(folder.path()), &sink)?;
    let known = 3 * count as u64;
    eventually("the files are followed", PATIENCE, || sink.records() >= known).with_context(|| shipper.said())?;
    // The start is over when it is quiet: what follows is the rate's own cost.
    thread::sleep(Duration::from_secs(2));
    let (before, began) = (cpu_seconds(shipper.process())?, Instant::now());
    let written = write_at_rate(&mut files)?;
    eventually("all lines arrived", PATIENCE, || sink.records() >= known + written).with_context(|| shipper.said())?;
    let percent = 100.0 * (cpu_seconds(shipper.process())? - before) / began.elapsed().as_secs_f64();
    let mut lags = lags.lock().unwrap_or_else(PoisonError::into_inner);
    lags.sort_unstable();
    let p99 = lags.get(lags.len() * 99 / 100).copied().context("no lags")?;
    Ok(Rate { percent, lag_ms: p99 as f64 / 1e6 })
}

/// Writes lines that carry the time of their write, evenly, one file after the other; how many.
fn write_at_rate(files: &mut [File]) -> Result<u64> {
    let (mut lines, mut line) = (Lines::default(), Vec::new());
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < RATE_LASTS {
        let due = began.elapsed().as_millis() as u64 * PER_SECOND / 1000;
        while written < due {
            line.clear();
            lines.push(&mut line);
            line.truncate(line.len() - 2);
            writeln!(line, ",\"at\":{}}}", nanoseconds())?;
            let count = files.len() as u64;
            files[(written % count) as usize].write_all(&line)?;
            written += 1;
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(written)
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// Notes how old each line is when it arrives.
fn lag_counter(lags: Arc<Mutex<Vec<u128>>>) -> Look {
    Arc::new(move |record: &[u8]| {
        let Some(start) = memchr::memmem::rfind(record, b"\"at\":") else { return };
        let digits = record[start + 5..].iter().take_while(|byte| byte.is_ascii_digit());
        let at = digits.fold(0, |number, digit| number * 10 + u128::from(digit - b'0'));
        lags.lock().unwrap_or_else(PoisonError::into_inner).push(nanoseconds().saturating_sub(at));
    })
}

/// Per cent of a core and memory when nothing is written.
fn idle(count: usize) -> Result<(f64, f64)> {
    let folder = tempfile::tempdir()?;
    files(folder.path(), count)?;
    let sink = Sink::start(Protocol::Delimited(b'\n'), None)?;
    let shipper =
        Shipper::agent(&all_in(folder.path()), "json", &OUTPUT.replace("ADDRESS", &sink.address.to_string()))?;
    eventually("the files are followed", PATIENCE, || sink.records() >= 3 * count as u64)
        .with_context(|| shipper.said())?;
    thread::sleep(Duration::from_secs(3));
    let before = fine_cpu_seconds(shipper.process())?;
    thread::sleep(IDLE_LASTS);
    let spent = fine_cpu_seconds(shipper.process())? - before;
    Ok((100.0 * spent / IDLE_LASTS.as_secs_f64(), resident(shipper.process())?))
}
