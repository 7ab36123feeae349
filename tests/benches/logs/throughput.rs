use super::input::Input;
use super::shipper::{Shipper, Template};
use super::sink::{Protocol, Sink};
use crate::table::{Goal, Table};
use crate::usage::{cpu_seconds, peak_resident};
use anyhow::{Context, Result, ensure};
use hostwright_tests::wait::eventually;
use std::fs::{self, File};
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

const UNIT: &str = "MB per CPU second";
const BULK: Protocol = Protocol::Http("{\"took\":1,\"errors\":false}");
/// No program here is so slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way of shipping an input whole.
struct Work {
    name: &'static str,
    parse: &'static str,
    /// Of our output, with `ADDRESS` in it.
    output: &'static str,
    protocol: Protocol,
    /// Of the receiver's, for each line: the bulk API takes two lines for one.
    records_per_line: u64,
    peer: Option<Template>,
    goal: Goal,
}

const WORKS: [Work; 9] = [
    Work {
        name: "raw lines -> syslog TCP",
        parse: "plain",
        output: "syslog: {address: 'ADDRESS', framing: newline}",
        protocol: Protocol::Delimited(b'\n'),
        records_per_line: 1,
        peer: Some(Template::Raw),
        goal: Goal::TimesPeer(5.0),
    },
    Work {
        name: "raw lines -> HTTP",
        parse: "plain",
        output: "http: {url: 'http://ADDRESS/in', format: text}",
        protocol: Protocol::Http("{}"),
        records_per_line: 1,
        peer: Some(Template::Raw),
        goal: Goal::TimesPeer(5.0),
    },
    Work {
        name: "JSON and our fields -> syslog TCP",
        parse: "json",
        output: "syslog: {address: 'ADDRESS', framing: newline}",
        protocol: Protocol::Delimited(b'\n'),
        records_per_line: 1,
        peer: Some(Template::Rfc5424),
        goal: Goal::AtLeast(150.0),
    },
    Work {
        name: "JSON and our fields -> bulk",
        parse: "json",
        output: "bulk: {url: 'http://ADDRESS', index: logs}",
        protocol: BULK,
        records_per_line: 2,
        peer: None,
        goal: Goal::AtLeast(150.0),
    },
    Work {
        name: "JSON and our fields -> bulk, gzip",
        parse: "json",
        output: "bulk: {url: 'http://ADDRESS', index: logs, compress: gzip}",
        protocol: BULK,
        records_per_line: 2,
        peer: None,
        goal: Goal::AtLeast(3.0 * 17.0),
    },
    Work {
        name: "JSON and our fields -> HTTP, zstd",
        parse: "json",
        output: "http: {url: 'http://ADDRESS/in', compress: zstd}",
        protocol: Protocol::Http("{}"),
        records_per_line: 1,
        peer: None,
        goal: Goal::AtLeast(3.0 * 19.0),
    },
    Work {
        name: "JSON and our fields -> Lumberjack",
        parse: "json",
        output: "lumberjack: {address: 'ADDRESS', compression_level: 0}",
        protocol: Protocol::Lumberjack,
        records_per_line: 1,
        peer: None,
        goal: Goal::AtLeast(150.0),
    },
    Work {
        name: "JSON and our fields -> Lumberjack, zlib",
        parse: "json",
        output: "lumberjack: {address: 'ADDRESS'}",
        protocol: Protocol::Lumberjack,
        records_per_line: 1,
        peer: None,
        goal: Goal::AtLeast(3.0 * 17.0),
    },
    Work {
        name: "JSON and our fields -> GELF",
        parse: "json",
        output: "gelf: {address: 'ADDRESS'}",
        protocol: Protocol::Delimited(0),
        records_per_line: 1,
        peer: None,
        goal: Goal::AtLeast(150.0),
    },
];

/// What shipping an input whole took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    megabytes_per_cpu_second: f64,
    peak: f64,
}

/// Ships the input in every way, and tells CPU time and memory.
pub fn run(input: &Input, table: &mut Table) {
    let mut peaks: Vec<(f64, &str)> = Vec::new();
    for work in &WORKS {
        if !table.wants(work.name) {
            continue;
        }
        let ours = work.measure(input);
        let peer = work.peer.map(|template| rsyslog(input, template).map(|cost| cost.megabytes_per_cpu_second));
        peaks.extend(ours.iter().map(|cost| (cost.peak, work.name)));
        table.add((work.name, UNIT), work.goal, ours.map(|cost| cost.megabytes_per_cpu_second), peer);
    }
    let name = "JSON and our fields -> file";
    if table.wants(name) {
        let ours = to_file(input);
        peaks.extend(ours.iter().map(|cost| (cost.peak, name)));
        table.add((name, UNIT), Goal::AtLeast(150.0), ours.map(|cost| cost.megabytes_per_cpu_second), None);
    }
    if let Some((peak, work)) = peaks.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
        table.add((&format!("most memory, with {work}"), "MB resident"), Goal::AtMost(30.0), Ok(peak), None);
    }
}

impl Work {
    fn measure(&self, input: &Input) -> Result<Cost> {
        let sink = Sink::start(self.protocol, None)?;
        let output = self.output.replace("ADDRESS", &sink.address.to_string());
        let shipper = Shipper::agent(&input.path.display().to_string(), self.parse, &output)?;
        cost(&shipper, input, self.records_per_line * input.lines, || sink.records())
    }
}

fn rsyslog(input: &Input, template: Template) -> Result<Cost> {
    let sink = Sink::start(Protocol::Delimited(b'\n'), None)?;
    let shipper = Shipper::rsyslog(&input.path.display().to_string(), template, sink.address)?;
    cost(&shipper, input, input.lines, || sink.records())
}

fn to_file(input: &Input) -> Result<Cost> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("out.ndjson");
    let output = format!("file: {{path: '{}'}}", path.display());
    let shipper = Shipper::agent(&input.path.display().to_string(), "json", &output)?;
    eventually("the output is opened", Duration::from_secs(10), || path.exists())?;
    let mut written = File::open(&path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut records = 0;
    let cost = cost(&shipper, input, input.lines, || {
        while let Ok(length @ 1..) = written.read(&mut buffer) {
            records += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64;
        }
        records
    });
    fs::remove_file(path)?;
    cost
}

/// Waits until all has arrived; what that took.
fn cost(shipper: &Shipper, input: &Input, expected: u64, mut arrived: impl FnMut() -> u64) -> Result<Cost> {
    let began = Instant::now();
    while arrived() < expected {
        cpu_seconds(shipper.process()).with_context(|| shipper.said())?;
        ensure!(began.elapsed() < PATIENCE, "{} of {expected} records arrived; {}", arrived(), shipper.said());
        // A probe is cheap, and what follows the last record is not to be counted.
        thread::sleep(Duration::from_millis(5));
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(shipper.process())?);
    let megabytes = input.bytes as f64 / 1e6;
    let peak = peak_resident(shipper.process())?;
    println!("    {megabytes:.0} MB in {wall:.1} s with {cpu:.2} CPU seconds, at most {peak:.1} MB resident");
    Ok(Cost { megabytes_per_cpu_second: megabytes / cpu, peak })
}
