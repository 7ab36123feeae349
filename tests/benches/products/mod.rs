//! Uploading to a bucket beside rclone: the same files, the same store (s3s-fs, the one that limits least of those that run
//! here: files of 1 MiB by curl took 3 CPU seconds for a GB of it and 7 of Ceph's gateway), parts of 6 MiB, four files and
//! four parts at once, checksums on; beside them what the store itself can take.

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::process::AgentProcess;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Settings;
use crate::table::{Goal, Table};
use crate::usage::{cpu_seconds, peak_resident};

const LIMIT: Duration = Duration::from_secs(1800);
const TICK: Duration = Duration::from_millis(20);

/// Memory where there is very much.
mod bounds;
/// From a file's last name to its first byte.
mod finding;
/// What the store itself can take.
mod limit;
/// A fake in the place of a store that is never the limit.
mod sink;

/// Files of one kind.
struct Work {
    name: &'static str,
    files: u64,
    size: u64,
}

/// What it took to bring all files into the bucket.
struct Cost {
    seconds: f64,
    cpu_per_gb: f64,
    peak: f64,
}

/// At the usual `SIZE_MB` (200) a tenth of what the goals speak of: 2 GiB, 2,000 of 1 MiB and 20,000 of 10 kB.
pub fn run(settings: &Settings, table: &mut Table) {
    let works = [
        Work { name: "one large file", files: 1, size: settings.size },
        Work { name: "files of 1 MiB", files: (settings.size / 1_000_000).max(1), size: 1 << 20 },
        Work { name: "files of 10 kB", files: (settings.size / 100_000).max(1), size: 10_000 },
    ];
    let work = "products: renamed into place to first byte sent: p99";
    if table.wants(work) {
        table.add((work, "ms"), Goal::AtMost(100.0), finding::p99_ms(false), None);
    }
    let work = "products: renamed into place to first byte sent, beside uploads that take all CPUs: p99";
    if table.wants(work) {
        table.add((work, "ms"), Goal::AtMost(100.0), finding::p99_ms(true), None);
    }
    // 100,000 files and 20 GiB for a full run.
    let (files, size) = ((settings.size / 20_000).max(1), settings.size / 2_000_000_000 * (20 << 30));
    let work = format!("products: {files} small files: peak memory");
    if table.wants(&work) {
        table.add((&work, "MB"), Goal::AtMost(100.0), bounds::many(settings, files), None);
    }
    let size = size.max(settings.size);
    let work = format!("products: a sparse file of {} GB into a sink: peak memory", size / 1_000_000_000);
    if table.wants(&work) {
        table.add((&work, "MB"), Goal::AtMost(100.0), bounds::huge(settings, size), None);
    }
    for work in &works {
        if !table.wants(&format!("products: {}", work.name)) {
            continue;
        }
        if let Err(error) = compare(settings, work, table) {
            println!("products: {}: {error:#}", work.name);
        }
    }
}

fn compare(settings: &Settings, work: &Work, table: &mut Table) -> Result<()> {
    let source = tempfile::tempdir_in(&settings.folder)?;
    produce(source.path(), work)?;
    let store = S3sFs::start()?;
    for bucket in ["ours", "peer", "limit"] {
        store.create_bucket(bucket)?;
    }
    let name = |what: &str| format!("products: {}, {}: {what}", work.files, work.name);
    // Of these the store and whoever sends share the cores: no client is quicker.
    let (how, limit) = match work.files {
        1 => ("parts by curl, 4 at once, put together", limit::of_parts(&store, &settings.folder, source.path())),
        _ => ("PUTs by curl, 16 at once", limit::of_files(&store, &settings.folder, (source.path(), work))),
    };
    let told = limit.as_ref().copied().map_err(|error| anyhow::anyhow!("{error:#}"));
    table.add((&name(&format!("the store's own limit, {how}")), "s"), Goal::None, told, None);
    let endpoint = store.endpoint();
    let ours = add_costs(table, (&endpoint, source.path()), work, "");
    if let (Ok(ours), Ok(limit)) = (&ours, limit) {
        table.add((&name("wall time over the store's own limit"), "times"), Goal::None, Ok(ours.seconds / limit), None);
    }
    drop(store);
    let sink = sink::start()?;
    add_costs(table, (&sink.url(), source.path()), work, " into a sink (a fake)").map(drop)
}

/// What it costs us and the peer to upload all to an endpoint.
fn add_costs(table: &mut Table, (endpoint, source): (&str, &Path), work: &Work, whither: &str) -> Result<Cost> {
    let name = |what: &str| format!("products: {}, {}{whither}: {what}", work.files, work.name);
    let (ours, peer) = (upload(endpoint, source, work), rclone(endpoint, source, work));
    let figure = |cost: &Result<Cost>, of: fn(&Cost) -> f64| match cost {
        Ok(cost) => Ok(of(cost)),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let mut add = |what: &str, unit: &'static str, of: fn(&Cost) -> f64| {
        table.add((&name(what), unit), Goal::ShareOfPeer(2), figure(&ours, of), Some(figure(&peer, of)));
    };
    add("wall time", "s", |cost| cost.seconds);
    add("CPU", "s/GB", |cost| cost.cpu_per_gb);
    add("peak memory", "MB", |cost| cost.peak);
    ours
}

/// Content that does not repeat, in folders of a thousand.
fn produce(folder: &Path, work: &Work) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(1);
    for number in 0..work.files {
        let below = folder.join(format!("{:03}", number / 1000));
        fs::create_dir_all(&below)?;
        let mut left = work.size;
        let mut file = fs::File::create(below.join(format!("product-{number:06}")))?;
        let mut piece = vec![0; 1 << 20];
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            rng.fill(&mut piece[..length]);
            std::io::Write::write_all(&mut file, &piece[..length])?;
            left -= length as u64;
        }
    }
    Ok(())
}

fn upload(endpoint: &str, source: &Path, work: &Work) -> Result<Cost> {
    let config = format!(
        "buckets:\n  b: {{endpoint: '{endpoint}', bucket: ours, credentials: {{env_prefix: BENCH}}}}\n\
         products:\n  p: {{watch: {}, bucket: b, key: '{{path}}', quiet: 100ms}}\n",
        source.display()
    );
    let keys = [("BENCH_ACCESS_KEY", s3s::ACCESS_KEY), ("BENCH_SECRET_KEY", s3s::SECRET_KEY)];
    let begun = Instant::now();
    let agent = AgentProcess::start_with_env(&config, &keys)?;
    agent.wait_status("all is uploaded", LIMIT, |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == work.files
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    cost(work, seconds, (cpu_seconds(agent.pid())?, peak_resident(agent.pid())?))
}

fn rclone(endpoint: &str, source: &Path, work: &Work) -> Result<Cost> {
    let remote = format!(
        ":s3,provider=Other,access_key_id={},secret_access_key={},endpoint='{endpoint}':peer",
        s3s::ACCESS_KEY,
        s3s::SECRET_KEY,
    );
    let mut command = Command::new("rclone");
    command.arg("copy").arg(source).arg(&remote).args(["--config", "/dev/null", "--checksum", "--transfers", "4"]);
    command.args(["--s3-upload-cutoff", "16M", "--s3-chunk-size", "6M", "--s3-upload-concurrency", "4"]);
    command.args(["--s3-no-check-bucket", "--s3-force-path-style"]).env_remove("AWS_CA_BUNDLE").stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn();
    let mut child = child.context("starting rclone (tests/setup.sh installs it)")?;
    let used = used_until_end(&mut child)?;
    let seconds = begun.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rclone: {}", String::from_utf8_lossy(&output.stderr));
    cost(work, seconds, used)
}

/// CPU seconds and peak memory of a process, looked at until it ends.
fn used_until_end(child: &mut Child) -> Result<(f64, f64)> {
    let process = child.id().cast_signed();
    let mut used = (0.0, 0.0);
    while child.try_wait()?.is_none() {
        if let (Ok(cpu), Ok(peak)) = (cpu_seconds(process), peak_resident(process)) {
            used = (cpu, peak);
        }
        std::thread::sleep(TICK);
    }
    Ok(used)
}

fn cost(work: &Work, seconds: f64, (cpu, peak): (f64, f64)) -> Result<Cost> {
    Ok(Cost { seconds, cpu_per_gb: cpu / (work.files as f64 * work.size as f64 / 1e9), peak })
}
