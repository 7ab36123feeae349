//! Prometheus, scraping the targets of a test, or taking what is written to it.

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

/// The samples of one series, in the order of time: milliseconds since 1970, and the value as it is written.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Every label, `__name__` included.
    pub labels: serde_json::Map<String, Value>,
    pub points: Vec<(i64, String)>,
}

/// A Prometheus server.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    command: Command,
    port: Port,
    folder: TempDir,
}

impl Prometheus {
    /// One that scrapes itself and each target under its job name, twice a second.
    pub fn start(targets: &[(&str, SocketAddr)]) -> Result<Self> {
        let port = Port::reserve()?;
        let mut yaml = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n".to_owned();
        for (job, target) in targets.iter().chain(&[("prometheus", port.address())]) {
            yaml.push_str(&format!("- {{job_name: {job}, static_configs: [{{targets: [\"{target}\"]}}]}}\n"));
        }
        let mut started = Self::start_with(port, &yaml, &[])?;
        started.wait_ready()?;
        Ok(started)
    }

    /// One with these scrape jobs, as they stand in its file, twice a second.
    pub fn scraping(jobs: &str) -> Result<Self> {
        let yaml = format!("global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n{jobs}");
        let mut started = Self::start_with(Port::reserve()?, &yaml, &[])?;
        started.wait_ready()?;
        Ok(started)
    }

    /// One that scrapes nobody and takes remote writes.
    pub fn receiver() -> Result<Self> {
        let mut started = Self::start_with(Port::reserve()?, "global: {}\n", &["--web.enable-remote-write-receiver"])?;
        started.wait_ready()?;
        Ok(started)
    }

    /// The same behind this file of exporter-toolkit; nobody waits until it is ready.
    pub fn receiver_behind(web_config: &str) -> Result<Self> {
        let web = format!("--web.config.file={web_config}");
        Self::start_with(Port::reserve()?, "global: {}\n", &["--web.enable-remote-write-receiver", &web])
    }

    fn start_with(port: Port, yaml: &str, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, yaml)?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .arg("--log.level=warn")
            .args(arguments);
        let server = Server::start(&command, &folder.path().join("prometheus.log"))?;
        Ok(Self { server, command, port, folder })
    }

    fn wait_ready(&mut self) -> Result<()> {
        let address = self.port.address();
        let ready = || http::get(address, "/-/ready")?.success();
        self.server.wait_until("GET /-/ready answers 200", START_TIMEOUT, ready).map(|_| ())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill_group()
    }

    /// Starts it once more, with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.server = Server::start(&self.command, &self.folder.path().join("prometheus.log"))?;
        self.wait_ready()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Where remote writes go.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address())
    }

    /// Where its own pages are.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// An instant query in PromQL.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        self.result(expression)?.iter().map(|one| sample(one).with_context(|| format!("not a series: {one}"))).collect()
    }

    /// The samples of the last hour of what a selector selects, as they are stored.
    pub fn samples(&self, selector: &str) -> Result<Vec<Samples>> {
        let all = self.result(&format!("{selector}[1h]"))?;
        all.iter().map(|one| samples(one).with_context(|| format!("not a series: {one}"))).collect()
    }

    fn result(&self, expression: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/query?query={}", percent_encode(expression));
        let answer = http::get(self.port.address(), &path)?.success()?.json()?;
        answer["data"]["result"].as_array().cloned().with_context(|| format!("no result in {answer}"))
    }
}

fn samples(series: &Value) -> Option<Samples> {
    let point = |point: &Value| Some(((point[0].as_f64()? * 1000.0).round() as i64, point[1].as_str()?.to_owned()));
    let points = series["values"].as_array()?.iter().map(point).collect::<Option<_>>()?;
    Some(Samples { labels: series["metric"].as_object()?.clone(), points })
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
    promtool(&["check", "metrics"], exposition)
}

/// What `promtool` says against a configuration: nothing, if it is one that Prometheus takes.
pub fn check_config(yaml: &str) -> Result<()> {
    promtool(&["check", "config", "/dev/stdin"], yaml)
}

/// What `promtool` says against files of its own kinds.
pub fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool (tests/setup.sh installs it)")?;
    let mut stdin = promtool.stdin.take().context("promtool has no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = promtool.wait_with_output()?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        bail!("promtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
