//! Containers are exchanged under load without a failed request, and a bad version is taken back.

use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober};
use hostwright_tests::engines::Docker;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use serde_json::Value;

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

#[test]
fn what_a_failed_update_leaves_is_as_failure_action_says() -> Result<()> {
    let docker = Docker::start()?;
    let text = |version: &str, action: &str| {
        format!(
            "
services:
  app:
    image: IMAGE
    command: sh -c '[ $$VERSION != bad ] || {{ echo no database; exit 3; }}; exec sleep 100000'
    environment: {{VERSION: {version}}}
    stop_signal: SIGKILL
    restart: 'no'
    deploy: {{replicas: 2, update_config: {{order: start-first, monitor: 1s, failure_action: {action}}}}}
"
        )
    };
    let mut host = Host::start(&docker, "failure", &text("one", "pause"))?;
    host.agent.wait_ready(LIMIT)?;
    eventually("it is known as good", LIMIT, || {
        std::fs::read_to_string(host.agent.state_folder().join("containers/versions.json"))
            .is_ok_and(|text| text.contains("\"app\""))
    })?;
    let ids = || -> Result<Vec<Value>> {
        let names = host.project.containers()?;
        names.iter().map(|name| Ok(docker.inspect(name)?["Id"].clone())).collect()
    };
    let good = ids()?;
    host.write(&text("bad", "pause"))?;
    let why = host.wait_why("app: the update is paused")?;
    ensure!(why.contains("exit code 3") && why.contains("no database"), "{why}");
    eventually("the two go on", LIMIT, || ids().is_ok_and(|now| now == good))?;

    host.write(&text("bad", "continue"))?;
    // A pause, like a refusal, ends when something changes or by an order.
    host.command(&["containers", "deploy"])?;
    eventually("both are exchanged for bad ones", LIMIT, || {
        let now = ids()?;
        ensure!(now.len() == 2 && now.iter().all(|id| !good.contains(id)), "{now:?}");
        Ok(())
    })
}

#[test]
fn one_that_must_not_run_twice_is_stopped_first_and_comes_back_when_the_new_one_is_bad() -> Result<()> {
    let docker = Docker::start()?;
    let text = "
services:
  db: {image: IMAGE, command: [sleep, '100000'], stop_signal: SIGKILL, volumes: ['data:/data'], restart: always}
volumes: {data: }
";
    let mut host = Host::start(&docker, "single", text)?;
    host.agent.wait_ready(LIMIT)?;
    eventually("it is known as good", LIMIT, || {
        std::fs::read_to_string(host.agent.state_folder().join("containers/versions.json"))
            .is_ok_and(|text| text.contains("\"db\""))
    })?;
    let good = host.id("db")?;
    host.write(&text.replace("[sleep, '100000']", "sh -c 'echo the disk is full; exit 4'"))?;
    let why = host.wait_why("db: the new version was taken back")?;
    // The engine's own restarts may be quicker than a look; while it runs nobody knows the code.
    ensure!(why.contains("exit code 4") || why.contains("it ends soon after each start, 3 restarts"), "{why}");
    ensure!(why.contains("the disk is full"), "{why}");
    eventually("the old one is back", LIMIT, || host.is_running("db") && host.id("db").is_ok_and(|id| id == good))?;
    assert_eq!(host.project.containers()?, [host.container("db")]);
    Ok(())
}

#[test]
fn an_operator_deploys_goes_back_and_sees_what_runs() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let mut host = Host::start(&docker, "operator", &web(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let text = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let nothing = host.command(&["rollback", "web"])?;
    ensure!(
        !nothing.status.success() && text(&nothing).contains("no earlier good version of web"),
        "{}",
        text(&nothing)
    );

    host.write(&web(&port, "two"))?;
    let deployed = host.command(&["deploy"])?;
    ensure!(deployed.status.success() && text(&deployed).contains("done after"), "{}", text(&deployed));
    ensure!(greets(&port, "two"));

    let back = host.command(&["rollback", "web"])?;
    ensure!(back.status.success(), "{}", text(&back));
    ensure!(greets(&port, "one"), "{}", text(&back));
    let listed = text(&host.command(&["containers"])?);
    ensure!(listed.contains(&format!("web-{}", port.number())) && listed.contains("healthy"), "{listed}");
    ensure!(listed.contains("an operator went back"), "{listed}");

    // It is the file that is tried again, until it is bad.
    ensure!(host.command(&["containers", "deploy", "web"])?.status.success());
    ensure!(greets(&port, "two"));
    host.write(&web(&port, "bad").replace("exec httpd -f", "exit 3; httpd"))?;
    let failed = host.command(&["deploy", "web"])?;
    ensure!(!failed.status.success() && text(&failed).contains("was taken back"), "{}", text(&failed));
    ensure!(greets(&port, "two"));
    let unknown = host.command(&["deploy", "wep"])?;
    ensure!(text(&unknown).contains("there is no service \"wep\"; there are web"), "{}", text(&unknown));
    Ok(())
}

#[test]
fn replicas_share_a_port_and_are_exchanged_one_after_the_other() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let of = |greeting: &str, replicas: u32| {
        let text = web(&port, greeting).replace(&format!("    container_name: web-{}\n", port.number()), "");
        format!("{text}    deploy: {{replicas: {replicas}}}\n")
    };
    let mut host = Host::start(&docker, "replicas", &of("one", 2))?;
    host.agent.wait_ready(LIMIT)?;
    let two = [1, 2].map(|number| format!("{}-web-{number}", host.project.name()));
    assert_eq!(host.project.containers()?, two);
    let prober = Prober::start(port.address());
    host.write(&of("two", 2))?;
    eventually("both are new", LIMIT, || {
        two.iter()
            .all(|name| docker.inspect(name).is_ok_and(|found| found["Config"]["Cmd"].to_string().contains("echo two")))
            && host.project.containers().is_ok_and(|all| all == two)
    })?;
    host.write(&of("two", 1))?;
    eventually("one is left", LIMIT, || host.project.containers().is_ok_and(|all| all == two[..1]))?;
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    Ok(())
}

#[test]
fn what_was_edited_or_renamed_by_hand_is_set_right_without_an_outage() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let mut host = Host::start(&docker, "edited", &web(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let name = format!("web-{}", port.number());
    let id = docker.inspect(&name)?["Id"].clone();
    let prober = Prober::start(port.address());
    docker.docker(&["update", "--restart", "no", &name])?;
    docker.docker(&["rename", &name, &format!("{name}-by-hand")])?;
    eventually("it is as it was", LIMIT, || {
        docker.inspect(&name).is_ok_and(|found| found["HostConfig"]["RestartPolicy"]["Name"] == "always")
    })?;
    assert_eq!(docker.inspect(&name)?["Id"], id, "the same container");
    // The engine takes no limit away from a container, so this one is exchanged.
    docker.docker(&["update", "--memory", "64m", "--memory-swap", "64m", &name])?;
    eventually("there is no limit", LIMIT, || {
        docker.inspect(&name).is_ok_and(|found| found["HostConfig"]["Memory"] == 0 && found["Id"] != id)
    })?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    Ok(())
}

#[test]
fn the_health_check_of_an_image_decides_over_an_update_as_one_of_the_file_does() -> Result<()> {
    let (docker, port) = (Docker::start()?, Port::reserve()?);
    let check = r#"HEALTHCHECK --interval=300ms --retries=20 CMD ["wget", "-qO-", "http://127.0.0.1/"]"#;
    let image = docker.checked_image(check)?;
    let of = |greeting: &str| {
        let text = web(&port, greeting).replace("IMAGE", &image);
        let lines = text.lines().filter(|line| !line.contains("healthcheck"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let mut host = Host::start(&docker, "checked", &of("one"))?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let prober = Prober::start(port.address());
    host.write(&of("two"))?;
    eventually("the new one answers", LIMIT, || greets(&port, "two"))?;
    host.wait_summary("1 container runs, 1 healthy")?;
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    Ok(())
}

#[test]
fn secrets_that_nothing_uses_any_more_are_removed_from_the_disk() -> Result<()> {
    let docker = Docker::start()?;
    let of = |secret: &str| {
        format!(
            "
services:
  one:
    image: IMAGE
    command: [sleep, '1000']
    stop_signal: SIGKILL
    secrets: [key]
    deploy: {{update_config: {{monitor: 100ms}}}}
secrets: {{key: {{environment: KEY_{secret}}}}}
"
        )
    };
    let env = [("KEY_A", "aaaa"), ("KEY_B", "bbbb"), ("KEY_C", "cccc")];
    let mut host = Host::start_with_env(&docker, "leftovers", &of("A"), &env)?;
    host.agent.wait_ready(LIMIT)?;
    let folder = host.agent.state_folder().join("containers/files");
    let there = || -> Result<Vec<String>> {
        let mut contents = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            contents.push(std::fs::read_to_string(entry?.path())?);
        }
        contents.sort();
        Ok(contents)
    };
    let shows = |secret: &str| {
        docker.docker(&["exec", &host.container("one"), "cat", "/run/secrets/key"]).is_ok_and(|found| found == secret)
    };
    for (letter, secret, kept, known) in
        [("B", "bbbb", ["aaaa", "bbbb"], "\"good\":{"), ("C", "cccc", ["bbbb", "cccc"], "\"previous\":{")]
    {
        // Each is known as good first, so that it is one to go back to.
        eventually("the last one is good", LIMIT, || {
            std::fs::read_to_string(host.agent.state_folder().join("containers/versions.json"))
                .is_ok_and(|text| text.replace(char::is_whitespace, "").contains(known))
        })?;
        host.write(&of(letter))?;
        eventually("the new one runs", LIMIT, || shows(secret))?;
        eventually("what nobody can go back to is gone", LIMIT, || there().is_ok_and(|all| all == kept))?;
    }
    // The one before is still whole.
    let back = host.command(&["rollback", "one"])?;
    ensure!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    ensure!(shows("bbbb"));
    Ok(())
}
