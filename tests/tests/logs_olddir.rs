//! Logs that are rotated into another folder (as logrotate does with `olddir`): what is unread is read there, once, and
//! what else is there is left alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, line};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

/// In the log's folder, and beside it.
const FOLDERS: [&str; 2] = ["old", "../old"];

/// How a log gets into the other folder.
#[derive(Clone, Copy, Debug)]
enum How {
    Rename,
    RenameAndCompress,
    CopyAndTruncate,
}

fn rotate(host: &Host, to: &Path, how: How) -> Result<()> {
    let log = host.log("log.json");
    match how {
        How::Rename => fs::rename(log, to)?,
        How::RenameAndCompress => {
            fs::rename(log, to)?;
            ensure!(Command::new("gzip").arg("--force").arg(to).status()?.success(), "gzip");
        }
        How::CopyAndTruncate => {
            fs::copy(&log, to)?;
            File::options().write(true).open(log)?.set_len(0)?;
        }
    }
    Ok(())
}

fn once_more(host: &mut Host, agent: &mut AgentProcess, count: usize) -> Result<()> {
    agent.terminate()?;
    host.write("log.json", count)?;
    agent.start_again()?;
    host.complete().context("once more")
}

#[test]
fn what_was_rotated_into_another_folder_while_down_is_read_to_its_end_first_and_never_again() -> Result<()> {
    for folder in FOLDERS {
        for how in [How::Rename, How::RenameAndCompress, How::CopyAndTruncate] {
            let mut host = Host::new()?;
            fs::create_dir(host.log(folder))?;
            host.write("log.json", 500)?;
            let mut agent = host.agent("log.json", "")?;
            host.complete()?;
            agent.terminate()?;
            host.write("log.json", 1000)?;
            rotate(&host, &host.log(folder).join("log.json-20261120"), how)?;
            host.write("log.json", 100)?;
            agent.start_again()?;
            host.complete().with_context(|| format!("{folder}, {how:?}"))?;
            once_more(&mut host, &mut agent, 100).with_context(|| format!("{folder}, {how:?}"))?;
        }
    }
    Ok(())
}

/// As `archive/%Y/%m/%d` is made by many a script.
fn of_day(host: &Host, day: usize) -> Result<PathBuf> {
    let folder = host.log(&format!("archive/2026/11/{day}"));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[test]
fn what_was_rotated_into_new_folders_of_new_folders_while_down_is_read_to_its_end_first_and_never_again() -> Result<()>
{
    let schemes = [
        ("log.json", How::Rename),
        ("log.json", How::RenameAndCompress),
        ("log.json", How::CopyAndTruncate),
        // That does not tell its log.
        ("log.json-1", How::Rename),
    ];
    for (name, how) in schemes {
        let mut host = Host::new()?;
        host.write("log.json", 500)?;
        let mut agent = host.agent("log.json", "")?;
        host.complete()?;
        agent.terminate()?;
        for day in [21, 22] {
            host.write("log.json", 300)?;
            rotate(&host, &of_day(&host, day)?.join(name), how)?;
        }
        host.write("log.json", 100)?;
        agent.start_again()?;
        host.complete().with_context(|| format!("{name}, {how:?}"))?;
        once_more(&mut host, &mut agent, 100).with_context(|| format!("{name}, {how:?}"))?;
    }
    Ok(())
}

#[test]
fn a_generation_that_came_and_went_into_another_folder_unseen_is_read_after_the_one_before_it() -> Result<()> {
    for how in [How::Rename, How::RenameAndCompress] {
        let mut host = Host::new()?;
        fs::create_dir(host.log("old"))?;
        host.write("log.json", 500)?;
        let mut agent = host.agent("log.json", "")?;
        host.complete()?;
        agent.terminate()?;
        host.write("log.json", 300)?;
        rotate(&host, &host.log("old/log.json.2"), how)?;
        host.write("log.json", 300)?;
        rotate(&host, &host.log("old/log.json.1"), How::Rename)?;
        host.write("log.json", 300)?;
        agent.start_again()?;
        host.complete().with_context(|| format!("{how:?}"))?;
        once_more(&mut host, &mut agent, 100).with_context(|| format!("{how:?}"))?;
    }
    Ok(())
}

#[test]
fn other_programs_generations_and_copies_of_what_is_still_there_are_left_alone() -> Result<()> {
    let mut host = Host::new()?;
    for folder in ["../other", "backup"] {
        fs::create_dir(host.log(folder))?;
    }
    host.write("log.json", 500)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    host.rename("log.json", "log.json.1")?;
    host.write("log.json", 200)?;
    host.complete()?;
    agent.terminate()?;
    host.rename("log.json", "log.json.0")?;
    host.write("log.json", 200)?;
    // The same name elsewhere, newer than anything; and a backup of what was read.
    fs::write(host.log("../other/log.json.1"), line(100_000))?;
    fs::copy(host.log("log.json.1"), host.log("backup/log.json.1"))?;
    // What makes it look around: one is gone.
    fs::remove_file(host.log("log.json.1"))?;
    fs::copy(host.log("log.json.0"), host.log("backup/log.json.0"))?;
    agent.start_again()?;
    host.complete()?;
    once_more(&mut host, &mut agent, 100)?;
    let numbers = host.at_platform()?.0;
    ensure!(!numbers.contains(&100_000), "another program's log was shipped");
    Ok(())
}

/// Programs of one kind begin their logs alike.
#[test]
fn a_beginning_that_another_programs_log_has_too_proves_nothing() -> Result<()> {
    let mut host = Host::new()?;
    fs::create_dir(host.log("../other"))?;
    host.write("log.json", 4)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.terminate()?;
    let others = [fs::read(host.log("log.json"))?, line(100_000).into()].concat();
    fs::write(host.log("../other/log.json.1"), others)?;
    // Its number is not that of the next one.
    fs::rename(host.log("log.json"), host.log("gone"))?;
    host.write("log.json", 10)?;
    fs::remove_file(host.log("gone"))?;
    agent.start_again()?;
    host.complete()?;
    ensure!(!host.at_platform()?.0.contains(&100_000), "another program's log was shipped");
    Ok(())
}

#[test]
fn a_followed_archive_with_compressed_files_has_nothing_twice_running_or_not() -> Result<()> {
    for down in [false, true] {
        let mut host = Host::new()?;
        fs::create_dir(host.log("old"))?;
        host.write("log.json", 500)?;
        let mut agent = host.agent("**/log.json*", "")?;
        host.complete()?;
        for day in 10..13 {
            if down {
                agent.terminate()?;
            }
            host.write("log.json", 200)?;
            let to = host.log(&format!("old/log.json-202611{day}"));
            rotate(&host, &to, How::Rename)?;
            host.write("log.json", 100)?;
            if !down {
                host.complete()?;
            }
            ensure!(Command::new("gzip").arg("--force").arg(&to).status()?.success(), "gzip");
            if down {
                agent.start_again()?;
            }
            host.complete().with_context(|| format!("down: {down}, day {day}"))?;
        }
        once_more(&mut host, &mut agent, 10).with_context(|| format!("down: {down}"))?;
    }
    Ok(())
}

#[test]
fn a_copy_in_another_folder_is_read_when_the_log_was_emptied_before_an_output_had_it() -> Result<()> {
    for to in ["old/log.json-20261120", "../old/log.json-20261120", "old/2026/11/20/log.json"] {
        let mut host = Host::new()?;
        let to_folder = host.log(to).parent().map(Path::to_owned).context("a folder")?;
        let agent = host.with_backlog("log.json", "")?;
        fs::create_dir_all(to_folder)?;
        rotate(&host, &host.log(to), How::CopyAndTruncate)?;
        host.write("log.json", 200)?;
        host.wait_archived()?;
        host.receiver.start_again()?;
        host.complete().with_context(|| format!("{to}: {}", agent.output()))?;
    }
    Ok(())
}

#[test]
fn a_log_that_is_nowhere_after_a_restart_is_told_of() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 500)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.terminate()?;
    host.write("log.json", 100)?;
    fs::remove_file(host.log("log.json"))?;
    host.written = 500;
    host.write("log.json", 100)?;
    agent.start_again()?;
    host.complete()?;
    eventually("the status tells", hostwright_tests::log_host::SOON, || {
        let status = agent.status()?;
        let why = status["duties"]["logs"]["why"].as_str().unwrap_or_default().to_owned();
        ensure!(why.contains("log.json") && why.contains("nowhere"), "{why:?}");
        Ok(())
    })
}
