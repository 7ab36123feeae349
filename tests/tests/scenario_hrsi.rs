//! HR-S&I: a job's products reach one bucket, then its folder another one, each with its own credentials.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::Swift;
use hostwright_tests::engines::swift::{ACCESS_KEY, OTHER_ACCESS_KEY, OTHER_SECRET_KEY, SECRET_KEY};
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::scenario::render;
use hostwright_tests::wait::eventually;

const LIMIT: Duration = Duration::from_secs(90);
const NAME: &str = "FSC_20170913T114531_S2B_T29SPC_V001_1";
const KEYS: [(&str, &str); 4] = [
    ("CSI_INTERNAL_EC2_CREDENTIALS_ACCESS_KEY", ACCESS_KEY),
    ("CSI_INTERNAL_EC2_CREDENTIALS_SECRET_KEY", SECRET_KEY),
    ("CSI_PRODUCTS_BUCKET_EC2_CREDENTIALS_ACCESS_KEY", OTHER_ACCESS_KEY),
    ("CSI_PRODUCTS_BUCKET_EC2_CREDENTIALS_SECRET_KEY", OTHER_SECRET_KEY),
];

fn config(endpoint: &str, jobs: &Path, port: &str) -> Result<String> {
    let jobs = jobs.display().to_string();
    let values = [
        ("environment", "test"),
        ("endpoint", endpoint),
        ("products_bucket", "hrsi"),
        ("jobs_bucket", "results"),
        ("jobs", jobs.as_str()),
        ("metrics_port", port),
    ];
    render("hrsi", "agent.yaml", &values)
}

/// What a worker leaves when a job has ended well.
fn run_job(jobs: &Path, id: &str) -> Result<()> {
    let job = jobs.join(id);
    let product = job.join("products").join(NAME);
    for folder in ["inputs", "tmp", "logs"] {
        fs::create_dir_all(job.join(folder))?;
        fs::write(job.join(folder).join("file"), folder)?;
    }
    fs::create_dir_all(&product)?;
    for (name, size) in [("FSCOG.tif", 18 << 20), ("QCFLAGS.tif", 500_000), ("metadata.xml", 3000)] {
        fs::write(product.join(format!("{NAME}_{name}")), vec![id.len() as u8; size])?;
    }
    let ended = job.join(".hostwright-job.json");
    fs::write(ended.with_extension("new"), format!("{{\"job_id\": \"{id}\", \"exit_code\": 0}}"))?;
    Ok(fs::rename(ended.with_extension("new"), ended)?)
}

#[test]
fn products_reach_the_catalogue_s_bucket_and_then_the_job_s_folder_the_internal_one() -> Result<()> {
    let swift = Swift::start()?;
    swift.create_bucket("results")?;
    swift.other_account("PUT", "hrsi")?;
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let (jobs, port) = (folder.path().join("jobs"), Port::reserve()?);
    fs::create_dir(&jobs)?;
    let config = config(&swift.endpoint(), &jobs, &port.number().to_string())?;
    let mut agent = AgentProcess::start_with_env(&config, &KEYS)?;
    agent.wait_ready(LIMIT)?;
    run_job(&jobs, "8c1f")?;
    // In the middle of it.
    eventually("the product is under way", LIMIT, || {
        swift.other_account("GET", "hrsi+segments").is_ok_and(|answer| !answer.text().is_empty())
    })?;
    agent.kill9()?;
    ensure!(!swift.keys("results")?.iter().any(|key| key.starts_with("jobs/")), "the job's folder came first");
    agent.start_again()?;
    let manifest = "jobs/8c1f/_manifest.json";
    eventually("the job's folder is whole", LIMIT, || {
        swift.object("results", manifest).is_ok_and(|found| found.is_some())
    })?;
    let prefix = format!("CLMS/Pan-European/High_Resolution_Layers/FSC/2017/09/13/{NAME}");
    let listed = swift.other_account("GET", "hrsi")?.text();
    let keys: Vec<_> = listed.lines().filter(|key| key.starts_with("CLMS/")).collect();
    let names = ["FSCOG.tif", "QCFLAGS.tif", "metadata.xml"].map(|name| format!("{prefix}/{NAME}_{name}"));
    let wanted: Vec<_> = names
        .iter()
        .map(String::as_str)
        .chain([format!("{prefix}/_manifest.json").as_str()])
        .map(str::to_owned)
        .collect();
    ensure!(keys == wanted, "{keys:#?}");
    let product = swift.other_account("HEAD", &format!("hrsi/{prefix}/_manifest.json"))?;
    let first = swift.head("results", "jobs/8c1f/logs/file")?;
    let stamp = |answer: &hostwright_tests::http::Response| answer.header("x-timestamp").map(str::to_owned);
    ensure!(stamp(&product).context("a time")? < stamp(&first).context("a time")?, "products first");
    let job: Vec<_> = swift.keys("results")?.into_iter().filter(|key| key.starts_with("jobs/")).collect();
    ensure!(job.contains(&"jobs/8c1f/logs/file".to_owned()) && job.len() == 5, "{job:#?}");
    eventually("what was uploaded is deleted", LIMIT, || !jobs.join("8c1f/products").exists())?;
    ensure!(jobs.join("8c1f/inputs/file").exists(), "what was not uploaded stays");
    for secret in [SECRET_KEY, OTHER_SECRET_KEY] {
        ensure!(!agent.output().contains(secret) && !agent.status()?.to_string().contains(secret));
    }
    Ok(())
}
