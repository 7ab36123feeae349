use super::exporter::Exporter;
use crate::usage::cpu_seconds;
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// One scrape after the other, as fast as they are answered.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub seconds: u32,
    pub gzip: bool,
}

/// What they came to.
#[derive(Clone, Copy, Debug)]
pub struct Scrapes {
    /// CPU time of the program for each.
    pub cpu_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Load {
    pub fn on(self, exporter: &Exporter) -> Result<Scrapes> {
        // What is opened and rendered once is done before.
        self.wrk(exporter, 1)?;
        let before = cpu_seconds(exporter.process())?;
        let said = self.wrk(exporter, self.seconds)?;
        let cpu = cpu_seconds(exporter.process())? - before;
        ensure!(!said.contains("Non-2xx"), "wrk: {said}");
        let requests = said.lines().find_map(|line| line.trim().split_once(" requests in"));
        let requests: f64 = requests.context("wrk tells no number of requests")?.0.parse()?;
        let latency = |share: &str| -> Result<f64> {
            let told = said.lines().find_map(|line| line.trim().strip_prefix(share));
            milliseconds(told.with_context(|| format!("wrk tells no {share}"))?.trim())
        };
        Ok(Scrapes { cpu_ms: 1000.0 * cpu / requests, p50_ms: latency("50%")?, p99_ms: latency("99%")? })
    }

    fn wrk(self, exporter: &Exporter, seconds: u32) -> Result<String> {
        let mut command = Command::new("wrk");
        command.args(["-t1", "-c1", "--latency", "--timeout", "30s"]).arg(format!("-d{seconds}s"));
        if self.gzip {
            command.args(["-H", "Accept-Encoding: gzip"]);
        }
        let output = command.arg(format!("http://{}/metrics", exporter.address())).output().context("running wrk")?;
        ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `8.02ms`, `735.00us`, `1.2s`
fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("not a time of wrk: {text}"))?;
    Ok(number.parse::<f64>()? * factor)
}
