//! Logs behind bind mounts and in overlays, on the real agent. It takes mounts of our own, so it takes root.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Host, SOON, exactly_once_in_order, line};
use hostwright_tests::torture::disk::{Disk, own_mounts};
use hostwright_tests::wait::eventually;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Lines of an output that may come again after a kill.
const BATCH: usize = 10_000;

/// Both outputs have every line once and in order.
fn complete(host: &Host) -> Result<()> {
    let (platform, archive) = host.wait_complete()?;
    exactly_once_in_order(&platform).context("platform")?;
    exactly_once_in_order(&archive).context("archive")
}

/// Whether this thread has mounts of its own now; a test ends where it may not.
fn may_mount() -> bool {
    let own = own_mounts();
    if let Err(error) = &own {
        eprintln!("skipped: {error:#}");
    }
    own.is_ok()
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_BIND, none)
        .with_context(|| format!("binding {} to {}", from.display(), to.display()))
}

/// Taken away although files in it are open.
fn unmount(path: &Path) -> Result<()> {
    umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", path.display()))
}

/// A folder of the application, which the agent sees elsewhere.
struct Original(PathBuf);

impl Original {
    fn of(host: &Host) -> Result<Self> {
        let path = host.folder.path().join("original");
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn log(&self) -> PathBuf {
        self.0.join("log.json")
    }

    fn write(&self, host: &mut Host, count: usize) -> Result<()> {
        host.write_to(&mut File::options().create(true).append(true).open(self.log())?, count)
    }

    fn rename(&self, to: &str) -> Result<()> {
        Ok(fs::rename(self.log(), self.0.join(to))?)
    }

    fn copy_and_truncate(&self, to: &str) -> Result<()> {
        fs::copy(self.log(), self.0.join(to))?;
        Ok(File::options().write(true).open(self.log())?.set_len(0)?)
    }
}

/// A host that sees the application's folder through a bind mount, with some lines in it.
fn bound() -> Result<(Host, Original, PathBuf)> {
    let mut host = Host::new()?;
    let original = Original::of(&host)?;
    let seen = host.folder.path().join("log");
    bind(&original.0, &seen)?;
    original.write(&mut host, 500)?;
    Ok((host, original, seen))
}

#[test]
fn a_log_that_is_followed_through_a_bind_mount_is_rotated_in_its_own_place() -> Result<()> {
    if !may_mount() {
        return Ok(());
    }
    let (mut host, original, seen) = bound()?;
    let mut agent = host.agent("log.json", "")?;
    complete(&host)?;
    // With a backlog at one output, in each way.
    host.receiver.stop()?;
    original.write(&mut host, 500)?;
    original.rename("log.json.2")?;
    original.write(&mut host, 500)?;
    original.copy_and_truncate("log.json.1")?;
    original.write(&mut host, 500)?;
    host.receiver.start_again()?;
    complete(&host)?;
    agent.terminate()?;
    original.write(&mut host, 500)?;
    original.rename("log.json-20261120")?;
    let zipped = Command::new("gzip").arg(original.0.join("log.json-20261120")).status()?;
    ensure!(zipped.success(), "gzip: {zipped}");
    original.write(&mut host, 500)?;
    agent.start_again()?;
    complete(&host)?;
    // At any moment: nothing is missing, and what was on its way comes again.
    original.write(&mut host, 20_000)?;
    agent.kill9()?;
    original.rename("log.json-20261121")?;
    original.write(&mut host, 500)?;
    agent.start_again()?;
    let (platform, archive) = host.wait_complete()?;
    eprintln!("{} and {} lines again", platform.duplicates(), archive.duplicates());
    ensure!(platform.duplicates().max(archive.duplicates()) <= BATCH, "more than a batch came again");
    unmount(&seen)
}

#[test]
fn a_bind_mount_that_goes_and_comes_back_costs_no_line() -> Result<()> {
    if !may_mount() {
        return Ok(());
    }
    let (mut host, original, seen) = bound()?;
    let mut agent = host.agent("log.json*", "")?;
    complete(&host)?;
    for round in 0..4 {
        unmount(&seen)?;
        if round % 2 == 1 {
            agent.terminate()?;
            agent.start_again()?;
            agent.wait_ready(SOON)?;
        }
        original.write(&mut host, 500)?;
        original.rename(&format!("log.json.{}", 4 - round))?;
        original.write(&mut host, 500)?;
        bind(&original.0, &seen)?;
        complete(&host).with_context(|| format!("round {round}"))?;
    }
    unmount(&seen)
}

#[test]
fn a_log_that_is_bound_alone_is_copied_and_truncated() -> Result<()> {
    if !may_mount() {
        return Ok(());
    }
    let mut host = Host::new()?;
    let original = Original::of(&host)?;
    original.write(&mut host, 500)?;
    File::create(host.log("log.json"))?;
    bind(&original.log(), &host.log("log.json"))?;
    let mut agent = host.agent("log.json", "")?;
    for copy in ["1", "2"] {
        original.write(&mut host, 500)?;
        complete(&host)?;
        original.copy_and_truncate(copy)?;
        original.write(&mut host, 600)?;
        complete(&host)?;
        agent.terminate()?;
        original.write(&mut host, 100)?;
        agent.start_again()?;
    }
    complete(&host)?;
    unmount(&host.log("log.json"))
}

/// Layers of which the lower one is on a file system of its own, or on that of the upper one.
fn overlay(host: &Host, lower: &Path) -> Result<PathBuf> {
    let (upper, work) = (host.folder.path().join("upper"), host.folder.path().join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let merged = host.folder.path().join("log");
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("an overlay with {options}"))?;
    Ok(merged)
}

#[test]
fn a_log_that_is_copied_up_in_an_overlay_goes_on_where_it_was() -> Result<()> {
    if !may_mount() {
        return Ok(());
    }
    for (same_file_system, ended) in [(true, false), (false, false), (true, true), (false, true)] {
        let told = format!("one file system: {same_file_system}, the agent was ended: {ended}");
        let mut host = Host::new()?;
        let lower = host.folder.path().join("lower");
        fs::create_dir(&lower)?;
        let _disk = (!same_file_system).then(|| Disk::mount(&lower, 8)).transpose()?;
        // What an image brings, with a line that is not complete.
        let mut text: String = (0..500).map(line).collect();
        let half = line(500);
        text.push_str(&half[..20]);
        fs::write(lower.join("log.json"), text)?;
        host.written = 501;
        let merged = match overlay(&host, &lower) {
            Ok(merged) => merged,
            Err(error) => {
                eprintln!("skipped: {error:#}");
                return Ok(());
            }
        };
        let mut agent = host.agent("log.json", "")?;
        eventually("what the image brought", SOON, || {
            Ok::<_, anyhow::Error>(
                host.at_platform()?.missing(500).is_empty() && host.at_archive()?.missing(500).is_empty(),
            )
        })?;
        if ended {
            agent.terminate()?;
        }
        let mut log = File::options().append(true).open(host.log("log.json"))?;
        log.write_all(&half.as_bytes()[20..])?;
        host.write_to(&mut log, 500)?;
        if ended {
            agent.start_again()?;
        }
        complete(&host).with_context(|| told.clone())?;
        host.receiver.stop()?;
        host.write_to(&mut log, 500)?;
        host.rename("log.json", "log.json.1")?;
        host.write("log.json", 500)?;
        agent.terminate()?;
        host.write("log.json", 100)?;
        agent.start_again()?;
        host.receiver.start_again()?;
        complete(&host).with_context(|| told)?;
        agent.terminate()?;
        unmount(&merged)?;
    }
    Ok(())
}
