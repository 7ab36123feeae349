//! Generations that somebody compressed: read on inside, never twice, never as bytes.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, SOON};
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;

/// Rotates twice while the agent gets no time; of what was in the log between, there is only a compressed file then.
fn unseen_and_compressed(rotate: impl Fn(&Host, &str) -> Result<()>) -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 500)?;
    let agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.signal(Signal::SIGSTOP)?;
    host.write("log.json", 300)?;
    rotate(&host, "log.json.2")?;
    host.write("log.json", 300)?;
    rotate(&host, "log.json.1")?;
    run("gzip", &[], &host.log("log.json.1"))?;
    host.write("log.json", 900)?;
    agent.signal(Signal::SIGCONT)?;
    host.complete().with_context(|| agent.output())
}

#[test]
fn a_generation_that_came_and_was_compressed_between_two_looks_is_read() -> Result<()> {
    unseen_and_compressed(|host, name| host.rename("log.json", name)).context("renamed")?;
    unseen_and_compressed(Host::copy_and_truncate).context("copied and truncated")
}

#[test]
fn a_generation_that_was_compressed_while_down_is_read_on_from_where_the_plain_file_was_left() -> Result<()> {
    for (program, arguments) in [("gzip", vec![]), ("zstd", vec!["-q", "--rm"])] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("no {program} here");
            continue;
        }
        for pattern in ["log.json", "log.json*"] {
            let mut host = Host::new()?;
            host.write("log.json", 3000)?;
            let mut agent = host.agent(pattern, "")?;
            host.complete()?;
            agent.terminate()?;
            host.write("log.json", 2000)?;
            host.rename("log.json", "log.json.2026-11-19")?;
            run(program, &arguments, &host.log("log.json.2026-11-19"))?;
            // A generation that the agent never saw otherwise.
            host.write("log.json", 1000)?;
            host.rename("log.json", "log.json.2026-11-20")?;
            run(program, &arguments, &host.log("log.json.2026-11-20"))?;
            host.write("log.json", 500)?;
            agent.start_again()?;
            host.complete().with_context(|| format!("{program}, {pattern}"))?;
            // And never again.
            agent.terminate()?;
            host.write("log.json", 100)?;
            agent.start_again()?;
            host.complete().with_context(|| format!("{program}, {pattern}, once more"))?;
        }
    }
    Ok(())
}

#[test]
fn a_generation_that_is_compressed_while_running_is_neither_read_again_nor_shipped_as_bytes() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        let mut agent = host.with_backlog(pattern, "")?;
        host.rename("log.json", "log.json.1")?;
        host.write("log.json", 200)?;
        // As logrotate does it: it does not mind that the file has another link.
        run("gzip", &["--force"], &host.log("log.json.1"))?;
        host.write("log.json", 200)?;
        // What is unread of it is in the compressed file alone, for an agent that starts anew.
        agent.terminate()?;
        agent.start_again()?;
        host.receiver.start_again()?;
        host.complete().with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_log_that_is_written_under_a_date_and_compressed_while_down_is_read_on_inside() -> Result<()> {
    let mut host = Host::new()?;
    host.write("app-2026-11-19.log", 500)?;
    let mut agent = host.agent("app-*.log", "")?;
    host.complete()?;
    agent.terminate()?;
    host.write("app-2026-11-19.log", 300)?;
    run("gzip", &[], &host.log("app-2026-11-19.log"))?;
    host.write("app-2026-11-20.log", 100)?;
    agent.start_again()?;
    host.complete()?;
    // And never again.
    agent.terminate()?;
    host.write("app-2026-11-20.log", 100)?;
    agent.start_again()?;
    host.complete()
}

#[test]
fn days_that_came_and_were_compressed_while_down_are_read_where_logs_are_written_under_dates() -> Result<()> {
    let mut host = Host::new()?;
    host.write("app-2026-11-19.log", 500)?;
    let mut agent = host.agent("app-*.log*", "")?;
    host.complete()?;
    agent.terminate()?;
    for name in ["app-2026-11-19.log", "app-2026-11-20.log", "app-2026-11-21.log"] {
        host.write(name, 300)?;
        run("gzip", &[], &host.log(name))?;
    }
    host.write("app-2026-11-22.log", 100)?;
    agent.start_again()?;
    host.complete()?;
    // And never again.
    agent.terminate()?;
    run("gzip", &[], &host.log("app-2026-11-22.log"))?;
    host.write("app-2026-11-23.log", 100)?;
    agent.start_again()?;
    host.complete()
}

#[test]
fn a_damaged_compressed_generation_gives_what_is_whole_and_holds_up_nothing() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 100)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.terminate()?;
    let before = host.written;
    host.write("log.json", 20_000)?;
    host.rename("log.json", "log.json.2026-11-20")?;
    let compressed = host.log("log.json.2026-11-20.gz");
    run("gzip", &[], &host.log("log.json.2026-11-20"))?;
    let size = fs::metadata(&compressed)?.len();
    File::options().write(true).open(&compressed)?.set_len(size / 2)?;
    let lost_until = host.written;
    host.write("log.json", 100)?;
    agent.start_again()?;
    eventually("the newest lines arrive", SOON, || {
        let arrived = host.at_archive()?;
        let missing = arrived.missing(host.written);
        ensure!(missing.last().is_some_and(|last| *last < lost_until), "missing up to {:?}", missing.last());
        ensure!(missing.first().is_some_and(|first| *first > before + 1000), "missing from {:?}", missing.first());
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(agent.output().contains("is damaged"), "{}", agent.output());
    Ok(())
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Result<()> {
    let status = Command::new(program).args(arguments).arg(file).status().with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

/// logrotate's delaycompress whose compressor is not done with the one before when the next rotation comes.
#[test]
fn a_compressed_generation_beside_a_plain_one_of_the_same_number_is_neither_lost_nor_read_twice() -> Result<()> {
    for away in [false, true] {
        let mut host = Host::new()?;
        host.write("log.json", 500)?;
        let mut agent = host.agent("log.json", "")?;
        host.complete()?;
        for rotation in 0..3 {
            if away {
                agent.terminate()?;
            }
            host.write("log.json", 200)?;
            if host.log("log.json.1").exists() {
                // It has its compressed file, and is there still: overwritten by the next.
                let _ = fs::rename(host.log("log.json.1.gz"), host.log("log.json.2.gz"));
                let compressed =
                    Command::new("gzip").args(["--keep", "--force"]).arg(host.log("log.json.1")).status()?;
                ensure!(compressed.success(), "gzip");
            }
            host.rename("log.json", "log.json.1")?;
            host.write("log.json", 50)?;
            if away {
                agent.start_again()?;
            }
            host.complete().with_context(|| format!("away: {away}, rotation {rotation}: {}", agent.output()))?;
        }
    }
    Ok(())
}
