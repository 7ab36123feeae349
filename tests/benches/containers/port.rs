use super::told;
use crate::table::{Goal, Table};
use crate::usage::fine_cpu_seconds;
use anyhow::{Context, Result, ensure};
use hostwright_tests::container_host::{Host, LIMIT};
use hostwright_tests::engines::{Docker, OwnEngine};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::wait::eventually;
use hostwright_tests::wire::{Wire, at};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

const REPEATS: usize = 5;
const SECONDS: &str = "2s";
const FIGURES: usize = 5;

/// The same server behind both.
fn web(address: &str, port: &Port, by: &str) -> String {
    format!(
        "services:\n  web:\n    image: IMAGE\n    init: true\n    ports: ['{address}{}:80']\n    labels: {{{by}}}\n    \
         command: sh -c 'mkdir -p /www; echo hello >/www/index.html; dd if=/dev/zero of=/www/big bs=1M count=256; exec httpd -f -p 80 -h /www'\n    \
         healthcheck: {{test: [CMD, wget, -qO-, 'http://127.0.0.1/'], interval: 300ms, timeout: 5s, retries: 20}}\n",
        port.number()
    )
}

/// Requests, latency and bytes through a port that we hold, and through one that the engine publishes. They take turns,
/// so that both have the same share of a busy machine. First for a client on the host, then for one of another host.
pub fn run(table: &mut Table) {
    let rows: [(&str, &'static str, Goal); FIGURES] = [
        ("requests per second", "1/s", Goal::TimesPeer(1.0)),
        ("p50", "ms", Goal::ShareOfPeer(1)),
        ("p99", "ms", Goal::None),
        ("throughput", "MB/s", Goal::TimesPeer(1.0)),
        // Where other programs take the cores too, this alone is steady. Of other hosts' requests it sees none.
        ("CPU per request", "µs", Goal::ShareOfPeer(1)),
    ];
    for (place, is_near) in [("published port", true), ("published port, from another host", false)] {
        let work = |what: &str| format!("{place}: {what}");
        if !rows.iter().any(|(what, ..)| table.wants(&work(what))) {
            continue;
        }
        let both = if is_near { near() } else { far() };
        for (index, (what, unit, goal)) in rows.into_iter().enumerate() {
            let of = |side: usize| both.as_ref().map(|both| both[side][index]).map_err(told);
            let goal = match goal {
                // Both go the kernel's way, so what differs is chance.
                Goal::TimesPeer(_) if !is_near => Goal::TimesPeer(0.9),
                _ if !is_near => Goal::None,
                _ => goal,
            };
            table.add((&work(what), unit), goal, of(0), Some(of(1)));
        }
    }
}

fn near() -> Result<[[f64; FIGURES]; 2]> {
    measure(&Docker::start()?, "127.0.0.1:", |port, carriers| once(port.address(), carriers))
}

fn far() -> Result<[[f64; FIGURES]; 2]> {
    let wire = Wire::lay()?;
    let engine = OwnEngine::with_packet_filter()?;
    measure(&Docker::at(&engine.socket()), "", |port, carriers| wire.as_neighbour(|| once(at(port), carriers)))
}

/// The medians of ours and the engine's.
fn measure(
    docker: &Docker,
    address: &str,
    once: impl Fn(&Port, &[i32]) -> Result<[f64; FIGURES]>,
) -> Result<[[f64; FIGURES]; 2]> {
    let (our_port, engines_port) = (Port::reserve()?, Port::reserve()?);
    let mut ours = Host::start(docker, "held", &web(address, &our_port, ""))?;
    let mut engines = Host::start(docker, "engines", &web(address, &engines_port, "io.hostwright.ports: engine"))?;
    for (host, port) in [(&mut ours, &our_port), (&mut engines, &engines_port)] {
        host.agent.wait_ready(LIMIT)?;
        eventually("the server", LIMIT, || http::get(port.address(), "/").is_ok())?;
    }
    let folder = ours.agent.socket().parent().context("no folder")?.display().to_string();
    let engines_number = engines_port.number().to_string();
    let carriers = [processes(&["ports", &folder])?, processes(&["-host-port", &engines_number])?];
    let mut all: [[Vec<f64>; FIGURES]; 2] = Default::default();
    for _ in 0..REPEATS {
        for (side, port) in [&our_port, &engines_port].into_iter().enumerate() {
            for (index, figure) in once(port, &carriers[side])?.into_iter().enumerate() {
                all[side][index].push(figure);
            }
        }
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Ok(all.map(|side| side.map(median)))
}

/// The processes that were started with these words.
fn processes(words: &[&str]) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if words.iter().all(|word| line.split('\0').any(|own| own == *word)) {
            found.push(number);
        }
    }
    ensure!(!found.is_empty(), "no process was started with {words:?}");
    Ok(found)
}

fn once(address: SocketAddr, carriers: &[i32]) -> Result<[f64; FIGURES]> {
    let cpu = || carriers.iter().map(|process| fine_cpu_seconds(*process)).sum::<Result<f64>>();
    let before = cpu()?;
    let url = format!("http://{address}/");
    let output = Command::new("wrk").args(["-t1", "-c4", "-d", SECONDS, "--latency", &url]).output()?;
    let spent = cpu()? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = |after: &str| text.lines().find_map(|line| line.trim().strip_prefix(after)).map(str::trim);
    let rate: f64 = word("Requests/sec:").and_then(|word| word.parse().ok()).context("wrk tells no rate")?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in")?.0.parse::<f64>().ok());
    let each = spent * 1e6 / requests.context("wrk tells no number of requests")?;
    let latency = |of: &str| word(of).and_then(milliseconds).context("wrk tells no latency");
    let curl = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{speed_download}", &format!("{url}big")])
        .output()?;
    let bytes: f64 = String::from_utf8_lossy(&curl.stdout).trim().parse().context("curl tells no speed")?;
    Ok([rate, latency("50%")?, latency("99%")?, bytes / 1e6, each])
}

/// wrk's "431.00us", "1.20ms" or "1.02s".
fn milliseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok()) {
            return Some(number * factor);
        }
    }
    None
}
