//! Jobs on a real engine: by order, on a schedule, for a file; retries, timeouts, outputs, kills of the agent.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::container_host::LIMIT;
use hostwright_tests::engines::Docker;
use hostwright_tests::job_host::JobHost;
use hostwright_tests::wait::eventually;
use serde_json::Value;

#[test]
fn a_job_runs_when_it_is_ordered_with_its_own_words_and_hands_its_outputs_on() -> Result<()> {
    let docker = Docker::start()?;
    let script = "echo \"$GREETING $HOSTWRIGHT_JOB_ID\"; echo product > /out/a.txt";
    let host = JobHost::start(&docker, "{outputs: /out}", script)?;
    assert_eq!(host.containers()?, 0, "a job does not run because it is in the file");
    let output = host.jobs(&["run", "job", "--wait", "--env", "GREETING=hello"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(id.starts_with("dse-infra-qa-job-2"), "{id}");
    let folder = host.folder.path().join("outputs/job").join(&id);
    assert_eq!(fs::read_to_string(folder.join("a.txt"))?, "product\n");
    let note: Value = serde_json::from_str(&fs::read_to_string(folder.join(".hostwright-job.json"))?)?;
    assert_eq!((&note["job_id"], &note["exit_code"]), (&id.as_str().into(), &0.into()));
    let log = host.jobs(&["logs", &id])?;
    assert_eq!(String::from_utf8(log.stdout)?, format!("hello {id}\n"));
    let label = host.docker.inspect(&id)?["Config"]["Labels"]["io.hostwright.job.id"].clone();
    assert_eq!(label, id.as_str());
    let shown = String::from_utf8(host.jobs(&[])?.stdout)?;
    ensure!(shown.contains("succeeded") && !host.agent.status()?.to_string().contains("hello"), "{shown}");

    let output = host.jobs(&["run", "job", "--wait", "--", "sh", "-c", "exit 3"])?;
    ensure!(!output.status.success());
    ensure!(String::from_utf8_lossy(&output.stderr).contains("exit code 3"));
    let wrong = host.jobs(&["run", "other"])?;
    ensure!(String::from_utf8_lossy(&wrong.stderr).contains("there is no job \"other\"; there are job"));
    Ok(())
}

#[test]
fn a_job_that_fails_is_tried_again_and_one_that_hangs_is_stopped() -> Result<()> {
    let docker = Docker::start()?;
    let host = JobHost::start(&docker, "{retries: 1, backoff: 1s, timeout: 2s}", "echo attempt; sleep 1000")?;
    host.jobs(&["run", "job"])?;
    let run = host.wait("failed")?;
    assert_eq!(run["attempt"], 2);
    ensure!(run["why"].as_str().is_some_and(|why| why.contains("timeout of 2 s")), "{run}");
    host.agent.wait_status("it is told", LIMIT, |status| {
        status["duties"]["containers"]["why"].as_str().is_some_and(|why| why.contains("has failed"))
    })?;
    assert_eq!(host.containers()?, 2);
    Ok(())
}

#[test]
fn each_file_that_appears_has_one_run_whatever_happens_to_the_agent() -> Result<()> {
    let docker = Docker::start()?;
    let job = "{when: {file: '*.csv', in: IN}, outputs: /out, concurrency: 2}";
    // The folder is only known afterwards: it is the same for all.
    let folder = tempfile::tempdir()?;
    let job = job.replace("IN", &folder.path().display().to_string());
    let mut host = JobHost::start(&docker, &job, "echo $HOSTWRIGHT_JOB_FILE > /out/name; sleep 4")?;
    for name in ["a.csv", "b.csv", "c.csv", "d.txt"] {
        fs::write(folder.path().join(name), name)?;
    }
    host.wait("running")?;
    for _ in 0..3 {
        host.agent.kill9()?;
        host.agent.start_again()?;
        host.agent.wait_ready(LIMIT)?;
    }
    let runs = eventually("all have ended", LIMIT, || {
        let runs = host.runs()?;
        let ended = runs.iter().filter(|run| run["state"] == "succeeded").count();
        if ended == 3 { Ok(runs) } else { bail!("the runs are {runs:?}") }
    })?;
    assert_eq!((runs.len(), host.containers()?), (3, 3), "one run and one container for each file");
    let mut names = Vec::new();
    for run in &runs {
        let id = run["id"].as_str().context("an id")?;
        names.push(fs::read_to_string(host.folder.path().join("outputs/job").join(id).join("name"))?);
    }
    names.sort();
    let expected: Vec<_> = ["a", "b", "c"].map(|name| format!("{}/{name}.csv\n", folder.path().display())).into();
    assert_eq!(names, expected);
    Ok(())
}

#[test]
fn a_schedule_starts_runs_by_itself_once_for_each_time() -> Result<()> {
    let docker = Docker::start()?;
    let host = JobHost::start(&docker, "{schedule: '*/2 * * * * *', time_zone: UTC, concurrency: 3}", "true")?;
    let runs = eventually("three times have come", LIMIT, || {
        let runs = host.runs()?;
        let ended = runs.iter().filter(|run| run["state"] == "succeeded").count();
        if ended >= 3 { Ok(runs) } else { bail!("the runs are {runs:?}") }
    })?;
    let mut ids: Vec<_> = runs.iter().map(|run| run["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), runs.len());
    ensure!(runs.iter().all(|run| run["trigger"] == "schedule"));
    Ok(())
}
