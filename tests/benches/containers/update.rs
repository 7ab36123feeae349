use super::compose::Compose;
use super::told;
use crate::table::{Goal, Table};
use anyhow::{Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober, Probes};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use hostwright_tests::wire::{Wire, at};
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a broken version is watched: far longer than an exchange takes.
const BROKEN_LASTS: Duration = Duration::from_secs(8);

/// A web server that takes a second to be there, and one that never is.
fn web(address: &str, port: &Port, greeting: &str) -> String {
    let serve = if greeting == "broken" { "exit 3" } else { "exec httpd -f -p 80 -h /www" };
    format!(
        "services:\n  web:\n    image: IMAGE\n    init: true\n    restart: always\n    ports: ['{address}{}:80']\n    \
         command: sh -c 'sleep 1; mkdir -p /www; echo {greeting} >/www/index.html; {serve}'\n    \
         healthcheck: {{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}}\n",
        port.number()
    )
}

/// Updates and broken updates, with requests all the time: of clients on the host, and of another one.
pub fn run(table: &mut Table) {
    for (work, greeting, is_near) in [
        ("update under load", "two", true),
        ("broken update under load", "broken", true),
        ("update under load from another host", "two", false),
        ("broken update under load from another host", "broken", false),
    ] {
        if !table.wants(work) {
            continue;
        }
        let of = |act: fn(&Site<'_>, &str) -> Result<Probes>| {
            if is_near {
                let docker = Docker::start()?;
                return act(&Site { docker: &docker, wire: None, address: "127.0.0.1:" }, greeting);
            }
            let wire = Wire::lay()?;
            let engine = OwnEngine::with_packet_filter()?;
            act(&Site { docker: &Docker::at(&engine.socket()), wire: Some(&wire), address: "" }, greeting)
        };
        let (ours, peer) = (of(ours), of(peer));
        let failed = |probes: &Result<Probes>| probes.as_ref().map(|p| p.failures.len() as f64).map_err(told);
        let slowest = |probes: &Result<Probes>| probes.as_ref().map(|p| p.slowest.as_secs_f64() * 1e3).map_err(told);
        table.add(
            (&format!("{work}: failed requests"), "of a probe each 10 ms"),
            Goal::AtMost(0.0),
            failed(&ours),
            Some(failed(&peer)),
        );
        table.add((&format!("{work}: slowest request"), "ms"), Goal::None, slowest(&ours), Some(slowest(&peer)));
    }
}

/// Where it takes place: on the wire between two hosts, or on one.
struct Site<'s> {
    docker: &'s Docker,
    wire: Option<&'s Wire>,
    /// As it stands before a port in the file.
    address: &'static str,
}

impl Site<'_> {
    /// Does something as the client, with the port's address.
    fn ask<T: Send>(&self, port: &Port, act: impl FnOnce(SocketAddr) -> Result<T> + Send) -> Result<T> {
        match self.wire {
            Some(wire) => wire.as_neighbour(|| act(at(port))),
            None => act(port.address()),
        }
    }
}

fn ours(site: &Site<'_>, greeting: &str) -> Result<Probes> {
    let port = Port::reserve()?;
    let mut host = Host::start(site.docker, "bench", &web(site.address, &port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    under_load(site, &port, || {
        host.write(&web(site.address, &port, greeting))?;
        if greeting == "broken" {
            host.wait_why("the new version was taken back").map(drop)
        } else {
            eventually("the update", LIMIT, || greets(&port, greeting))?;
            host.wait_summary("1 container runs, 1 healthy")
        }
    })
}

fn peer(site: &Site<'_>, greeting: &str) -> Result<Probes> {
    let (docker, port) = (site.docker, Port::reserve()?);
    let (compose, image, folder) = (Compose::new(docker, "bench"), unique("hostwright-busybox"), tempfile::tempdir()?);
    docker.busybox_image(&image)?;
    let file = folder.path().join("compose.yaml");
    let write = |greeting: &str| fs::write(&file, web(site.address, &port, greeting).replace("IMAGE", &image));
    write("one")?;
    compose.up(&file)?;
    eventually("the first one", LIMIT, || greets(&port, "one"))?;
    under_load(site, &port, || {
        write(greeting)?;
        compose.up(&file)?;
        if greeting == "broken" {
            thread::sleep(BROKEN_LASTS);
            Ok(())
        } else {
            eventually("the update", LIMIT, || greets(&port, greeting))
        }
    })
}

fn greets(port: &Port, greeting: &str) -> bool {
    http::get(port.address(), "/").is_ok_and(|answer| answer.text().trim() == greeting)
}

/// What the probe sees while something is done, with wrk's connections beside it.
fn under_load(site: &Site<'_>, port: &Port, mut act: impl FnMut() -> Result<()>) -> Result<Probes> {
    let mut load = site.ask(port, wrk)?;
    let prober = site.ask(port, |address| Ok(Prober::start(address)))?;
    let acted = act();
    let probes = prober.finish()?;
    load.kill()?;
    load.wait()?;
    acted?;
    ensure!(!probes.answers.is_empty(), "nobody answered");
    Ok(probes)
}

fn wrk(address: SocketAddr) -> Result<Child> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c2", "-d120s"]).arg(format!("http://{address}/"));
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}
