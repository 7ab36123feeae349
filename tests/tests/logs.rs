//! The logs duty on the real agent and a real rsyslog: through rotation, crashes and outages nothing is lost, and
//! little comes twice.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Arrived, Host, SOON, exactly_once_in_order, line};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

/// What an output may send again after a crash: one batch of a source's bytes.
const BATCH: usize = 1 << 20;

fn set_modified(path: &Path, ago: Duration) -> Result<()> {
    Ok(File::options().append(true).open(path)?.set_modified(SystemTime::now() - ago)?)
}

fn renamed_during_a_restart(pattern: &str) -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 1000)?;
    let mut agent = host.agent(pattern, "")?;
    host.wait_complete()?;
    ensure!(agent.terminate()? == Some(0), "{}", agent.output());
    host.write("log.json", 500)?;
    host.rename("log.json", "log.json.2026-11-20")?;
    host.write("log.json", 300)?;
    agent.start_again()?;
    host.write("log.json", 200)?;
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&platform)?;
    exactly_once_in_order(&archive)
}

#[test]
fn a_rename_during_a_restart_loses_nothing_when_only_the_one_file_is_named() -> Result<()> {
    renamed_during_a_restart("log.json")
}

#[test]
fn a_rename_during_a_restart_sends_nothing_twice_when_rotated_files_are_named_too() -> Result<()> {
    renamed_during_a_restart("log.json*")
}

#[test]
fn two_rotations_while_the_agent_is_down_lose_no_generation() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 100)?;
    let mut agent = host.agent("log.json", "")?;
    host.wait_complete()?;
    agent.kill9()?;
    for day in ["2026-11-19", "2026-11-20"] {
        host.write("log.json", 100)?;
        host.rename("log.json", &format!("log.json.{day}"))?;
    }
    host.write("log.json", 100)?;
    agent.start_again()?;
    let (platform, archive) = host.wait_complete()?;
    ensure!(platform.in_order() && archive.in_order(), "not in order");
    Ok(())
}

#[test]
fn a_rename_while_running_ships_late_lines_of_the_old_file_and_its_unfinished_last_one() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        host.write("log.json", 200)?;
        let _agent = host.agent(pattern, "")?;
        host.wait_complete()?;
        let mut old = File::options().append(true).open(host.log("log.json"))?;
        host.rename("log.json", "log.json.2026-11-20")?;
        host.write_to(&mut old, 50)?;
        host.write("log.json", 100)?;
        let unfinished = line(host.written);
        host.written += 1;
        old.write_all(unfinished.trim_end().as_bytes())?;
        let (platform, archive) = host.wait_complete()?;
        ensure!(platform.duplicates() + archive.duplicates() == 0, "{pattern}: duplicates");
    }
    Ok(())
}

#[test]
fn a_file_that_is_deleted_while_unread_is_read_to_its_end() -> Result<()> {
    let mut host = Host::new()?;
    host.receiver.stop()?;
    host.write("log.json", 5000)?;
    let agent = host.agent("log.json", "")?;
    eventually("the archive has it", SOON, || {
        host.at_archive().map(|arrived| arrived.missing(5000).is_empty()).unwrap_or(false)
    })?;
    fs::remove_file(host.log("log.json"))?;
    host.write("log.json", 100)?;
    agent.wait_status("the output is down, and said to be", SOON, |status| {
        let why = status["duties"]["logs"]["why"].as_str().unwrap_or_default();
        why.contains("cannot connect to 127.0.0.1") && why.contains("output platform")
    })?;
    host.receiver.start_again()?;
    let (platform, _) = host.wait_complete()?;
    exactly_once_in_order(&platform)
}

#[test]
fn five_kills_while_lines_are_written_lose_nothing_and_repeat_at_most_a_batch_each() -> Result<()> {
    let mut host = Host::new()?;
    let mut agent = host.agent("log.json", "")?;
    for round in 1..=5 {
        for _ in 0..20 {
            host.write("log.json", 1000)?;
        }
        // Whatever it is doing just now: something has arrived, and not everything has.
        eventually("some of it has arrived", SOON, || {
            host.at_platform().map(|arrived| arrived.0.len() > 2000 * round).unwrap_or(false)
        })?;
        host.write("log.json", 5000)?;
        agent.kill9()?;
        host.write("log.json", 500)?;
        agent.start_again()?;
    }
    let (platform, archive) = host.wait_complete()?;
    let most = 5 * (BATCH / line(0).len() + 1);
    ensure!(archive.in_order(), "not in order");
    // (The receiver reads an old and a new connection side by side: their order is nobody's.)
    for (name, arrived) in [("platform", platform), ("archive", archive)] {
        eprintln!("{name}: {} lines, {} duplicates", host.written, arrived.duplicates());
        ensure!(arrived.duplicates() <= most, "{name}: {} duplicates, at most {most}", arrived.duplicates());
    }
    Ok(())
}

#[test]
fn a_rotation_during_a_restart_is_found_although_the_output_was_never_up() -> Result<()> {
    let mut host = Host::new()?;
    host.receiver.stop()?;
    let mut agent = host.agent("log.json", "")?;
    host.write("log.json", 200)?;
    eventually("the other output has it", SOON, || {
        host.at_archive().map(|arrived| arrived.missing(200).is_empty()).unwrap_or(false)
    })?;
    host.wait_stored(&agent, "log.json", &["archive"])?;
    agent.kill9()?;
    host.write("log.json", 50)?;
    host.rename("log.json", "log.json.2026-11-20")?;
    host.write("log.json", 30)?;
    agent.start_again()?;
    host.receiver.start_again()?;
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&platform)?;
    exactly_once_in_order(&archive)
}

#[test]
fn an_output_that_is_down_holds_back_no_other_and_loses_nothing() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 20_000)?;
    let mut agent = host.agent("log.json", "")?;
    host.wait_complete()?;
    host.receiver.stop()?;
    for _ in 0..10 {
        host.write("log.json", 2000)?;
    }
    host.rename("log.json", "log.json.2026-11-20")?;
    host.write("log.json", 1000)?;
    eventually("the other output has everything", SOON, || {
        host.at_archive().map(|arrived| arrived.missing(host.written).is_empty()).unwrap_or(false)
    })?;
    // A restart meanwhile changes nothing.
    agent.terminate()?;
    agent.start_again()?;
    host.receiver.start_again()?;
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&archive)?;
    ensure!(platform.in_order(), "not in order");
    eprintln!("platform: {} lines, {} duplicates", host.written, platform.duplicates());
    agent.wait_status("the duty is well again and behind by nothing", SOON, |status| {
        let logs = &status["duties"]["logs"];
        logs["state"] == "ok" && logs["summary"].as_str().is_some_and(|text| text.contains("lag 0 B"))
    })?;
    Ok(())
}

#[test]
fn a_receiver_that_restarts_under_load_loses_nothing() -> Result<()> {
    let mut host = Host::new()?;
    let _agent = host.agent("log.json", "")?;
    for round in 1..=3 {
        for _ in 0..40 {
            host.write("log.json", 1000)?;
        }
        eventually("some of it has arrived", SOON, || {
            host.at_platform().map(|arrived| arrived.0.len() > 4000 * round).unwrap_or(false)
        })?;
        host.receiver.stop()?;
        host.receiver.start_again()?;
    }
    let (platform, archive) = host.wait_complete()?;
    eprintln!("platform: {} lines, {} duplicates", host.written, platform.duplicates());
    exactly_once_in_order(&archive)?;
    ensure!(platform.in_order(), "not in order");
    Ok(())
}

/// What a receiver's kernel took and the receiver never read is gone when its process dies.
#[test]
fn a_receiver_that_dies_without_having_read_everything_gets_the_rest_again() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log.json");
    let count = 100_000;
    fs::write(&log, (0..count).map(line).collect::<String>())?;
    let _agent = AgentProcess::start(&format!(
        "logs:\n  sources:\n    s: {{files: ['{}'], outputs: [o]}}\n  outputs:\n    o: {{syslog: {{address: '{}', framing: newline}}}}\n",
        log.display(),
        listener.local_addr()?,
    ))?;
    let mut received = Vec::new();
    for lines in [1000, 40_000, usize::MAX] {
        let (connection, _) = listener.accept()?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Without a large buffer of our own: the rest is left in the kernel when the connection is dropped.
        let mut reader = BufReader::with_capacity(256, connection);
        let mut text = String::new();
        for _ in 0..lines {
            text.clear();
            if reader.read_line(&mut text)? == 0 {
                break;
            }
            received.push(text.split_once("] ").context("no message")?.1.to_owned());
            if received.last().is_some_and(|last| last.contains(&format!("\"seq\":{},", count - 1))) {
                break;
            }
        }
    }
    let arrived = Arrived::of(&received)?;
    eprintln!("{} duplicates", arrived.duplicates());
    ensure!(arrived.missing(count).is_empty(), "lost {}", arrived.missing(count).len());
    ensure!(arrived.in_order(), "not in order");
    Ok(())
}

#[test]
fn a_copy_and_truncate_is_noticed_even_when_the_tails_of_lines_repeat() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        host.write("log.json", 1000)?;
        let mut agent = host.agent(pattern, "")?;
        host.wait_complete()?;
        let files = |expected: usize| if pattern.ends_with('*') { expected } else { 1 };
        copy_and_truncate(&host, "log.json.1")?;
        // At once filled beyond its former size.
        host.write("log.json", 1500)?;
        host.wait_complete()?;
        wait_nothing_left(&agent, files(2))?;
        exactly_once_in_order(&host.at_platform()?).with_context(|| format!("{pattern}, running"))?;
        agent.terminate()?;
        copy_and_truncate(&host, "log.json.2")?;
        host.write("log.json", 3000)?;
        agent.start_again()?;
        host.wait_complete()?;
        wait_nothing_left(&agent, files(3))?;
        exactly_once_in_order(&host.at_platform()?).with_context(|| format!("{pattern}, restarted"))?;
        exactly_once_in_order(&host.at_archive()?).with_context(|| format!("{pattern}, archive"))?;
    }
    Ok(())
}

/// Waits until at least so many files are followed and all of them are shipped.
fn wait_nothing_left(agent: &AgentProcess, files: usize) -> Result<()> {
    agent.wait_status(&format!("nothing is left to ship of {files} files"), SOON, |status| {
        let logs = &status["duties"]["logs"];
        let followed = logs["details"]["sources"]["backend"]["files"].as_u64().unwrap_or_default();
        followed as usize >= files && logs["summary"].as_str().is_some_and(|text| text.contains("lag 0 B"))
    })?;
    Ok(())
}

fn copy_and_truncate(host: &Host, copy: &str) -> Result<()> {
    fs::copy(host.log("log.json"), host.log(copy))?;
    Ok(File::options().write(true).open(host.log("log.json"))?.set_len(0)?)
}

#[test]
fn retention_deletes_what_is_old_and_shipped_and_nothing_that_an_output_lacks() -> Result<()> {
    let mut host = Host::new()?;
    host.receiver.stop()?;
    host.write("log.json.2026-11-10", 100)?;
    host.write("log.json.2026-11-20", 100)?;
    host.write("log.json", 100)?;
    let day = Duration::from_secs(86400);
    set_modified(&host.log("log.json.2026-11-10"), 10 * day)?;
    set_modified(&host.log("log.json.2026-11-20"), day)?;
    set_modified(&host.log("log.json"), 10 * day)?;
    let agent = host.agent("log.json*", ", retain: 7d")?;
    agent.wait_status("one output has it, the other does not", SOON, |status| {
        let files = &status["duties"]["logs"]["details"]["sources"]["backend"]["files_by_lag"];
        let all = files.as_array().is_some_and(|files| files.len() == 3);
        let lag = |output: &str| {
            files
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|f| f["outputs"][output]["lag_bytes"].as_u64())
                .sum::<u64>()
        };
        all && lag("archive") == 0 && lag("platform") > 0
    })?;
    // Several looks at the files later it is still there.
    let scans = |status: &Value| {
        status["duties"]["logs"]["details"]["sources"]["backend"]["files_by_lag"][0]["outputs"]["platform"]["lag_seconds"].as_u64()
    };
    agent.wait_status("retention had its chance", SOON, |status| scans(status).is_some_and(|seconds| seconds >= 4))?;
    ensure!(host.log("log.json.2026-11-10").exists(), "deleted before the platform had it");
    host.receiver.start_again()?;
    host.wait_complete()?;
    eventually("the old file is deleted", SOON, || !host.log("log.json.2026-11-10").exists())?;
    ensure!(host.log("log.json.2026-11-20").exists(), "deleted before its time");
    ensure!(host.log("log.json").exists(), "the file being written was deleted");
    Ok(())
}

#[test]
fn a_message_tells_host_source_file_labels_time_and_severity_and_odd_lines_are_counted() -> Result<()> {
    let host = Host::new()?;
    let mut text =
        b"{\"time\":\"2026-11-20T10:11:12.345Z\",\"level\":\"error\",\"msg\":\"caf\xc3\xa9\"}\r\nno json\n\xff\n"
            .to_vec();
    text.extend([b'x'; 200]);
    text.push(b'\n');
    fs::write(host.log("log.json"), text)?;
    let agent = host.agent("log.json", ", line_limit: 100B")?;
    host.receiver.wait_for_messages(4, SOON)?;
    let lines = host.receiver.lines()?;
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("testhost backend")).collect();
    let data = format!(
        "[hostwright@32473 source=\"backend\" file=\"{}\" environment=\"prod\"",
        host.log("log.json").display()
    );
    let expected = format!("<131>1 2026-11-20T10:11:12.345Z testhost backend - backend {data}] {{\"time\"");
    ensure!(lines[0].starts_with(&expected) && lines[0].ends_with("café\"}"), "{lines:#?}");
    ensure!(lines[1].starts_with("<134>1 ") && lines[1].ends_with(&format!("{data}] no json")), "{lines:#?}");
    ensure!(lines[2].ends_with(" \u{fffd}"), "{lines:#?}");
    ensure!(lines[3].ends_with(&format!("{data} cut=\"true\"] {}", "x".repeat(100))), "{lines:#?}");
    agent.wait_status("odd lines are counted", SOON, |status| {
        let output = &status["duties"]["logs"]["details"]["sources"]["backend"]["outputs"]["platform"];
        output["lines"] == 4
            && output["cut_lines"] == 1
            && output["invalid_utf8_lines"] == 1
            && output["unparsed_lines"] == 2
    })?;
    let archive = fs::read_to_string(host.archive())?;
    let records: Vec<Value> = archive.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(
        records[0]["host"] == "testhost"
            && records[0]["labels"]["environment"] == "prod"
            && records[0]["msg"] == "café",
        "{archive}"
    );
    ensure!(records[1]["message"] == "no json" && records[3]["cut"] == true, "{archive}");
    Ok(())
}

/// A small file system of its own in place of a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: PathBuf) -> Result<Self> {
        let none = None::<&str>;
        mount(none, &folder, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).context("mount a tmpfs; run as root")?;
        Ok(Self(folder))
    }

    /// Takes all space that is left.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join("filler"))?;
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing more can be done about one that stays.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_keeps_lines_and_their_positions_moving() -> Result<()> {
    let mut host = Host::new()?;
    let mut agent = host.agent("log.json", "")?;
    agent.wait_ready(SOON)?;
    agent.terminate()?;
    let disk = SmallDisk::at(agent.state_folder().join("logs"))?;
    agent.start_again()?;
    agent.wait_ready(SOON)?;
    disk.fill()?;
    // Far more positions than one reservation holds.
    for _ in 0..40 {
        host.write("log.json", 200)?;
        host.wait_complete()?;
    }
    host.wait_stored(&agent, "log.json", &["platform", "archive"])?;
    agent.kill9()?;
    agent.start_again()?;
    host.write("log.json", 100)?;
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&platform)?;
    exactly_once_in_order(&archive)
}
