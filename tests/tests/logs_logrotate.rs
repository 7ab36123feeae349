//! logrotate itself, with the options that people use: while the agent is away and while it runs; nothing is lost or comes
//! twice, and what cannot be read any more is told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::log_host::Host;
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;

/// What stands in the braces of logrotate's configuration, and what the source names. FOLDER is the log's.
const OPTIONS: [(&str, &str); 12] = [
    ("app.log", "copy"),
    ("app.log", "copytruncate delaycompress compress"),
    ("app.log*", "copytruncate"),
    ("app.log", "copytruncate start 0"),
    ("app.log", "create dateext dateformat -%Y%m%d-%s"),
    ("app.log", "nocreate dateext dateformat .%s compress"),
    ("*.log", "create extension .log dateext dateformat -%s"),
    ("app.log", "create start 0 compress delaycompress"),
    ("app.log", "create olddir FOLDER/archive createolddir 0755 compress"),
    ("app.log", "renamecopy create"),
    ("app.log", "create shred maxage 30"),
    ("app.log", "create compress compresscmd /usr/bin/zstd compressoptions --rm compressext .zst"),
];

fn rotate(host: &Host, options: &str) -> Result<()> {
    let options = options.replace("FOLDER", &host.folder.path().join("log").display().to_string());
    let mut options = options.replace(" createolddir 0755", "\n  createolddir 0755 root root");
    for name in [
        "copytruncate",
        "delaycompress",
        "compresscmd",
        "compressoptions",
        "compressext",
        "compress",
        "dateext",
        "dateformat",
        "start",
        "maxage",
        "shred",
        "extension",
        "olddir",
    ] {
        options = options.replace(&format!(" {name}"), &format!("\n  {name}"));
    }
    let (config, state) = (host.folder.path().join("rotate.conf"), host.folder.path().join("rotate.state"));
    let log = host.log("app.log");
    fs::write(&config, format!("{} {{\n  su root root\n  rotate 9\n  {options}\n}}\n", log.display()))?;
    let output = Command::new("logrotate").args(["--force", "--state"]).arg(&state).arg(&config).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && !said.contains("error"), "logrotate {options}: {said}");
    if options.contains("%s") {
        // The next one has another name in the next second.
        thread::sleep(Duration::from_millis(1100));
    }
    Ok(())
}

fn away_and_running(files: &str, options: &str) -> Result<()> {
    let mut host = Host::new()?;
    host.write("app.log", 500)?;
    let mut agent = host.agent(files, "")?;
    host.complete()?;
    agent.terminate()?;
    for _ in 0..3 {
        host.write("app.log", 300)?;
        rotate(&host, options)?;
    }
    host.write("app.log", 100)?;
    agent.start_again()?;
    host.complete().context("while away")?;
    for _ in 0..3 {
        host.write("app.log", 200)?;
        host.wait_complete().context("before it is rotated")?;
        host.write("app.log", 200)?;
        rotate(&host, options)?;
    }
    host.write("app.log", 100)?;
    host.complete().with_context(|| format!("while running: {}", agent.output()))?;
    // It sees what was written, and all of the rotation, at once.
    agent.signal(Signal::SIGSTOP)?;
    host.write("app.log", 150)?;
    rotate(&host, options)?;
    host.write("app.log", 100)?;
    agent.signal(Signal::SIGCONT)?;
    host.complete().with_context(|| format!("while it stood still: {}", agent.output()))?;
    agent.terminate()?;
    host.write("app.log", 10)?;
    agent.start_again()?;
    host.complete().with_context(|| format!("once more: {}", agent.output()))
}

#[test]
fn nothing_is_lost_or_comes_twice_whatever_logrotate_is_told_to_do() -> Result<()> {
    let case = |(files, options)| (format!("{files}, {options}"), move || away_and_running(files, options));
    all_hold(OPTIONS.iter().copied().map(case))
}

/// Compressed in a way that the agent does not read: what it had no chance to read is told.
#[test]
fn a_generation_that_is_compressed_by_another_program_while_away_is_told() -> Result<()> {
    for (program, ending) in [("xz", "xz"), ("bzip2", "bz2"), ("lz4", "lz4")] {
        let mut host = Host::new()?;
        host.write("app.log", 500)?;
        let mut agent = host.agent("app.log", "")?;
        host.complete()?;
        agent.terminate()?;
        host.write("app.log", 100)?;
        let rotated = host.log("app.log.1");
        fs::rename(host.log("app.log"), &rotated)?;
        compress(program, &rotated)?;
        ensure!(host.log(&format!("app.log.1.{ending}")).exists(), "{program} made no file");
        let kept = host.written;
        host.write("app.log", 100)?;
        agent.start_again()?;
        eventually("what is readable has arrived", hostwright_tests::log_host::SOON, || {
            let arrived = host.at_archive()?;
            let missing = arrived.missing(host.written);
            ensure!(missing.len() == 100 && missing.last() == Some(&(kept - 1)), "{} missing", missing.len());
            Ok(())
        })?;
        agent.wait_status("the loss is told", hostwright_tests::log_host::SOON, |status| {
            let told = status["duties"]["logs"].to_string() + &agent.output();
            told.contains("app.log")
                && (told.contains("is gone") || told.contains("nowhere") || told.contains("cannot be read"))
        })?;
    }
    Ok(())
}

fn compress(program: &str, path: &Path) -> Result<()> {
    let mut command = Command::new(program);
    if program == "lz4" {
        command.args(["--rm", "--quiet"]).arg(path).arg(format!("{}.lz4", path.display()));
    } else {
        command.arg(path);
    }
    let status = command.status().with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} {}", path.display());
    Ok(())
}
