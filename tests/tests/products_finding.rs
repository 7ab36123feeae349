//! Products are found as their producers say that they are finished, at once, and whatever was missed is found later.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::front::Front;
use hostwright_tests::wait::eventually;
use product_site::{LIMIT, Site, produce};

const FOLDER: &str = "b: 'file://FOLDER/out'";
/// Long enough that what is not taken by then is not going to be; a walk comes every 30 s.
const A_WHILE: Duration = Duration::from_millis(1500);

fn site(settings: &str) -> Result<Site> {
    let mut site = Site::start(FOLDER, &format!("p: {{watch: FOLDER/in, bucket: b, {settings}}}"))?;
    site.agent.wait_ready(LIMIT)?;
    Ok(site)
}

/// What must not happen does not within a while.
fn stays_absent(site: &Site, name: &str) -> Result<()> {
    std::thread::sleep(A_WHILE);
    ensure!(!site.path(name).exists(), "{name} was taken");
    Ok(())
}

#[test]
fn what_is_renamed_into_place_is_taken_and_what_is_written_there_is_not() -> Result<()> {
    let site = site("finished: renamed, include: ['**/*.tif']")?;
    fs::write(site.path("in/in-place.tif"), "half")?;
    fs::write(site.path("in/a.tif.part"), "whole")?;
    fs::write(site.path("in/a.txt.part"), "no product")?;
    fs::rename(site.path("in/a.txt.part"), site.path("in/a.txt"))?;
    fs::rename(site.path("in/a.tif.part"), site.path("in/a.tif"))?;
    site.wait_file("out/a.tif", b"whole")?;
    // A folder that is moved in, with all that is in it.
    fs::create_dir_all(site.path("elsewhere/deep"))?;
    fs::write(site.path("elsewhere/deep/b.tif"), "deep")?;
    fs::rename(site.path("elsewhere"), site.path("in/moved"))?;
    site.wait_file("out/moved/deep/b.tif", b"deep")?;
    stays_absent(&site, "out/in-place.tif")?;
    ensure!(!site.path("out/a.txt").exists());
    Ok(())
}

#[test]
fn what_is_closed_is_taken_when_the_last_writer_closes_it() -> Result<()> {
    let site = site("finished: closed")?;
    let mut first = File::create(site.path("in/a"))?;
    let second = File::options().append(true).open(site.path("in/a"))?;
    first.write_all(b"one")?;
    drop(first);
    stays_absent(&site, "out/a")?;
    drop(second);
    site.wait_file("out/a", b"one")?;
    // In a folder that is made and filled in one go.
    fs::create_dir_all(site.path("in/x/y"))?;
    fs::write(site.path("in/x/y/z"), "deep")?;
    site.wait_file("out/x/y/z", b"deep")
}

#[test]
fn a_marker_beside_a_file_or_in_its_folder_says_that_it_is_finished() -> Result<()> {
    let products = "p: {watch: FOLDER/in, bucket: b, finished: {marker: '*.ready'}, afterwards: delete}\n  \
                    q: {watch: FOLDER/other, bucket: b, product: folder, finished: {marker: _SUCCESS}}";
    let mut site = Site::start(FOLDER, products)?;
    fs::create_dir_all(site.path("other/run"))?;
    site.agent.wait_ready(LIMIT)?;
    for name in ["in/a.tif", "in/a.xml", "in/b.tif", "other/run/part-0"] {
        fs::write(site.path(name), name)?;
    }
    stays_absent(&site, "out/a.tif")?;
    fs::write(site.path("in/a.ready"), "")?;
    site.wait_file("out/a.tif", b"in/a.tif")?;
    site.wait_file("out/a.xml", b"in/a.xml")?;
    eventually("the marker goes with what it spoke of", LIMIT, || !site.path("in/a.ready").exists())?;
    ensure!(!site.path("out/b.tif").exists() && !site.path("out/run").exists());
    fs::write(site.path("in/b.tif.ready"), "")?;
    site.wait_file("out/b.tif", b"in/b.tif")?;
    fs::write(site.path("other/run/_SUCCESS"), "")?;
    site.wait_file("out/run/part-0", b"other/run/part-0")?;
    eventually("the manifest", LIMIT, || site.path("out/run/_manifest.json").exists())?;
    ensure!(!site.path("out/run/_SUCCESS").exists() && !site.path("out/a.ready").exists());
    Ok(())
}

#[test]
fn what_came_while_the_agent_was_down_or_the_kernel_lost_is_found() -> Result<()> {
    let mut site = site("finished: closed")?;
    site.agent.kill9()?;
    fs::create_dir_all(site.path("in/new"))?;
    fs::write(site.path("in/new/a"), "while down")?;
    site.agent.start_again()?;
    site.wait_file("out/new/a", b"while down")?;
    // More than the kernel keeps for a process that does not look: the agent stands still meanwhile.
    let pid = nix::unistd::Pid::from_raw(site.agent.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP)?;
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?.trim().parse()?;
    for number in 0..=most / 3 {
        let path = site.path(&format!("in/new/n{number}"));
        fs::write(&path, "")?;
        fs::rename(&path, path.with_extension("tmp"))?;
    }
    fs::create_dir(site.path("in/late"))?;
    fs::write(site.path("in/late/b"), "beyond the queue")?;
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT)?;
    site.wait_file("out/late/b", b"beyond the queue")?;
    Ok(())
}

#[test]
fn an_operator_pushes_what_is_not_finished_and_is_told_what_cannot_be() -> Result<()> {
    let site = site("finished: push, conflict: version, key: 'x/{name}'")?;
    fs::create_dir_all(site.path("in/one"))?;
    fs::create_dir_all(site.path("in/two"))?;
    fs::write(site.path("in/one/a.tif"), "first")?;
    fs::write(site.path("in/two/a.tif"), "second")?;
    stays_absent(&site, "out/x")?;
    let path = |name: &str| site.path(name).display().to_string();
    let (text, well) = site.products(&["push", &path("in/one/a.tif")])?;
    ensure!(well && text == "p: one/a.tif: uploaded as x/a.tif\n", "{text}");
    let (text, well) = site.products(&["push", &path("in")])?;
    ensure!(well && text.contains("p: two/a.tif: uploaded as x/a.2.tif"), "{text}");
    ensure!(fs::read_to_string(site.path("out/x/a.2.tif"))? == "second");
    ensure!(fs::read_to_string(site.path("out/x/a.tif"))? == "first");
    let writer = File::create(site.path("in/open"))?;
    let (text, well) = site.products(&["push", &path("in/open")])?;
    ensure!(!well && text.contains("open for writing by pid"), "{text}");
    drop(writer);
    let (text, well) = site.products(&["push", "/nowhere"])?;
    ensure!(!well && text.contains("there is nothing at /nowhere"), "{text}");
    let (text, well) = site.products(&["push", "/etc/passwd"])?;
    ensure!(!well && text.contains("/etc/passwd is no product of any folder"), "{text}");
    let (text, _) = site.products(&[])?;
    // What was open when it was asked for goes as soon as its writer is gone, and is the last then.
    ensure!(text.contains("FOLDER → BUCKET") && text.contains("last: "), "{text}");
    Ok(())
}

#[test]
fn what_is_renamed_into_place_goes_at_once_although_ten_thousand_others_lie_there() -> Result<()> {
    const TIMES: usize = 20;
    let swift = Swift::start()?;
    swift.create_bucket("images")?;
    let front = Front::start(&swift.endpoint(), None)?;
    let bucket = format!("b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: TEST}}}}", front.endpoint());
    let product = "p: {watch: FOLDER/in, bucket: b, finished: renamed, exclude: ['many/**']}";
    let mut site = Site::start(&bucket, product)?;
    site.agent.wait_ready(LIMIT)?;
    produce(&site.path("in/first"), 1000)?;
    site.wait_uploaded(1)?;
    fs::create_dir(site.path("in/many"))?;
    for number in 0..10_000 {
        fs::write(site.path(&format!("in/many/{number}")), "")?;
    }
    // What no event tells is found by a walk, half a minute later.
    for number in 0..TIMES {
        let (part, path) = (site.path("in/next.part"), site.path(&format!("in/{number}.tif")));
        fs::write(&part, vec![7; 100_000])?;
        front.requests();
        fs::rename(&part, &path)?;
        front.wait_for(&format!("PUT /images/{number}.tif"), Duration::from_secs(5))?;
    }
    Ok(())
}
