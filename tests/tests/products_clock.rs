//! A host's clock that is set, while the agent runs and while it does not: nothing is deleted early, nothing stands still.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::aws_like::AwsLike;
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, SECRET_KEY};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A watched folder, and an agent whose clock is what a file says (`+8d`): the time since the host's start goes on as it
/// does, and so do the times of files.
struct Host {
    folder: TempDir,
    agent: AgentProcess,
    made: usize,
}

impl Host {
    /// STORE stands for a folder.
    fn start(bucket: &str, product: &str, ahead: &str) -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        fs::create_dir(folder.path().join("in"))?;
        let at = folder.path().display().to_string();
        let config = format!(
            "buckets: {{b: {}}}\nproducts: {{p: {{watch: {at}/in, bucket: b, {product}}}}}\n",
            bucket.replace("STORE", &format!("file://{at}/store"))
        );
        let clock = folder.path().join("clock");
        fs::write(&clock, format!("{ahead}\n"))?;
        let clock = clock.display().to_string();
        let environment = [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &clock),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
            ("TEST_ACCESS_KEY", ACCESS_KEY),
            ("TEST_SECRET_KEY", SECRET_KEY),
        ];
        let mut agent = AgentProcess::start_with_env(&config, &environment)?;
        agent.wait_ready(LIMIT)?;
        Ok(Self { folder, agent, made: 0 })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("in").join(name)
    }

    fn set_clock(&self, ahead: &str) -> Result<()> {
        let next = self.folder.path().join("clock.next");
        fs::write(&next, format!("{ahead}\n"))?;
        Ok(fs::rename(next, self.folder.path().join("clock"))?)
    }

    fn start_again(&mut self, ahead: &str) -> Result<()> {
        self.agent.terminate()?;
        self.set_clock(ahead)?;
        self.agent.start_again()?;
        self.agent.wait_ready(LIMIT)?;
        Ok(())
    }

    /// Makes one more product, and waits until it is uploaded: what happened before it has been looked at.
    fn produce(&mut self) -> Result<PathBuf> {
        self.made += 1;
        let path = self.path(&format!("{}.tif", self.made));
        fs::write(&path, vec![1; 100_000])?;
        let logged = format!(": uploaded \"{}.tif\"", self.made);
        eventually("it is uploaded", LIMIT, || {
            ensure!(self.agent.output().contains(&logged), "{}", self.agent.output());
            Ok(())
        })?;
        Ok(path)
    }

    /// The agent looks at a product once more, and at another after that.
    fn stays(&mut self, path: &Path) -> Result<()> {
        // Opened for writing and closed again, with nothing written.
        drop(OpenOptions::new().append(true).open(path)?);
        self.produce()?;
        ensure!(path.exists(), "it was deleted: {}", self.agent.output());
        Ok(())
    }

    fn goes(&mut self, path: &Path) -> Result<()> {
        // It may be gone by now.
        drop(OpenOptions::new().append(true).open(path));
        eventually("it is deleted", LIMIT, || {
            ensure!(!path.exists(), "{}", self.agent.output());
            Ok(())
        })
    }
}

#[test]
fn what_is_kept_for_days_is_not_deleted_by_a_clock_that_is_set() -> Result<()> {
    let mut host = Host::start("STORE", "quiet: 200ms, afterwards: {keep: 7d}", "+20d")?;
    let path = host.produce()?;
    host.start_again("+0")?;
    host.stays(&path)?;
    // It counts from here, and not from a day that is yet to come.
    host.start_again("+8d")?;
    host.goes(&path)?;
    let path = host.produce()?;
    host.set_clock("+30d")?;
    host.stays(&path)?;
    host.set_clock("+8d")?;
    host.stays(&path)
}

/// A store that tells its time knows better, also what was before the agent's start.
#[test]
fn a_stores_time_tells_how_long_a_product_was_kept() -> Result<()> {
    let store = AwsLike::start()?;
    let bucket = format!("{{endpoint: '{}', bucket: products, credentials: {{env_prefix: TEST}}}}", store.endpoint());
    for wrong in ["-3y", "+3y"] {
        let product = format!("quiet: 200ms, afterwards: {{keep: 7d}}, key: '{wrong}/{{path}}'");
        let mut host = Host::start(&bucket, &product, wrong)?;
        let path = host.produce()?;
        host.stays(&path)?;
        for clock in ["+0", "+8d", "+0"] {
            host.start_again(clock)?;
            host.stays(&path)?;
        }
        host.set_clock("+8d")?;
        host.stays(&path)?;
    }
    Ok(())
}

#[test]
fn while_the_clock_jumps_by_hours_all_arrives_and_is_deleted_in_time() -> Result<()> {
    let swift = Swift::start()?;
    swift.create_bucket("images")?;
    let bucket = format!("{{endpoint: '{}', bucket: images, credentials: {{env_prefix: TEST}}}}", swift.endpoint());
    let mut host = Host::start(&bucket, "quiet: 200ms, afterwards: delete", "+0")?;
    let cpu = |host: &Host| -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", host.agent.pid()))?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        Ok(fields[12].parse::<u64>()? + fields[13].parse::<u64>()?)
    };
    for clock in ["+5h", "-5h", "+0", "-30d", "+2y", "+0"] {
        host.set_clock(clock)?;
        let path = host.produce()?;
        host.goes(&path)?;
        let large = host.path("large.tif");
        fs::write(&large, vec![2; 20 << 20])?;
        eventually("the large one is deleted", LIMIT, || {
            ensure!(!large.exists(), "{clock}: {}", host.agent.output());
            Ok(())
        })?;
        let before = cpu(&host)?;
        std::thread::sleep(Duration::from_secs(1));
        let used = cpu(&host)? - before;
        ensure!(used < 50, "{clock}: it spins, {used} ticks in a second");
    }
    ensure!(host.agent.output().contains("requests are signed with the store's time"), "{}", host.agent.output());
    Ok(())
}
