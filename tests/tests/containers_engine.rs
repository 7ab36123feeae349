//! An engine that stops, hangs, is killed or keeps its containers alive, under a Compose file.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;

const ONE: &str = "
services:
  one: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL, network_mode: none}
";

#[test]
fn an_engine_that_goes_away_and_comes_back_is_survived() -> Result<()> {
    let mut own = OwnEngine::without_network()?;
    let docker = Docker::at(&own.socket());
    let mut host = Host::start(&docker, "engine", ONE)?;
    host.agent.wait_ready(LIMIT)?;
    let id = host.id("one")?;
    own.stop()?;
    let why = host.wait_why("does not answer")?;
    assert!(why.contains("see systemctl status docker"), "{why}");
    own.start_again()?;
    host.wait_state("ok")?;
    assert!(host.is_running("one"));
    assert_eq!(host.id("one")?, id, "it is started again, not made anew");
    drop(host);
    own.stop()
}

#[test]
fn an_engine_that_hangs_is_named_after_seconds_and_awaited() -> Result<()> {
    let own = OwnEngine::without_network()?;
    let docker = Docker::at(&own.socket());
    let mut host = Host::start(&docker, "hung", ONE)?;
    host.agent.wait_ready(LIMIT)?;
    own.signal(Signal::SIGSTOP)?;
    let (since, why) = (Instant::now(), host.wait_why("has not answered for 10 s"));
    own.signal(Signal::SIGCONT)?;
    why?;
    ensure!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    host.wait_state("ok").map(drop)
}

#[test]
fn a_container_that_the_engine_can_never_start_again_is_made_anew() -> Result<()> {
    let own = OwnEngine::without_network()?;
    let docker = Docker::at(&own.socket());
    let mut host = Host::start(&docker, "lost", ONE)?;
    host.agent.wait_ready(LIMIT)?;
    let id = host.id("one")?;
    host.agent.kill9()?;
    docker.docker(&["stop", &id])?;
    // What an engine leaves that is killed while it starts a container: its runtime knows the id already.
    let left = own.socket().with_file_name("exec").join("runtime-runc/moby").join(&id);
    fs::create_dir_all(&left)?;
    host.agent.start_again()?;
    eventually("another one runs", LIMIT, || host.is_running("one") && host.id("one").is_ok_and(|other| other != id))?;
    ensure!(host.agent.output().contains("is made anew"), "{}", host.agent.output());
    Ok(())
}

/// Docker Engine calls a container unhealthy as soon as it stops to look, and until it has looked again.
#[test]
fn a_container_that_a_backup_pauses_for_a_moment_is_not_ill_afterwards() -> Result<()> {
    let own = OwnEngine::without_network()?;
    let docker = Docker::at(&own.socket());
    let check = "healthcheck: {test: [CMD, 'true'], interval: 6s, retries: 2}";
    let file = ONE.replace("network_mode: none", &format!("network_mode: none, {check}"));
    let mut host = Host::start(&docker, "backup", &file)?;
    host.agent.wait_ready(LIMIT)?;
    let health = |host: &Host| Ok::<_, anyhow::Error>(host.inspect("one")?["State"]["Health"]["Status"].clone());
    eventually("it is healthy", LIMIT, || health(&host).is_ok_and(|health| health == "healthy"))?;
    let started = host.inspect("one")?["State"]["StartedAt"].clone();
    docker.docker(&["pause", &host.id("one")?])?;
    std::thread::sleep(Duration::from_millis(500));
    docker.docker(&["unpause", &host.id("one")?])?;
    ensure!(health(&host)? == "unhealthy", "the engine says the truth, and this test tests nothing");
    eventually("the engine has looked again", LIMIT, || health(&host).is_ok_and(|health| health == "healthy"))?;
    ensure!(host.inspect("one")?["State"]["StartedAt"] == started, "{}", host.agent.output());
    ensure!(!host.agent.output().contains("unhealthy"), "{}", host.agent.output());
    Ok(())
}

#[test]
fn with_live_restore_containers_go_on_through_a_restart_of_the_engine_and_are_updated_after_it() -> Result<()> {
    let mut own = OwnEngine::without_network()?;
    own.set_live_restore();
    own.stop()?;
    own.start_again()?;
    let docker = Docker::at(&own.socket());
    let mut host = Host::start(&docker, "live", ONE)?;
    host.agent.wait_ready(LIMIT)?;
    let started = host.inspect("one")?["State"]["StartedAt"].clone();
    own.stop()?;
    host.wait_why("does not answer")?;
    own.start_again()?;
    host.wait_state("ok")?;
    assert_eq!(host.inspect("one")?["State"]["StartedAt"], started, "it went on all the time");
    own.kill9()?;
    // Changed while nobody can do it.
    host.write(&ONE.replace("'1000'", "'2000'"))?;
    own.start_again()?;
    eventually("the file's version runs", LIMIT, || {
        host.is_running("one") && host.inspect("one").is_ok_and(|one| one["Config"]["Cmd"].to_string().contains("2000"))
    })?;
    assert_eq!(host.project.containers()?, [host.container("one")]);
    drop(host);
    own.stop()
}
