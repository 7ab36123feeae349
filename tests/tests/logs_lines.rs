//! From bytes of a file to records, on the real agent: events of several lines, containers' lines, filters.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);

/// An application's log, and files that are the outputs.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// With these settings of the source.
    fn agent(&self, settings: &str) -> Result<AgentProcess> {
        AgentProcess::start(&format!(
            "host: {{name: testhost, labels: {{environment: prod}}}}\n\
             logs:\n  sources:\n    app:\n      files: ['{}']\n      outputs: [one, two]\n{settings}\n  \
             outputs:\n    one: {{file: {{path: '{}'}}}}\n    two: {{file: {{path: '{}'}}}}\n",
            self.path("app.log").display(),
            self.path("one.ndjson").display(),
            self.path("two.ndjson").display(),
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.path("app.log"))?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// The log gets the name of a generation, and another one takes its place.
    fn rotate(&self, generation: usize) -> Result<()> {
        let name = format!("app.log.20261120-1011{generation:02}");
        Ok(fs::rename(self.path("app.log"), self.path(&name))?)
    }

    /// What an output has by now, whole lines only.
    fn records(&self, output: &str) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.path(output)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn wait_for(&self, count: usize) -> Result<Vec<Value>> {
        eventually(&format!("{count} records at both outputs"), SOON, || {
            let (one, two) = (self.records("one.ndjson")?, self.records("two.ndjson")?);
            ensure!(one.len() >= count && two.len() >= count, "{} and {}: {one:#?}", one.len(), two.len());
            Ok(one)
        })
    }
}

/// Without what a kill sent again.
fn distinct<T: PartialEq + Clone>(all: &[T]) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for one in all {
        if !found.contains(one) {
            found.push(one.clone());
        }
    }
    found
}

fn messages(records: &[Value]) -> Vec<&str> {
    records.iter().filter_map(|record| record["message"].as_str()).collect()
}

#[test]
fn an_event_of_several_lines_is_one_record_and_the_last_one_comes_after_its_time() -> Result<()> {
    let host = Host::new()?;
    let _agent = host.agent("      multiline: {start: '^\\d', timeout: 1500ms}")?;
    host.write("1 first\n  at a\n  at b\n2 second\r\n  at c\r\n")?;
    host.wait_for(1)?;
    let began = Instant::now();
    host.wait_for(2)?;
    ensure!(began.elapsed() < Duration::from_secs(20), "long after its time");
    // What comes later is an event of its own.
    host.write("  at d\n3 third\n")?;
    let records = host.wait_for(4)?;
    let expected = ["1 first\n  at a\n  at b", "2 second\n  at c", "  at d", "3 third"];
    ensure!(messages(&records) == expected, "{records:#?}");
    Ok(())
}

#[test]
fn a_pending_event_holds_back_no_other_file_and_is_there_after_a_kill() -> Result<()> {
    let host = Host::new()?;
    let files = format!(
        "      multiline: {{continuation: '^\\s', timeout: 60s}}\n      files: ['{}']",
        host.path("*.log").display()
    );
    let mut agent = AgentProcess::start(&format!(
        "logs:\n  sources:\n    app:\n      outputs: [one]\n{files}\n  outputs:\n    one: {{file: {{path: '{}'}}}}\n",
        host.path("one.ndjson").display(),
    ))?;
    host.write("event\n  continued\n")?;
    fs::write(host.path("other.log"), "a\nb\nc\n")?;
    let arrived = |expected: &[&str]| {
        eventually("these records", SOON, || {
            let records = host.records("one.ndjson")?;
            ensure!(distinct(&messages(&records)) == expected, "{records:#?}");
            Ok(())
        })
    };
    arrived(&["a", "b"])?;
    agent.kill9()?;
    host.write("  to its end\nnext\n")?;
    agent.start_again()?;
    arrived(&["a", "b", "event\n  continued\n  to its end"])
}

#[test]
fn a_containers_line_that_came_in_parts_is_one_record_even_across_a_kill() -> Result<()> {
    let host = Host::new()?;
    let mut agent = host.agent("      parse: {cri: json}")?;
    let time = "2026-11-20T10:11:12.123456789Z";
    host.write(&format!(
        "{time} stdout F {{\"n\":1}}\n{time} stdout P {{\"n\":2,\"text\":\"begin \n{time} stderr F no json\n"
    ))?;
    host.wait_for(1)?;
    agent.kill9()?;
    host.write(&format!("{time} stdout P middle \n"))?;
    agent.start_again()?;
    host.write(&format!("{time} stdout F end\"}}\n{time} stdout F {{\"n\":3}}\n"))?;
    let records = eventually("four records", SOON, || {
        let records = distinct(&host.records("one.ndjson")?);
        ensure!(records.len() >= 4, "{records:#?}");
        Ok(records)
    })?;
    for record in &records {
        ensure!(record["time"] == time && record["host"] == "testhost", "{records:#?}");
    }
    ensure!(records[1]["n"] == 2 && records[1]["text"] == "begin middle end", "{records:#?}");
    ensure!(records[2]["message"] == "no json" && records[2]["stream"] == "stderr", "{records:#?}");
    ensure!(records.len() == 4 && records[3]["n"] == 3, "{records:#?}");
    let counted = |status: &Value| {
        status["duties"]["logs"]["details"]["sources"]["app"]["outputs"]["one"]["unparsed_lines"].clone()
    };
    agent.wait_status("the line that is no JSON is counted", SOON, |status| counted(status) == 1)?;
    Ok(())
}

#[test]
fn what_rotations_part_is_one_record_and_nothing_is_given_twice() -> Result<()> {
    let host = Host::new()?;
    let mut agent = host.agent("      parse: cri\n      multiline: {continuation: '^\\s'}")?;
    let line = |stream: &str, text: &str| format!("2026-11-20T10:11:12.123456789Z {stream} {text}\n");
    host.write(&line("stdout", "F one"))?;
    host.wait_for(1)?;
    let mut expected = vec!["one".to_owned()];
    for round in 0..4 {
        // As kubelet does; the line and the event go over two rotations. The file between is the same in each round.
        host.write(&[line("stdout", &format!("P {round} a-")), line("stderr", &format!("F {round} E:"))].concat())?;
        host.rotate(2 * round)?;
        host.write(&[line("stderr", "F  at x"), line("stdout", "P b-")].concat())?;
        if round % 2 == 1 {
            agent.kill9()?;
        }
        host.rotate(2 * round + 1)?;
        host.write(&[line("stdout", "F c"), line("stderr", "F  at y"), line("stderr", "F end")].concat())?;
        if round % 2 == 1 {
            agent.start_again()?;
        }
        host.write(&line("stdout", "F end"))?;
        expected.extend([format!("{round} a-b-c"), format!("{round} E:\n at x\n at y"), "end".into(), "end".into()]);
        host.wait_for(expected.len())?;
    }
    for output in ["one.ndjson", "two.ndjson"] {
        let records = host.records(output)?;
        ensure!(messages(&records) == expected, "{output}: {records:#?}");
    }
    agent.wait_status("nothing is pending, and each byte is accounted for", SOON, |status| {
        let one = &status["duties"]["logs"]["details"]["sources"]["app"]["outputs"]["one"];
        one["lag_bytes"] == 0 && one["unparsed_lines"] == 0
    })?;
    Ok(())
}

#[test]
fn what_a_copy_a_compressor_or_a_deletion_parts_is_one_record_too() -> Result<()> {
    let host = Host::new()?;
    let _agent = host.agent("      parse: cri")?;
    let line = |text: &str| format!("2026-11-20T10:11:12.123456789Z stdout {text}\n");
    let (log, rotated) = (host.path("app.log"), host.path("app.log.1"));
    let mut expected = Vec::new();
    for rotation in ["copied", "compressed", "deleted"] {
        // Long enough to be known in a copy.
        let first = format!("{rotation} {}", "x".repeat(100));
        host.write(&line(&format!("F {first}")))?;
        expected.push(first);
        host.wait_for(expected.len())?;
        host.write(&line("P begin and "))?;
        if rotation == "copied" {
            fs::copy(&log, &rotated)?;
            File::options().write(true).open(&log)?.set_len(0)?;
        } else {
            fs::rename(&log, &rotated)?;
        }
        host.write(&[line("F end"), line("F next")].concat())?;
        match rotation {
            "compressed" => ensure!(Command::new("gzip").arg("--force").arg(&rotated).status()?.success(), "gzip"),
            "deleted" => fs::remove_file(&rotated)?,
            _ => {}
        }
        expected.extend(["begin and end".to_owned(), "next".to_owned()]);
        let records = host.wait_for(expected.len())?;
        ensure!(messages(&records) == expected, "{rotation}: {records:#?}");
    }
    Ok(())
}

#[test]
fn what_is_redacted_reaches_no_output_and_what_is_filtered_is_counted_with_its_bytes() -> Result<()> {
    let host = Host::new()?;
    let agent = host.agent(
        "      parse: json\n      line_limit: 1000B\n      filters:\n        - drop: {match: '^/health', field: path}\n        \
         - redact: [tokens, card-numbers, emails]\n        - rename: {msg: text}\n        - remove: [noise]\n        \
         - add: {team: web, where: '${environment}-${host}'}",
    )?;
    let mut dropped = String::new();
    for number in 0..20_000 {
        dropped.push_str(&format!("{{\"path\":\"/health/{number}\"}}\n"));
    }
    let long = format!("{}\n", "x".repeat(1500));
    let kept = "{\"msg\":\"card 4111111111111111 of a.b@example.org\",\"password\":\"hunter2\",\"noise\":1}\n\
                Authorization: Bearer abcdefghijkl\n";
    host.write(&format!("{dropped}{long}{kept}"))?;
    let records = host.wait_for(3)?;
    for output in ["one.ndjson", "two.ndjson"] {
        let text = fs::read_to_string(host.path(output))?;
        for secret in ["4111", "example.org", "hunter2", "abcdefghijkl", "/health"] {
            ensure!(!text.contains(secret), "{output} has {secret}: {text}");
        }
    }
    ensure!(records[0]["cut"] == true && records[0]["message"] == "x".repeat(1000), "{records:#?}");
    ensure!(records[1]["text"] == "card [redacted] of [redacted]", "{records:#?}");
    ensure!(records[1]["password"] == "[redacted]" && records[1].get("noise").is_none(), "{records:#?}");
    ensure!(records[1]["team"] == "web" && records[1]["where"] == "prod-testhost", "{records:#?}");
    let skipped = dropped.len() + 501;
    agent.wait_status("what was left out is counted", SOON, |status| {
        let source = &status["duties"]["logs"]["details"]["sources"]["app"];
        ["one", "two"].iter().all(|output| {
            let counted = &source["outputs"][output];
            counted["filtered_lines"] == 20_000
                && counted["skipped_bytes"] == skipped
                && counted["lines"] == 3
                && counted["bytes"] == dropped.len() + long.len() + kept.len()
        })
    })?;
    Ok(())
}

#[test]
fn lines_of_other_forms_become_fields_with_time_and_severity() -> Result<()> {
    let host = Host::new()?;
    let _agent = host.agent(
        "      parse: {regex: '^(?P<client>\\S+) \\[(?P<time>[^\\]]+)\\] \"(?P<request>[^\"]*)\" (?P<level>\\w+)'}\n      \
         time: {field: time, format: '%d/%b/%Y:%H:%M:%S %z'}",
    )?;
    host.write("\u{feff}10.0.0.1 [20/Nov/2026:10:11:12 +0000] \"GET /\" warn\r\nother \u{0} text\n")?;
    let records = host.wait_for(2)?;
    let expected =
        json!({"client": "10.0.0.1", "time": "20/Nov/2026:10:11:12 +0000", "request": "GET /", "level": "warn"});
    for (name, value) in expected.as_object().into_iter().flatten() {
        ensure!(records[0][name] == *value, "{records:#?}");
    }
    ensure!(records[1]["message"] == "other \u{0} text", "{records:#?}");
    Ok(())
}

#[test]
fn a_trace_in_a_containers_log_is_one_record_whatever_its_other_stream_says_meanwhile() -> Result<()> {
    let host = Host::new()?;
    let _agent =
        host.agent("      parse: docker\n      multiline: {continuation: '^\\s|^Caused by', timeout: 500ms}")?;
    let line = |stream: &str, log: &str| {
        let line = json!({"log": log, "stream": stream, "time": "2026-11-20T10:11:12.5Z"});
        format!("{line}\n")
    };
    let lines = [
        line("stderr", "java.lang.Exception: x\n"),
        line("stdout", "GET /\n"),
        line("stderr", "\tat a."),
        line("stderr", "b(c)\n"),
        line("stderr", "Caused by: \"y\"\n"),
        line("stdout", "GET /favicon\n"),
    ];
    host.write(&lines.concat())?;
    let records = host.wait_for(3)?;
    let trace = "java.lang.Exception: x\n\tat a.b(c)\nCaused by: \"y\"";
    ensure!(messages(&records) == [trace, "GET /", "GET /favicon"], "{records:#?}");
    ensure!(records[0]["stream"] == "stderr" && records[1]["stream"] == "stdout", "{records:#?}");
    Ok(())
}

/// In the order of bytes that Windows writes.
fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_file_in_utf_16_is_read_as_what_it_is_across_a_restart() -> Result<()> {
    let host = Host::new()?;
    let append = |bytes: &[u8]| -> Result<()> {
        Ok(File::options().create(true).append(true).open(host.path("app.log"))?.write_all(bytes)?)
    };
    let all = utf_16("\u{feff}{\"n\":1,\"text\":\"ä😀\"}\r\n{\"n\":2}\r\n{\"n\":3,\"text\":\"\u{a0a}\"}\r\n");
    let mut agent = host.agent("      parse: json")?;
    // Half of a unit is there at the end.
    append(&all[..61])?;
    host.wait_for(1)?;
    agent.kill9()?;
    append(&all[61..])?;
    agent.start_again()?;
    let records = eventually("three records", SOON, || {
        let records = distinct(&host.records("one.ndjson")?);
        ensure!(records.len() == 3, "{records:#?}");
        Ok(records)
    })?;
    let numbers: Vec<_> = records.iter().map(|record| record["n"].clone()).collect();
    ensure!(numbers == [1, 2, 3], "{records:#?}");
    ensure!(records[0]["text"] == "ä😀" && records[2]["text"] == "\u{a0a}", "{records:#?}");
    Ok(())
}

#[test]
fn other_encodings_are_decoded_and_what_is_no_character_is_counted() -> Result<()> {
    let host = Host::new()?;
    let agent = host.agent("      encoding: shift_jis")?;
    let mut file = File::options().create(true).append(true).open(host.path("app.log"))?;
    file.write_all(b"\x93\xfa\x96{\n\xff\n")?;
    let records = host.wait_for(2)?;
    ensure!(messages(&records) == ["日本", "\u{fffd}"], "{records:#?}");
    agent.wait_status("it is counted", SOON, |status| {
        status["duties"]["logs"]["details"]["sources"]["app"]["outputs"]["one"]["invalid_utf8_lines"] == 1
    })?;
    Ok(())
}

#[test]
fn a_log_that_is_truncated_while_its_writer_goes_on_at_its_place_has_a_hole_and_loses_no_line() -> Result<()> {
    let host = Host::new()?;
    let _agent = host.agent("      parse: json")?;
    // Without O_APPEND, as with a shell's single >.
    let mut writer = File::create(host.path("app.log"))?;
    let line = |n: usize| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(1000));
    // The hole is longer than a line may be.
    for n in 0..1500 {
        writer.write_all(line(n).as_bytes())?;
    }
    host.wait_for(1500)?;
    File::options().write(true).open(host.path("app.log"))?.set_len(0)?;
    for n in 1500..1600 {
        writer.write_all(line(n).as_bytes())?;
    }
    let records = host.wait_for(1600)?;
    ensure!(records.iter().enumerate().all(|(n, record)| record["n"] == n), "not each line once");
    Ok(())
}
