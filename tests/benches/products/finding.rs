use anyhow::Result;
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::front::Front;
use hostwright_tests::process::AgentProcess;
use std::fs;
use std::time::{Duration, Instant};

use super::sink;

const TIMES: usize = 100;
/// Files that lie in the same folder and are none of a product's.
const OTHERS: usize = 10_000;
/// Longer under way than all that is measured.
const HUGE: u64 = 1 << 40;
const LIMIT: Duration = Duration::from_secs(60);

/// How long one in a hundred files takes from its rename to the first byte of its request, in milliseconds; `beside` an
/// upload of a file that does not end, and of thousands of small ones, into a sink.
pub fn p99_ms(beside: bool) -> Result<f64> {
    let store = S3sFs::start()?;
    store.create_bucket("images")?;
    let front = Front::start(&store.endpoint(), None)?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("many"))?;
    for number in 0..OTHERS {
        fs::write(folder.path().join("many").join(number.to_string()), "")?;
    }
    let sink = sink::start()?;
    let mut config = format!(
        "buckets:\n  b: {{endpoint: '{}', bucket: images, credentials: {{env_prefix: BENCH}}}}\n\
         products:\n  p: {{watch: {}, bucket: b, key: '{{path}}', finished: renamed, exclude: ['many/**']}}\n",
        front.endpoint(),
        folder.path().display()
    );
    if beside {
        let load = folder.path().join("many/load");
        fs::create_dir(&load)?;
        fs::File::create(load.join("huge"))?.set_len(HUGE)?;
        for number in 0..OTHERS {
            fs::write(load.join(number.to_string()), vec![0; 10_000])?;
        }
        config = config.replacen(
            "products:\n",
            &format!(
                "  s: {{endpoint: '{}', bucket: load, credentials: {{env_prefix: BENCH}}}}\n\
             products:\n  load: {{watch: {}, bucket: s, quiet: 0s}}\n",
                sink.url(),
                load.display()
            ),
            1,
        );
    }
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
