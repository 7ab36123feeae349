//! The metrics duty on the real agent: scraped by a real Prometheus, and compared with a real node_exporter.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::engines::{NodeExporter, Prometheus, prometheus};
use hostwright_tests::exposition::Exposition;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const SOON: Duration = Duration::from_secs(20);

/// A ready agent that only serves metrics.
fn agent() -> Result<(AgentProcess, Port)> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("metrics: {{listen: \"{}\"}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    Ok((agent, port))
}

fn scrape(address: SocketAddr) -> Result<String> {
    Ok(http::get(address, "/metrics")?.success()?.text())
}

/// The value of the series that is written like this.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("there is no {series}"))?.parse().context("not a number")
}

#[test]
fn every_family_series_and_value_is_as_node_exporter_has_it_on_this_host() -> Result<()> {
    let (_agent, port) = agent()?;
    let text = scrape(port.address())?;
    let collectors = text.lines().filter_map(|line| {
        line.strip_prefix("node_scrape_collector_success{collector=\"")?
            .split_once('"')
            .map(|(name, _)| name.to_owned())
    });
    let original = NodeExporter::start(&collectors.collect::<Vec<_>>())?;
    // A device or a value may change and change back between two looks, so a difference counts if it stays.
    eventually("no difference to the original", SOON, || {
        let before = Exposition::parse(&scrape(original.address())?)?;
        let ours = Exposition::parse(&scrape(port.address())?)?;
        let after = Exposition::parse(&scrape(original.address())?)?;
        ensure!(ours.series.len() > 200, "only {} series", ours.series.len());
        match ours.wrong(&before, &after, original.version())[..] {
            [] => Ok(()),
            ref wrong => bail!("{}", wrong.join("\n")),
        }
    })
}

#[test]
fn a_prometheus_that_scrapes_the_agent_stores_the_kernels_own_numbers() -> Result<()> {
    let (agent, port) = agent()?;
    let prometheus = Prometheus::start(&[("node", port.address())])?;
    let one = |query: &str| -> Result<f64> {
        let [sample] = &prometheus.query(query)?[..] else { bail!("not one series for {query}") };
        Ok(sample.value)
    };
    eventually("the target is up", SOON, || {
        Ok(one("up{job=\"node\"}")? == 1.0).and_then(|up| if up { Ok(()) } else { bail!("down") })
    })?;
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let total: f64 = total.context("no MemTotal")?.parse()?;
    assert_eq!(one("node_memory_MemTotal_bytes")?, total * 1024.0);
    let nodename = fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(one(&format!("node_uname_info{{nodename=\"{}\",job=\"node\"}}", nodename.trim()))?, 1.0);
    assert_eq!(one("hostwright_duty_status{duty=\"metrics\",state=\"ok\"}")?, 1.0);
    assert_eq!(one("hostwright_duty_status{duty=\"metrics\",state=\"failed\"}")?, 0.0);
    assert_eq!(one("hostwright_ready")?, 1.0);
    agent.wait_status("the last scrape is told", SOON, |status| {
        let details = &status["duties"]["metrics"]["details"];
        details["scrapes"].as_u64() > Some(0) && details["last_scrape"].is_string()
    })?;
    Ok(())
}

#[test]
fn promtool_reads_every_family_and_minds_only_names_that_are_node_exporters() -> Result<()> {
    let (_agent, port) = agent()?;
    let text = scrape(port.address())?;
    let Err(complaints) = prometheus::check_metrics(&text) else { return Ok(()) };
    let complaints = complaints.to_string();
    let others = complaints.trim_start_matches("promtool check metrics: ").lines();
    let others: Vec<&str> = others.filter(|line| !line.starts_with("node_")).collect();
    ensure!(others.is_empty(), "{}", others.join("\n"));
    Ok(())
}

/// How often threads of the process fell asleep so far.
fn sleeps(process: i32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += count.map_or(Ok(0), |count| count.trim().parse())?;
    }
    Ok(sum)
}

/// Asks on a connection that stays open, and reads the whole answer.
fn scrape_on(connection: &mut BufReader<TcpStream>) -> Result<()> {
    connection.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")?;
    let (mut line, mut length) = (String::new(), None);
    while line != "\r\n" {
        line.clear();
        ensure!(connection.read_line(&mut line)? > 0, "the connection ended");
        length = line.strip_prefix("content-length: ").map(|length| length.trim().parse()).transpose()?.or(length);
    }
    connection.read_exact(&mut vec![0; length.context("no length")?])?;
    Ok(())
}

#[test]
fn a_scrape_waits_for_no_other_thread() -> Result<()> {
    const SCRAPES: u64 = 200;
    let (agent, port) = agent()?;
    let mut connection = BufReader::new(TcpStream::connect(port.address())?);
    (0..10).try_for_each(|_| scrape_on(&mut connection))?;
    let before = sleeps(agent.pid())?;
    (0..SCRAPES).try_for_each(|_| scrape_on(&mut connection))?;
    let each = (sleeps(agent.pid())? - before) as f64 / SCRAPES as f64;
    // Once until the next request comes. Where the root may hang (overlayfs), a thread of its own asks mounts.
    ensure!(each < 4.0, "{each} times a scrape a thread fell asleep");
    Ok(())
}

#[test]
fn what_is_not_a_scrape_is_answered_as_http_says() -> Result<()> {
    let (_agent, port) = agent()?;
    let metrics = http::get(port.address(), "/metrics")?;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let landing = http::get(port.address(), "/")?.success()?;
    assert!(landing.text().contains("href=\"/metrics\""), "{}", landing.text());
    assert_eq!(http::get(port.address(), "/nothing")?.status, 404);
    let post = http::request(port.address(), "POST", "/metrics", &[], b"x")?;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    Ok(())
}

#[test]
fn a_port_that_is_taken_fails_the_duty_with_a_remedy_and_is_tried_again() -> Result<()> {
    let port = Port::reserve()?;
    let holder = TcpListener::bind(port.address())?;
    let mut agent = AgentProcess::start(&format!("metrics: {{listen: \"{}\"}}\n", port.address()))?;
    let status =
        agent.wait_status("metrics failed", SOON, |status| status["duties"]["metrics"]["state"] == "failed")?;
    let why = status["duties"]["metrics"]["why"].as_str().context("no reason")?.to_owned();
    for part in [
        format!("cannot listen on {}", port.address()),
        format!("ss -ltnp 'sport = :{}'", port.number()),
        "another program holds the port".into(),
    ] {
        ensure!(why.contains(&part), "{part:?} is not in {why:?}");
    }
    drop(holder);
    agent.wait_ready(SOON)?;
    assert!(value(&scrape(port.address())?, "hostwright_duty_restarts_total{duty=\"metrics\"}")? >= 1.0);
    Ok(())
}

/// A FUSE file system whose server never answers. Dropped, its server is gone and the mount with it.
struct Hung<'a> {
    place: &'a Path,
    server: Option<File>,
}

impl<'a> Hung<'a> {
    fn mount(place: &'a Path) -> Result<Self> {
        let server = File::options().read(true).write(true).open("/dev/fuse").context("opening /dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        mount(Some("hung"), place, Some("fuse"), MsFlags::empty(), Some(options.as_str())).context("mounting FUSE")?;
        Ok(Self { place, server: Some(server) })
    }
}

impl Drop for Hung<'_> {
    fn drop(&mut self) {
        drop(self.server.take());
        // Nothing can be done about a mount that stays; the folder's name tells what it was.
        let _ = umount2(self.place, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_mount_that_never_answers_is_in_error_and_delays_neither_scrapes_nor_the_end() -> Result<()> {
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: mounting a file system that hangs takes root and /dev/fuse");
        return Ok(());
    }
    let (mut agent, port) = agent()?;
    let folder = tempfile::Builder::new().prefix("hostwright-hung-").tempdir()?;
    let hung = Hung::mount(folder.path())?;
    let labels =
        |error: &str| format!("{{device=\"hung\",{error}fstype=\"fuse\",mountpoint=\"{}\"}}", folder.path().display());
    let error = format!("node_filesystem_device_error{}", labels("device_error=\"mountpoint timeout\","));
    let timed = || -> Result<(String, Duration)> {
        let began = Instant::now();
        Ok((scrape(port.address())?, began.elapsed()))
    };
    let (text, took) = timed()?;
    assert_eq!(value(&text, &error)?, 1.0);
    // Two seconds, on a machine of its own.
    ensure!(took < Duration::from_secs(8), "the first scrape took {took:?}");
    ensure!(value(&text, &format!("node_filesystem_size_bytes{}", labels(""))).is_err(), "it has a size");
    let threads = || -> Result<usize> { Ok(fs::read_dir(format!("/proc/{}/task", agent.pid()))?.count()) };
    let before = threads()?;
    let mut all = Vec::new();
    for _ in 0..20 {
        let (text, took) = timed()?;
        assert_eq!(value(&text, &error)?, 1.0);
        all.push(took);
    }
    // One that waited for the mount would take two seconds; a busy machine may hold up a few.
    all.sort();
    ensure!(all[all.len() / 2] < Duration::from_secs(1), "later scrapes took {all:?}");
    // One may have been started that is not needed, and be on its way out.
    ensure!(threads()? <= before + 2, "threads pile up: {} after {before}", threads()?);
    assert_eq!(agent.terminate()?, Some(0));
    agent.start_again()?;
    agent.wait_ready(SOON)?;
    assert_eq!(value(&timed()?.0, &error)?, 1.0);
    drop(hung);
    eventually("the mount is gone from the metrics", SOON, || {
        let text = scrape(port.address())?;
        ensure!(value(&text, &error).is_err(), "it is still there");
        Ok(())
    })
}
