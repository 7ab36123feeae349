//! What else happens to files: written in odd ways, replaced by other programs, moved about in a moment.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::log_host::{Host, exactly_once_in_order};

/// A writer that reserves its file's space, and fills it bit by bit; at the end it gives back the rest.
fn preallocated(host: &mut Host) -> Result<()> {
    let mut file = File::create(host.log("app.log"))?;
    file.set_len(1 << 20)?;
    let agent = host.agent("app.log", "")?;
    for _ in 0..5 {
        host.write_to(&mut file, 20)?;
        thread::sleep(Duration::from_millis(150));
    }
    host.wait_complete().with_context(|| agent.output())?;
    let end = file.stream_position()?;
    file.set_len(end)?;
    host.write_to(&mut file, 20)?;
    host.complete().with_context(|| agent.output())
}

/// The same, and the agent is stopped meanwhile.
fn preallocated_over_a_restart(host: &mut Host) -> Result<()> {
    let mut file = File::create(host.log("app.log"))?;
    file.set_len(1 << 20)?;
    let mut agent = host.agent("app.log", "")?;
    host.write_to(&mut file, 20)?;
    host.wait_complete()?;
    agent.terminate()?;
    host.write_to(&mut file, 20)?;
    agent.start_again()?;
    host.write_to(&mut file, 20)?;
    host.complete().with_context(|| agent.output())
}

/// A mirror of a log, which another program brings up to date.
fn mirrored(host: &mut Host, arguments: &[&str]) -> Result<()> {
    let original = host.folder.path().join("original.log");
    let mirror = |host: &mut Host| -> Result<()> {
        let mut file = File::options().create(true).append(true).open(&original)?;
        host.write_to(&mut file, 100)?;
        let status = Command::new("rsync").args(arguments).arg(&original).arg(host.log("app.log")).status()?;
        ensure!(status.success(), "rsync");
        Ok(())
    };
    mirror(host)?;
    let mut agent = host.agent("app.log", "")?;
    for _ in 0..3 {
        mirror(host)?;
        host.complete().with_context(|| format!("while running: {}", agent.output()))?;
    }
    agent.terminate()?;
    mirror(host)?;
    agent.start_again()?;
    host.complete().with_context(|| format!("while away: {}", agent.output()))
}

fn mirrored_in_place(host: &mut Host) -> Result<()> {
    mirrored(host, &["--inplace"])
}

fn mirrored_by_appending(host: &mut Host) -> Result<()> {
    mirrored(host, &["--append"])
}

/// rsync's own way: a new file takes the place of the former one.
fn mirrored_by_renaming(host: &mut Host) -> Result<()> {
    mirrored(host, &[])
}

fn mirrored_with_times(host: &mut Host) -> Result<()> {
    mirrored(host, &["--archive"])
}

fn run(host: &Host, command: &str) -> Result<()> {
    let status = Command::new("sh").args(["-euc", command]).current_dir(host.log("")).status()?;
    ensure!(status.success(), "{command}");
    Ok(())
}

/// sed makes a new file of the same content, and the writer goes on in the former one, then in the new one.
fn edited(host: &mut Host) -> Result<()> {
    host.write("app.log", 100)?;
    let mut agent = host.agent("app.log", "")?;
    host.complete()?;
    let mut writer = File::options().append(true).open(host.log("app.log"))?;
    run(host, "sed -i s/nothing/else/ app.log")?;
    host.write_to(&mut writer, 20)?;
    host.complete().with_context(|| format!("written to the former: {}", agent.output()))?;
    host.write("app.log", 20)?;
    host.complete().with_context(|| format!("written to the new one: {}", agent.output()))?;
    agent.terminate()?;
    host.write("app.log", 20)?;
    run(host, "sed -i s/nothing/else/ app.log")?;
    host.write("app.log", 20)?;
    agent.start_again()?;
    host.complete().with_context(|| format!("while away: {}", agent.output()))
}

/// The same while an output is behind, and the agent is killed before it goes on: what is unread is in the new file.
fn edited_while_unread(host: &mut Host) -> Result<()> {
    let mut agent = host.with_backlog("log.json", "")?;
    run(host, "sed -i s/nothing/else/ log.json")?;
    host.write("log.json", 100)?;
    host.wait_archived().with_context(|| agent.output())?;
    agent.kill9()?;
    agent.start_again()?;
    host.write("log.json", 100)?;
    host.receiver.start_again()?;
    let (platform, archive) = host.wait_complete().with_context(|| agent.output())?;
    exactly_once_in_order(&platform).with_context(|| agent.output())?;
    ensure!(archive.duplicates() <= 100, "more than was written last before the kill: {}", agent.output());
    Ok(())
}

/// The last lines take the log's place.
fn cut_at_its_beginning(host: &mut Host) -> Result<()> {
    host.write("app.log", 200)?;
    let agent = host.agent("app.log", "")?;
    host.complete()?;
    for _ in 0..3 {
        run(host, "tail -n 100 app.log > app.new && mv app.new app.log")?;
        host.write("app.log", 50)?;
        host.complete().with_context(|| agent.output())?;
    }
    Ok(())
}

/// What takes the log's place begins as that did, and is another one.
fn replaced_by_one_that_begins_alike(host: &mut Host) -> Result<()> {
    let banner = "a banner that each start of the program writes, without a time in it\n".repeat(60);
    fs::write(host.log("app.log"), &banner)?;
    host.write("app.log", 30)?;
    let mut agent = host.agent("app.log", "")?;
    host.complete()?;
    for number in 0..4 {
        fs::write(host.log("app.new"), &banner)?;
        host.write("app.new", 30)?;
        if number == 2 {
            agent.terminate()?;
        }
        host.rename("app.new", "app.log")?;
        if number == 2 {
            agent.start_again()?;
        }
        host.complete().with_context(|| format!("{number}: {}", agent.output()))?;
    }
    let banners = fs::read_to_string(host.archive())?.matches("a banner").count();
    ensure!(banners == 5 * 60, "of {} lines of banners came {banners}: {}", 5 * 60, agent.output());
    Ok(())
}

/// Hundreds of generations, each for a millisecond or less.
fn rotated_hundreds_of_times(host: &mut Host) -> Result<()> {
    host.write("app.log", 10)?;
    let agent = host.agent("app.log", "")?;
    host.complete()?;
    for number in 0..300 {
        host.write("app.log", 2)?;
        host.rename("app.log", &format!("app.log.2026-11-20-{number:04}"))?;
    }
    host.write("app.log", 2)?;
    host.complete().with_context(|| agent.output())
}

/// rotatelogs -L: a hard link to the file being written.
fn linked_to_the_current(host: &mut Host) -> Result<()> {
    let next = |host: &mut Host, number: usize| -> Result<()> {
        let _ = fs::remove_file(host.log("current"));
        host.write(&format!("app.17951{number:05}.log"), 50)?;
        fs::hard_link(host.log(&format!("app.17951{number:05}.log")), host.log("current"))?;
        host.write("current", 50)
    };
    next(host, 0)?;
    let mut agent = host.agent("current", "")?;
    host.complete()?;
    for number in 1..4 {
        host.write("current", 50)?;
        next(host, number)?;
        host.wait_complete().with_context(|| format!("{number}: {}", agent.output()))?;
    }
    agent.terminate()?;
    host.write("current", 50)?;
    next(host, 4)?;
    agent.start_again()?;
    host.complete().with_context(|| agent.output())
}

/// One line in many pieces, then the rest of it.
fn a_line_in_pieces(host: &mut Host) -> Result<()> {
    let mut agent = host.agent("app.log", "")?;
    let line = format!("{{\"seq\":{},\"filler\":\"{}\"}}\n", host.written, "x".repeat(5000));
    let mut file = File::create(host.log("app.log"))?;
    for (number, piece) in line.as_bytes().chunks(500).enumerate() {
        file.write_all(piece)?;
        thread::sleep(Duration::from_millis(60));
        if number == 5 {
            agent.terminate()?;
            agent.start_again()?;
        }
    }
    host.written += 1;
    host.write("app.log", 5)?;
    host.complete().with_context(|| agent.output())
}

/// Two processes that rotate the same log: one goes on writing into what the other renamed.
fn two_rotating_processes(host: &mut Host) -> Result<()> {
    let append = |host: &Host| File::options().create(true).append(true).open(host.log("app.log"));
    let (mut one, mut two) = (append(host)?, append(host)?);
    let agent = host.agent("app.log", "")?;
    for round in 0..6 {
        host.write_to(&mut one, 20)?;
        host.write_to(&mut two, 20)?;
        for number in (1..9).rev() {
            if host.log(&format!("app.log.{number}")).exists() {
                host.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1))?;
            }
        }
        host.rename("app.log", "app.log.1")?;
        match round % 2 {
            0 => one = append(host)?,
            _ => two = append(host)?,
        }
    }
    host.write_to(&mut one, 20)?;
    host.write_to(&mut two, 20)?;
    let (platform, archive) = host.wait_complete().with_context(|| agent.output())?;
    ensure!(platform.duplicates() == 0 && archive.duplicates() == 0, "duplicates: {}", agent.output());
    Ok(())
}

/// Times of files say nothing true: all generations were touched while the agent was away.
fn touched_while_away(host: &mut Host) -> Result<()> {
    host.write("app.log", 100)?;
    let mut agent = host.agent("app.log", "")?;
    host.complete()?;
    agent.terminate()?;
    for number in (1..4).rev() {
        host.write("app.log", 50)?;
        host.rename("app.log", &format!("app.log.2026-11-20-0{}", 4 - number))?;
    }
    host.write("app.log", 50)?;
    for entry in fs::read_dir(host.log(""))? {
        let file = File::options().append(true).open(entry?.path())?;
        file.set_modified(std::time::SystemTime::now())?;
    }
    agent.start_again()?;
    host.complete().with_context(|| agent.output())
}

/// A page of zeros in the middle, as a power cut leaves it on some file systems, is no reason to lose what follows.
fn zeros_in_the_middle(host: &mut Host) -> Result<()> {
    host.write("app.log", 50)?;
    let agent = host.agent("app.log", "")?;
    host.complete()?;
    let mut file = File::options().append(true).open(host.log("app.log"))?;
    file.write_all(&[0; 4096])?;
    file.write_all(b"\n")?;
    host.write_to(&mut file, 50)?;
    host.complete().with_context(|| agent.output())
}

/// A writer that keeps its place after somebody else truncated: zeros come first.
fn truncated_under_a_writer(host: &mut Host) -> Result<()> {
    let mut file = File::create(host.log("app.log"))?;
    host.write_to(&mut file, 100)?;
    let agent = host.agent("app.log", "")?;
    host.complete()?;
    for _ in 0..3 {
        File::options().write(true).open(host.log("app.log"))?.set_len(0)?;
        host.write_to(&mut file, 100)?;
        host.wait_complete().with_context(|| agent.output())?;
    }
    file.seek(SeekFrom::End(0))?;
    host.complete().with_context(|| agent.output())
}

/// A writer of records in places of their own, as a mapped file is written: never appended.
fn written_at_places(host: &mut Host) -> Result<()> {
    let file = File::create(host.log("app.log"))?;
    file.set_len(64 << 10)?;
    let agent = host.agent("app.log", "")?;
    let mut at = 0;
    for _ in 0..30 {
        let line = format!("{{\"seq\":{}}}\n", host.written);
        file.write_all_at(&line.as_bytes()[..4], at)?;
        thread::sleep(Duration::from_millis(10));
        file.write_all_at(&line.as_bytes()[4..], at + 4)?;
        at += line.len() as u64;
        host.written += 1;
    }
    host.complete().with_context(|| agent.output())
}

type Case = (&'static str, fn(&mut Host) -> Result<()>);

const CASES: [Case; 18] = [
    ("preallocated", preallocated),
    ("preallocated, over a restart", preallocated_over_a_restart),
    ("mirrored in place", mirrored_in_place),
    ("mirrored by appending", mirrored_by_appending),
    ("mirrored by renaming", mirrored_by_renaming),
    ("mirrored with times", mirrored_with_times),
    ("edited", edited),
    ("edited while unread", edited_while_unread),
    ("cut at its beginning", cut_at_its_beginning),
    ("replaced by one that begins alike", replaced_by_one_that_begins_alike),
    ("rotated hundreds of times", rotated_hundreds_of_times),
    ("linked to the current", linked_to_the_current),
    ("a line in pieces", a_line_in_pieces),
    ("two rotating processes", two_rotating_processes),
    ("touched while away", touched_while_away),
    ("zeros in the middle", zeros_in_the_middle),
    ("truncated under a writer", truncated_under_a_writer),
    ("written at places", written_at_places),
];

#[test]
fn nothing_is_lost_or_comes_twice_whatever_happens_to_a_file() -> Result<()> {
    all_hold(CASES.iter().map(|(name, case)| (name, move || case(&mut Host::new()?))))
}
