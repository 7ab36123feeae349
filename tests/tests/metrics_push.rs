//! Remote writes of the real agent: to a real Prometheus, which takes version 1.0, and to a fake receiver of both.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::engines::Prometheus;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::http_server::Fault;
use hostwright_tests::receivers::remote_write::{Knows, RemoteWriteReceiver, STALE};
use hostwright_tests::wait::eventually;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);
/// Counts how often the host was sampled for the receiver.
const SCRAPES: &str = "hostwright_remote_write_scrapes_total";

/// A ready agent that pushes to a URL, with more of the receiver's settings.
fn agent(url: &str, more: &str) -> Result<(AgentProcess, Port)> {
    let (mut agent, port) = started(url, more)?;
    agent.wait_ready(SOON)?;
    Ok((agent, port))
}

/// It is not ready for as long as its receiver refuses it.
fn started(url: &str, more: &str) -> Result<(AgentProcess, Port)> {
    let port = Port::reserve()?;
    let config = format!(
        "host: {{name: h1, labels: {{role: web}}}}\nmetrics:\n  listen: \"{}\"\n  remote_write: [{{url: '{url}', interval: 1s, {more}}}]\n",
        port.address()
    );
    Ok((AgentProcess::start(&config)?, port))
}

fn told(agent: &AgentProcess, key: &str) -> Result<Value> {
    Ok(agent.status()?["duties"]["metrics"]["details"]["remote_write"][0][key].clone())
}

/// Waits until the receiver has so many samples of a series.
fn wait_samples(receiver: &RemoteWriteReceiver, name: &str, count: usize) -> Result<Vec<(i64, u64)>> {
    eventually("the samples", SOON, || {
        let samples = receiver.of(name)?;
        ensure!(samples.len() >= count, "{} of {count}; {:?}", samples.len(), receiver.check());
        Ok(samples)
    })
}

/// Waits until a Prometheus has so many samples of the counter of samplings.
fn wait_scrapes(prometheus: &Prometheus, count: usize) -> Result<Vec<(i64, f64)>> {
    eventually("samples", SOON, || {
        let all = prometheus.samples(SCRAPES)?;
        let points = all.iter().flat_map(|one| &one.points);
        let points: Vec<_> = points.map(|(time, value)| Ok((*time, value.parse()?))).collect::<Result<_>>()?;
        ensure!(points.len() >= count, "{points:?}");
        Ok(points)
    })
}

/// Waits until what is told of the receiver is as wanted.
fn wait_told(agent: &AgentProcess, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let of = |status: &Value| status["duties"]["metrics"]["details"]["remote_write"][0].clone();
    Ok(of(&agent.wait_status(what, SOON, |status| wanted(&of(status)))?))
}

/// Whether all was sent, and more than so many samples.
fn all_sent(told: &Value, more_than: u64) -> bool {
    told["samples_pending"] == 0 && told["hindered"].is_null() && told["samples_written"].as_u64() > Some(more_than)
}

/// Fails unless the counter of samplings, one of the series that are sent, misses none: it begins at 0 with each start.
fn ensure_complete(points: &[(i64, f64)], restarts: usize) -> Result<()> {
    ensure!(points.is_sorted_by(|(a, _), (b, _)| a < b), "not in order: {points:?}");
    let jumps: Vec<_> = points.windows(2).filter(|pair| pair[1].1 != pair[0].1 + 1.0).collect();
    let is_start = |pair: &&[(i64, f64)]| pair[1].1 == 0.0;
    ensure!(jumps.len() == restarts && jumps.iter().all(is_start), "samples are missing: {jumps:?} in {points:?}");
    ensure!(points.first().is_some_and(|(_, first)| *first == 0.0), "the first is missing: {points:?}");
    Ok(())
}

/// The names in an exposition.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_real_prometheus_gets_every_series_of_a_scrape_with_the_time_of_the_sample() -> Result<()> {
    let prometheus = Prometheus::receiver()?;
    let (agent, port) = agent(&prometheus.write_url(), "external_labels: {zone: b, role: not-this}")?;
    ensure_complete(&wait_scrapes(&prometheus, 5)?, 0)?;
    let scraped = http::get(port.address(), "/metrics")?.success()?.text();
    let stored = prometheus.query("{job=\"node\",instance=\"h1\",role=\"web\",zone=\"b\"}")?;
    let stored_names: BTreeSet<_> =
        stored.iter().filter_map(|one| one.labels["__name__"].as_str()).map(str::to_owned).collect();
    let missing: Vec<_> = names(&scraped).into_iter().filter(|name| !stored_names.contains(name)).collect();
    ensure!(missing.is_empty(), "not stored: {missing:?}");
    // One that stays as it is.
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(stored.len() >= series(&scraped) - 5, "{} of {} series", stored.len(), series(&scraped));
    let total = scraped.lines().find_map(|line| line.strip_prefix("node_memory_MemTotal_bytes{role=\"web\"} "));
    let [stored] = &prometheus.query("node_memory_MemTotal_bytes")?[..] else { bail!("not one series") };
    assert_eq!(stored.value, total.context("no MemTotal")?.parse::<f64>()?);
    assert_eq!(told(&agent, "protocol")?, "1.0");
    assert_eq!(told(&agent, "samples_refused")?, 0);
    Ok(())
}

#[test]
fn a_prometheus_that_is_killed_and_comes_back_misses_nothing_though_the_agent_was_killed_too() -> Result<()> {
    let mut prometheus = Prometheus::receiver()?;
    let (mut agent, _) = agent(&prometheus.write_url(), "max_samples_per_send: 700")?;
    wait_scrapes(&prometheus, 2)?;
    prometheus.kill()?;
    agent.wait_status("it is said", SOON, |status| {
        status["duties"]["metrics"]["why"]
            .as_str()
            .is_some_and(|why| why.contains("cannot connect to http://127.0.0.1"))
    })?;
    wait_told(&agent, "some wait", |told| told["samples_pending"].as_u64() > Some(3000))?;
    agent.kill9()?;
    agent.start_again()?;
    wait_told(&agent, "it goes on", |told| told["samples_pending"].as_u64() > Some(5000))?;
    prometheus.start_again()?;
    wait_told(&agent, "all is sent", |told| all_sent(told, 4000))?;
    ensure_complete(&wait_scrapes(&prometheus, 8)?, 1)?;
    assert_eq!((told(&agent, "samples_refused")?, told(&agent, "samples_lost")?), (0.into(), 0.into()));
    Ok(())
}

#[test]
fn a_receiver_of_2_0_gets_each_sample_once_in_order_with_types_and_help_whatever_goes_wrong() -> Result<()> {
    let mut receiver = RemoteWriteReceiver::start(Knows::Both)?;
    receiver.server.order([
        Fault::Status(429, vec![("Retry-After".into(), "1".into())]),
        Fault::Status(500, vec![]),
        Fault::CutBefore,
        Fault::Status(503, vec![]),
    ]);
    let (mut agent, port) = agent(&receiver.url(), "max_samples_per_send: 1500")?;
    wait_samples(&receiver, "up", 5)?;
    receiver.server.stop();
    wait_told(&agent, "some wait", |told| {
        told["samples_pending"].as_u64() > Some(1500) && !told["hindered"].is_null()
    })?;
    agent.kill9()?;
    agent.start_again()?;
    agent.wait_ready(SOON).ok();
    wait_told(&agent, "some wait", |told| told["samples_pending"].as_u64() > Some(3000))?;
    receiver.server.start_again()?;
    wait_told(&agent, "all is sent", |told| all_sent(told, 4000))?;
    receiver.check()?;
    let points: Vec<_> = receiver.of(SCRAPES)?.iter().map(|(time, bits)| (*time, f64::from_bits(*bits))).collect();
    ensure_complete(&points, 1)?;
    let kept = receiver.kept();
    assert_eq!(kept.versions, ["2.0"]);
    ensure!(kept.requests.iter().all(|samples| *samples <= 1600), "{:?}", kept.requests);
    let scraped = http::get(port.address(), "/metrics")?.success()?.text();
    for line in scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').context("a type")?;
        let Some((number, help)) = kept.metadata.get(name) else { continue };
        let want = ["untyped", "counter", "gauge"].iter().position(|known| *known == kind).context("a kind")?;
        assert_eq!(*number, want as u64, "{name}");
        ensure!(scraped.contains(&format!("# HELP {name} {help}\n")), "{name}: {help}");
    }
    ensure!(kept.metadata.len() > 100, "{} families", kept.metadata.len());
    Ok(())
}

#[test]
fn a_receiver_of_1_0_is_found_out_and_gets_1_0_with_metadata() -> Result<()> {
    for knows in [Knows::V1, Knows::V1WithoutLooking] {
        let receiver = RemoteWriteReceiver::start(knows)?;
        let (agent, _) = agent(&receiver.url(), "keep: ['node_memory_.*', node_load1, up]")?;
        wait_samples(&receiver, "node_load1", 3)?;
        receiver.check()?;
        let kept = receiver.kept();
        assert_eq!(kept.versions, ["1.0"], "{knows:?}");
        assert_eq!(kept.metadata["node_load1"], (2, "1m load average.".to_owned()));
        let others: Vec<_> = kept
            .series
            .keys()
            .filter(|labels| {
                let name = &labels["__name__"];
                !(name.starts_with("node_memory_") || name == "node_load1" || name == "up")
            })
            .collect();
        ensure!(others.is_empty(), "{others:?}");
        drop(kept);
        assert_eq!(told(&agent, "protocol")?, "1.0");
    }
    Ok(())
}

#[test]
fn what_is_refused_for_good_is_given_up_counted_and_said_and_what_follows_goes_on() -> Result<()> {
    let receiver = RemoteWriteReceiver::start(Knows::Both)?;
    let (agent, port) = agent(&receiver.url(), "name: central")?;
    wait_samples(&receiver, "up", 2)?;
    receiver.server.order([Fault::Status(422, vec![])]);
    let details = wait_told(&agent, "it is said", |told| told["samples_refused"].as_u64() > Some(100))?;
    ensure!(details["last_refusal"].as_str().is_some_and(|why| why.contains("answered 422")), "{details}");
    let before = receiver.of("up")?.len();
    wait_samples(&receiver, "up", before + 1)?;
    receiver.check()?;
    let scraped = http::get(port.address(), "/metrics")?.success()?.text();
    ensure!(
        !scraped.contains("hostwright_remote_write_samples_refused_total{receiver=\"central\",role=\"web\"} 0\n"),
        "{scraped}"
    );
    ensure!(scraped.contains("hostwright_remote_write_hindered{receiver=\"central\",role=\"web\"} 0\n"), "{scraped}");
    Ok(())
}

#[test]
fn what_is_too_large_is_sent_in_parts_and_a_series_that_ends_is_said_to() -> Result<()> {
    let receiver = RemoteWriteReceiver::start(Knows::Both)?;
    receiver.kept().most = Some(400);
    let folder = tempfile::tempdir()?;
    let metric = folder.path().join("a.prom");
    fs::write(&metric, "ends 1\n")?;
    let port = Port::reserve()?;
    let config = format!(
        "metrics:\n  listen: \"{}\"\n  collectors: {{textfile: {{directory: ['{}']}}}}\n  remote_write: {{url: '{}', interval: 1s}}\n",
        port.address(),
        folder.path().display(),
        receiver.url()
    );
    let mut agent = AgentProcess::start(&config)?;
    agent.wait_ready(SOON)?;
    wait_samples(&receiver, "ends", 2)?;
    fs::remove_file(&metric)?;
    eventually("the end", SOON, || {
        let samples = receiver.of("ends")?;
        ensure!(samples.last().is_some_and(|(_, value)| *value == STALE), "{samples:?}");
        Ok(())
    })?;
    receiver.check()?;
    let kept = receiver.kept();
    ensure!(kept.requests.iter().all(|samples| *samples <= 400), "{:?}", kept.requests);
    let ends: Vec<_> =
        kept.series.iter().filter(|(labels, _)| labels["__name__"] == "ends").flat_map(|(_, all)| all).collect();
    assert_eq!(ends.iter().filter(|(_, value)| *value == STALE).count(), 1);
    Ok(())
}

#[test]
fn a_prometheus_behind_tls_client_certificates_and_a_password_is_written_to() -> Result<()> {
    let certificates = Certificates::make()?;
    let folder = tempfile::tempdir()?;
    let web = folder.path().join("web.yml");
    // "test", as in the documentation of exporter-toolkit.
    fs::write(
        &web,
        format!(
            "tls_server_config: {{cert_file: {}, key_file: {}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}}}\nbasic_auth_users: {{alice: '$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay'}}\n",
            certificates.path("server.pem"),
            certificates.path("server.key"),
            certificates.path("ca.pem"),
        ),
    )?;
    let prometheus = Prometheus::receiver_behind(&web.display().to_string())?;
    let url = prometheus.write_url().replace("http://", "https://");
    let password = folder.path().join("password");
    fs::write(&password, "wrong\n")?;
    let more = format!(
        "tls: {{ca: {}, certificate: {}, key: {}}}, basic: {{user: alice, password: {{file: {}}}}}",
        certificates.path("ca.pem"),
        certificates.path("client.pem"),
        certificates.path("client.key"),
        password.display()
    );
    let (agent, _port) = started(&url, &more)?;
    agent.wait_status("the password is not taken", SOON, |status| {
        let why = status["duties"]["metrics"]["why"].as_str().unwrap_or_default();
        why.contains("401") && why.contains("see that the credentials are right") && !why.contains("wrong")
    })?;
    fs::write(&password, "test\n")?;
    wait_told(&agent, "all is sent", |told| all_sent(told, 1000))?;
    assert_eq!((told(&agent, "samples_refused")?, told(&agent, "samples_lost")?), (0.into(), 0.into()));
    Ok(())
}

#[test]
fn a_buffer_that_cannot_be_used_hinders_no_scrape_and_is_tried_again() -> Result<()> {
    let receiver = RemoteWriteReceiver::start(Knows::Both)?;
    let port = Port::reserve()?;
    let plain = format!("metrics:\n  listen: \"{}\"\n", port.address());
    let mut agent = AgentProcess::start(&plain)?;
    agent.wait_ready(SOON)?;
    let in_the_way = agent.state_folder().join("metrics/remote_write/central");
    fs::create_dir_all(in_the_way.parent().context("a folder")?)?;
    fs::write(&in_the_way, "not a folder")?;
    agent.write_config(&format!(
        "{plain}  remote_write: {{name: central, interval: 1s, url: '{}'}}\n",
        receiver.url()
    ))?;
    agent.sighup()?;
    agent.wait_status("it is said", SOON, |status| {
        let why = status["duties"]["metrics"]["why"].as_str().unwrap_or_default();
        why.contains("remote_write central: cannot use its buffer in") && why.contains("see that it can be written")
    })?;
    http::get(port.address(), "/metrics")?.success()?;
    fs::remove_file(&in_the_way)?;
    wait_samples(&receiver, "up", 2)?;
    wait_told(&agent, "it is well", |told| told["disk"].is_null())?;
    receiver.check()
}
