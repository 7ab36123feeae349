//! How much memory the agent takes where there is very much: a hundred thousand small files, and a sparse file of 20 GiB
//! that a sink takes in the place of a store, because a store would write it to disk twice.

use anyhow::Result;
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::process::AgentProcess;
use std::fs;
use std::path::Path;

use super::{LIMIT, Work, produce, sink};
use crate::Settings;
use crate::usage::peak_resident;

/// The most memory that many files take, in MB.
pub fn many(settings: &Settings, files: u64) -> Result<f64> {
    let source = tempfile::tempdir_in(&settings.folder)?;
    produce(source.path(), &Work { name: "many", files, size: 1_000 })?;
    let store = S3sFs::start()?;
    store.create_bucket("ours")?;
    peak(&store.endpoint(), source.path(), files)
}

/// The most memory that a file of so many bytes takes, in MB.
pub fn huge(settings: &Settings, size: u64) -> Result<f64> {
    let source = tempfile::tempdir_in(&settings.folder)?;
    let sink = sink::start()?;
    fs::File::create(source.path().join("sparse"))?.set_len(size)?;
    peak(&sink.url(), source.path(), 1)
}

fn peak(endpoint: &str, source: &Path, files: u64) -> Result<f64> {
    let config = format!(
        "buckets:\n  b: {{endpoint: '{endpoint}', bucket: ours, credentials: {{env_prefix: BENCH}}}}\n\
         products:\n  p: {{watch: {}, bucket: b, key: '{{path}}', quiet: 100ms}}\n",
        source.display()
    );
    let keys = [("BENCH_ACCESS_KEY", s3s::ACCESS_KEY), ("BENCH_SECRET_KEY", s3s::SECRET_KEY)];
    let agent = AgentProcess::start_with_env(&config, &keys)?;
    agent.wait_status("all is uploaded", LIMIT, |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == files
    })?;
    peak_resident(agent.pid())
}
