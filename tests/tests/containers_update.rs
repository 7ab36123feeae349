//! Containers are exchanged under load without a failed request, and a bad version is taken back.

use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober};
use hostwright_tests::engines::Docker;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;

/// A web server that takes a second to be there.
fn web(port: &Port, greeting: &str) -> String {
    format!(
        "
services:
  web:
    image: IMAGE
    container_name: web-{port}
    command: sh -c 'sleep 1; mkdir -p /www; echo {greeting} >/www/index.html; exec httpd -f -p 80 -h /www'
    init: true
    ports: ['127.0.0.1:{port}:80']
    healthcheck: {{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}}
    restart: always
",
        port = port.number()
    )
}

fn greets(port: &Port, greeting: &str) -> bool {
    http::get(port.address(), "/").is_ok_and(|answer| answer.text().trim() == greeting)
}

#[test]
fn an_update_drops_no_request_although_name_and_port_are_fixed() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let mut host = Host::start(&docker, "update", &web(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let first = docker.inspect(&format!("web-{}", port.number()))?;
    let prober = Prober::start(port.address());
    for greeting in ["two", "three"] {
        host.write(&web(&port, greeting))?;
        eventually("the new one answers", LIMIT, || greets(&port, greeting))?;
        host.wait_summary("1 container runs, 1 healthy")?;
    }
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    ensure!(probes.answers.len() == 3, "{:?}", probes.answers);
    ensure!(probes.slowest < Duration::from_secs(1), "one waited for {:?}", probes.slowest);
    let name = format!("web-{}", port.number());
    assert_eq!(host.project.containers()?, std::slice::from_ref(&name));
    assert_ne!(docker.inspect(&name)?["Id"], first["Id"]);
    Ok(())
}

#[test]
fn a_version_that_never_is_healthy_is_taken_back_and_not_tried_again() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let mut host = Host::start(&docker, "refused", &web(&port, "good"))?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let name = format!("web-{}", port.number());
    let good = docker.inspect(&name)?["Id"].clone();
    let prober = Prober::start(port.address());
    let bad = web(&port, "bad").replace("exec httpd -f", "echo no database; exit 3; httpd");
    host.write(&bad)?;
    let why = host.wait_why("web: the new version was taken back")?;
    ensure!(why.contains("exit code 3") && why.contains("no database"), "{why}");
    // Neither the timer nor a new agent tries it again.
    host.agent.kill9()?;
    host.agent.start_again()?;
    host.wait_why("web: the new version was taken back")?;
    eventually("the bad one is gone", LIMIT, || host.project.containers().is_ok_and(|all| all == [name.clone()]))?;
    assert_eq!(docker.inspect(&name)?["Id"], good);
    let made = host.agent.output().matches("making ").count();
    assert_eq!(made, 2, "the good one and one try of the bad one");
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    ensure!(probes.answers.keys().eq(["good"]), "{:?}", probes.answers);
    host.write(&web(&port, "better"))?;
    eventually("the next version runs", LIMIT, || greets(&port, "better"))?;
    host.wait_summary("1 container runs, 1 healthy")?;
    Ok(())
}

#[test]
fn ports_outlive_an_agent_that_is_killed() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let mut host = Host::start(&docker, "ports", &web(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    let prober = Prober::start(port.address());
    for round in 0..3 {
        host.agent.kill9()?;
        ensure!(greets(&port, "one"), "round {round}: nobody answers while the agent is dead");
        host.agent.start_again()?;
        host.wait_summary("1 container runs, 1 healthy")?;
    }
    assert_eq!(host.agent.terminate()?, Some(0));
    ensure!(greets(&port, "one"));
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{:?}", probes.failures.first());
    Ok(())
}
