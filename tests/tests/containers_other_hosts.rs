//! Clients of other hosts are taken to the containers by the kernel, and by the process that holds the ports wherever
//! that would not do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT, Prober};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use hostwright_tests::wire::{self, HOST, NEIGHBOUR, SECOND, Wire, at};

const TABLE: &str = "table ip hostwright-";

/// A web server that takes a second to be there. It tells who asks, and has an answer that takes its time.
fn web(ports: &[String], greeting: &str) -> String {
    format!(
        "
services:
  web:
    image: IMAGE
    command:
      - sh
      - -c
      - |
        sleep 1; mkdir -p /www/cgi-bin; echo {greeting} >/www/index.html
        printf '#!/bin/sh\\nprintf \"\\\\r\\\\n$$REMOTE_ADDR\"\\n' >/www/cgi-bin/who
        printf '#!/bin/sh\\nsleep 4; printf \"\\\\r\\\\n{greeting}\"\\n' >/www/cgi-bin/slow
        chmod +x /www/cgi-bin/*
        exec httpd -f -p 80 -h /www
    init: true
    ports: {ports:?}
    healthcheck: {{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}}
    restart: always
    stop_grace_period: 1s
"
    )
}

fn ask(address: (std::net::Ipv4Addr, &Port), path: &str) -> Result<String> {
    let answer = http::get(SocketAddr::from((address.0, address.1.number())), path)?.success()?;
    // The server has a socket of IPv6, and writes clients of IPv4 so.
    Ok(answer.text().trim().trim_start_matches("[::ffff:").trim_end_matches(']').to_owned())
}

fn who(wire: &Wire, port: &Port) -> Result<String> {
    wire.as_neighbour(|| ask((HOST, port), "/cgi-bin/who"))
}

/// Waits until the kernel takes the neighbour to the container, which then sees its address.
fn wait_for_the_kernel(wire: &Wire, port: &Port) -> Result<()> {
    let own = NEIGHBOUR.to_string();
    eventually("the container sees its client", LIMIT, || who(wire, port).is_ok_and(|seen| seen == own))
}

fn wait_for_the_process(wire: &Wire, port: &Port) -> Result<()> {
    let own = NEIGHBOUR.to_string();
    eventually("the process takes clients again", LIMIT, || who(wire, port).is_ok_and(|seen| seen != own))
}

#[test]
fn an_update_cuts_nothing_off_and_the_container_sees_its_client() -> Result<()> {
    let (wire, port) = (Wire::lay()?, Port::reserve()?);
    let engine = OwnEngine::with_packet_filter()?;
    let docker = Docker::at(&engine.socket());
    let ports = [format!("{}:80", port.number())];
    let mut host = Host::start(&docker, "other", &web(&ports, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    wait_for_the_kernel(&wire, &port)?;
    ensure!(ask((HOST, &port), "/cgi-bin/who")? != NEIGHBOUR.to_string(), "the host itself comes another way");

    let prober = wire.as_neighbour(|| Ok(Prober::start(at(&port))))?;
    for (before, greeting) in [("one", "two"), ("two", "three")] {
        thread::scope(|scope| -> Result<()> {
            let slow = scope.spawn(|| wire.as_neighbour(|| ask((HOST, &port), "/cgi-bin/slow")));
            host.write(&web(&ports, greeting))?;
            eventually("the new one answers", LIMIT, || {
                wire.as_neighbour(|| ask((HOST, &port), "/")).is_ok_and(|answer| answer == greeting)
            })?;
            let slow = slow.join().expect("no panic").context("a long answer was cut off by the update")?;
            ensure!(slow == before, "the long answer is of {slow:?}");
            Ok(())
        })?;
        host.wait_summary("1 container runs, 1 healthy")?;
    }
    // A version that never is good, and an agent that is killed over it.
    let bad = web(&ports, "bad").replace("exec httpd -f", "exit 3; httpd");
    host.write(&bad)?;
    host.wait_why("web: the new version was taken back")?;
    host.agent.kill9()?;
    ensure!(who(&wire, &port)? == NEIGHBOUR.to_string(), "the kernel goes on while the agent is dead");
    host.agent.start_again()?;
    host.wait_why("web: the new version was taken back")?;
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());
    ensure!(probes.answers.keys().eq(["one", "three", "two"]), "{:?}", probes.answers);
    ensure!(probes.slowest < Duration::from_secs(1), "one waited for {:?}", probes.slowest);
    Ok(())
}

#[test]
fn what_stands_in_the_kernels_way_is_repaired_or_leaves_it_to_the_process() -> Result<()> {
    let (wire, port) = (Wire::lay()?, Port::reserve()?);
    let engine = OwnEngine::with_packet_filter()?;
    let docker = Docker::at(&engine.socket());
    let mut host = Host::start(&docker, "drift", &web(&[format!("{}:80", port.number())], "one"))?;
    host.agent.wait_ready(LIMIT)?;
    wait_for_the_kernel(&wire, &port)?;

    // What a reload of somebody's firewall removes.
    let tables = wire::run("nft", &["list", "tables"])?;
    let own = tables.lines().find(|line| line.starts_with(TABLE)).context("there is no table")?.to_owned();
    wire::run("nft", &["delete", "table", "ip", own.trim_start_matches("table ip ")])?;
    wait_for_the_process(&wire, &port)?;
    wait_for_the_kernel(&wire, &port)?;
    wire::run("iptables", &["-F", "DOCKER-USER"])?;
    eventually("our rule is back", LIMIT, || {
        wire::run("iptables", &["-S", "DOCKER-USER"]).is_ok_and(|rules| rules.contains("hostwright"))
    })?;
    wait_for_the_kernel(&wire, &port)?;

    // The operator's own filter counts.
    for chain in ["INPUT", "DOCKER-USER"] {
        wire::run("iptables", &["-A", chain, "-s", "203.0.113.0/24", "-j", "DROP"])?;
        wait_for_the_process(&wire, &port)?;
        host.agent.wait_status("it is told whom clients come through", LIMIT, |status| {
            let notes = status["duties"]["containers"]["details"]["notes"].to_string();
            notes.contains("come through hostwright-ports")
        })?;
        wire::run("iptables", &["-D", chain, "-s", "203.0.113.0/24", "-j", "DROP"])?;
        wait_for_the_kernel(&wire, &port)?;
    }

    // A container that dies comes back with whatever address.
    docker.docker(&["kill", &host.container("web")])?;
    let killed = Instant::now();
    wait_for_the_kernel(&wire, &port)?;
    ensure!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());

    // What is no longer published is gone.
    host.write(&web(&[], "one"))?;
    eventually("no rule of ours is left", LIMIT, || {
        let tables = wire::run("nft", &["list", "tables"])?;
        let rules = wire::run("iptables", &["-S", "DOCKER-USER"])?;
        ensure!(!tables.contains(TABLE) && !rules.contains("hostwright"), "{tables}{rules}");
        anyhow::Ok(())
    })?;
    ensure!(wire.as_neighbour(|| ask((HOST, &port), "/")).is_err());
    Ok(())
}

#[test]
fn an_address_that_a_port_is_bound_to_is_the_only_way_to_it() -> Result<()> {
    let wire = Wire::lay()?;
    let (near, far) = (Port::reserve()?, Port::reserve()?);
    let engine = OwnEngine::with_packet_filter()?;
    let docker = Docker::at(&engine.socket());
    let ports = [format!("127.0.0.1:{}:80", near.number()), format!("{SECOND}:{}:80", far.number())];
    let mut host = Host::start(&docker, "bound", &web(&ports, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    eventually("the kernel takes clients of the second address", LIMIT, || {
        wire.as_neighbour(|| ask((SECOND, &far), "/cgi-bin/who")).is_ok_and(|seen| seen == NEIGHBOUR.to_string())
    })?;
    ensure!(http::get(near.address(), "/").is_ok());
    for (address, port) in [(HOST, &near), (SECOND, &near), (HOST, &far)] {
        let asked = wire.as_neighbour(|| ask((address, port), "/"));
        ensure!(asked.is_err(), "{address}:{} is open: {asked:?}", port.number());
    }
    Ok(())
}

/// It says which version it is, and who asks. The image has no Python, so it is the machine's.
fn echo(port: &Port, greeting: &str) -> String {
    format!(
        "
services:
  echo:
    image: IMAGE
    command:
      - /usr/bin/python3
      - -c
      - |
        import socket
        echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        echo.bind(('', 53))
        while True:
            _, client = echo.recvfrom(9)
            echo.sendto(b'{greeting} ' + client[0].encode(), client)
    init: true
    volumes: ['/usr:/usr:ro', '/lib:/lib:ro', '/lib64:/lib64:ro']
    ports: ['{}:53/udp']
    healthcheck: {{test: [CMD, 'true'], interval: 300ms, timeout: 5s, retries: 20}}
    restart: always
    stop_grace_period: 1s
",
        port.number()
    )
}

#[test]
fn a_client_that_keeps_its_udp_port_is_taken_to_the_new_container() -> Result<()> {
    let (wire, port) = (Wire::lay()?, Port::reserve()?);
    let engine = OwnEngine::with_packet_filter()?;
    let docker = Docker::at(&engine.socket());
    let mut host = Host::start(&docker, "datagrams", &echo(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    let client = wire.as_neighbour(|| {
        let client = UdpSocket::bind((NEIGHBOUR, 0))?;
        client.connect(at(&port))?;
        client.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(client)
    })?;
    let says = |greeting: &str| {
        let mut answer = [0; 64];
        let asked = client.send(b"?").and_then(|_| client.recv(&mut answer));
        asked.is_ok_and(|count| answer[..count] == *format!("{greeting} {NEIGHBOUR}").as_bytes())
    };
    eventually("the first one answers", LIMIT, || says("one"))?;
    host.write(&echo(&port, "two"))?;
    eventually("the second one answers", LIMIT, || says("two"))?;
    host.wait_summary("1 container runs, 1 healthy")?;
    ensure!(says("two"), "after the old one has gone");
    Ok(())
}

/// It keeps connections, takes its time for each answer, and breaks off whatever it is at when it is told to stop.
fn abrupt(port: &Port, greeting: &str) -> String {
    format!(
        "
services:
  web:
    image: IMAGE
    command:
      - /usr/bin/python3
      - -c
      - |
        import socket, threading, time
        def serve(client):
            while client.recv(4096):
                time.sleep(0.01)
                client.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\n\\r\\n{greeting}')
        listener = socket.create_server(('', 80))
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    init: true
    volumes: ['/usr:/usr:ro', '/lib:/lib:ro', '/lib64:/lib64:ro']
    ports: ['{}:80']
    healthcheck: {{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}}
    restart: always
",
        port.number()
    )
}

/// A client that keeps its connection, and never asks a second time for what it did not get.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    fn ask(&mut self) -> Result<String> {
        let mut answer = [0; 41];
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: other\r\n\r\n")?;
        self.0.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[38..]).into_owned())
    }
}

/// Asks until it is over. The greetings in their order, and how long the slowest took.
fn insist(address: SocketAddr, is_over: &AtomicBool) -> Result<(Vec<String>, Duration)> {
    let (mut client, mut heard, mut slowest) = (Client::connect(address)?, Vec::new(), Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let greeting = client.ask().with_context(|| format!("after {heard:?}"))?;
        slowest = slowest.max(asked.elapsed());
        if heard.last() != Some(&greeting) {
            heard.push(greeting);
        }
    }
    Ok((heard, slowest))
}

#[test]
fn busy_persistent_connections_go_on_to_the_new_container_although_the_old_one_breaks_off() -> Result<()> {
    let (wire, port) = (Wire::lay()?, Port::reserve()?);
    let engine = OwnEngine::with_packet_filter()?;
    let docker = Docker::at(&engine.socket());
    let mut host = Host::start(&docker, "busy", &abrupt(&port, "one"))?;
    host.agent.wait_ready(LIMIT)?;
    let is_tracked = || wire::run("nft", &["list", "ruleset"]).is_ok_and(|rules| rules.contains("dnat to"));
    eventually("the kernel takes clients of other hosts", LIMIT, is_tracked)?;
    let (is_over, address) = (AtomicBool::new(false), at(&port));
    let all = thread::scope(|scope| -> Result<Vec<_>> {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| wire.as_neighbour(|| insist(address, &is_over)))).collect();
        let updates = ["two", "six"].into_iter().try_for_each(|greeting| {
            host.write(&abrupt(&port, greeting))?;
            let ask = || wire.as_neighbour(|| Client::connect(address)?.ask());
            let answers = || ask().is_ok_and(|answer| answer == greeting);
            eventually("the new one answers", LIMIT, answers)?;
            host.wait_summary("1 container runs, 1 healthy")
        });
        is_over.store(true, Ordering::Relaxed);
        let all = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
        updates.and(all)
    })?;
    for (heard, slowest) in all {
        ensure!(heard == ["one", "two", "six"], "{heard:?}");
        ensure!(slowest < Duration::from_secs(1), "one waited for {slowest:?}");
    }
    let rules = wire::run("iptables", &["-t", "mangle", "-S"])?;
    ensure!(!rules.contains("hostwright"), "{rules}");
    Ok(())
}
