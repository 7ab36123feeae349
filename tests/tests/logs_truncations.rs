//! Logs that are copied and truncated, or truncated and filled again: nothing is lost, nothing is sent twice, and order is
//! kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Arrived, Host, SOON, exactly_once_in_order};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

#[test]
fn a_tail_that_is_only_in_the_copy_is_drained_before_the_truncated_file_goes_on() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        let _agent = host.with_backlog(pattern, "")?;
        host.copy_and_truncate("log.json.1")?;
        host.write("log.json", 200)?;
        // Once more, with a tail in each of two copies.
        host.wait_archived()?;
        fs::rename(host.log("log.json.1"), host.log("log.json.2"))?;
        host.copy_and_truncate("log.json.1")?;
        host.write("log.json", 4000)?;
        host.wait_archived()?;
        host.receiver.start_again()?;
        host.complete().with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_copy_and_truncate_under_load_loses_and_repeats_nothing() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 1)?;
    let agent = host.agent("log.json", "")?;
    host.complete()?;
    for round in 0..4 {
        for _ in 0..20 {
            host.write("log.json", 500)?;
        }
        // Whatever the agent is doing just now.
        host.copy_and_truncate(&format!("log.json.2026-11-2{round}"))?;
        host.write("log.json", 700)?;
    }
    host.complete().with_context(|| agent.output())
}

#[test]
fn a_copy_and_truncate_while_down_is_found_with_one_name_or_a_pattern_also_when_regrown() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        for again in [10, 1500, 6000] {
            let mut host = Host::new()?;
            host.write("log.json", 1000)?;
            let mut agent = host.agent(pattern, "")?;
            host.complete()?;
            agent.terminate()?;
            host.write("log.json", 500)?;
            host.copy_and_truncate("log.json.1")?;
            host.write("log.json", again)?;
            agent.start_again()?;
            host.complete().with_context(|| format!("{pattern}, {again} lines again"))?;
        }
    }
    Ok(())
}

#[test]
fn a_truncation_before_anything_was_read_is_told_by_the_size_whatever_files_begin_with() -> Result<()> {
    let mut host = Host::new()?;
    host.receiver.stop()?;
    let banner = format!("{}\n", "the same at the beginning of every file ".repeat(50));
    fs::write(host.log("log.json"), &banner)?;
    host.write("log.json", 1000)?;
    let config = host.config("log.json", "").replace("[platform, archive]", "[platform]");
    let agent = AgentProcess::start(&config)?;
    let files = |status: &Value| status["duties"]["logs"]["details"]["sources"]["backend"]["files"].as_u64();
    agent.wait_status("the file is followed", SOON, |status| files(status) == Some(1))?;
    // The agent gets no time between all of this.
    agent.signal(Signal::SIGSTOP)?;
    for (copy, count) in [("log.json.2", 200), ("log.json.1", 100)] {
        host.copy_and_truncate(copy)?;
        run("gzip", &[], &host.log(copy))?;
        File::options().append(true).open(host.log("log.json"))?.write_all(banner.as_bytes())?;
        host.write("log.json", count)?;
    }
    agent.signal(Signal::SIGCONT)?;
    host.receiver.start_again()?;
    eventually("every line arrives", SOON, || {
        let missing = host.at_platform()?.missing(host.written);
        ensure!(missing.is_empty(), "{} are missing, from {:?} on", missing.len(), missing.first());
        Ok(())
    })?;
    exactly_once_in_order(&host.at_platform()?)
}

/// The same size, the same tails: only the numbers in the lines tell the contents apart.
#[test]
fn a_file_refilled_to_its_former_size_is_another_content() -> Result<()> {
    for down in [false, true] {
        let mut host = Host::new()?;
        // Numbers of four digits, so that lines are equally long.
        host.written = 1000;
        let before = host.written;
        host.write("log.json", 1000)?;
        let mut agent = host.agent("log.json", "")?;
        wait_since(&host, before)?;
        let size = fs::metadata(host.log("log.json"))?.len();
        if down {
            agent.terminate()?;
        }
        let file = File::options().write(true).open(host.log("log.json"))?;
        file.set_len(0)?;
        host.write("log.json", 1000)?;
        ensure!(fs::metadata(host.log("log.json"))?.len() == size, "not the same size");
        if down {
            agent.start_again()?;
        }
        wait_since(&host, before).with_context(|| format!("down: {down}"))?;
        ensure!(host.at_archive()?.duplicates() == 0, "duplicates");
    }
    Ok(())
}

fn wait_since(host: &Host, first: usize) -> Result<()> {
    eventually("every line at both outputs", SOON, || {
        let missing =
            |arrived: &Arrived| arrived.missing(host.written).into_iter().filter(|number| *number >= first).count();
        let (platform, archive) = (missing(&host.at_platform()?), missing(&host.at_archive()?));
        ensure!(platform + archive == 0, "missing: {platform} and {archive}");
        Ok::<_, anyhow::Error>(())
    })
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Result<()> {
    let status = Command::new(program).args(arguments).arg(file).status().with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

#[test]
fn a_copy_whose_name_tells_nothing_is_found_by_its_content_while_away_and_while_running() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 500)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.terminate()?;
    for copy in ["log-1.json.kept", "saved"] {
        host.write("log.json", 100)?;
        fs::copy(host.log("log.json"), host.log("other-program"))?;
        host.copy_and_truncate(copy)?;
        fs::remove_file(host.log("other-program"))?;
        host.write("log.json", 10)?;
        agent.start_again()?;
        host.complete().with_context(|| format!("while away: {copy}: {}", agent.output()))?;
        host.write("log.json", 100)?;
        host.complete()?;
        agent.terminate()?;
    }
    let mut host = Host::new()?;
    let agent = host.with_backlog("log.json", "")?;
    host.copy_and_truncate("saved")?;
    host.write("log.json", 100)?;
    host.wait_archived().with_context(|| agent.output())?;
    host.receiver.start_again()?;
    host.complete().with_context(|| format!("while running: {}", agent.output()))
}
