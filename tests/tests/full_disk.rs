//! The disk of the agent's state is full: a duty whose state has no reserve says so, all go on when there is room, and
//! nothing is lost.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// A small file system of its own in place of a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: PathBuf) -> Result<Self> {
        let none = None::<&str>;
        mount(none, &folder, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).context("mount a tmpfs; run as root")?;
        Ok(Self(folder))
    }

    /// Takes all space that is left, and keeps it.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join("filler"))?;
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(())
    }

    fn relieve(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing more can be done about one that stays.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn says_that_it_is_full(status: &Value, duty: &str) -> bool {
    let row = &status["duties"][duty];
    let text = row.to_string();
    row["state"] != "ok" && (text.contains("No space left") || text.contains("full") || text.contains("space"))
}

#[test]
fn no_duty_loses_anything_on_a_full_disk_and_those_that_cannot_go_on_say_so() -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
    let at = |name: &str| folder.path().join(name);
    for below in ["logs", "products", "bucket/out", "bucket/in", "fetched"] {
        fs::create_dir_all(at(below))?;
    }
    let configuration = format!(
        "buckets:\n  local: {{endpoint: 'file://{bucket}/out'}}\n  \
         other: {{endpoint: 'file://{bucket}', fetch: [{{prefix: in/, to: {fetched}, every: 1s}}]}}\n\
         products:\n  images: {{watch: {products}, bucket: local, key: '{{path}}', finished: {{quiet: 1s}}}}\n\
         logs:\n  sources: {{s: {{files: ['{logs}/*.log'], outputs: [archive]}}}}\n  \
         outputs: {{archive: {{file: {{path: {archive}}}}}}}\n\
         metrics:\n  listen: '127.0.0.1:0'\n  remote_write: [{{url: 'http://{gone}/api', interval: 1s}}]\n",
        bucket = at("bucket").display(),
        fetched = at("fetched").display(),
        products = at("products").display(),
        logs = at("logs").display(),
        archive = at("archive.log").display(),
        gone = port.address(),
    );
    let mut agent = AgentProcess::start(&configuration)?;
    eventually("it answers", SOON, || agent.get("/livez").is_ok())?;
    agent.terminate()?;
    let disk = SmallDisk::at(agent.state_folder())?;
    agent.start_again()?;
    eventually("it answers", SOON, || agent.get("/livez").is_ok())?;
    fs::write(at("products/first"), "first")?;
    eventually("the first product is there", SOON, || at("bucket/out/first").exists())?;

    disk.fill()?;
    fs::write(at("products/second"), "second")?;
    fs::write(at("bucket/in/second"), "second")?;
    fs::write(at("logs/a.log"), "a line\n".repeat(1000))?;
    for duty in ["fetch", "metrics"] {
        agent.wait_status(&format!("{duty} says that the disk is full"), SOON, |status| {
            says_that_it_is_full(status, duty)
        })?;
    }
    // These have reserved the space that they need to go on.
    eventually("products go on", SOON, || at("bucket/out/second").exists())?;
    eventually("lines go on", SOON, || {
        fs::read_to_string(at("archive.log")).is_ok_and(|text| text.lines().count() == 1000)
    })?;
    disk.relieve()?;
    for duty in ["products", "fetch", "logs"] {
        agent.wait_status(&format!("{duty} is well again"), SOON, |status| status["duties"][duty]["state"] == "ok")?;
    }
    ensure!(fs::read_to_string(at("bucket/out/second"))? == "second", "the product");
    ensure!(fs::read_to_string(at("fetched/second"))? == "second", "what is fetched");
    agent.kill9()?;
    agent.start_again()?;
    agent.wait_status("the products were recorded", SOON, |status| {
        status["duties"]["products"]["summary"].as_str().is_some_and(|text| text.contains("0 waiting"))
    })?;
    fs::write(at("logs/a.log"), "a line\n".repeat(1001))?;
    eventually("each line came once", SOON, || {
        fs::read_to_string(at("archive.log")).is_ok_and(|text| text.lines().count() == 1001)
    })?;
    Ok(())
}
