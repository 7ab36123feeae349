//! The bulk output on the real agent: what the platform answers is heeded, item by item, and nothing is lost by it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::receivers::bulk::{BulkPlatform, Setup};
use hostwright_tests::receivers::http_server::Fault;
use hostwright_tests::wait::eventually;
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);

fn bulk(platform: &BulkPlatform, more: &str) -> String {
    format!("{{bulk: {{url: '{}', index: logs{more}}}}}", platform.url())
}

#[test]
fn documents_get_our_fields_and_a_timestamp_and_are_created_once() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup { data_streams: ["logs".to_owned()].into(), ..Setup::default() })?;
    app.write(1000)?;
    let output = format!("{{bulk: {{url: '{}', data_stream: logs, compress: gzip}}}}", platform.url());
    let agent = app.agent(&output)?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    let document = platform.documents()[0].source.clone();
    let expected = json!({
        "host": {"name": "testhost"}, "labels": {"environment": "prod"}, "log_source": "backend",
        "log": {"file": {"path": app.log()}},
        "@timestamp": "2026-11-20T10:11:12.5Z",
        "seq": 0, "time": "2026-11-20T10:11:12.5Z", "level": "warn", "message": "m",
    });
    ensure!(document == expected, "{document}");
    let in_order = platform.field("seq").iter().map(|seq| seq.as_u64().unwrap_or(u64::MAX)).is_sorted();
    ensure!(in_order, "not in order");
    let counts = platform.counts();
    ensure!(counts.encoded_bytes * 4 < counts.bytes, "not compressed: {counts:?}");
    wait_well(&agent)?;
    platform.check()
}

#[test]
fn items_that_are_turned_away_come_again_alone_and_nothing_comes_twice() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup { busy_every: Some(7), ..Setup::default() })?;
    app.write(5000)?;
    let agent = app.agent(&bulk(&platform, "-%Y.%m.%d"))?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    ensure!(platform.counts().conflicts == 0, "what was taken came again: {:?}", platform.counts());
    ensure!(platform.documents().iter().all(|document| document.index == "logs-2026.11.20"), "not in its day's index");
    wait_well(&agent)?;
    platform.check()
}

#[test]
fn what_the_platform_will_never_take_becomes_a_dead_letter_and_holds_back_nothing() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup { long_fields: ["n".to_owned()].into(), ..Setup::default() })?;
    app.write(500)?;
    app.append("{\"n\":\"three\",\"a\":1}\n{\"n\":3}\n{\"twice\":1,\"twice\":2}\n")?;
    app.write(500)?;
    let agent = app.agent(&bulk(&platform, ""))?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    ensure!(platform.field("n").contains(&json!(3)), "a good one is missing");
    let letters = eventually("two dead letters", SOON, || {
        let letters = dead_letters(&agent)?;
        ensure!(letters.len() == 2, "{letters:?}");
        Ok(letters)
    })?;
    ensure!(
        letters[0].contains("failed to parse field [n] of type [long]") && letters[0].contains("three"),
        "{letters:?}"
    );
    ensure!(letters[1].contains("Duplicate field"), "{letters:?}");
    platform.check()
}

#[test]
fn an_index_with_the_mapping_of_ecs_takes_every_line_also_one_with_a_host_of_its_own() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let object_fields = ["host", "log", "container", "service", "file", "source", "labels"].map(str::to_owned);
    let setup = Setup { object_fields: object_fields.into(), most_fields: Some(50), ..Setup::default() };
    let platform = BulkPlatform::start(setup)?;
    app.write(100)?;
    app.append("{\"host\":\"example.org\",\"log\":\"x\",\"labels\":[1],\"@timestamp\":1795169472,\"mark\":1}\n")?;
    let many: Vec<_> = (0..60).map(|number| format!("\"f{number}\":{number}")).collect();
    app.append(&format!("{{{}}}\n", many.join(",")))?;
    app.write(100)?;
    let agent = app.agent(&format!("{{bulk: {{url: '{}', data_stream: logs-app-prod}}}}", platform.url()))?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    let marked = platform.documents().into_iter().map(|document| document.source).find(|source| source["mark"] == 1);
    let marked = marked.context("the line with fields of other kinds")?;
    ensure!(marked["host"]["name"] == "testhost" && marked["host_"] == "example.org", "{marked}");
    let letters = eventually("one dead letter", SOON, || {
        let letters = dead_letters(&agent)?;
        ensure!(letters.len() == 1, "{letters:?}");
        Ok(letters)
    })?;
    ensure!(letters[0].contains("Limit of total fields [50]") && letters[0].contains("ignore_dynamic"), "{letters:?}");
    platform.check()
}

#[test]
fn fields_as_texts_where_the_index_has_objects_are_dead_letters_that_name_the_remedy() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let object_fields = ["host".to_owned()].into();
    let platform = BulkPlatform::start(Setup { object_fields, ..Setup::default() })?;
    app.write(3)?;
    let agent = app.agent(&bulk(&platform, ", fields: plain"))?;
    let letters = eventually("the dead letters", SOON, || {
        let letters = dead_letters(&agent)?;
        ensure!(letters.len() == 3, "{letters:?}");
        Ok(letters)
    })?;
    ensure!(letters[0].contains("object mapping for [host]") && letters[0].contains("fields: ecs"), "{letters:?}");
    let mut test = Command::new(binary("hostwright-agent")?);
    let told = test.args(["logs", "test", "platform", "--socket"]).arg(agent.socket()).output()?;
    ensure!(!told.status.success(), "the platform took it");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    ensure!(told.contains("fields: ecs"), "{told}");
    platform.check()
}

/// The lines of all files of dead letters.
fn dead_letters(agent: &AgentProcess) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(agent.state_folder().join("logs"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains("dead")) {
            lines.extend(fs::read_to_string(path)?.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

#[test]
fn outages_of_every_kind_lose_nothing_and_leave_no_duplicate() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let mut platform = BulkPlatform::start(Setup::default())?;
    platform.order([
        Fault::Status(503, vec![("Retry-After".into(), "1".into())]),
        Fault::CutBefore,
        Fault::Status(429, vec![]),
        Fault::CutAfter,
        Fault::Stall,
        Fault::Status(500, vec![]),
    ]);
    app.write(2000)?;
    let agent = app.agent(&bulk(&platform, ", timeout: 2s"))?;
    wait_hindered(&agent, "output platform: http://127.0.0.1")?;
    eventually("all faults have happened", SOON, || platform.outstanding_faults() == 0)?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    eventually("what the cut answer acknowledged came again", SOON, || platform.counts().conflicts > 0)?;
    platform.stop();
    app.write(2000)?;
    wait_hindered(&agent, "cannot connect to http://127.0.0.1")?;
    platform.start_again()?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    wait_well(&agent)?;
    platform.check()
}

#[test]
fn kills_at_any_moment_leave_each_line_there_once() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup::default())?;
    let mut agent = app.agent(&bulk(&platform, ""))?;
    for round in 1..=3 {
        app.write(20_000)?;
        eventually("some of it has arrived", SOON, || platform.counts().documents > 15_000 * round)?;
        agent.kill9()?;
        app.write(1000)?;
        agent.start_again()?;
    }
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    eprintln!("{:?}", platform.counts());
    platform.check()
}

#[test]
fn a_batch_that_is_too_large_goes_in_portions() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup { most_bytes: Some(20_000), ..Setup::default() })?;
    app.write(2000)?;
    let agent = app.agent(&bulk(&platform, ""))?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    wait_well(&agent)?;
    platform.check()
}

#[test]
fn a_password_that_is_wrong_at_first_loses_nothing_and_shows_nowhere() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let password = app.folder().join("password");
    fs::write(&password, "wrong-hunter2\n")?;
    // "u:right-hunter2"
    let authorization = "Basic dTpyaWdodC1odW50ZXIy".to_owned();
    let platform = BulkPlatform::start(Setup { authorization: Some(authorization), ..Setup::default() })?;
    app.write(100)?;
    let auth = format!(", basic: {{user: u, password: {{file: '{}'}}}}", password.display());
    let agent = app.agent(&bulk(&platform, &auth))?;
    wait_hindered(&agent, "answered 401 Unauthorized")?;
    wait_hindered(&agent, "see that the output's credentials are right")?;
    fs::write(&password, "right-hunter2\n")?;
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    wait_well(&agent)?;
    let shown = format!("{}{}", agent.output(), agent.status()?);
    ensure!(!shown.contains("hunter2") && !shown.contains("dTp3"), "{shown}");
    platform.check()
}

#[test]
fn a_pipeline_that_is_not_there_yet_costs_no_line() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let platform = BulkPlatform::start(Setup { ignores_filter: true, ..Setup::default() })?;
    app.write(200)?;
    let agent = app.agent(&bulk(&platform, ", pipeline: p"))?;
    wait_hindered(&agent, "pipeline with id [p] does not exist")?;
    platform.change(|setup| setup.pipelines = ["p".to_owned()].into());
    ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "duplicates");
    ensure!(dead_letters(&agent).context("the state folder")?.is_empty(), "dead letters");
    platform.check()
}
