use anyhow::{Context, Result};
use hostwright_tests::engines::node_exporter::NodeExporter;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);

/// A program that is scraped.
pub enum Exporter {
    Agent { agent: AgentProcess, port: Port },
    Original(NodeExporter),
}

impl Exporter {
    /// Our agent, with nothing to do but to serve metrics.
    pub fn agent(settings: &str) -> Result<Self> {
        let port = Port::reserve()?;
        let mut agent = AgentProcess::start(&format!("metrics: {{listen: '{}'{settings}}}\n", port.address()))?;
        agent.wait_ready(START)?;
        Ok(Self::Agent { agent, port })
    }

    /// node_exporter with these collectors, on a tree if one is given.
    pub fn original(collectors: &[String], tree: Option<&Path>) -> Result<Self> {
        let original = match tree {
            Some(tree) => NodeExporter::start_on(tree, collectors, &[]),
            None => NodeExporter::start(collectors),
        };
        original.map(Self::Original)
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Agent { port, .. } => port.address(),
            Self::Original(original) => original.address(),
        }
    }

    pub fn process(&self) -> i32 {
        match self {
            Self::Agent { agent, .. } => agent.pid(),
            Self::Original(original) => original.process(),
        }
    }

    /// Which collectors it says that it ran.
    pub fn collectors(&self) -> Result<Vec<String>> {
        let text = http::get(self.address(), "/metrics")?.success()?.text();
        let name = |line: &str| {
            let rest = line.strip_prefix("node_scrape_collector_success{collector=\"")?;
            Some(rest.split('"').next()?.to_owned())
        };
        let names: Vec<_> = text.lines().filter_map(name).collect();
        (!names.is_empty()).then_some(names).context("no collector is told")
    }
}
