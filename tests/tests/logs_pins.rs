//! Files that somebody deletes before every output has them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, SOON};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::torture::disk::{Disk, own_mounts};
use hostwright_tests::wait::eventually;
use serde_json::Value;

fn pins(agent: &AgentProcess) -> Vec<PathBuf> {
    let folder = agent.state_folder().join("logs/pins/backend");
    fs::read_dir(folder).map(|all| all.filter_map(Result::ok).map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[test]
fn an_unread_rotated_file_that_somebody_deletes_survives_even_a_kill() -> Result<()> {
    let mut host = Host::new()?;
    let mut agent = host.with_backlog("log.json", "")?;
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 100)?;
    eventually("it is pinned", SOON, || pins(&agent).len() == 1)?;
    fs::remove_file(host.log("log.json.1"))?;
    agent.kill9()?;
    agent.start_again()?;
    host.receiver.start_again()?;
    host.complete()?;
    eventually("the pin is gone", SOON, || pins(&agent).is_empty())
}

#[test]
fn what_is_unread_of_deleted_files_is_read_on_by_their_source_under_another_name() -> Result<()> {
    // Kept by a link over a restart, and by a descriptor over a reload: it is gone before it could be linked.
    for restarts in [true, false] {
        let mut host = Host::new()?;
        let mut agent = host.with_backlog("log.json", "")?;
        host.rename("log.json", "log.json.1")?;
        host.write("log.json", 100)?;
        if restarts {
            eventually("it is pinned", SOON, || pins(&agent).len() == 1)?;
        }
        fs::remove_file(host.log("log.json.1"))?;
        host.wait_archived()?;
        agent.write_config(&host.config("log.json", "").replace("backend:", "renamed:"))?;
        if restarts {
            agent.terminate()?;
            agent.start_again()?;
        } else {
            eventually("it is gone", SOON, || agent.output().contains("log.json is gone"))?;
            agent.sighup()?;
        }
        agent.wait_status("it has its name", SOON, |status| {
            !status["duties"]["logs"]["details"]["sources"]["renamed"].is_null()
        })?;
        host.receiver.start_again()?;
        host.complete().with_context(|| format!("restarts: {restarts}: {}", agent.output()))?;
    }
    Ok(())
}

#[test]
fn pins_beyond_the_limit_are_let_go_the_oldest_first() -> Result<()> {
    let mut host = Host::new()?;
    // About 400 kB each.
    let agent = host.with_backlog("log.json", ", pin: 600KiB")?;
    let lost = 500..host.written;
    for generation in 0..2 {
        let name = format!("log.json.2026-11-1{generation}");
        host.rename("log.json", &name)?;
        host.write("log.json", 3500)?;
        eventually("it is pinned", SOON, || pins(&agent).len() == generation + 1)?;
        fs::remove_file(host.log(&name))?;
    }
    eventually("the oldest is let go", SOON, || pins(&agent).len() == 1)?;
    host.receiver.start_again()?;
    eventually("everything but the oldest arrives", SOON, || {
        let missing = host.at_platform()?.missing(host.written);
        ensure!(
            missing.iter().all(|number| lost.contains(number)),
            "missing: {:?} to {:?}",
            missing.first(),
            missing.last()
        );
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(agent.output().contains("let go"), "{}", agent.output());
    agent.wait_status("what is lost is counted", SOON, |status| {
        status["duties"]["logs"]["details"]["sources"]["backend"]["lost_bytes"].as_u64() > Some(300_000)
    })?;
    Ok(())
}

#[test]
fn what_no_link_can_keep_is_read_from_its_descriptor_and_told_when_a_restart_lost_it() -> Result<()> {
    if let Err(error) = own_mounts() {
        eprintln!("skipped: {error:#}");
        return Ok(());
    }
    let mut host = Host::new()?;
    let _disk = Disk::mount(&host.log(""), 16)?;
    let mut agent = host.with_backlog("log.json", "")?;
    let problem = |status: &Value, what: &str| {
        let problems = status["duties"]["logs"]["details"]["sources"]["backend"]["problems"].to_string();
        problems.contains(what)
    };
    rotate_noted(&mut host, &agent)?;
    fs::remove_file(host.log("log.json.1"))?;
    agent.wait_status("it is told", SOON, |status| problem(status, "keeps open: a restart of the agent loses them"))?;
    host.receiver.start_again()?;
    host.complete()?;
    agent.wait_status("no more", SOON, |status| !problem(status, "was deleted"))?;
    // The same with a restart.
    host.receiver.stop()?;
    let lost = host.written..host.written + 1000;
    host.write("log.json", 1000)?;
    host.wait_archived()?;
    rotate_noted(&mut host, &agent)?;
    agent.kill9()?;
    fs::remove_file(host.log("log.json.1"))?;
    agent.start_again()?;
    host.receiver.start_again()?;
    eventually("the others arrive", SOON, || {
        let missing = host.at_platform()?.missing(host.written);
        ensure!(missing.iter().all(|number| lost.contains(number)), "{missing:?}");
        Ok(())
    })?;
    agent.wait_status("what is lost is told and counted", SOON, |status| {
        let source = &status["duties"]["logs"]["details"]["sources"]["backend"];
        problem(status, "bytes are lost") && source["lost_bytes"].as_u64() > Some(50_000)
    })?;
    Ok(())
}

/// Rotates the log, and waits until its note says that the former one is unread.
fn rotate_noted(host: &mut Host, agent: &AgentProcess) -> Result<()> {
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 100)?;
    let note = agent.state_folder().join("logs/held-backend.json");
    eventually("it is noted", SOON, || fs::read_to_string(&note).is_ok_and(|note| note.contains("log.json")))
}

fn verified(agent: &AgentProcess) -> Result<String> {
    let mut verify = Command::new(binary("hostwright-agent")?);
    let output = verify.args(["logs", "verify", "--state"]).arg(agent.state_folder()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_is_overwritten_while_away_before_every_output_had_it_is_counted() -> Result<()> {
    for killed in [false, true] {
        let mut host = Host::new()?;
        let mut agent = host.with_backlog("log.json", "")?;
        let size = fs::metadata(host.log("log.json"))?.len();
        if killed {
            let known = format!("\"size\":{size}");
            let has_it = |file: &fs::DirEntry| {
                fs::read(file.path()).is_ok_and(|journal| String::from_utf8_lossy(&journal).contains(&known))
            };
            let stored =
                || fs::read_dir(agent.state_folder().join("logs")).into_iter().flatten().flatten().any(|f| has_it(&f));
            eventually("what is pending is stored", SOON, stored)?;
            agent.kill9()?;
        } else {
            agent.terminate()?;
        }
        for _ in 0..2 {
            host.rename("log.json", "log.json.1")?;
            host.write("log.json", 100)?;
        }
        agent.start_again()?;
        let pending = size * 3000 / 3500;
        eventually("what is lost is told", SOON, || {
            let status = agent.status()?;
            let logs = &status["duties"]["logs"];
            let source = &logs["details"]["sources"]["backend"];
            let lost = source["lost_bytes"].as_u64().unwrap_or(0);
            ensure!(lost.abs_diff(pending) < 5000, "{lost} of about {pending}: {logs}");
            let problems = source["problems"].to_string();
            ensure!(problems.contains("overwritten") && problems.contains("at least"), "{problems}");
            Ok(())
        })?;
        let rows = verified(&agent)?;
        ensure!(rows.contains(&format!(">={size}")), "{rows}");
    }
    Ok(())
}
