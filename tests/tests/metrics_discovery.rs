//! How a Prometheus finds the real agent: by a file, and by what the status page says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::{Prometheus, prometheus};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

fn config(port: &Port, role: &str, file: &Path) -> String {
    format!(
        "host: {{name: h1, labels: {{role: {role}}}}}\nmetrics:\n  listen: \"{}\"\n  path: /node\n  file_sd: {{path: {}, labels: {{instance: h1}}}}\n",
        port.address(),
        file.display()
    )
}

#[test]
fn a_prometheus_finds_the_agent_by_its_file_and_follows_a_change() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, port) = (folder.path().join("sd/node.json"), Port::reserve()?);
    let mut agent = AgentProcess::start(&config(&port, "web", &file))?;
    agent.wait_ready(SOON)?;
    let jobs = format!(
        "- job_name: node\n  honor_labels: true\n  file_sd_configs: [{{files: ['{}/*.json']}}]\n",
        file.parent().context("a folder")?.display()
    );
    let prometheus = Prometheus::scraping(&jobs)?;
    let is_up = |role: &str| {
        let query = format!("up{{job=\"node\",instance=\"h1\",role=\"{role}\"}} == 1");
        eventually("the target is up", SOON, || prometheus.query(&query).is_ok_and(|found| !found.is_empty()))
    };
    is_up("web")?;
    let samples = prometheus.query("node_load1")?;
    ensure!(samples.len() == 1 && samples[0].labels.keys().all(|name| !name.starts_with("exported_")), "{samples:?}");
    agent.write_config(&config(&port, "db", &file))?;
    agent.sighup()?;
    is_up("db")?;
    Ok(())
}

#[test]
fn the_status_page_has_lines_that_promtool_takes_for_each_way_to_find_the_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&config(&port, "web", &folder.path().join("node.json")))?;
    agent.wait_ready(SOON)?;
    let page = http::get(agent.socket().as_path(), "/")?.success()?.text();
    let unescaped =
        |text: &str| text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let blocks: Vec<_> =
        page.split("<pre>").skip(1).filter_map(|rest| rest.split("</pre>").next()).map(unescaped).collect();
    assert_eq!(blocks.len(), 3, "{page}");
    for (block, way) in blocks.iter().zip(["ec2_sd_configs", "openstack_sd_configs", "file_sd_configs"]) {
        ensure!(block.contains(way), "{way} is not in\n{block}");
        prometheus::check_config(block).with_context(|| block.clone())?;
    }
    for block in &blocks[..2] {
        ensure!(
            block.contains(&format!("port: {}", port.number())) && block.contains("metrics_path: /node"),
            "{block}"
        );
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_harms_nothing_else() -> Result<()> {
    let port = Port::reserve()?;
    let agent = AgentProcess::start(&config(&port, "web", Path::new("/proc/nowhere/node.json")))?;
    agent.wait_status("it is said", SOON, |status| {
        let why = status["duties"]["metrics"]["why"].as_str().unwrap_or_default();
        why.contains("cannot write file_sd /proc/nowhere/node.json")
            && why.contains("see that the agent may write there")
    })?;
    http::get(port.address(), "/node")?.success()?;
    Ok(())
}
