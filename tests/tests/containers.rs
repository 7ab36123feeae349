//! A Compose file on a real Docker Engine: it converges, and a wrong one changes nothing.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Registry};
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use nix::sys::signal::Signal;
use serde_json::json;

const TWO: &str = "
services:
  one: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL}
  two:
    image: IMAGE
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: 'true', interval: 200ms}
    environment: {COLOUR: blue}
";

#[test]
fn what_the_file_names_runs_and_an_unchanged_file_recreates_nothing() -> Result<()> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "two", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 1 healthy")?;
    let two = host.inspect("two")?;
    let labels = &two["Config"]["Labels"];
    for (label, value) in [("service", "two"), ("container-number", "1"), ("oneoff", "False")] {
        assert_eq!(labels[format!("com.docker.compose.{label}")], value);
    }
    assert_eq!(labels["com.docker.compose.config-hash"].as_str().map(str::len), Some(64));
    assert_eq!(labels["com.docker.compose.project.working_dir"], host.folder.path().display().to_string());
    let network = format!("{}_default", host.project.name());
    assert!(two["NetworkSettings"]["Networks"][&network]["Aliases"].to_string().contains("\"two\""));
    let details = &host.agent.status()?["duties"]["containers"]["details"]["services"]["two"];
    assert_eq!((&details["state"], &details["health"]), (&"running".into(), &"healthy".into()));

    let before = (host.id("one")?, host.id("two")?, two["State"]["StartedAt"].clone());
    assert_eq!(host.agent.terminate()?, Some(0));
    assert!(host.is_running("one") && host.is_running("two"), "containers go on without the agent");
    host.write(&format!("# a comment\n{TWO}"))?;
    host.agent.start_again()?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 1 healthy")?;
    let after = (host.id("one")?, host.id("two")?, host.inspect("two")?["State"]["StartedAt"].clone());
    assert_eq!(before, after);
    Ok(())
}

#[test]
fn a_changed_service_is_recreated_alone_and_one_that_is_gone_is_removed() -> Result<()> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "change", TWO)?;
    let stranger = docker.project("stranger");
    let label = format!("com.docker.compose.project={}", stranger.name());
    let service = "com.docker.compose.service=one";
    let run =
        ["run", "--detach", "--network", "none", "--label", &label, "--label", service, "--name", stranger.name()];
    docker.docker(&[&run[..], &[&host.image, "sleep", "1000"]].concat())?;
    host.agent.wait_ready(LIMIT)?;
    let (one, two) = (host.id("one")?, host.id("two")?);

    host.write(&TWO.replace("blue", "red"))?;
    eventually("two is replaced", LIMIT, || host.id("two").is_ok_and(|id| id != two) && host.is_running("two"))?;
    assert!(host.inspect("two")?["Config"]["Env"].to_string().contains("COLOUR=red"));
    assert_eq!(host.id("one")?, one);

    host.write("services:\n  one: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL}\n")?;
    host.wait_summary("1 container runs, 0 healthy")?;
    assert_eq!(host.project.containers()?, [host.container("one")]);
    assert_eq!(host.id("one")?, one);
    assert_eq!(docker.inspect(stranger.name())?["State"]["Running"], true);
    Ok(())
}

#[test]
fn what_is_killed_stopped_or_removed_by_hand_comes_back() -> Result<()> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "repair", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    let one = host.id("one")?;
    for by_hand in [&["kill"][..], &["stop", "--time", "0"], &["rm", "--force"]] {
        docker.docker(&[by_hand, &[&host.container("one")]].concat())?;
        eventually("it is back", LIMIT, || host.is_running("one"))?;
        assert_eq!(host.id("one")? == one, by_hand[0] != "rm", "{by_hand:?}");
    }
    let network = format!("{}_default", host.project.name());
    docker.docker(&["network", "disconnect", "--force", &network, &host.container("two")])?;
    eventually("it is on its network again", LIMIT, || {
        host.inspect("two").is_ok_and(|two| two["NetworkSettings"]["Networks"][&network].is_object())
    })?;
    Ok(())
}

#[test]
fn a_wrong_file_changes_nothing_that_runs_and_every_problem_is_told() -> Result<()> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "wrong", TWO)?;
    host.agent.wait_ready(LIMIT)?;
    let (one, two) = (host.id("one")?, host.id("two")?);
    host.write("services:\n  one: {imag: IMAGE, build: .}\n  three: {image: IMAGE, ports: [{target: 70000}]}\n")?;
    let why = host.wait_why("what runs goes on as before")?;
    for problem in [
        "compose.yaml:2:9: services.one.imag: unknown key",
        "services.one.build: is not done on hosts",
        "services.three.ports",
    ] {
        assert!(why.contains(problem), "{why}");
    }
    // Repairs go on by the last file that was right.
    docker.docker(&["kill", &host.container("one")])?;
    eventually("it is back", LIMIT, || host.is_running("one"))?;
    assert_eq!((host.id("one")?, host.id("two")?), (one, two));
    host.write(TWO)?;
    host.wait_summary("2 containers run, 1 healthy")?;
    Ok(())
}

#[test]
fn a_service_that_fails_does_not_stop_the_others() -> Result<()> {
    let docker = Docker::start()?;
    let absent = format!("{TWO}  bad: {{image: hostwright-absent, pull_policy: never}}\n");
    let host = Host::start(&docker, "fails", &absent)?;
    let why = host.wait_why("failed 1 of 3: bad: ")?;
    assert!(why.contains("\"hostwright-absent\" is not here and pull_policy is never"), "{why}");
    eventually("the others run", LIMIT, || host.is_running("one") && host.is_running("two"))?;
    host.write(&format!("{TWO}  bad: {{image: IMAGE, command: [/no/such/program]}}\n"))?;
    let why = host.wait_why("/no/such/program")?;
    assert!(why.contains("failed 1 of 3: bad: "), "{why}");
    host.write(TWO)?;
    host.wait_summary("2 containers run, 1 healthy")?;
    Ok(())
}

#[test]
fn attributes_of_many_kinds_reach_the_container_and_what_joins_it_follows() -> Result<()> {
    let docker = Docker::start()?;
    let text = "
services:
  one:
    image: IMAGE
    command: sleep 1000
    stop_signal: SIGKILL
    configs: [{source: inline, target: /etc/inline.conf}]
    secrets: [{source: key, uid: '1000', mode: 0400}, vault]
    hostname: one-host
    domainname: example.org
    user: root
    group_add: ['1000']
    working_dir: /tmp
    tmpfs: ['/scratch:size=1m']
    volumes: ['data:/data', '/anonymous']
    cap_drop: [NET_RAW]
    sysctls: {net.ipv4.ip_unprivileged_port_start: 79}
    ulimits: {nofile: {soft: 100, hard: 200}}
    shm_size: 8m
    mem_limit: 64m
    memswap_limit: 128m
    oom_score_adj: 100
    devices: ['/dev/null:/dev/nothing']
    dns: 192.0.2.1
    dns_search: example.net
    extra_hosts: ['other=192.0.2.2']
    labels: {team: a}
    networks: {default: {aliases: [uno]}}
    expose: [79]
    init: true
    tty: true
  two:
    image: IMAGE
    command: sleep 1000
    stop_signal: SIGKILL
    network_mode: service:one
    pid: service:one
    volumes_from: ['one:ro']
configs: {inline: {content: 'first'}}
secrets: {key: {environment: KEY}, vault: {external: true}}
volumes: {data: }
";
    // As the unit's LoadCredential= has it of a folder.
    let credentials = tempfile::tempdir()?;
    fs::write(credentials.path().join("hostwright_vault"), "opened")?;
    let environment = [("KEY", "hunter2"), ("CREDENTIALS_DIRECTORY", &credentials.path().display().to_string())];
    let mut host = Host::start_with_env(&docker, "says", text, &environment)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 0 healthy")?;
    let run = |service: &str, command: &str| {
        docker.docker(&["exec", &host.container(service), "sh", "-c", command]).map(|text| text.trim().to_owned())
    };
    for (command, expected) in [
        ("cat /etc/inline.conf", "first"),
        ("cat /run/secrets/key; stat -c ' %u %a' /run/secrets/key", "hunter2 1000 400"),
        ("cat /run/secrets/vault", "opened"),
        // Of the container's own process: `exec` is a race between runc, which sets the limit, and its Go runtime,
        // which raises it (https://github.com/opencontainers/runc/issues/4195).
        ("awk '/open files/ { print $4, $5 }' /proc/1/limits", "100 200"),
        ("hostname; pwd; cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "one-host\n/tmp\n79"),
        ("test -c /dev/nothing && df /scratch | grep -c tmpfs", "1"),
        ("grep -c '^search example.net' /etc/resolv.conf; grep -c 192.0.2.2 /etc/hosts", "1\n1"),
    ] {
        let found = run("one", command)?.replace('\r', "");
        assert_eq!(found, expected, "{command}");
    }
    let one = host.inspect("one")?;
    assert_eq!(one["Config"]["Domainname"], "example.org");
    assert_eq!(one["HostConfig"]["MemorySwap"], 128 << 20);
    assert_eq!(run("two", "hostname")?, "one-host");
    assert!(run("two", "touch /data/x 2>&1 || true")?.contains("Read-only"));

    let (one, two) = (host.id("one")?, host.id("two")?);
    host.write(&text.replace("'first'", "'second'"))?;
    eventually("both are made anew", LIMIT, || {
        host.id("one").is_ok_and(|id| id != one) && host.id("two").is_ok_and(|id| id != two) && host.is_running("two")
    })?;
    assert_eq!(run("one", "cat /etc/inline.conf")?.trim(), "second");
    Ok(())
}

#[test]
fn services_start_in_the_order_of_their_conditions() -> Result<()> {
    let docker = Docker::start()?;
    let text = "
services:
  job: {image: IMAGE, command: 'sh -c \"sleep 1; echo done > /out/done\"', volumes: ['out:/out']}
  db:
    image: IMAGE
    command: sh -c 'sleep 1; touch /tmp/ready; exec sleep 1000'
    stop_signal: SIGKILL
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 200ms, retries: 50}
  web:
    image: IMAGE
    command: sh -c 'cat /out/done && exec sleep 1000'
    stop_signal: SIGKILL
    volumes: ['out:/out:ro']
    depends_on:
      job: {condition: service_completed_successfully}
      db: {condition: service_healthy}
volumes: {out: }
";
    let mut host = Host::start(&docker, "order", text)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("2 containers run, 1 healthy, 1 ended as wanted")?;
    let time = |service: &str, field: &str| -> Result<String> {
        Ok(host.inspect(service)?["State"][field].as_str().unwrap_or_default().to_owned())
    };
    assert!(time("job", "FinishedAt")? < time("web", "StartedAt")?);
    assert!(time("db", "StartedAt")? < time("web", "StartedAt")?);
    assert_eq!(docker.docker(&["logs", &host.container("web")])?, "done");
    let job = time("job", "StartedAt")?;
    docker.docker(&["kill", &host.container("web")])?;
    eventually("web is back", LIMIT, || host.is_running("web"))?;
    assert_eq!(time("job", "StartedAt")?, job, "a job that ended well is not run again");
    Ok(())
}

#[test]
fn what_a_service_says_is_what_the_engine_is_told() -> Result<()> {
    let docker = Docker::start()?;
    let port = Port::reserve()?;
    let text = format!(
        "
services:
  all:
    image: IMAGE
    entrypoint: [sh, -c]
    command: ['echo hello >/www/index.html; exec httpd -f -p 80 -h /www']
    container_name: {name}
    hostname: box
    user: '0:0'
    working_dir: /tmp
    init: true
    read_only: true
    restart: on-failure:3
    stop_signal: SIGKILL
    stop_grace_period: 1500ms
    ports: ['127.0.0.1:{port}:80']
    volumes: ['./made/here:/here', 'data:/data', {{type: tmpfs, target: /scratch, tmpfs: {{size: 1m}}}}]
    tmpfs: ['/www:size=1m', /tmp]
    extra_hosts: ['other:192.0.2.7']
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ['no-new-privileges:true']
    mem_limit: 64m
    cpus: 0.5
    ulimits: {{nofile: {{soft: 100, hard: 200}}}}
    logging: {{driver: json-file, options: {{max-size: 1m}}}}
    labels: {{mine: '1'}}
    networks: {{front: {{aliases: [bee]}}, back: }}
    healthcheck: {{test: [CMD, wget, -qO-, 'http://bee/'], interval: 300ms}}
networks: {{front: , back: {{internal: true}}}}
volumes: {{data: {{labels: {{mine: '2'}}}}}}
",
        name = unique("all"),
        port = port.address().port()
    );
    let mut host = Host::start(&docker, "all", &text)?;
    host.agent.wait_ready(LIMIT)?;
    host.wait_summary("1 container runs, 1 healthy")?;
    assert_eq!(hostwright_tests::http::get(port.address(), "/")?.success()?.text(), "hello\n");
    ensure!(host.folder.path().join("made/here").is_dir(), "a missing folder of a short bind is made");
    let found = docker.inspect(&host.project.containers()?[0])?;
    let (config, engine) = (&found["Config"], &found["HostConfig"]);
    for (value, expected) in [
        (&config["Hostname"], json!("box")),
        (&config["User"], json!("0:0")),
        (&config["WorkingDir"], json!("/tmp")),
        (&config["StopSignal"], json!("SIGKILL")),
        (&config["StopTimeout"], json!(2)),
        (&config["Labels"]["mine"], json!("1")),
        (&config["Healthcheck"]["Interval"], json!(300_000_000)),
        (&engine["Init"], json!(true)),
        (&engine["ReadonlyRootfs"], json!(true)),
        (&engine["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 3})),
        (&engine["ExtraHosts"], json!(["other:192.0.2.7"])),
        (&engine["CapDrop"], json!(["ALL"])),
        (&engine["CapAdd"], json!(["NET_BIND_SERVICE"])),
        (&engine["SecurityOpt"], json!(["no-new-privileges:true"])),
        (&engine["Memory"], json!(64 << 20)),
        (&engine["NanoCpus"], json!(500_000_000)),
        (&engine["Ulimits"], json!([{"Name": "nofile", "Hard": 200, "Soft": 100}])),
        (&engine["LogConfig"], json!({"Type": "json-file", "Config": {"max-size": "1m"}})),
        (&engine["Tmpfs"], json!({"/www": "size=1m", "/tmp": ""})),
    ] {
        assert_eq!(value, &expected);
    }
    assert_eq!(found["NetworkSettings"]["Networks"].as_object().map(|networks| networks.len()), Some(2));
    assert_eq!(found["Mounts"].as_array().map(Vec::len), Some(3), "{}", found["Mounts"]);
    Ok(())
}

#[test]
fn an_unhealthy_container_is_named_with_its_last_lines_and_no_secret_is_told() -> Result<()> {
    let docker = Docker::start()?;
    let text = "
services:
  sick:
    image: IMAGE
    command: sh -c 'echo the database is gone; exec sleep 1000'
    stop_signal: SIGKILL
    environment: {PASSWORD: , TOKEN: 'x-${PASSWORD}'}
    healthcheck: {test: 'echo no connection; exit 1', interval: 200ms, retries: 2}
";
    let host = Host::start_with_env(&docker, "sick", text, &[("PASSWORD", "hunter2"), ("HOSTWRIGHT_LOG", "trace")])?;
    let why = host.wait_why("sick is unhealthy, its check says: no connection")?;
    assert!(why.contains("its log ends: the database is gone"), "{why}");
    assert!(host.inspect("sick")?["Config"]["Env"].to_string().contains("TOKEN=x-hunter2"));
    ensure!(!host.agent.output().contains("hunter2"), "a secret is in the log");
    ensure!(!host.agent.status()?.to_string().contains("hunter2"), "a secret is in the status");
    Ok(())
}

#[test]
fn a_crash_looping_container_is_started_ever_less_often_and_told() -> Result<()> {
    let docker = Docker::start()?;
    let host =
        Host::start(&docker, "loop", "services:\n  bad: {image: IMAGE, command: 'sh -c \"echo oh no; exit 3\"'}\n")?;
    let why = host.wait_why("bad ends soon after each start, exit code 3")?;
    assert!(why.contains("its log ends: oh no"), "{why}");
    Ok(())
}

#[test]
fn an_image_that_is_missing_is_pulled_and_a_moved_tag_follows_pull_policy_always() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let local = unique("hostwright-local");
    let push = |greeting: &str| -> Result<String> {
        docker.busybox_image(&local)?;
        let tree = tempfile::tempdir()?;
        fs::create_dir(tree.path().join("bin"))?;
        fs::copy("/bin/busybox", tree.path().join("bin/sleep"))?;
        docker.image_from_tree(&local, tree.path(), &[&format!("ENV GREETING={greeting}")])?;
        registry.push(&docker, &local, "team/app:1")
    };
    let reference = push("hello")?;
    let text = format!(
        "services:\n  app: {{image: '{reference}', command: [sleep, '1000'], pull_policy: always, stop_signal: SIGKILL}}\n"
    );
    let mut host = Host::start(&docker, "pull", &text)?;
    host.agent.wait_ready(LIMIT)?;
    assert!(host.inspect("app")?["Config"]["Env"].to_string().contains("GREETING=hello"));
    // The agent would give the name back to what it is pinned to, between tag and push.
    let push_unseen = |host: &Host<'_>, greeting: &str| {
        host.agent.signal(Signal::SIGSTOP)?;
        let pushed = push(greeting);
        host.agent.signal(Signal::SIGCONT)?;
        pushed
    };
    push_unseen(&host, "goodbye")?;
    // A file that is read again is when tags are looked up again.
    host.write(&format!("{text}# now\n"))?;
    eventually("the newer image runs", LIMIT, || {
        host.inspect("app").is_ok_and(|app| app["Config"]["Env"].to_string().contains("GREETING=goodbye"))
    })?;
    // And so is when an operator deploys.
    push_unseen(&host, "evening")?;
    ensure!(host.command(&["deploy"])?.status.success());
    assert!(host.inspect("app")?["Config"]["Env"].to_string().contains("GREETING=evening"));
    host.write(&text.replace("team/app:1", "team/absent:1"))?;
    host.wait_why("cannot pull ")?;
    assert!(host.is_running("app"), "the old one goes on while the new image cannot be had");
    Ok(())
}

#[test]
fn an_agent_killed_in_the_middle_of_an_update_finishes_it_afterwards() -> Result<()> {
    let docker = Docker::start()?;
    // Ignores SIGTERM, so that each update takes three seconds.
    let text =
        "services:\n  slow: {image: IMAGE, command: [sleep, '1000'], stop_grace_period: 3s, environment: {N: '0'}}\n";
    let mut host = Host::start(&docker, "crash", text)?;
    host.agent.wait_ready(LIMIT)?;
    for (round, delay) in [500, 2900, 3100].into_iter().enumerate() {
        let wanted = format!("N={}", round + 1);
        host.write(&text.replace("'0'", &format!("'{}'", round + 1)))?;
        let began = eventually("the update begins", LIMIT, || {
            host.agent
                .output()
                .matches("stopping slow before its new container is made")
                .nth(round)
                .map(|_| Instant::now())
        })?;
        eventually("the moment of the crash", LIMIT, || began.elapsed() >= Duration::from_millis(delay))?;
        host.agent.kill9()?;
        host.agent.start_again()?;
        eventually("the update is finished", LIMIT, || {
            host.is_running("slow")
                && host.inspect("slow").is_ok_and(|c| c["Config"]["Env"].to_string().contains(&wanted))
                && host.project.containers().is_ok_and(|all| all == [host.container("slow")])
        })?;
    }
    Ok(())
}
