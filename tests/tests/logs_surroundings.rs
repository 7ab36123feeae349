//! What surrounds logs changes: folders that come later, descriptors that run out, a clock that is set back, two sources
//! that name the same file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::log_host::{Arrived, Host, exactly_once_in_order};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(40);

/// Neither the folder nor those above it are there at first, and they go and come once more.
fn folders_that_come_later(host: &mut Host) -> Result<()> {
    let agent = host.agent("a/b/*/app.log", "")?;
    for round in 0..3 {
        fs::create_dir_all(host.log("a/b/c"))?;
        host.write("a/b/c/app.log", 100)?;
        host.wait_complete().with_context(|| format!("{round}: {}", agent.output()))?;
        host.write("a/b/c/app.log", 100)?;
        host.complete().with_context(|| format!("{round}: {}", agent.output()))?;
        fs::remove_dir_all(host.log("a"))?;
    }
    Ok(())
}

/// More files than descriptors: what cannot be opened is told, and shipped when it can be.
fn descriptors_that_run_out(host: &mut Host) -> Result<()> {
    host.write("app-000.log", 10)?;
    let agent = host.agent("*.log", "")?;
    host.complete()?;
    let limit = |most: &str| -> Result<()> {
        let pid = agent.pid().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status()?;
        ensure!(status.success(), "prlimit");
        Ok(())
    };
    limit("80")?;
    for number in 1..200 {
        host.write(&format!("app-{number:03}.log"), 1)?;
    }
    let is_told = |why: &str| why.contains("Too many open files");
    agent.wait_status("it is told", SOON, |status| status["duties"]["logs"]["why"].as_str().is_some_and(is_told))?;
    limit("1024")?;
    let (platform, archive) = host.wait_complete().with_context(|| agent.output())?;
    ensure!(platform.duplicates() == 0 && archive.duplicates() == 0, "duplicates: {}", agent.output());
    Ok(())
}

/// The clock goes back by two days while the agent is away, and forth again.
fn a_clock_that_is_set_back(host: &mut Host) -> Result<()> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let config = host.config("app.log*", "");
    host.write("app.log", 100)?;
    let mut agent = AgentProcess::start_with_env(&config, &[("LD_PRELOAD", library), ("FAKETIME", "-2d")])?;
    for number in 0..3 {
        host.complete().with_context(|| format!("{number}: {}", agent.output()))?;
        host.write("app.log", 50)?;
        host.rename("app.log", &format!("app.log.2026-11-2{number}"))?;
        host.write("app.log", 50)?;
        host.complete().with_context(|| format!("{number}, rotated: {}", agent.output()))?;
        agent.terminate()?;
        host.write("app.log", 50)?;
        host.rename("app.log", &format!("app.log.2026-11-2{number}-b"))?;
        host.write("app.log", 50)?;
        agent.start_again()?;
    }
    host.complete().with_context(|| agent.output())
}

/// Each of them has all lines, with positions of its own.
fn two_sources_over_one_file(host: &mut Host) -> Result<()> {
    let archives = ["one", "two"].map(|name| host.folder.path().join(name));
    let log = host.log("app.log");
    let config = format!(
        "logs:\n  sources:\n    s1: {{files: ['{0}'], parse: json, outputs: [one]}}\n    s2: {{files: ['{0}*'], parse: json, outputs: [two]}}\n  outputs:\n    one: {{file: {{path: '{1}'}}}}\n    two: {{file: {{path: '{2}'}}}}\n",
        log.display(),
        archives[0].display(),
        archives[1].display()
    );
    let mut agent = AgentProcess::start(&config)?;
    let complete = |host: &Host, output: String| {
        eventually("both have all", SOON, || {
            for archive in &archives {
                let text = fs::read_to_string(archive)?;
                let arrived = Arrived::of(&text.lines().map(str::to_owned).collect::<Vec<_>>())?;
                ensure!(arrived.missing(host.written).is_empty(), "{} lacks some: {output}", archive.display());
                exactly_once_in_order(&arrived)?;
            }
            Ok(())
        })
    };
    for number in 0..3 {
        host.write("app.log", 100)?;
        complete(host, agent.output())?;
        host.write("app.log", 20)?;
        host.rename("app.log", &format!("app.log.{number}"))?;
        host.write("app.log", 20)?;
        complete(host, agent.output())?;
        agent.terminate()?;
        host.write("app.log", 20)?;
        host.rename("app.log", &format!("app.log.1{number}"))?;
        agent.start_again()?;
    }
    complete(host, agent.output())
}

/// Files and then their folder become unreadable for an agent that may not read everything, and readable again.
fn permission_that_is_lost(host: &mut Host) -> Result<()> {
    const STRANGER: u32 = 61_001;
    fs::create_dir(host.log("a"))?;
    host.write("a/app.log", 100)?;
    let config = host.config("a/app.log", "");
    let mut agent = AgentProcess::start_as(&config, &[], "-dac_override,-dac_read_search")?;
    host.complete()?;
    for is_away in [false, true] {
        for what in ["a/app.log", "a"] {
            let context = || format!("{what}, away: {is_away}");
            let path = host.log(what);
            let mode = |mode: u32| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
            chown(&path, Some(STRANGER), Some(STRANGER))?;
            if is_away {
                agent.terminate()?;
            }
            mode(0)?;
            host.write("a/app.log", 50)?;
            // What comes after it cannot be read either.
            host.rename("a/app.log", &format!("a/app.log.{}", host.written))?;
            host.write("a/app.log", 50)?;
            let new = host.log("a/app.log");
            chown(&new, Some(STRANGER), Some(STRANGER))?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o000))?;
            if is_away {
                agent.start_again()?;
            }
            let is_told = |why: &str| why.contains("Permission denied") && why.contains("let the agent read it");
            agent
                .wait_status("it is told", SOON, |status| status["duties"]["logs"]["why"].as_str().is_some_and(is_told))
                .with_context(context)?;
            for name in fs::read_dir(host.log("a"))? {
                fs::set_permissions(name?.path(), fs::Permissions::from_mode(0o644))?;
            }
            mode(if what == "a" { 0o755 } else { 0o644 })?;
            host.complete().with_context(|| format!("{}: {}", context(), agent.output()))?;
            agent
                .wait_status("it is well", SOON, |status| status["duties"]["logs"]["state"] == "ok")
                .with_context(context)?;
        }
    }
    Ok(())
}

type Case = (&'static str, fn(&mut Host) -> Result<()>);

const CASES: [Case; 5] = [
    ("folders that come later", folders_that_come_later),
    ("descriptors that run out", descriptors_that_run_out),
    ("a clock that is set back", a_clock_that_is_set_back),
    ("two sources over one file", two_sources_over_one_file),
    ("permission that is lost", permission_that_is_lost),
];

#[test]
fn nothing_is_lost_or_comes_twice_whatever_changes_around_logs() -> Result<()> {
    all_hold(CASES.iter().map(|(name, case)| (*name, move || case(&mut Host::new()?))))
}
