//! The dashboard and the alerts that are shipped, on a real Prometheus that scrapes the real agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Prometheus};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::RemoteWriteReceiver;
use hostwright_tests::receivers::remote_write::Knows;
use hostwright_tests::wait::eventually;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// What is told only where it is true; logs_operator.rs has its test.
const IN_TROUBLE: [&str; 1] = ["hostwright_logs_lost_at_timestamp_seconds"];

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(packaging().join("grafana/hostwright.json"))?)?)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("no panels")
}

/// Every expression of the dashboard's panels, its variables filled in.
fn expressions(dashboard: &Value) -> Result<Vec<String>> {
    let targets = panels(dashboard)?.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = targets.filter_map(|target| target["expr"].as_str());
    let filled = |text: &str| {
        let text = text.replace("$__rate_interval", "1m");
        ["$job", "$instance", "$receiver"].iter().fold(text, |text, variable| text.replace(variable, ".*"))
    };
    Ok(expressions.map(filled).collect())
}

/// The names of metrics in a text: words that begin as ours do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| ["hostwright_", "node_", "process_"].iter().any(|start| word.starts_with(start));
    words.filter(ours).map(str::to_owned).collect()
}

fn promtool(arguments: &[&str]) -> Result<()> {
    let output = Command::new("promtool").args(arguments).current_dir(packaging().join("prometheus")).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(())
}

#[test]
fn promtool_takes_the_alerts_and_each_of_them_is_tested_to_fire_and_not_to() -> Result<()> {
    promtool(&["check", "rules", "hostwright.rules.yml"])?;
    promtool(&["test", "rules", "hostwright.rules.test.yml"])?;
    let rules = fs::read_to_string(packaging().join("prometheus/hostwright.rules.yml"))?;
    let tests = fs::read_to_string(packaging().join("prometheus/hostwright.rules.test.yml"))?;
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        ensure!(tests.lines().any(|line| line.trim() == format!("alertname: {alert}")), "{alert} is not tested");
    }
    Ok(())
}

#[test]
fn every_metric_that_the_dashboard_and_the_alerts_name_is_in_a_scrape_and_every_panel_has_an_answer() -> Result<()> {
    let (receiver, docker, folder) = (RemoteWriteReceiver::start(Knows::Both)?, Docker::start()?, tempfile::tempdir()?);
    let (project, image, port) = (docker.project("dashboard"), unique("hostwright-busybox"), Port::reserve()?);
    docker.busybox_image(&image)?;
    let path = folder.path().display();
    let compose = format!("services: {{web: {{image: '{image}', command: [sleep, '600'], init: true}}}}\n");
    fs::write(folder.path().join("compose.yaml"), compose)?;
    fs::write(folder.path().join("app.log"), "one\n")?;
    fs::create_dir(folder.path().join("out"))?;
    let config = format!(
        "metrics: {{listen: \"{}\", remote_write: {{url: '{}', interval: 1s}}}}\n\
         containers: {{compose: {path}/compose.yaml, project: {}, engine: {}}}\n\
         logs:\n  sources:\n    app: {{files: ['{path}/app.log'], outputs: [archive]}}\n  outputs:\n    \
         archive: {{file: {{path: '{path}/archive'}}}}\n\
         buckets: {{b: {{endpoint: 'file://{path}/bucket'}}}}\n\
         products: {{images: {{watch: '{path}/out', bucket: b, key: '{{path}}'}}}}\n",
        port.address(),
        receiver.url(),
        project.name(),
        docker.socket().display(),
    );
    let mut agent = AgentProcess::start(&config)?;
    agent.wait_ready(SOON)?;
    let dashboard = dashboard()?;
    let rules = fs::read_to_string(packaging().join("prometheus/hostwright.rules.yml"))?;
    let named = names(&format!("{dashboard} {rules}"));
    ensure!(named.len() > 15, "{named:?}");
    eventually("every metric in a scrape", SOON, || {
        let scraped = names(&http::get(port.address(), "/metrics")?.success()?.text());
        let missing: Vec<_> = named.difference(&scraped).filter(|name| !IN_TROUBLE.contains(&name.as_str())).collect();
        ensure!(missing.is_empty(), "there is no {missing:?}");
        Ok(())
    })?;
    let prometheus = Prometheus::start(&[("node", port.address())])?;
    for expression in expressions(&dashboard)? {
        // Bars of what did not happen.
        let may_be_empty = expression.ends_with("> 0");
        eventually(&expression, SOON, || {
            let found = prometheus.query(&expression)?;
            ensure!(may_be_empty || !found.is_empty(), "no answer");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_dashboards_panels_have_places_and_targets_of_their_own() -> Result<()> {
    let dashboard = dashboard()?;
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard)? {
        let title = &panel["title"];
        ensure!(ids.insert(panel["id"].as_u64()), "{title}: its id is there twice");
        let place = |key: &str| panel["gridPos"][key].as_u64().with_context(|| format!("{title} has no {key}"));
        ensure!(place("x")? + place("w")? <= 24, "{title} is too wide");
        for x in place("x")?..place("x")? + place("w")? {
            for y in place("y")?..place("y")? + place("h")? {
                ensure!(taken.insert((x, y)), "{title} lies over another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().with_context(|| format!("{title} has no targets"))?;
        let refs: BTreeSet<_> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        ensure!(!targets.is_empty() && refs.len() == targets.len(), "{title}: {refs:?}");
        ensure!(
            targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"),
            "{title} has a source of its own"
        );
        ensure!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} is not explained");
    }
    ensure!(!dashboard.to_string().contains("\"__inputs\""), "it asks for inputs, which provisioning does not give");
    Ok(())
}
