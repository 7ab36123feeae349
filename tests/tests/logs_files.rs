//! Every kind of rotation by name on the real agent: nothing is lost, nothing is sent twice, and order is kept.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, SOON, exactly_once_in_order, line};
use hostwright_tests::wait::eventually;

#[test]
fn two_rotations_while_the_agent_is_down_are_found_with_one_name_or_a_pattern() -> Result<()> {
    for pattern in ["log.json", "log.json*"] {
        let mut host = Host::new()?;
        host.write("log.json", 100)?;
        let mut agent = host.agent(pattern, "")?;
        host.complete()?;
        agent.terminate()?;
        for day in ["2026-11-19", "2026-11-20"] {
            host.write("log.json", 100)?;
            host.rename("log.json", &format!("log.json.{day}"))?;
        }
        host.write("log.json", 100)?;
        agent.start_again()?;
        host.complete().with_context(|| pattern.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_generation_that_was_nowhere_to_be_seen_while_the_next_one_was_shipped_is_no_old_one() -> Result<()> {
    for compressed in [false, true] {
        let mut host = Host::new()?;
        host.write("log.json", 100)?;
        let mut agent = host.agent("log.json", "")?;
        host.complete()?;
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
            host.wait_archived()
        })?;
    }
    Ok(())
}

#[test]
fn what_an_output_writes_is_not_read_where_a_pattern_has_it_nor_when_it_was_rotated() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 200)?;
    // The folder of the archive, by another way; its files are those of the pattern.
    symlink(host.folder.path(), host.log("all"))?;
    let pattern = host.log("all/*.ndjson*").display().to_string();
    let mut agent = host.agent(&format!("log.json', '{pattern}"), "")?;
    host.complete()?;
    let rotated = host.archive().with_extension("ndjson.1");
    fs::rename(host.archive(), &rotated)?;
    agent.terminate()?;
    agent.start_again()?;
    host.write("log.json", 200)?;
    eventually("the new lines", SOON, || host.at_platform().is_ok_and(|it| it.missing(host.written).is_empty()))?;
    host.write("log.json", 200)?;
    eventually("the newest lines", SOON, || host.at_platform().is_ok_and(|it| it.missing(host.written).is_empty()))?;
    exactly_once_in_order(&host.at_platform()?)?;
    ensure!(fs::read_to_string(&rotated)?.lines().count() == 200, "what was rotated is as it was");
    ensure!(fs::read_to_string(host.archive())?.lines().count() == 400, "the new file has the new lines alone");
    Ok(())
}

#[test]
fn a_file_made_anew_is_read_from_its_beginning_even_with_the_inode_of_the_former() -> Result<()> {
    for down in [false, true] {
        let mut host = Host::new()?;
        host.write("log.json", 1000)?;
        let mut agent = host.agent("log.json", "")?;
        host.complete()?;
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
        host.complete().with_context(|| format!("down: {down}"))?;
    }
    Ok(())
}

#[test]
fn a_file_that_is_replaced_by_an_atomic_rename_is_read_to_its_end_first() -> Result<()> {
    let mut host = Host::new()?;
    let _agent = host.with_backlog("log.json", "")?;
    host.write("log.json.tmp", 300)?;
    fs::rename(host.log("log.json.tmp"), host.log("log.json"))?;
    host.write("log.json", 300)?;
    host.receiver.start_again()?;
    host.complete()
}

#[test]
fn a_file_that_moves_between_followed_folders_is_still_the_same() -> Result<()> {
    let mut host = Host::new()?;
    for folder in ["a", "b"] {
        fs::create_dir(host.log(folder))?;
    }
    host.write("a/x.log", 100)?;
    let mut agent = host.agent("*/x.log", "")?;
    host.complete()?;
    fs::rename(host.log("a/x.log"), host.log("b/x.log"))?;
    host.write("b/x.log", 100)?;
    host.complete()?;
    agent.terminate()?;
    fs::rename(host.log("b/x.log"), host.log("a/x.log"))?;
    host.write("a/x.log", 100)?;
    agent.start_again()?;
    host.complete()?;
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
    host.complete()?;
    host.receiver.stop()?;
    host.write("real/1", 1000)?;
    switch(&host, "real/2")?;
    host.write("real/2", 500)?;
    // Late lines of the former one. (They come after lines of the other, for whoever reads both.)
    host.receiver.start_again()?;
    host.complete()?;
    agent.terminate()?;
    host.write("real/2", 500)?;
    switch(&host, "real/3")?;
    host.write("real/3", 500)?;
    agent.start_again()?;
    host.complete()?;
    // Writes through another path are seen at once.
    let start = Instant::now();
    host.write("real/3", 1)?;
    host.complete()?;
    ensure!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
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
    host.complete()?;
    fs::remove_file(host.log("a.log"))?;
    host.write("b.log", 100)?;
    host.complete()
}

#[test]
fn folders_by_pattern_at_any_depth_and_exclusions() -> Result<()> {
    let mut host = Host::new()?;
    fs::create_dir_all(host.log("a/deep/er"))?;
    host.write("a/deep/er/app.log", 100)?;
    fs::write(host.log("a/debug.log"), line(999_999))?;
    let _agent = host.agent("**/*.log", ", exclude: ['debug*.log']")?;
    host.complete()?;
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
    host.complete()?;
    agent.terminate()?;
    // Made while the agent is down: this one is not skipped.
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 100)?;
    agent.start_again()?;
    host.complete()?;
    ensure!(!fs::read_to_string(host.archive())?.contains("999999"), "what was there before was shipped");
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
    host.complete()?;
    agent.terminate()?;
    host.write("log.json", 10)?;
    agent.start_again()?;
    host.complete()?;
    ensure!(!fs::read_to_string(host.archive())?.contains("999999"), "it was shipped");
    Ok(())
}

fn archived_but(host: &Host, lines: &Range<usize>) -> Result<()> {
    eventually("the archive has the others", SOON, || {
        let missing = host.at_archive()?.missing(host.written);
        ensure!(missing.iter().all(|number| lines.contains(number)), "{missing:?}");
        Ok(())
    })
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Result<()> {
    let status = Command::new(program).args(arguments).arg(file).status().with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}
