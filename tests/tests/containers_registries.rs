//! Images from registries as they are in the world: slow, and more of them than the disk holds.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::container_host::LIMIT;
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, OwnEngine, Registry};
use hostwright_tests::image_host::{ImageHost, image};
use hostwright_tests::process::binary;
use hostwright_tests::throttle::Throttle;
use hostwright_tests::wait::eventually;
use serde_json::Value;

const MEGABYTE: usize = 1_000_000;

/// What no compression makes smaller.
fn noise(bytes: usize) -> Result<Vec<u8>> {
    let mut noise = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut noise)?;
    Ok(noise)
}

#[test]
fn a_deployment_tells_how_far_a_pull_is() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let (one, two) = (unique("hostwright-one"), unique("hostwright-two"));
    let (first, second) = (image(&docker, &one, "1")?, image(&docker, &two, noise(6 * MEGABYTE)?)?);
    registry.push(&docker, &one, "team/app:1")?;
    let slow = Throttle::start(registry.host().parse()?, 2_000_000)?;
    let host = ImageHost::start(&docker, &format!("{}/team/app:1", slow.host()), "{}")?;
    host.wait_runs(&first)?;

    registry.push(&docker, &two, "team/app:1")?;
    docker.docker(&["rmi", "--force", &two])?;
    let began = Instant::now();
    let mut deploy = Command::new(binary("hostwright-agent")?)
        .args(["containers", "deploy", "--socket"])
        .arg(host.agent.socket())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(deploy.stdout.take().context("no output")?).lines();
    let told: Vec<(Duration, String)> = lines.map(|line| Ok((began.elapsed(), line?))).collect::<Result<_>>()?;
    let (took, done) = (began.elapsed(), deploy.wait()?);
    ensure!(done.success(), "{told:?}");
    host.wait_runs(&second)?;
    let pulling: Vec<_> = told.iter().filter(|(_, line)| line.contains("pulling") && line.contains("MB")).collect();
    ensure!(pulling.len() > 3, "in {took:?} only {told:?}");
    let (early, late) = (pulling[0].0, pulling[pulling.len() - 1].0);
    ensure!(late - early > Duration::from_secs(1), "not while it went on: {told:?}");
    docker.docker(&["rmi", "--force", &one])?;
    Ok(())
}

#[test]
fn a_full_disk_loses_what_nobody_uses_and_neither_what_runs_nor_the_last_good_one() -> Result<()> {
    let (docker, registry) = (Docker::start()?, Registry::start()?);
    let mut names = Vec::new();
    for number in 1..=4 {
        let local = unique("hostwright-large");
        image(&docker, &local, noise(20 * MEGABYTE)?)?;
        names.push(registry.push(&docker, &local, &format!("team/app:{number}"))?);
        docker.docker(&["rmi", &local])?;
    }
    let engine = OwnEngine::with_small_disk(150)?;
    let own = Docker::at(&engine.socket());
    // More than 60 of 150 MiB are taken by four; that only 10 be taken is more than can be had.
    let mut host = ImageHost::start(&own, &names[0], "{clean_up: {after: 1h, every: 1s, high: 40, low: 10}}")?;
    let runs = |host: &ImageHost<'_>, name: &str| {
        eventually(&format!("{name} runs"), LIMIT, || {
            let container = own.inspect(&format!("{}-app-1", host.project.name()))?;
            let is_it = container["Config"]["Image"] == name && container["State"]["Running"] == true;
            if is_it { Ok(()) } else { bail!("{} runs", container["Config"]["Image"]) }
        })
    };
    for name in &names {
        host.write(name)?;
        runs(&host, name)?;
    }
    let has = |name: &str| own.docker(&["inspect", name]).is_ok();
    ensure!(names.iter().all(|name| has(name)), "what was brought a moment ago stays");

    // An hour has not passed, but more than a moment.
    ensure!(host.agent.terminate()? == Some(0));
    let file = host.agent.state_folder().join("containers/images.json");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut state: Value = serde_json::from_str(&text)?;
    let brought = age(&mut state, jiff::Timestamp::now() - jiff::SignedDuration::from_mins(30));
    ensure!(brought == 4, "{state}");
    fs::write(&file, state.to_string())?;
    host.agent.start_again()?;
    eventually("unused images are gone", LIMIT, || {
        let left: Vec<bool> = names.iter().map(|name| has(name)).collect();
        if left == [false, false, true, true] { Ok(()) } else { bail!("{left:?}: {}", host.agent.output()) }
    })?;
    let disk = nix::sys::statvfs::statvfs(own.docker(&["info", "--format", "{{.DockerRootDir}}"])?.as_str())?;
    ensure!(disk.blocks_available() * disk.fragment_size() > 90 << 20, "the room is free again");
    // The looks go on, for the disk is fuller than is wished.
    let next = |status: &Value| status["duties"]["containers"]["details"]["images"]["clean_up"]["images"] == 2;
    host.agent.wait_status("two were removed", LIMIT, next)?;
    runs(&host, &names[3])?;
    ensure!(has(&names[2]) && has(&names[3]));
    // Names that the file has no more are left alone.
    ensure!(!host.agent.output().contains("somebody had changed"), "{}", host.agent.output());
    Ok(())
}

/// Makes every `used` that time; how many there are.
fn age(state: &mut Value, used: jiff::Timestamp) -> usize {
    match state {
        Value::Object(members) => {
            let mut count = 0;
            for (key, value) in members {
                if key == "used" && value.is_string() {
                    *value = used.to_string().into();
                    count += 1;
                } else {
                    count += age(value, used);
                }
            }
            count
        }
        Value::Array(items) => items.iter_mut().map(|item| age(item, used)).sum(),
        _ => 0,
    }
}
