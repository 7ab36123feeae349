use super::compose::Compose;
use super::told;
use crate::table::{Goal, Table};
use crate::usage::fine_cpu_seconds;
use anyhow::{Context, Result};
use hostwright_tests::container_host::Host;
use hostwright_tests::engines::Docker;
use hostwright_tests::engines::docker::unique;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

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

/// A round of the agent over a file that runs already, beside `up` of the same one.
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

/// The agent's rounds by its timer, as it tells their length itself.
fn ours() -> Result<(f64, f64)> {
    let docker = Docker::start()?;
    let mut host = Host::start(&docker, "fifty", &compose())?;
    host.agent.wait_ready(PATIENCE)?;
    host.wait_summary(&format!("{SERVICES} containers run, 0 healthy"))?;
    let mut seen = host.agent.status()?["duties"]["containers"]["details"]["round"].clone();
    median(|| {
        let before = fine_cpu_seconds(host.agent.pid())?;
        let status = host
            .agent
            .wait_status("a round", PATIENCE, |status| status["duties"]["containers"]["details"]["round"] != seen)?;
        let details = &status["duties"]["containers"]["details"];
        seen = details["round"].clone();
        let wall = details["round_ms"].as_f64().context("the status tells no round_ms")?;
        Ok((wall, (fine_cpu_seconds(host.agent.pid())? - before) * 1e3))
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
