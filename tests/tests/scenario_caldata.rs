//! CalData's batch jobs on real engines: registry with a login, outputs to Swift, lines with the job's id.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Registry, Swift};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::scenario::render;
use hostwright_tests::wait::eventually;

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn jobs_run_by_order_and_for_files_and_their_outputs_and_lines_arrive() -> Result<()> {
    let (docker, swift, registry) = (Docker::start()?, Swift::start()?, Registry::start()?);
    swift.create_bucket("scratch")?;
    let (project, local, folder) = (docker.project("caldata"), unique("hostwright-transform"), tempfile::tempdir()?);
    docker.busybox_image(&local)?;
    registry.push(&docker, &local, "dse-infra/transform:1")?;
    let registry = registry.protect("bot", "hunter2")?;
    let root = docker.docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["inbox", "outputs/transform", "outputs/ingest"] {
        fs::create_dir_all(path(name))?;
    }
    let (folder_text, inbox) = (folder.path().display().to_string(), path("inbox"));
    let (host, engine, endpoint) = (registry.host(), docker.socket().display().to_string(), swift.endpoint());
    let values = [
        ("environment", "qa"),
        ("registry", host.as_str()),
        ("bucket", "scratch"),
        ("bucket_endpoint", endpoint.as_str()),
        ("folder", folder_text.as_str()),
        ("inbox", inbox.as_str()),
        ("engine", engine.as_str()),
        ("engine_root", root.as_str()),
        ("compose_project", project.name()),
    ];
    fs::write(path("compose.yaml"), render("caldata", "compose.yaml", &values)?)?;
    let env =
        [("REGISTRY_PASSWORD", "hunter2"), ("SCRATCH_ACCESS_KEY", "test:tester"), ("SCRATCH_SECRET_KEY", "testing")];
    let mut agent = AgentProcess::start_with_env(&render("caldata", "agent.yaml", &values)?, &env)?;
    agent.wait_ready(LIMIT)?;

    let mut run = Command::new(binary("hostwright-agent")?);
    let output = run.args(["jobs", "run", "transform", "--wait", "--socket"]).arg(agent.socket()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(id.starts_with("dse-infra-qa-transform-"), "{id}");
    fs::write(path("inbox/day.csv"), "1,2\n")?;

    eventually("the outputs of both are in the bucket", LIMIT, || {
        let keys = swift.keys("scratch")?;
        let has = |end: &str| keys.iter().any(|key| key.ends_with(end));
        if has(&format!("{id}/table.csv")) && has("/day.csv") { Ok(()) } else { bail!("the bucket has {keys:?}") }
    })?;
    eventually("the lines of both have arrived with their jobs' ids", LIMIT, || {
        let shipped = fs::read_to_string(path("shipped.log"))?;
        let has = |words: &str| shipped.lines().any(|line| line.contains(words) && line.contains("\"job_id\""));
        if has("transformed") && has("ingesting /inbox/day.csv") && shipped.contains(&id) {
            Ok(())
        } else {
            bail!("{shipped}")
        }
    })?;
    ensure!(!agent.status()?.to_string().contains("hunter2"));
    Ok(())
}
