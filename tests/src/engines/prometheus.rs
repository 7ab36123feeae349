//! Prometheus, scraping the targets of a test.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One series of an instant query's answer.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Every label, `__name__` included.
    pub labels: serde_json::Map<String, Value>,
    pub value: f64,
}

/// A Prometheus server that scrapes itself and its targets, twice a second.
#[derive(Debug)]
pub struct Prometheus {
    _server: Server,
    port: Port,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes each target under its job name.
    pub fn start(targets: &[(&str, SocketAddr)]) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let address = port.address();
        let config = folder.path().join("prometheus.yml");
        let mut yaml = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n".to_owned();
        for (job, target) in targets.iter().chain(&[("prometheus", address)]) {
            yaml.push_str(&format!("- {{job_name: {job}, static_configs: [{{targets: [\"{target}\"]}}]}}\n"));
        }
        fs::write(&config, yaml)?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let mut server = Server::start(&command, &folder.path().join("prometheus.log"))?;
        server.wait_until("GET /-/ready answers 200", START_TIMEOUT, || http::get(address, "/-/ready")?.success())?;
        Ok(Self { _server: server, port, _folder: folder })
    }

    /// Where its own pages are.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// An instant query in PromQL.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let path = format!("/api/v1/query?query={}", percent_encode(expression));
        let answer = http::get(self.port.address(), &path)?.success()?.json()?;
        let series = answer["data"]["result"].as_array().with_context(|| format!("no result in {answer}"))?;
        series.iter().map(|one| sample(one).with_context(|| format!("not a series: {one}"))).collect()
    }
}

fn sample(series: &Value) -> Option<Sample> {
    let labels = series["metric"].as_object()?.clone();
    let value = series["value"][1].as_str()?.parse().ok()?;
    Some(Sample { labels, value })
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// What `promtool` says against an exposition: nothing, if it is one that Prometheus reads.
pub fn check_metrics(exposition: &str) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool (tests/setup.sh installs it)")?;
    let mut stdin = promtool.stdin.take().context("promtool has no input")?;
    stdin.write_all(exposition.as_bytes())?;
    drop(stdin);
    let output = promtool.wait_with_output()?;
    if !output.status.success() {
        bail!("promtool check metrics: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
