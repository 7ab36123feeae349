//! Every kind of rotation on the real agent: nothing is lost, nothing is sent twice, and order is kept.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, SOON, exactly_once_in_order, line};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Both outputs have every line once and in order, also after the agent had time to notice more files.
fn complete(host: &Host) -> Result<()> {
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&platform).context("platform")?;
    exactly_once_in_order(&archive).context("archive")
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Result<()> {
    let status = Command::new(program).args(arguments).arg(file).status().with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn copy_and_truncate(host: &Host, copy: &str) -> Result<()> {
    fs::copy(host.log("log.json"), host.log(copy))?;
    Ok(File::options().write(true).open(host.log("log.json"))?.set_len(0)?)
}

/// Has written lines of which the platform has some and the archive all, then takes the platform away.
fn with_backlog(host: &mut Host, pattern: &str, more: &str) -> Result<AgentProcess> {
    host.write("log.json", 500)?;
    let agent = host.agent(pattern, more)?;
    complete(host)?;
    host.receiver.stop()?;
    host.write("log.json", 3000)?;
    archived(host)?;
    Ok(agent)
}

fn archived(host: &Host) -> Result<()> {
    eventually("the archive is complete", SOON, || {
        host.at_archive().is_ok_and(|arrived| arrived.missing(host.written).is_empty())
    })
}

fn archived_but(host: &Host, lines: &Range<usize>) -> Result<()> {
    eventually("the archive has the others", SOON, || {
        let missing = host.at_archive()?.missing(host.written);
        ensure!(missing.iter().all(|number| lines.contains(number)), "{missing:?}");
        Ok(())
    })
}

#[test]
fn two_rotations_while_the_agent_is_down_are_found_with_one_name_or_a_pattern() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        host.write("log.json", 100)?;
        let mut agent = host.agent(pattern, "")?;
        complete(&host)?;
        agent.terminate()?;
        for day in ["2026-11-19", "2026-11-20"] {
            host.write("log.json", 100)?;
            host.rename("log.json", &format!("log.json.{day}"))?;
        }
        host.write("log.json", 100)?;
        agent.start_again()?;
        complete(&host).with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_generation_that_was_nowhere_to_be_seen_while_the_next_one_was_shipped_is_no_old_one() -> Result<()> {
    for compressed in [false, true] {
        let mut host = Host::new()?;
        host.write("log.json", 100)?;
        let mut agent = host.agent("log.json", "")?;
        complete(&host)?;
        agent.terminate()?;
        host.rename("log.json", "log.json.2")?;
        host.write("log.json", 100)?;
        let aside = tempfile::tempdir_in(host.log("").parent().context("a folder")?)?;
        let name = aside.path().join("log.json.1");
        fs::rename(host.log("log.json"), &name)?;
        let unseen = 100..host.written;
        host.write("log.json", 100)?;
        agent.start_again()?;
        eventually("the others arrive", SOON, || {
            let missing = host.at_platform()?.missing(host.written);
            ensure!(missing.iter().all(|number| unseen.contains(number)), "{missing:?}");
            Ok(())
        })?;
        archived_but(&host, &unseen)?;
        agent.kill9()?;
        if compressed {
            run("gzip", &[], &name)?;
            fs::rename(aside.path().join("log.json.1.gz"), host.log("log.json.1.gz"))?;
        } else {
            fs::rename(&name, host.log("log.json.1"))?;
        }
        agent.start_again()?;
        eventually("all of it is there", SOON, || {
            let missing = host.at_platform()?.missing(host.written);
            ensure!(missing.is_empty(), "{missing:?} (compressed: {compressed})");
            archived(&host)
        })?;
    }
    Ok(())
}

#[test]
fn a_tail_that_is_only_in_the_copy_is_drained_before_the_truncated_file_goes_on() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        let _agent = with_backlog(&mut host, pattern, "")?;
        copy_and_truncate(&host, "log.json.1")?;
        host.write("log.json", 200)?;
        // Once more, with a tail in each of two copies.
        archived(&host)?;
        fs::rename(host.log("log.json.1"), host.log("log.json.2"))?;
        copy_and_truncate(&host, "log.json.1")?;
        host.write("log.json", 4000)?;
        archived(&host)?;
        host.receiver.start_again()?;
        complete(&host).with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_copy_and_truncate_under_load_loses_and_repeats_nothing() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 1)?;
    let agent = host.agent("log.json", "")?;
    complete(&host)?;
    for round in 0..4 {
        for _ in 0..20 {
            host.write("log.json", 500)?;
        }
        // Whatever the agent is doing just now.
        copy_and_truncate(&host, &format!("log.json.2026-11-2{round}"))?;
        host.write("log.json", 700)?;
    }
    complete(&host).with_context(|| agent.output())
}

#[test]
fn a_copy_and_truncate_while_down_is_found_with_one_name_or_a_pattern_also_when_regrown() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        for again in [10, 1500, 6000] {
            let mut host = Host::new()?;
            host.write("log.json", 1000)?;
            let mut agent = host.agent(pattern, "")?;
            complete(&host)?;
            agent.terminate()?;
            host.write("log.json", 500)?;
            copy_and_truncate(&host, "log.json.1")?;
            host.write("log.json", again)?;
            agent.start_again()?;
            complete(&host).with_context(|| format!("{pattern}, {again} lines again"))?;
        }
    }
    Ok(())
}

/// The same size, the same tails: only the numbers in the lines tell the contents apart.
/// Rotates twice while the agent gets no time; of what was in the log between, there is only a compressed file then.
fn unseen_and_compressed(rotate: impl Fn(&Host, &str) -> Result<()>) -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 500)?;
    let agent = host.agent("log.json", "")?;
    complete(&host)?;
    agent.signal(Signal::SIGSTOP)?;
    host.write("log.json", 300)?;
    rotate(&host, "log.json.2")?;
    host.write("log.json", 300)?;
    rotate(&host, "log.json.1")?;
    run("gzip", &[], &host.log("log.json.1"))?;
    host.write("log.json", 900)?;
    agent.signal(Signal::SIGCONT)?;
    complete(&host).with_context(|| agent.output())
}

#[test]
fn a_generation_that_came_and_was_compressed_between_two_looks_is_read() -> Result<()> {
    unseen_and_compressed(|host, name| host.rename("log.json", name)).context("renamed")?;
    unseen_and_compressed(copy_and_truncate).context("copied and truncated")
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
        copy_and_truncate(&host, copy)?;
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
        let missing = |arrived: &hostwright_tests::log_host::Arrived| {
            arrived.missing(host.written).into_iter().filter(|number| *number >= first).count()
        };
        let (platform, archive) = (missing(&host.at_platform()?), missing(&host.at_archive()?));
        ensure!(platform + archive == 0, "missing: {platform} and {archive}");
        Ok::<_, anyhow::Error>(())
    })
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
            complete(&host)?;
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
            complete(&host).with_context(|| format!("{program}, {pattern}"))?;
            // And never again.
            agent.terminate()?;
            host.write("log.json", 100)?;
            agent.start_again()?;
            complete(&host).with_context(|| format!("{program}, {pattern}, once more"))?;
        }
    }
    Ok(())
}

#[test]
fn a_generation_that_is_compressed_while_running_is_neither_read_again_nor_shipped_as_bytes() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        let mut agent = with_backlog(&mut host, pattern, "")?;
        host.rename("log.json", "log.json.1")?;
        host.write("log.json", 200)?;
        // As logrotate does it: it does not mind that the file has another link.
        run("gzip", &["--force"], &host.log("log.json.1"))?;
        host.write("log.json", 200)?;
        // What is unread of it is in the compressed file alone, for an agent that starts anew.
        agent.terminate()?;
        agent.start_again()?;
        host.receiver.start_again()?;
        complete(&host).with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_damaged_compressed_generation_gives_what_is_whole_and_holds_up_nothing() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 100)?;
    let mut agent = host.agent("log.json", "")?;
    complete(&host)?;
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

#[test]
fn a_file_made_anew_is_read_from_its_beginning_even_with_the_inode_of_the_former() -> Result<()> {
    for down in [false, true] {
        let mut host = Host::new()?;
        host.write("log.json", 1000)?;
        let mut agent = host.agent("log.json", "")?;
        complete(&host)?;
        if down {
            agent.terminate()?;
        }
        let inode = fs::metadata(host.log("log.json"))?.ino();
        fs::remove_file(host.log("log.json"))?;
        host.write("log.json", 2000)?;
        eprintln!("down: {down}; the same inode: {}", inode == fs::metadata(host.log("log.json"))?.ino());
        if down {
            agent.start_again()?;
        }
        complete(&host).with_context(|| format!("down: {down}"))?;
    }
    Ok(())
}

#[test]
fn a_file_that_is_replaced_by_an_atomic_rename_is_read_to_its_end_first() -> Result<()> {
    let mut host = Host::new()?;
    let _agent = with_backlog(&mut host, "log.json", "")?;
    host.write("log.json.tmp", 300)?;
    fs::rename(host.log("log.json.tmp"), host.log("log.json"))?;
    host.write("log.json", 300)?;
    host.receiver.start_again()?;
    complete(&host)
}

#[test]
fn a_file_that_moves_between_followed_folders_is_still_the_same() -> Result<()> {
    let mut host = Host::new()?;
    for folder in ["a", "b"] {
        fs::create_dir(host.log(folder))?;
    }
    host.write("a/x.log", 100)?;
    let mut agent = host.agent("*/x.log", "")?;
    complete(&host)?;
    fs::rename(host.log("a/x.log"), host.log("b/x.log"))?;
    host.write("b/x.log", 100)?;
    complete(&host)?;
    agent.terminate()?;
    fs::rename(host.log("b/x.log"), host.log("a/x.log"))?;
    host.write("a/x.log", 100)?;
    agent.start_again()?;
    complete(&host)?;
    // A folder that is made later, with a file in it.
    fs::create_dir(host.log("c"))?;
    host.write("c/x.log", 100)?;
    host.wait_complete()?;
    Ok(())
}

#[test]
fn a_link_that_is_switched_has_its_former_target_drained_first() -> Result<()> {
    let mut host = Host::new()?;
    fs::create_dir(host.log("real"))?;
    host.write("real/1", 500)?;
    symlink("real/1", host.log("current.log"))?;
    let mut agent = host.agent("current.log", "")?;
    complete(&host)?;
    host.receiver.stop()?;
    host.write("real/1", 1000)?;
    switch(&host, "real/2")?;
    host.write("real/2", 500)?;
    // Late lines of the former one. (They come after lines of the other, for whoever reads both.)
    host.receiver.start_again()?;
    complete(&host)?;
    agent.terminate()?;
    host.write("real/2", 500)?;
    switch(&host, "real/3")?;
    host.write("real/3", 500)?;
    agent.start_again()?;
    complete(&host)?;
    // Writes through another path are seen at once.
    let start = Instant::now();
    host.write("real/3", 1)?;
    complete(&host)?;
    ensure!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    Ok(())
}

fn switch(host: &Host, target: &str) -> Result<()> {
    symlink(target, host.log("link.tmp"))?;
    Ok(fs::rename(host.log("link.tmp"), host.log("current.log"))?)
}

#[test]
fn a_file_with_two_names_is_followed_once() -> Result<()> {
    let mut host = Host::new()?;
    host.write("a.log", 100)?;
    fs::hard_link(host.log("a.log"), host.log("b.log"))?;
    symlink("a.log", host.log("c.log"))?;
    let _agent = host.agent("*.log", "")?;
    complete(&host)?;
    fs::remove_file(host.log("a.log"))?;
    host.write("b.log", 100)?;
    complete(&host)
}

#[test]
fn folders_by_pattern_at_any_depth_and_exclusions() -> Result<()> {
    let mut host = Host::new()?;
    fs::create_dir_all(host.log("a/deep/er"))?;
    host.write("a/deep/er/app.log", 100)?;
    fs::write(host.log("a/debug.log"), line(999_999))?;
    let _agent = host.agent("**/*.log", ", exclude: ['debug*.log']")?;
    complete(&host)?;
    fs::create_dir_all(host.log("b/c"))?;
    host.write("b/c/app.log", 100)?;
    host.wait_complete()?;
    let text = fs::read_to_string(host.archive())?;
    ensure!(!text.contains("999999"), "an excluded file was shipped");
    Ok(())
}

#[test]
fn a_source_may_start_at_the_end_of_what_is_there_and_never_again() -> Result<()> {
    let mut host = Host::new()?;
    fs::write(host.log("log.json"), line(999_999).repeat(100))?;
    let mut agent = host.agent("log.json", ", start: end")?;
    agent.wait_status("the file is followed", SOON, |status| {
        status["duties"]["logs"]["details"]["sources"]["backend"]["files"] == 1
    })?;
    host.write("log.json", 100)?;
    complete(&host)?;
    agent.terminate()?;
    // Made while the agent is down: this one is not skipped.
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 100)?;
    agent.start_again()?;
    complete(&host)?;
    ensure!(!fs::read_to_string(host.archive())?.contains("999999"), "what was there before was shipped");
    Ok(())
}

#[test]
fn a_quiet_file_among_ten_thousand_is_shipped_within_two_seconds_beside_a_noisy_one() -> Result<()> {
    const FILES: usize = 10_000;
    let mut host = Host::new()?;
    for number in 0..FILES {
        fs::write(host.log(&format!("{number}.log")), "")?;
    }
    let noisy = host.log("noisy.log");
    fs::write(&noisy, "")?;
    let mut agent = host.agent("*.log", "")?;
    agent.wait_status("all are followed", SOON, |status| {
        status["duties"]["logs"]["details"]["sources"]["backend"]["files"] == FILES + 1
    })?;
    host.write("17.log", 1)?;
    complete(&host)?;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let neighbour = std::thread::spawn(move || noise(&noisy, &stopped));
    for file in ["3.log", "9999.log"] {
        let start = Instant::now();
        host.write(file, 1)?;
        host.wait_complete()?;
        let took = start.elapsed();
        eprintln!("{file}: {took:?}");
        ensure!(took < Duration::from_secs(2), "{file} took {took:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    neighbour.join().expect("no panic")?;
    // And after a restart with all of them known.
    agent.terminate()?;
    host.write("5000.log", 1)?;
    let start = Instant::now();
    agent.start_again()?;
    host.wait_complete()?;
    eprintln!("first line {:?} after the start", start.elapsed());
    // (A second, on a machine of its own; tests share it, and may be unoptimised.)
    ensure!(start.elapsed() < Duration::from_secs(30), "took {:?}", start.elapsed());
    Ok(())
}

/// Lines that are no numbered ones, as fast as the disk takes them, up to 60 MB. (Long lines, because the test reads what arrived
/// again and again.)
fn noise(path: &PathBuf, stop: &std::sync::atomic::AtomicBool) -> Result<()> {
    let mut file = File::options().append(true).open(path)?;
    let text = format!("{{\"noise\":\"{}\"}}\n", "x".repeat(1000)).repeat(100);
    for _ in 0..600 {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn pins(agent: &AgentProcess) -> Vec<PathBuf> {
    let folder = agent.state_folder().join("logs/pins/backend");
    fs::read_dir(folder).map(|all| all.filter_map(Result::ok).map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[test]
fn an_unread_rotated_file_that_somebody_deletes_survives_even_a_kill() -> Result<()> {
    let mut host = Host::new()?;
    let mut agent = with_backlog(&mut host, "log.json", "")?;
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 100)?;
    eventually("it is pinned", SOON, || pins(&agent).len() == 1)?;
    fs::remove_file(host.log("log.json.1"))?;
    agent.kill9()?;
    agent.start_again()?;
    host.receiver.start_again()?;
    complete(&host)?;
    eventually("the pin is gone", SOON, || pins(&agent).is_empty())
}

#[test]
fn pins_beyond_the_limit_are_let_go_the_oldest_first() -> Result<()> {
    let mut host = Host::new()?;
    // About 400 kB each.
    let agent = with_backlog(&mut host, "log.json", ", pin: 600KiB")?;
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
fn an_old_file_that_was_read_long_ago_is_no_missed_generation() -> Result<()> {
    let mut host = Host::new()?;
    fs::write(host.log("log.json.2026-11-01"), line(999_999))?;
    File::options()
        .append(true)
        .open(host.log("log.json.2026-11-01"))?
        .set_modified(SystemTime::now() - Duration::from_secs(86400))?;
    host.write("log.json", 10)?;
    let mut agent = host.agent("log.json", "")?;
    complete(&host)?;
    agent.terminate()?;
    host.write("log.json", 10)?;
    agent.start_again()?;
    complete(&host)?;
    ensure!(!fs::read_to_string(host.archive())?.contains("999999"), "it was shipped");
    Ok(())
}
