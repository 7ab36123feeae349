//! The containers duty on Podman's socket.

use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober};
use hostwright_tests::engines::{Docker, Podman};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;

const TWO: &str = "
services:
  one: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL, network_mode: none}
  two:
    image: IMAGE
    command: sleep 1000
    stop_signal: SIGKILL
    network_mode: none
    environment: {COLOUR: blue}
    deploy: {update_config: {monitor: 1s}}
";

#[test]
fn a_file_converges_is_updated_and_repaired_on_podman_too() -> Result<()> {
    let podman = Podman::start()?;
    let docker = Docker::at(&podman.socket());
    let mut host = Host::start(&docker, "podman", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 0 healthy")?;
    let (one, two) = (host.id("one")?, host.id("two")?);
    // An unchanged file recreates nothing.
    assert_eq!(host.agent.terminate()?, Some(0));
    host.agent.start_again()?;
    host.wait_summary("2 containers run, 0 healthy")?;
    assert_eq!((host.id("one")?, host.id("two")?), (one.clone(), two.clone()));

    host.write(&TWO.replace("blue", "red"))?;
    eventually("two is exchanged", LIMIT, || host.id("two").is_ok_and(|id| id != two) && host.is_running("two"))?;
    host.wait_summary("2 containers run, 0 healthy")?;
    assert_eq!(host.project.containers()?, [host.container("one"), host.container("two")]);
    assert_eq!(host.id("one")?, one);

    for by_hand in [&["kill"][..], &["rm", "--force"]] {
        docker.docker(&[by_hand, &[&host.container("one")]].concat())?;
        eventually("it is back", LIMIT, || host.is_running("one"))?;
    }
    Ok(())
}

/// A web server; Podman looks at health checks by systemd's timers, which are not where tests run.
fn web(port: &Port, greeting: &str) -> String {
    format!(
        "
services:
  web:
    image: IMAGE
    command: sh -c 'mkdir -p /www; echo {greeting} >/www/index.html; exec httpd -f -p 80 -h /www'
    stop_signal: SIGKILL
    ports: ['127.0.0.1:{}:80']
    restart: always
    deploy: {{update_config: {{order: start-first, monitor: 1s}}}}
",
        port.number()
    )
}

#[test]
fn ports_updates_and_the_way_back_are_the_same_on_podman() -> Result<()> {
    let (podman, port) = (Podman::start()?, Port::reserve()?);
    let docker = Docker::at(&podman.socket());
    let mut host = Host::start(&docker, "podweb", &web(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    let greets = |greeting: &str| http::get(port.address(), "/").is_ok_and(|answer| answer.text().trim() == greeting);
    eventually("it answers", LIMIT, || greets("one")).with_context(|| podman.log())?;
    eventually("it is known as good", LIMIT, || {
        std::fs::read_to_string(host.agent.state_folder().join("containers/versions.json"))
            .is_ok_and(|text| text.contains("\"web\""))
    })?;
    let prober = Prober::start(port.address());
    host.write(&web(&port, "two"))?;
    eventually("the new one answers", LIMIT, || greets("two"))?;
    host.wait_summary("1 container runs, 0 healthy")?;
    assert_eq!(host.project.containers()?, [host.container("web")]);

    host.write(&web(&port, "bad").replace("exec httpd", "echo no database; exit 3; httpd"))?;
    let why = host.wait_why("web: the new version was taken back")?;
    ensure!(why.contains("no database"), "{why}");
    ensure!(greets("two"));

    host.write(&web(&port, "two"))?;
    host.wait_summary("1 container runs, 0 healthy")?;
    let back = host.command(&["rollback", "web"])?;
    ensure!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    ensure!(greets("one"));
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    Ok(())
}
