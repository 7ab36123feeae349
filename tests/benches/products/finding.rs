use anyhow::Result;
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::front::Front;
use hostwright_tests::process::AgentProcess;
use std::fs;
use std::time::{Duration, Instant};

const TIMES: usize = 100;
/// Files that lie in the same folder and are none of a product's.
const OTHERS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(60);

/// How long one in a hundred files takes from its rename to the first byte of its request, in milliseconds.
pub fn p99_ms() -> Result<f64> {
    let store = S3sFs::start()?;
    store.create_bucket("images")?;
    let front = Front::start(&store.endpoint(), None)?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("many"))?;
    for number in 0..OTHERS {
        fs::write(folder.path().join("many").join(number.to_string()), "")?;
    }
    let config = format!(
        "buckets:\n  b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: BENCH}}}}\n\
         products:\n  p: {{watch: {}, bucket: b, key: '{{path}}', finished: renamed, exclude: ['many/**']}}\n",
        front.endpoint(),
        folder.path().display()
    );
    let keys = [("BENCH_ACCESS_KEY", s3s::ACCESS_KEY), ("BENCH_SECRET_KEY", s3s::SECRET_KEY)];
    let mut agent = AgentProcess::start_with_env(&config, &keys)?;
    agent.wait_ready(LIMIT)?;
    let mut took = Vec::with_capacity(TIMES);
    for number in 0..=TIMES {
        let (part, path) = (folder.path().join("next.part"), folder.path().join(format!("{number}.tif")));
        fs::write(&part, vec![7; 100_000])?;
        front.requests();
        let began = Instant::now();
        fs::rename(&part, &path)?;
        front.wait_for(&format!("PUT /images/{number}.tif"), LIMIT)?;
        // The first one finds the bucket and its connection.
        if number > 0 {
            took.push(began.elapsed());
        }
    }
    took.sort_unstable();
    Ok(took[TIMES * 99 / 100 - 1].as_secs_f64() * 1000.0)
}
