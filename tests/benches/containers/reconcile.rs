use super::compose::{Compose, children_ms};
use super::told;
use crate::table::{Goal, Table};
use crate::usage::fine_cpu_seconds;
use anyhow::{Result, ensure};
use hostwright_tests::container_host::Host;
use hostwright_tests::engines::Docker;
use hostwright_tests::engines::docker::unique;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

const SERVICES: usize = 50;
const REPEATS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(300);

fn compose() -> String {
    let mut text = "services:\n".to_owned();
    for number in 0..SERVICES {
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "  s{number}: {{image: IMAGE, command: [sleep, '100000'], stop_signal: SIGKILL, environment: {{N: '{number}'}}}}"
        );
    }
    text
}

/// `deploy` of a file that runs already, beside `up` of the same one.
pub fn run(table: &mut Table) {
    let work = format!("no-change round of {SERVICES} services");
    if !table.wants(&work) {
        return;
    }
    let (ours, peer) = (ours(), peer());
    let wall = |cost: &Result<(f64, f64)>| cost.as_ref().map(|cost| cost.0).map_err(told);
    let cpu = |cost: &Result<(f64, f64)>| cost.as_ref().map(|cost| cost.1).map_err(told);
    table.add((&format!("{work}: wall"), "ms"), Goal::ShareOfPeer(10), wall(&ours), Some(wall(&peer)));
    table.add((&format!("{work}: CPU"), "ms"), Goal::ShareOfPeer(10), cpu(&ours), Some(cpu(&peer)));
}

/// The command's own CPU time and the agent's.
fn ours() -> Result<(f64, f64)> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "fifty", &compose())?;
    host.agent.wait_ready(PATIENCE)?;
    median(|| {
        let (began, agent, command) = (Instant::now(), fine_cpu_seconds(host.agent.pid())?, children_ms()?);
        let output = host.command(&["deploy"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let wall = began.elapsed().as_secs_f64() * 1e3;
        Ok((wall, (fine_cpu_seconds(host.agent.pid())? - agent) * 1e3 + children_ms()? - command))
    })
}

fn peer() -> Result<(f64, f64)> {
    let docker = Docker::start()?;
    let (peer, image, folder) = (Compose::new(&docker, "fifty"), unique("hostwright-busybox"), tempfile::tempdir()?);
    docker.busybox_image(&image)?;
    let file = folder.path().join("compose.yaml");
    fs::write(&file, compose().replace("IMAGE", &image))?;
    peer.up(&file)?;
    median(|| peer.up(&file))
}

fn median(mut once: impl FnMut() -> Result<(f64, f64)>) -> Result<(f64, f64)> {
    let all: Vec<(f64, f64)> = (0..REPEATS).map(|_| once()).collect::<Result<_>>()?;
    let middle = |of: fn(&(f64, f64)) -> f64| {
        let mut figures: Vec<f64> = all.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Ok((middle(|cost| cost.0), middle(|cost| cost.1)))
}
