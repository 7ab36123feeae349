//! The containers duty on Podman's socket.

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Podman, Registry};
use hostwright_tests::http;
use hostwright_tests::image_host::{ImageHost, image};
use hostwright_tests::job_host::JobHost;
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

#[test]
fn a_job_runs_on_podman_too_and_hands_its_outputs_on() -> Result<()> {
    let podman = Podman::start()?;
    let docker = Docker::at(&podman.socket());
    let host =
        JobHost::start(&docker, "{outputs: /out, retries: 1, backoff: 1s}", "echo $WORD; echo $WORD > /out/a.txt")?;
    let output = host.jobs(&["run", "job", "--wait", "--env", "WORD=product"])?;
    ensure!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), podman.log());
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    let folder = host.folder.path().join("outputs/job").join(&id);
    assert_eq!(std::fs::read_to_string(folder.join("a.txt"))?, "product\n");
    ensure!(folder.join(".hostwright-job.json").exists());
    assert_eq!(String::from_utf8(host.jobs(&["logs", &id])?.stdout)?, "product\n");

    let output = host.jobs(&["run", "job", "--wait", "--", "sh", "-c", "exit 3"])?;
    ensure!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("exit code 3"));
    assert_eq!(host.wait("failed")?["attempt"], 2);
    Ok(())
}

#[test]
fn an_image_is_pulled_by_its_digest_on_podman_and_removed_when_nobody_uses_it() -> Result<()> {
    let (engine, registry, podman) = (Docker::start()?, Registry::start()?, Podman::start()?);
    let docker = Docker::at(&podman.socket());
    let mut names = Vec::new();
    for number in ["1", "2", "3", "4"] {
        let local = unique("hostwright-podman");
        image(&engine, &local, &local)?;
        let name = registry.push(&engine, &local, &format!("team/app:{number}"))?;
        engine.docker(&["rmi", &local])?;
        let digest = registry.digest(&format!("team/app:{number}"))?;
        names.push(format!("{}@{digest}", name.trim_end_matches(&format!(":{number}"))));
    }
    let host = ImageHost::start(&docker, &names[0], "{clean_up: {after: 1s, every: 1s}}")?;
    let compose = host.folder.path().join("compose.yaml");
    let mut before = names[0].clone();
    for name in &names {
        let text = std::fs::read_to_string(&compose)?;
        let line =
            text.replace(&before, name).replace("stop_signal: SIGKILL", "stop_signal: SIGKILL, network_mode: none");
        std::fs::write(&compose, line.replace(", network_mode: none, network_mode: none", ", network_mode: none"))?;
        before.clone_from(name);
        eventually(&format!("{name} runs"), LIMIT, || {
            let container = docker.inspect(&format!("{}-app-1", host.project.name()))?;
            let is_it = container["Config"]["Image"].as_str().is_some_and(|image| image == name);
            if is_it && container["State"]["Running"] == true {
                Ok(())
            } else {
                bail!("{} runs; the status is {}", container["Config"]["Image"], host.agent.status()?)
            }
        })?;
    }
    let digest = names[3].rsplit_once('@').context("a digest")?.1;
    assert_eq!(host.pin(&names[3])?["digest"], digest);
    let has = |name: &str| docker.docker(&["inspect", name]).is_ok();
    // One of the others may have run long enough to be gone back to.
    eventually("images that nobody goes back to are gone", LIMIT, || {
        let left = names[..3].iter().filter(|name| has(name)).count();
        if left <= 1 { Ok(()) } else { bail!("{left} of 3 are there: {}", host.agent.output()) }
    })?;
    ensure!(has(&names[3]), "what runs stays");
    Ok(())
}
