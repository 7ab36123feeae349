//! The Loki output on the real agent: whatever Loki's limits refuse is told and kept, and holds back nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::http_server::Fault;
use hostwright_tests::receivers::loki::{Labels, LokiPlatform, Setup};
use hostwright_tests::wait::eventually;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);
/// 2026-11-20T10:11:12.5Z
const NANOSECONDS: i128 = 1_795_169_472_500_000_000;

fn sequence(line: &str) -> Value {
    serde_json::from_str::<Value>(line).map(|line| line["seq"].clone()).unwrap_or_default()
}

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn loki_gets_each_line_once_in_order_with_labels_and_metadata() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup { tenant: Some("t1".into()), ..Setup::default() })?;
    loki.server.order([Fault::Status(429, vec![]), Fault::CutBefore, Fault::Status(500, vec![])]);
    app.write(3000)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}', tenant: t1}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    let streams = loki.streams();
    let (stream, entries) = streams.first_key_value().context("a stream")?;
    ensure!(*stream == labels(&[("host", "testhost"), ("source", "backend"), ("environment", "prod")]), "{stream:?}");
    ensure!(streams.len() == 1, "{} streams", streams.len());
    let first = &entries[0];
    let file = app.log().display().to_string();
    ensure!(first.metadata == labels(&[("file", &file), ("level", "warn")]), "{first:?}");
    ensure!(first.line.starts_with("{\"seq\":0,\"time\"") && first.nanoseconds == NANOSECONDS, "{first:?}");
    ensure!(entries.iter().map(|entry| entry.nanoseconds).is_sorted(), "not in order");
    wait_well(&agent)?;
    loki.check()
}

#[test]
fn equal_lines_of_one_moment_are_all_kept_by_loki() -> Result<()> {
    let app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup::default())?;
    app.append(&"the same\n".repeat(500))?;
    let output = format!("{{loki: {{url: '{}', labels: [source, level]}}}}", loki.server.url());
    let _agent = AgentProcess::start(&app.config("plain", &output))?;
    eventually("all of them", SOON, || {
        let count = loki.entries().len();
        ensure!(count == 500, "{count} of 500, {} duplicates", loki.duplicates());
        Ok(())
    })?;
    let streams = loki.streams();
    ensure!(streams.keys().all(|labels| labels["level"] == "unknown"), "{:?}", streams.keys());
    loki.check()
}

#[test]
fn a_loki_that_takes_no_metadata_gets_it_as_labels() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup { refuses_structured_metadata: true, ..Setup::default() })?;
    app.write(100)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}'}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    let streams = loki.streams();
    let file = app.log().display().to_string();
    ensure!(streams.len() == 1 && streams.keys().all(|labels| labels["file"] == file), "{:?}", streams.keys());
    let remark = |status: &Value| status["duties"]["logs"]["details"]["outputs"]["platform"]["remark"].clone();
    agent.wait_status("the status says so", SOON, |status| {
        remark(status).as_str().is_some_and(|remark| remark.contains("no structured metadata"))
    })?;
    wait_well(&agent)?;
    loki.check()
}

#[test]
fn a_line_that_loki_finds_too_long_holds_back_no_other() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup::default())?;
    app.write(300)?;
    app.append(&format!("{{\"long\":\"{}\"}}\n", "x".repeat(300_000)))?;
    app.write(300)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}'}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    eventually("a dead letter", SOON, || {
        let letters = std::fs::read_to_string(agent.state_folder().join("logs/dead-letters-platform.ndjson"))?;
        ensure!(letters.lines().count() == 1 && letters.contains("Max entry size"), "{letters}");
        Ok(())
    })
}

#[test]
fn lines_that_are_too_old_for_loki_become_dead_letters_by_the_hundred_and_hold_back_no_other() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let oldest = Some(NANOSECONDS - 500_000_000);
    let loki = LokiPlatform::start(Setup { oldest, ..Setup::default() })?;
    let old: String = (0..3000).map(|n| format!("{{\"old\":{n},\"time\":\"2026-11-10T10:11:12Z\"}}\n")).collect();
    app.append(&old)?;
    app.write(300)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}'}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    eventually("dead letters", SOON, || {
        let letters = std::fs::read_to_string(agent.state_folder().join("logs/dead-letters-platform.ndjson"))?;
        ensure!(letters.lines().filter(|letter| letter.contains("too old")).count() == 3000, "{}", letters.len());
        ensure!(letters.lines().count() == 3000, "{} letters", letters.lines().count());
        Ok(())
    })?;
    wait_well(&agent)
}

#[test]
fn files_of_different_times_cost_no_line_in_the_stream_that_they_share() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let loki = LokiPlatform::start(Setup::default())?;
    let config = format!(
        "logs:\n  sources:\n    s: {{files: ['{}/*.log'], parse: json, outputs: [o]}}\n  outputs:\n    o: {{loki: {{url: '{}'}}}}\n",
        folder.path().display(),
        loki.server.url()
    );
    let write = |file: &str, hour: u8, numbers: std::ops::Range<u64>| -> Result<()> {
        let line = |n| format!("{{\"seq\":{n},\"time\":\"2026-11-20T{hour:02}:11:12Z\"}}\n");
        let mut text = std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        text.extend(numbers.map(line));
        Ok(std::fs::write(folder.path().join(file), text)?)
    };
    let arrived = |count: usize| {
        eventually("each line once", SOON, || {
            let numbers: BTreeSet<_> =
                loki.entries().iter().filter_map(|entry| sequence(&entry.line).as_u64()).collect();
            ensure!(numbers.len() == count && loki.entries().len() == count, "{} of {count}", numbers.len());
            Ok(())
        })
    };
    write("a.log", 20, 0..500)?;
    let mut agent = AgentProcess::start(&config)?;
    arrived(500)?;
    write("b.log", 10, 500..1000)?;
    arrived(1000)?;
    // An agent that does not know how far the stream is.
    agent.terminate()?;
    write("c.log", 15, 1000..1500)?;
    agent.start_again()?;
    arrived(1500)?;
    ensure!(loki.streams().len() == 3, "{:?}", loki.streams().keys());
    ensure!(!agent.state_folder().join("logs/dead-letters-o.ndjson").exists(), "dead letters");
    loki.check()
}

#[test]
fn lines_that_are_too_new_too_old_or_too_long_at_once_cost_no_other_line() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let (oldest, newest) = (Some(NANOSECONDS - 500_000_000), Some(NANOSECONDS + 600_000_000_000));
    let loki = LokiPlatform::start(Setup { oldest, newest, ..Setup::default() })?;
    for round in 0..100 {
        app.write(5)?;
        app.append(&format!("{{\"bad\":{round},\"time\":\"2026-11-20T{:02}:11:12Z\"}}\n", 11 + round % 12))?;
        app.append(&format!("{{\"bad\":{round},\"time\":\"2026-11-19T10:11:12Z\"}}\n"))?;
    }
    let long = format!("{{\"time\":\"2026-11-20T10:11:12.5Z\",\"long\":\"{}\"}}\n", "x".repeat(300_000));
    app.append(&long)?;
    app.write(5)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}'}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    eventually("the dead letters", SOON, || {
        let letters = std::fs::read_to_string(agent.state_folder().join("logs/dead-letters-platform.ndjson"))?;
        let of = |part: &str| letters.lines().filter(|letter| letter.contains(part)).count();
        let found = (of("\\\"bad\\\""), of("\\\"long\\\""), letters.lines().count());
        ensure!(found == (200, 1, 201), "{found:?}");
        let reasons = (of("timestamp too new"), of("timestamp too old"), of("set line_limit"));
        let other = letters.lines().find(|letter| !letter.contains("timestamp too")).unwrap_or_default();
        ensure!(reasons == (100, 100, 1), "{reasons:?} {}", &other[..other.len().min(1500)]);
        Ok(())
    })?;
    wait_well(&agent)?;
    loki.check()
}

#[test]
fn a_stricter_limit_of_labels_leaves_out_the_hosts_own_first() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup { most_labels: Some(2), ..Setup::default() })?;
    app.write(100)?;
    let agent = app.agent(&format!("{{loki: {{url: '{}'}}}}", loki.server.url()))?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    let expected = labels(&[("host", "testhost"), ("source", "backend")]);
    ensure!(loki.streams().keys().eq([&expected]), "{:?}", loki.streams().keys());
    wait_well(&agent)?;
    loki.check()
}

#[test]
fn a_blocked_ingestion_and_a_rate_that_is_exceeded_only_delay() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let loki = LokiPlatform::start(Setup { is_blocked: true, ..Setup::default() })?;
    app.write(100)?;
    let platform = format!("{{loki: {{url: '{}'}}, batch: {{bytes: 16MiB, lines: 1000000}}}}", loki.server.url());
    let agent = app.agent(&platform)?;
    wait_hindered(&agent, "ingestion blocked")?;
    // More at once than Loki takes in a second.
    app.append(&format!("{{\"filler\":\"{}\"}}\n", "x".repeat(10_000)).repeat(600))?;
    loki.change(|setup| (setup.is_blocked, setup.most_bytes) = (false, Some(4 << 20)));
    app.write(100)?;
    let arrived = || loki.entries().iter().map(|entry| sequence(&entry.line)).collect();
    ensure!(app.wait_complete(arrived)? == 0, "duplicates");
    wait_well(&agent)?;
    loki.check()
}
