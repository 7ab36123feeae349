//! Basegun in a full VM: boot from one user-data, kills, a reboot, and a count of lines and products at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::basegun::{BUCKET, Pace, Surroundings, numbered};
use hostwright_tests::http;
use hostwright_tests::scenario::render;
use hostwright_tests::vm::{Forwards, SshKey, Vm};
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(600);
const LONG: Duration = Duration::from_secs(240);
const PACE: Pace = Pace { lines_per_second: 100, rotate_seconds: 10 };
/// A batch that was sent but not yet acknowledged when the agent died is sent again; 256 KiB of lines of 130 bytes.
const BATCH: usize = 2500;
const KILLS: usize = 3;

#[test]
fn a_bare_vm_becomes_a_working_host_and_loses_nothing_when_killed_and_rebooted() -> Result<()> {
    let around = Surroundings::start()?;
    let key = SshKey::make()?;
    let user_data = around.user_data(PACE, key.public())?;
    let vm = Vm::up(&user_data, key, Forwards::reserve(&[80, 9100])?)?;
    vm.wait_configured(1, BOOT)?;
    report_is_complete(&vm)?;
    containers_are_healthy(&vm)?;
    upload(&vm, 3)?;
    for _ in 0..KILLS {
        vm.ssh("systemctl kill -s KILL hostwright-agent; sleep 1")?;
    }
    eventually("metrics are served again after the kills", LONG, || {
        let text = http::get(vm.to(9100), "/metrics")?.success()?.text();
        if text.contains("node_memory_MemTotal_bytes ") { Ok(()) } else { bail!("no memory among them") }
    })?;

    let created = vm.ssh("docker inspect -f '{{.Created}}' basegun-backend basegun-frontend")?;
    // The connection breaks before an exit code comes.
    let _ = vm.ssh("systemctl reboot");
    vm.wait_configured(2, BOOT)?;
    only_per_boot_work_was_done(&vm)?;
    containers_are_healthy(&vm)?;
    ensure!(
        vm.ssh("docker inspect -f '{{.Created}}' basegun-backend basegun-frontend")? == created,
        "a reboot recreates no container"
    );
    upload(&vm, 2)?;

    nothing_is_lost(&vm, &around)?;
    products_are_whole(&vm, &around, 5)
}

fn report_is_complete(vm: &Vm) -> Result<()> {
    let report: serde_json::Value = serde_json::from_str(&vm.ssh("cat /run/hostwright/boot.json")?)?;
    ensure!(report["result"] == "ok", "the report is {report:#}");
    ensure!(vm.ssh("hostname")?.trim() == "basegun-preprod");
    ensure!(vm.ssh("stat -c %a /etc/hostwright/agent.env")?.trim() == "600");
    ensure!(vm.ssh("cat /etc/motd")?.starts_with("basegun preprod was set up on"));
    Ok(())
}

fn only_per_boot_work_was_done(vm: &Vm) -> Result<()> {
    let report: serde_json::Value = serde_json::from_str(&vm.ssh("cat /run/hostwright/boot.json")?)?;
    ensure!(report["result"] == "ok", "the report is {report:#}");
    ensure!(report["boot"] == 2, "the report is of boot {}", report["boot"]);
    let steps = report["steps"].as_array().context("steps")?;
    // Each step tells in which boot it was done; those of the first boot stay in the report.
    let done_now = |step: &&serde_json::Value| step["boot"] == 2 && step["outcome"] == "done";
    let names: Vec<_> = steps.iter().filter(done_now).filter_map(|step| step["name"].as_str()).collect();
    let once = ["users", "files", "packages", "runcmd"];
    let again: Vec<_> = names.iter().filter(|name| once.iter().any(|once| name.starts_with(once))).collect();
    ensure!(again.is_empty(), "steps that belong to the first boot were done again: {again:?}");
    Ok(())
}

fn containers_are_healthy(vm: &Vm) -> Result<()> {
    eventually("both containers are healthy", LONG, || {
        let listed = vm.ssh("docker ps --format '{{.Names}} {{.Status}}'")?;
        if listed.matches("(healthy)").count() == 2 { Ok(()) } else { bail!("docker ps says: {listed}") }
    })?;
    vm.wait_status("every duty is ok", LONG, |status| {
        status["ready"] == true
            && status["duties"]
                .as_object()
                .is_some_and(|duties| duties.len() == 5 && duties.values().all(|row| row["state"] == "ok"))
    })?;
    Ok(())
}

fn upload(vm: &Vm, count: usize) -> Result<()> {
    for number in 0..count {
        let picture: Vec<u8> = (0..400_000).map(|at| ((at * (number + 3)) >> 2) as u8).collect();
        http::request(vm.to(80), "POST", "/api/upload", &[], &picture)?.success()?;
    }
    Ok(())
}

/// Stops the backend, so that its files stand still, and compares them with what the receiver has.
fn nothing_is_lost(vm: &Vm, around: &Surroundings) -> Result<()> {
    vm.ssh("docker stop -t 1 basegun-backend; true")?;
    let text = vm.ssh("cat /var/log/basegun/log.json*")?;
    let written: BTreeSet<_> = text.lines().filter_map(numbered).collect();
    ensure!(written.len() > 2000, "the backend wrote {} lines only", written.len());
    let received = eventually("every written line is at the receiver", LONG, || {
        let received = around.received()?;
        let missing = written.difference(&received.distinct).count();
        if missing == 0 { Ok(received) } else { bail!("{missing} of {} are missing", written.len()) }
    })?;
    let again = received.lines - received.distinct.len();
    println!("{} lines written, 0 lost, {again} sent twice", written.len());
    ensure!(
        again <= BATCH * (KILLS + 1),
        "{again} lines were sent twice, more than a batch for each kill and the reboot"
    );
    Ok(())
}

fn products_are_whole(vm: &Vm, around: &Surroundings, count: usize) -> Result<()> {
    let keys = eventually("every picture is in the bucket", LONG, || {
        let keys = around.swift.keys(BUCKET)?;
        if keys.iter().filter(|key| key.ends_with(".jpg")).count() == count {
            Ok(keys)
        } else {
            bail!("the bucket has {keys:?}")
        }
    })?;
    for key in keys.iter().filter(|key| key.ends_with(".jpg")) {
        let name = key.rsplit('/').next().unwrap_or_default();
        ensure!(key.starts_with("preprod/20"), "the key {key} does not follow its template");
        let local = vm.ssh(&format!("md5sum < /var/lib/basegun/images/{name}"))?;
        let stored = around.swift.head(BUCKET, key)?;
        let etag = stored.header("etag").context("an etag")?.trim_matches('"').to_owned();
        ensure!(local.starts_with(&etag), "{key} has the checksum {etag}, the file {local}");
    }
    Ok(())
}

#[test]
fn the_scenario_s_files_are_valid_where_they_stand() -> Result<()> {
    let values = [
        ("workspace", "prod"),
        ("bucket", "b"),
        ("bucket_endpoint", "https://s3.example"),
        ("log_receiver", "logs.example:514"),
    ];
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.yaml");
    std::fs::write(&file, render("basegun", "agent.yaml", &values)?)?;
    let check = std::process::Command::new(hostwright_tests::process::binary("hostwright-agent")?)
        .arg("check")
        .arg(&file)
        .output()?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    Ok(())
}
