//! Producers and operators who do with files and folders what file systems allow: what is there in the end is in the bucket.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce};

fn site(settings: &str) -> Result<Site> {
    let mut site = Site::start(
        "b: file://FOLDER/store",
        &format!("p: {{watch: FOLDER/in, bucket: b, key: '{{path}}', {settings}}}"),
    )?;
    site.agent.wait_ready(LIMIT)?;
    Ok(site)
}

/// Whoever has it open goes on writing after it has its last name, and another opens it again later.
#[test]
fn what_is_opened_for_writing_after_it_was_renamed_into_place_is_there_as_its_last_writer_left_it() -> Result<()> {
    let site = site("finished: renamed")?;
    let mut first = fs::File::create(site.path("making"))?;
    first.write_all(b"first ")?;
    fs::rename(site.path("making"), site.path("in/a.tif"))?;
    site.wait("it waits for its writer", |p| p["in_use"].to_string().contains("a.tif") || p["waiting"] == 1)?;
    ensure!(!site.path("store/a.tif").exists(), "it was taken while somebody writes it");
    first.write_all(b"second ")?;
    drop(first);
    site.wait_file("store/a.tif", b"first second ")?;
    let mut second = OpenOptions::new().append(true).open(site.path("in/a.tif"))?;
    second.write_all(b"third")?;
    produce(&site.path("in/b.tif"), 1000)?;
    site.wait("another one arrives", |p| p["uploaded"] == 2)?;
    ensure!(fs::read(site.path("store/a.tif"))? == b"first second ", "it was taken while somebody writes it");
    drop(second);
    // What is written in place, where things are renamed, is taken after a minute of quiet, or when it is renamed.
    fs::rename(site.path("in/a.tif"), site.path("in/c.tif"))?;
    site.wait_file("store/c.tif", b"first second third")?;
    Ok(())
}

/// Two names of one file are two products; a name that goes takes nothing from the other.
#[test]
fn hard_links_are_products_of_their_own() -> Result<()> {
    let site = site("quiet: 200ms, afterwards: delete")?;
    let content = produce(&site.path("archived.tif"), 1000)?;
    for name in ["in/a.tif", "in/b.tif"] {
        fs::hard_link(site.path("archived.tif"), site.path(name))?;
    }
    site.wait_file("store/a.tif", &content)?;
    site.wait_file("store/b.tif", &content)?;
    eventually("both names are gone", LIMIT, || {
        ensure!(fs::read_dir(site.path("in"))?.next().is_none(), "not yet");
        Ok(())
    })?;
    ensure!(fs::read(site.path("archived.tif"))? == content && site.uploads_logged() == 2, "{}", site.agent.output());
    Ok(())
}

/// `mv in old; mv new in`, there and back; nothing is sent twice, and what is in the new folder arrives.
#[test]
fn a_watched_folder_that_is_replaced_is_watched_on() -> Result<()> {
    let site = site("quiet: 200ms")?;
    let first = produce(&site.path("in/a.tif"), 1000)?;
    site.wait_uploaded(1)?;
    for round in 0..2 {
        fs::create_dir(site.path("new"))?;
        let inside = produce(&site.path("new/in-it.tif"), 2000 + round)?;
        fs::rename(site.path("in"), site.path("old"))?;
        fs::rename(site.path("new"), site.path("in"))?;
        site.wait_file("store/in-it.tif", &inside)?;
        let later = produce(&site.path("in/later.tif"), 3000 + round)?;
        site.wait_file("store/later.tif", &later)?;
        fs::remove_dir_all(site.path("in"))?;
        fs::rename(site.path("old"), site.path("in"))?;
        let back = produce(&site.path("in/back.tif"), 4000 + round)?;
        site.wait_file("store/back.tif", &back)?;
    }
    ensure!(fs::read(site.path("store/a.tif"))? == first, "it differs");
    Ok(())
}

/// Until the test is over, whatever becomes of it.
struct Mount<'p>(&'p Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--quiet", "--lazy"]).arg(self.0).output();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status()?;
    ensure!(status.success(), "{program} {arguments:?}");
    Ok(())
}

#[test]
fn a_file_system_that_is_unmounted_and_mounted_again_loses_no_product() -> Result<()> {
    let site = site("quiet: 200ms")?;
    let (disk, place) = (site.path("disk"), site.path("in"));
    let (disk, place) = (disk.display().to_string(), place.display().to_string());
    run("truncate", &["--size", "16M", &disk])?;
    run("mkfs.ext4", &["-q", &disk])?;
    let whole = site.path("in");
    let _mount = Mount(&whole);
    // What is mounted over a folder is told by nobody: the next walk finds it, and all that was there before is there again.
    run("mount", &["-o", "loop", &disk, &place])?;
    let mounted = produce(&site.path("in/mounted.tif"), 1000)?;
    site.wait_file("store/mounted.tif", &mounted)?;
    run("umount", &[&place])?;
    let below = produce(&site.path("in/below.tif"), 5000)?;
    site.wait_file("store/below.tif", &below)?;
    run("mount", &["-o", "loop", &disk, &place])?;
    let again = produce(&site.path("in/again.tif"), 1001)?;
    site.wait_file("store/again.tif", &again)?;
    ensure!(fs::read(site.path("store/mounted.tif"))? == mounted, "it differs");
    Ok(())
}

/// Not even root reads everything: the agent here lacks the capability to.
#[test]
fn a_permission_that_is_lost_is_said_and_when_it_is_back_all_arrives() -> Result<()> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let at = folder.path().display().to_string();
    fs::create_dir_all(folder.path().join("in/deep"))?;
    let config = format!(
        "buckets: {{b: 'file://{at}/store'}}\nproducts: {{p: {{watch: {at}/in, bucket: b, key: '{{path}}', quiet: 200ms}}}}\n"
    );
    let mut agent = AgentProcess::start_as(&config, &[], "-dac_override,-dac_read_search")?;
    agent.wait_ready(LIMIT)?;
    let held = |path: &str, mode: u32| fs::set_permissions(folder.path().join(path), Permissions::from_mode(mode));
    produce(&folder.path().join("in/deep/first.tif"), 1000)?;
    let arrives = |name: &str| {
        eventually(name, LIMIT, || {
            let (here, there) = (folder.path().join("in").join(name), folder.path().join("store").join(name));
            ensure!(fs::read(here)? == fs::read(there)?, "it differs");
            Ok(())
        })
    };
    arrives("deep/first.tif")?;
    for (path, name) in [("in/deep", "deep/second.tif"), ("in", "third.tif")] {
        produce(&folder.path().join("in").join(name), 1000)?;
        held(path, 0o000)?;
        agent.wait_status("it is said", LIMIT, |status| {
            let products = &status["duties"]["products"];
            products.to_string().contains("ermission denied")
        })?;
        held(path, 0o755)?;
        arrives(name)?;
    }
    let file = folder.path().join("in/fourth.tif");
    fs::write(folder.path().join("unreadable"), "fourth")?;
    fs::set_permissions(folder.path().join("unreadable"), Permissions::from_mode(0o000))?;
    fs::rename(folder.path().join("unreadable"), &file)?;
    agent.wait_status("it is said", LIMIT, |status| {
        status["duties"]["products"].to_string().contains("fourth.tif cannot be read")
    })?;
    held("in/fourth.tif", 0o644)?;
    arrives("fourth.tif")
}
