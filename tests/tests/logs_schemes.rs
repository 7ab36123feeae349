//! How real programs rotate: several times while the agent is away, and while it runs; nothing is lost or comes twice.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::log_host::{Host, SOON};

/// How a program rotates, and what the source names.
struct Scheme {
    name: &'static str,
    files: &'static str,
    log: fn(usize) -> String,
    /// After the log of this number.
    rotate: fn(&Host, usize) -> Result<()>,
}

fn gzip(path: &Path) -> Result<()> {
    ensure!(Command::new("gzip").arg("--force").arg(path).status()?.success(), "gzip {}", path.display());
    Ok(())
}

/// Moves generations up by one, of which those above `first_compressed` are compressed; the highest goes.
fn cascade(host: &Host, numbers: [usize; 3], name: impl Fn(usize) -> String) -> Result<PathBuf> {
    let [first, last, first_compressed] = numbers;
    let at =
        |number: usize, compressed: bool| host.log(&format!("{}{}", name(number), if compressed { ".gz" } else { "" }));
    let _ = fs::remove_file(at(last, true));
    for number in (first..last).rev() {
        for compressed in [true, false] {
            if at(number, compressed).exists() {
                fs::rename(at(number, compressed), at(number + 1, compressed))?;
                if !compressed && number + 1 >= first_compressed {
                    gzip(&at(number + 1, false))?;
                }
            }
        }
    }
    Ok(at(first, false))
}

fn logback_fixed_window(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [1, 7, 1], |number| format!("app.{number}.log"))?;
    fs::rename(host.log("app.log"), &to)?;
    gzip(&to)
}

fn logback_size_and_time(host: &Host, number: usize) -> Result<()> {
    let to = host.log(&format!("app.2026-11-20.{number}.log"));
    fs::rename(host.log("app.log"), &to)?;
    gzip(&to)
}

fn log4j2_dated_folder(host: &Host, number: usize) -> Result<()> {
    fs::create_dir_all(host.log("2026-11"))?;
    let to = host.log(&format!("2026-11/app-11-20-2026-{number}.log"));
    fs::rename(host.log("app.log"), &to)?;
    gzip(&to)
}

fn docker_json_file(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [1, 8, 1], |number| format!("app.log.{number}"))?;
    fs::rename(host.log("app.log"), &to)?;
    File::create(host.log("app.log"))?;
    gzip(&to)
}

fn logrotate_delaycompress(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [1, 8, 2], |number| format!("app.log.{number}"))?;
    Ok(fs::rename(host.log("app.log"), to)?)
}

fn logrotate_extension(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [1, 8, 3], |number| format!("app.{number}.log"))?;
    Ok(fs::rename(host.log("app.log"), to)?)
}

fn savelog(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [0, 8, 1], |number| format!("app.log.{number}"))?;
    fs::rename(host.log("app.log"), to)?;
    File::create(host.log("app.log"))?;
    Ok(())
}

fn multilog(host: &Host, number: usize) -> Result<()> {
    Ok(fs::rename(host.log("current"), host.log(&format!("@400000006740ab{number}c1a2b3c4d.s")))?)
}

fn python_timed(host: &Host, number: usize) -> Result<()> {
    Ok(fs::rename(host.log("app.log"), host.log(&format!("app.log.2026-11-20_10-1{number}")))?)
}

fn copytruncate_cascade(host: &Host, _: usize) -> Result<()> {
    let to = cascade(host, [1, 8, 2], |number| format!("app.log.{number}"))?;
    fs::copy(host.log("app.log"), to)?;
    Ok(File::options().write(true).open(host.log("app.log"))?.set_len(0)?)
}

/// pm2-logrotate and others of Node.js copy, truncate and compress the copy at once.
fn pm2(host: &Host, number: usize) -> Result<()> {
    let copy = host.log(&format!("app__2026-11-22_10-0{number}-00.log"));
    fs::copy(host.log("app.log"), &copy)?;
    File::options().write(true).open(host.log("app.log"))?.set_len(0)?;
    gzip(&copy)
}

fn none(_: &Host, _: usize) -> Result<()> {
    Ok(())
}

/// Its compressor is slower than what is written meanwhile, and gives the file a new time, as Java's and Go's do.
fn compress_late(host: &Host, from: &str, to: &str) -> Result<()> {
    let more = "touch -d '1 second' .late && gzip <\"$1\" >.part && touch -r .late .part && mv .part \"$2\" && rm \"$1\" .late";
    let mut command = Command::new("sh");
    command.args(["-euc", more, "sh", from, to]).current_dir(host.log(""));
    ensure!(command.status()?.success(), "{more}");
    Ok(())
}

/// The last one stays plain, and the one before is compressed when the next comes.
fn kubelet(host: &Host, number: usize) -> Result<()> {
    fs::rename(host.log("app.log"), host.log(&format!("app.log.20261120-10111{number}")))?;
    match number.checked_sub(1) {
        None => Ok(()),
        Some(before) => {
            let before = format!("app.log.20261120-10111{before}");
            compress_late(host, &before, &format!("{before}.gz"))
        }
    }
}

fn logback_days(host: &Host, number: usize) -> Result<()> {
    if let Some(before) = number.checked_sub(1) {
        let before = format!("app.2026-11-1{before}.log");
        compress_late(host, &before, &format!("{before}.gz"))?;
    }
    Ok(fs::rename(host.log("app.log"), host.log(&format!("app.2026-11-1{number}.log")))?)
}

fn multilog_compressing(host: &Host, number: usize) -> Result<()> {
    if let Some(before) = number.checked_sub(1) {
        let label = format!("@400000006740ab{before}c1a2b3c4d");
        compress_late(host, &format!("{label}.u"), &format!("{label}.s"))?;
    }
    Ok(fs::rename(host.log("current"), host.log(&format!("@400000006740ab{number}c1a2b3c4d.u")))?)
}

/// The lowest number is the newest, and does not tell its log.
fn log4j2_index_min(host: &Host, _: usize) -> Result<()> {
    for number in (1..9).rev() {
        if host.log(&format!("app-{number}.log")).exists() {
            host.rename(&format!("app-{number}.log"), &format!("app-{}.log", number + 1))?;
        }
    }
    host.rename("app.log", "app-1.log")
}

fn gaps(host: &Host, _: usize) -> Result<()> {
    for number in (1..40).rev() {
        if host.log(&format!("app.log.{number}")).exists() {
            host.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 3))?;
        }
    }
    host.rename("app.log", "app.log.1")
}

fn journald(host: &Host, number: usize) -> Result<()> {
    host.rename("app.log", &format!("app@000616{number:02}b2c3d4e5f-{number:016x}.log"))
}

/// The link leads to the next one.
fn switch(host: &Host, number: usize, target: fn(usize) -> String) -> Result<()> {
    let next = host.log(".next");
    std::os::unix::fs::symlink(target(number), &next)?;
    Ok(fs::rename(next, host.log("current"))?)
}

fn switched_link(host: &Host, number: usize) -> Result<()> {
    File::create(host.log(&link_target(number + 1)))?;
    switch(host, number + 1, link_target)
}

fn link_target(number: usize) -> String {
    format!("app.17951000{number:02}.log")
}

fn folder_target(number: usize) -> String {
    format!("2026-11-{:02}", number + 10)
}

fn switched_folder(host: &Host, number: usize) -> Result<()> {
    fs::create_dir_all(host.log(&folder_target(number + 1)))?;
    switch(host, number + 1, folder_target)
}

/// Of a program that writes to `app.log`.
const fn app(name: &'static str, files: &'static str, rotate: fn(&Host, usize) -> Result<()>) -> Scheme {
    Scheme { name, files, log: |_| "app.log".into(), rotate }
}

const SCHEMES: [Scheme; 21] = [
    app("logback, fixed window", "app.log", logback_fixed_window),
    app("logback, size and time", "app.log", logback_size_and_time),
    app("log4j2, dated folder", "app.log", log4j2_dated_folder),
    app("docker", "app.log", docker_json_file),
    app("delaycompress", "app.log", logrotate_delaycompress),
    app("delaycompress, pattern", "app.log*", logrotate_delaycompress),
    app("extension", "app.log", logrotate_extension),
    app("savelog", "app.log", savelog),
    app("python", "app.log", python_timed),
    app("copytruncate", "app.log", copytruncate_cascade),
    app("pm2", "app.log", pm2),
    Scheme { name: "multilog", files: "current", log: |_| "current".into(), rotate: multilog },
    app("kubelet", "app.log", kubelet),
    app("logback, days, late", "app.log", logback_days),
    app("log4j2, index min", "app.log", log4j2_index_min),
    app("gaps", "app.log", gaps),
    app("journald", "app.log", journald),
    Scheme { name: "multilog, late", files: "current", log: |_| "current".into(), rotate: multilog_compressing },
    Scheme { name: "link", files: "current", log: |_| "current".into(), rotate: switched_link },
    Scheme {
        name: "folder link",
        files: "current/app.log",
        log: |_| "current/app.log".into(),
        rotate: switched_folder,
    },
    Scheme {
        name: "cronolog",
        files: "app.*.log",
        log: |number| format!("app.2026-11-{:02}.log", number + 10),
        rotate: none,
    },
];

fn rotated_while_away_and_while_running(scheme: &Scheme) -> Result<()> {
    let mut host = Host::new()?;
    match scheme.name {
        "link" => switch(&host, 0, link_target)?,
        "folder link" => {
            fs::create_dir(host.log(&folder_target(0)))?;
            switch(&host, 0, folder_target)?;
        }
        _ => {}
    }
    host.write(&(scheme.log)(0), 500)?;
    let mut agent = host.agent(scheme.files, "")?;
    host.complete()?;
    agent.terminate()?;
    for number in 0..3 {
        host.write(&(scheme.log)(number), 300)?;
        (scheme.rotate)(&host, number)?;
    }
    host.write(&(scheme.log)(3), 100)?;
    agent.start_again()?;
    host.complete().context("while away")?;
    for number in 3..6 {
        host.write(&(scheme.log)(number), 200)?;
        host.wait_complete().context("before it is rotated")?;
        host.write(&(scheme.log)(number), 200)?;
        (scheme.rotate)(&host, number)?;
    }
    host.write(&(scheme.log)(6), 100)?;
    host.complete().context("while running")?;
    agent.terminate()?;
    host.write(&(scheme.log)(6), 10)?;
    agent.start_again()?;
    host.complete().with_context(|| format!("once more: {}", agent.output()))
}

#[test]
fn nothing_is_lost_or_comes_twice_however_programs_rotate() -> Result<()> {
    all_hold(SCHEMES.iter().map(|scheme| (scheme.name, move || rotated_while_away_and_while_running(scheme))))
}

#[test]
fn a_log_that_is_emptied_by_a_redirection_while_away_is_read_from_its_beginning() -> Result<()> {
    for more in [50, 500, 900] {
        let mut host = Host::new()?;
        host.write("app.log", 500)?;
        let mut agent = host.agent("app.log", "")?;
        host.complete()?;
        agent.terminate()?;
        File::create(host.log("app.log"))?;
        host.write("app.log", more)?;
        agent.start_again()?;
        host.complete().with_context(|| format!("{more} lines"))?;
    }
    Ok(())
}

#[test]
fn several_rotations_within_a_moment_keep_all_and_their_order() -> Result<()> {
    for compress in [false, true] {
        let mut host = Host::new()?;
        host.write("app.log", 100)?;
        let agent = host.agent("app.log", "")?;
        host.complete()?;
        for number in 1..=8 {
            host.write("app.log", 50)?;
            let to = host.log(&format!("app.log.2026-11-20-10-11-{number:02}"));
            fs::rename(host.log("app.log"), &to)?;
            if compress {
                gzip(&to)?;
            }
        }
        host.write("app.log", 50)?;
        host.complete().with_context(|| format!("compressed: {compress}: {}", agent.output()))?;
    }
    Ok(())
}

#[test]
fn a_generation_that_came_while_away_is_told_by_its_number_or_day_whatever_time_it_was_given() -> Result<()> {
    let schemes = [("log.json.2", "log.json.1"), ("log.json-20261121", "log.json-20261122")];
    for (first, second) in schemes {
        for compress in [false, true] {
            let mut host = Host::new()?;
            host.write("log.json", 500)?;
            let mut agent = host.agent("log.json", "")?;
            host.complete()?;
            agent.terminate()?;
            host.write("log.json", 300)?;
            host.rename("log.json", first)?;
            host.write("log.json", 100)?;
            host.rename("log.json", second)?;
            let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
            File::options().write(true).open(host.log(second))?.set_modified(two_days_ago)?;
            if compress {
                gzip(&host.log(second))?;
            }
            host.write("log.json", 100)?;
            agent.start_again()?;
            host.complete().with_context(|| format!("{second}, compressed: {compress}"))?;
        }
    }
    Ok(())
}

/// What the agent has never opened is told by the name alone.
#[test]
fn of_a_rotator_that_keeps_one_generation_what_is_on_disk_is_read_first_while_away_and_while_running() -> Result<()> {
    let mut host = Host::new()?;
    host.write("log.json", 500)?;
    let mut agent = host.agent("log.json", "")?;
    host.complete()?;
    agent.terminate()?;
    // Nothing is unread of the one that is overwritten.
    for _ in 0..2 {
        host.rename("log.json", "log.json.old")?;
        host.write("log.json", 100)?;
        if host.written == 600 {
            agent.start_again()?;
            host.complete()?;
            agent.terminate()?;
        }
    }
    host.rename("log.json", "log.json.old")?;
    host.write("log.json", 100)?;
    agent.start_again()?;
    host.complete().context("while away")?;
    // It is at its place for too short a time to be seen there.
    for _ in 0..3 {
        host.write("log.json", 50)?;
        host.rename("log.json", "log.json.old")?;
        host.complete().with_context(|| format!("while running: {}", agent.output()))?;
    }
    agent.terminate()?;
    // What was unread of the former one is gone.
    for _ in 0..2 {
        host.write("log.json", 100)?;
        host.rename("log.json", "log.json.old")?;
    }
    host.write("log.json", 100)?;
    agent.start_again()?;
    agent.wait_status("that is told", SOON, |status| {
        let why = status["duties"]["logs"]["why"].as_str().unwrap_or_default();
        why.contains("log.json is nowhere")
    })?;
    Ok(())
}
