//! More parts than Swift's thousand, for real: `cargo test --release -p hostwright-tests --test products_parts -- --ignored`.

/// A folder that is watched by a real agent.
mod product_site;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::process::AgentProcess;
use product_site::LIMIT;

/// 1,067 parts of 6 MiB.
const SIZE: u64 = 6400 << 20;

#[test]
#[ignore = "it takes a minute of release binaries and 13 GB of disk"]
fn a_file_of_more_than_a_thousand_parts_arrives_whole_in_little_memory() -> Result<()> {
    let (store, folder) = (S3sFs::start()?, tempfile::tempdir_in("/var/tmp")?);
    store.create_bucket("products")?;
    let config = format!(
        "buckets: {{b: {{endpoint: '{}', bucket: products, credentials: {{env_prefix: TEST}}}}}}\n\
         products: {{p: {{watch: {}, bucket: b, key: '{{path}}', finished: renamed}}}}\n",
        store.endpoint(),
        folder.path().join("in").display()
    );
    fs::create_dir(folder.path().join("in"))?;
    let mut agent = AgentProcess::start_with_env(
        &config,
        &[("TEST_ACCESS_KEY", s3s::ACCESS_KEY), ("TEST_SECRET_KEY", s3s::SECRET_KEY)],
    )?;
    agent.wait_ready(LIMIT)?;
    let making = folder.path().join("making");
    let file = File::create(&making)?;
    file.set_len(SIZE)?;
    // What is in it tells the first part, the one after the thousandth and the last from all others.
    for at in [0, 6006 << 20, SIZE - 10] {
        file.write_all_at(format!("{at:010}").as_bytes(), at)?;
    }
    drop(file);
    fs::rename(making, folder.path().join("in/large"))?;
    let status = agent.wait_status("it is confirmed", 10 * LIMIT, |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == 1
    })?;
    let last = status["duties"]["products"]["details"]["p"].to_string();
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    println!("{peak} kB; {last}");
    ensure!(peak < 100_000, "{peak} kB");
    Ok(())
}
