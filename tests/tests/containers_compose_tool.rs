//! docker-compose on the agent's containers: what it finds by their labels is what the agent made.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::Docker;
use hostwright_tests::wait::eventually;

const TWO: &str = "
services:
  talk: {image: IMAGE, command: sh -c 'echo hello from here; exec sleep 1000', stop_signal: SIGKILL}
  quiet: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL, scale: 2}
";

fn compose(host: &Host<'_>, arguments: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } = Command::new("docker-compose")
        .env("DOCKER_HOST", host.docker.host())
        .arg("--project-name")
        .arg(host.project.name())
        .arg("--file")
        .arg(host.folder.path().join("compose.yaml"))
        .args(arguments)
        .output()
        .context("starting docker-compose (tests/setup.sh installs it)")?;
    ensure!(status.success(), "docker-compose {arguments:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

#[test]
fn docker_compose_lists_reads_and_stops_what_the_agent_made() -> Result<()> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "tool", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    eventually("all three run", LIMIT, || host.project.containers().is_ok_and(|all| all.len() == 3))?;
    let names = host.project.containers()?;
    let listed = compose(&host, &["ps"])?;
    for name in &names {
        ensure!(listed.lines().any(|line| line.contains(name.as_str()) && line.contains("Up")), "{name}: {listed}");
    }
    assert_eq!(compose(&host, &["ps", "--services"])?.lines().count(), 2);
    let log = compose(&host, &["logs", "--no-color", "talk"])?;
    ensure!(log.contains("hello from here"), "{log}");
    ensure!(compose(&host, &["exec", "-T", "talk", "echo", "inside"])?.contains("inside"));

    // While the agent is there it puts right whatever is stopped; without it nobody does.
    compose(&host, &["stop", "talk"])?;
    eventually("it is started again", LIMIT, || host.is_running("talk"))?;
    assert_eq!(host.agent.terminate()?, Some(0));
    compose(&host, &["stop"])?;
    ensure!(!host.is_running("talk") && !host.is_running("quiet"));
    let before = host.id("talk")?;
    host.agent.start_again()?;
    eventually("all run again", LIMIT, || host.is_running("talk") && host.is_running("quiet"))?;
    assert_eq!((host.id("talk")?, host.project.containers()?), (before, names), "the same containers");
    Ok(())
}

/// Whoever comes from docker-compose keeps volumes and networks, and finds the agent's containers in its own ones' places.
#[test]
fn what_docker_compose_made_is_exchanged_for_the_agent_s_own() -> Result<()> {
    let docker = Docker::start()?;
    let kept = TWO.to_owned().replace("SIGKILL}\n  quiet", "SIGKILL, volumes: ['kept:/kept']}\n  quiet")
        + "volumes: {kept: {}}\n";
    let mut host = Host::start(&docker, "before", &kept)?;
    host.agent.wait_ready(LIMIT)?;
    assert_eq!(host.agent.terminate()?, Some(0));
    compose(&host, &["down", "--volumes"])?;
    compose(&host, &["up", "--detach"])?;
    compose(&host, &["exec", "-T", "talk", "sh", "-c", "echo mine > /kept/file"])?;

    host.agent.start_again()?;
    eventually("they are exchanged", LIMIT, || host.is_running("talk") && host.is_running("quiet"))?;
    eventually("nothing of before is left", LIMIT, || {
        let (mut names, mut own) = (host.project.containers()?, vec![host.container("talk"), host.container("quiet")]);
        own.push(host.container("quiet").replace("quiet-1", "quiet-2"));
        names.sort();
        own.sort();
        ensure!(names == own, "{names:?}");
        Ok(())
    })?;
    assert_eq!(compose(&host, &["exec", "-T", "talk", "cat", "/kept/file"])?.trim(), "mine");
    Ok(())
}
