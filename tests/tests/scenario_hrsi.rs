//! HR-S&I: a science container runs as a job, its image from a bucket; a job's products reach one bucket, then its folder another one, each with its own credentials.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::swift::{ACCESS_KEY, OTHER_ACCESS_KEY, OTHER_SECRET_KEY, SECRET_KEY};
use hostwright_tests::engines::{Docker, Swift};
use hostwright_tests::port::Port;
use hostwright_tests::process::{AgentProcess, binary};
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

/// What the science container does: a product, its log, and what nobody wants to keep.
const PROCESS: &str = "set -e
mkdir -p /job/products/$PRODUCT /job/inputs /job/tmp /job/logs
for file in FSCOG.tif metadata.xml; do echo $HOSTWRIGHT_JOB_ID >/job/products/$PRODUCT/${PRODUCT}_$file; done
echo scene >/job/inputs/file
echo $PRODUCT is done | tee /job/logs/file
";

#[test]
fn a_science_container_from_the_bucket_makes_a_product_that_reaches_the_catalogue() -> Result<()> {
    let (docker, swift) = (Docker::start()?, Swift::start()?);
    swift.create_bucket("results")?;
    swift.other_account("PUT", "hrsi")?;
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (project, port, image) = (docker.project("hrsi"), Port::reserve()?, unique("fsc_processing"));
    put_archive(&docker, &swift, &image, &path("archive.tar"))?;
    // Nobody answers there.
    let name = format!("127.0.0.1:9/si/{image}:1.4");
    fs::write(path("compose.yaml"), render("hrsi", "compose.yaml", &[("image", &name)])?)?;
    let engine = docker.socket().display().to_string();
    let (compose, outputs) = (path("compose.yaml"), path("jobs"));
    let values =
        [("compose", compose.as_str()), ("project", project.name()), ("engine", &engine), ("outputs", &outputs)];
    // The folder of a service's jobs is what is watched.
    let jobs = Path::new(&outputs).join("fsc");
    fs::create_dir_all(&jobs)?;
    let config =
        config(&swift.endpoint(), &jobs, &port.number().to_string())? + &render("hrsi", "science.yaml", &values)?;
    let mut agent = AgentProcess::start_with_env(&config, &KEYS)?;
    agent.wait_ready(LIMIT)?;
    let product = format!("PRODUCT={NAME}");
    let run = ["jobs", "run", "fsc", "--wait", "--env", &product, "--socket"];
    let output = Command::new(binary("hostwright-agent")?).args(run).arg(agent.socket()).output()?;
    ensure!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), agent.output());
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    let source = agent.status()?["duties"]["containers"]["details"]["images"]["pins"][&name]["source"].clone();
    ensure!(source.as_str().is_some_and(|source| source.contains(&format!("docker/images/{image}.tar"))), "{source}");
    let manifest = format!("jobs/{id}/_manifest.json");
    eventually("the job's folder is whole", LIMIT, || {
        swift.object("results", &manifest).is_ok_and(|found| found.is_some())
    })?;
    let key = format!("hrsi/CLMS/Pan-European/High_Resolution_Layers/FSC/2017/09/13/{NAME}/{NAME}_FSCOG.tif");
    assert_eq!(swift.other_account("GET", &key)?.text().trim(), id);
    let log = swift.object("results", &format!("jobs/{id}/logs/file"))?.context("no log")?;
    assert_eq!(String::from_utf8(log)?, format!("{NAME} is done\n"));
    let unwanted = swift.keys("results")?.into_iter().find(|key| key.contains("/inputs/") || key.contains("/tmp/"));
    ensure!(unwanted.is_none(), "{unwanted:?}");
    docker.docker(&["rmi", "--force", &name])?;
    Ok(())
}

/// Puts the science image into the bucket, and takes it away from the engine.
fn put_archive(docker: &Docker, swift: &Swift, image: &str, file: &str) -> Result<()> {
    let tree = tempfile::tempdir()?;
    fs::create_dir(tree.path().join("bin"))?;
    fs::copy("/bin/busybox", tree.path().join("bin/busybox"))?;
    for tool in ["sh", "mkdir", "tee"] {
        std::os::unix::fs::symlink("busybox", tree.path().join("bin").join(tool))?;
    }
    fs::write(tree.path().join("process.sh"), PROCESS)?;
    let tagged = format!("127.0.0.1:9/si/{image}:1.4");
    docker.image_from_tree(&tagged, tree.path(), &[])?;
    docker.docker(&["save", "--output", file, &tagged])?;
    docker.docker(&["rmi", "--force", &tagged])?;
    swift.put_object("results", &format!("docker/images/{image}.tar"), &fs::read(file)?)
}
