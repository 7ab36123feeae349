//! Programs that write what others say into logs and rotate these, as Debian has them: each is started, ended, killed
//! and started again, while the agent runs and while it does not.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::log_host::{Host, SOON};
use hostwright_tests::wait::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that rotates.
struct Rotator {
    name: &'static str,
    /// For the shell, in the log's folder.
    start: &'static str,
    files: &'static str,
}

const fn rotator(name: &'static str, start: &'static str, files: &'static str) -> Rotator {
    Rotator { name, start, files }
}

const SVLOGD: &str = "printf 's4096\\nn500\\n' >config; exec svlogd -l 1000 .";

/// After a kill it ends once with "unable to finish current .u" and puts that right, as its supervisor would see.
const S6_GZIP: &str = "s6-log s4096 n500 '!gzip' . </dev/null || true; exec s6-log s4096 n500 '!gzip' .";

const ROTATORS: [Rotator; 11] = [
    rotator("svlogd", SVLOGD, "current"),
    rotator("svlogd, all", SVLOGD, "@*,current"),
    rotator("multilog", "exec multilog s4096 n500 .", "current"),
    rotator("multilog, all", "exec multilog s4096 n500 .", "*"),
    rotator("s6-log", "exec s6-log s4096 n500 .", "current"),
    rotator("s6-log, all", "exec s6-log s4096 n500 .", "*"),
    rotator("rotatelogs, seconds", "exec rotatelogs app.%Y-%m-%d-%H_%M_%S.log 1", "app.*.log"),
    rotator("rotatelogs, size", "exec rotatelogs app.log 4K", "app.log.*"),
    rotator("rotatelogs, link alone", "exec rotatelogs -L current app.%Y-%m-%d-%H_%M_%S.log 1", "current"),
    rotator("rotatelogs, link and size", "exec rotatelogs -L current app.log 4K", "current"),
    rotator("cronolog", "exec cronolog --symlink=current app.%Y-%m-%d-%H_%M_%S.log", "app.*.log"),
];

/// The same with a program that compresses each piece: one that came, went and was compressed before it was looked at is read
/// when it is found, and again if a killed program compresses it once more.
const COMPRESSING: [Rotator; 3] = [
    rotator("svlogd, gzip", "printf 's4096\\nn500\\n!gzip\\n' >config; exec svlogd -l 1000 .", "current"),
    rotator("multilog, gzip", "exec multilog s4096 n500 '!gzip' .", "current"),
    rotator("s6-log, gzip", S6_GZIP, "current"),
];

/// The program, and the way to it.
struct Running {
    child: Child,
    input: File,
}

impl Running {
    fn start(host: &Host, rotator: &Rotator) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-euc", rotator.start])
            .current_dir(host.log(""))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input: OwnedFd = child.stdin.take().context("its input")?.into();
        Ok(Self { child, input: input.into() })
    }

    /// Lines, here and there a pause.
    fn write(&mut self, host: &mut Host, count: usize) -> Result<()> {
        for _ in 0..count / 20 {
            host.write_to(&mut self.input, 20)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it when it has written everything.
    fn end(mut self, host: &Host, signal: Option<Signal>) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while !has_last(host)? && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        match signal {
            Some(signal) => kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?,
            None => drop(self.input),
        }
        let has_ended = || self.child.try_wait().is_ok_and(|ended| ended.is_some());
        let ended = eventually("it ends", Duration::from_secs(5), has_ended);
        if ended.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

/// Whether the last line is in a file.
fn has_last(host: &Host) -> Result<bool> {
    let last = format!("\"seq\":{},", host.written - 1);
    let mut entries = fs::read_dir(host.log(""))?.filter_map(|entry| fs::read(entry.ok()?.path()).ok());
    Ok(entries.any(|content| String::from_utf8_lossy(&content).contains(&last)))
}

/// Whether everything arrived, as it must.
type Arrived = fn(&Host) -> Result<()>;

fn rotated_by(rotator: &Rotator, arrived: Arrived) -> Result<()> {
    let mut host = Host::new()?;
    let mut running = Running::start(&host, rotator)?;
    let agent_files = rotator.files.replace(',', &format!("', '{}", host.log("").display()));
    let mut agent = host.agent(&agent_files, "")?;
    // What was there before the agent first looked is not asked for.
    agent.wait_status("it has looked", SOON, |status| status["duties"]["logs"]["state"] == "ok")?;
    running.write(&mut host, 20)?;
    host.wait_complete().with_context(|| format!("at first: {}", agent.output()))?;
    running.write(&mut host, 300)?;
    arrived(&host).with_context(|| format!("while it runs: {}", agent.output()))?;
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        running.write(&mut host, 100)?;
        running.end(&host, signal)?;
        running = Running::start(&host, rotator)?;
        running.write(&mut host, 100)?;
        arrived(&host).with_context(|| format!("{signal:?}: {}", agent.output()))?;
        agent.terminate()?;
        running.write(&mut host, 200)?;
        running.end(&host, signal)?;
        running = Running::start(&host, rotator)?;
        running.write(&mut host, 40)?;
        agent.start_again()?;
        running.write(&mut host, 100)?;
        arrived(&host).with_context(|| format!("{signal:?}, away: {}", agent.output()))?;
    }
    let pieces = fs::read_dir(host.log(""))?.count();
    ensure!(pieces > 2, "nothing was rotated: {pieces} files");
    running.end(&host, None)
}

/// All of them, or the one that `ROTATOR` names.
fn all(rotators: &[Rotator], arrived: Arrived) -> Result<()> {
    let only = std::env::var("ROTATOR").ok();
    let meant = rotators.iter().filter(|rotator| only.as_ref().is_none_or(|only| rotator.name == only));
    all_hold(meant.map(|rotator| (rotator.name, move || rotated_by(rotator, arrived))))
}

#[test]
fn nothing_is_lost_or_comes_twice_whichever_program_writes_and_rotates() -> Result<()> {
    all(&ROTATORS, Host::complete)
}

#[test]
fn nothing_is_lost_of_pieces_that_are_compressed_before_anyone_looks() -> Result<()> {
    all(&COMPRESSING, |host| host.wait_complete().map(drop))
}
