//! What the metrics duty tells beside node_exporter's families: how the other duties get on, and containers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Podman};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);

struct Host {
    _agent: AgentProcess,
    port: Port,
}

impl Host {
    /// An agent with these settings of its metrics, and these sections beside them.
    fn start(metrics: &str, sections: &str) -> Result<Self> {
        Self::start_with_env(metrics, sections, &[])
    }

    fn start_with_env(metrics: &str, sections: &str, env: &[(&str, &str)]) -> Result<Self> {
        let port = Port::reserve()?;
        let config = format!("metrics: {{listen: '{}'{metrics}}}\n{sections}", port.address());
        let mut agent = AgentProcess::start_with_env(&config, env)?;
        agent.wait_ready(SOON)?;
        Ok(Self { _agent: agent, port })
    }

    fn scrape(&self) -> Result<String> {
        Ok(http::get(self.port.address(), "/metrics")?.success()?.text())
    }
}

/// The value of the one series of a family whose labels have all of `labels`.
fn value(text: &str, family: &str, labels: &[&str]) -> Result<f64> {
    let is_it = |line: &&str| {
        line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let found: Vec<&str> = text.lines().filter(is_it).collect();
    ensure!(found.len() == 1, "{family} with {labels:?}: {found:?}");
    found[0].rsplit(' ').next().context("no value")?.parse().context("not a number")
}

#[test]
fn each_duty_tells_how_it_gets_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display();
    fs::write(folder.path().join("app.log"), "{\"n\":1}\n".repeat(100))?;
    fs::create_dir(folder.path().join("out"))?;
    fs::write(folder.path().join("out/a.tif"), "x")?;
    let nobody = Port::reserve()?;
    let sections = format!(
        "logs:\n  sources:\n    app: {{files: ['{path}/app.log'], parse: json, outputs: [archive, away]}}\n  outputs:\n    \
         archive: {{file: {{path: '{path}/archive'}}}}\n    away: {{syslog: {{address: '{}'}}}}\n\
         buckets: {{b: {{endpoint: 'file://{path}/bucket'}}}}\n\
         products: {{images: {{watch: '{path}/out', bucket: b, key: '{{path}}'}}}}\n",
        nobody.address()
    );
    let port = Port::reserve()?;
    let agent = AgentProcess::start(&format!("metrics: {{listen: '{}'}}\n{sections}", port.address()))?;
    let host = Host { _agent: agent, port };
    eventually("the duties' numbers", SOON, || {
        let text = host.scrape()?;
        let of = |family: &str, labels: &[&str], wanted: f64| {
            let found = value(&text, family, labels)?;
            ensure!(found == wanted, "{family} with {labels:?} is {found}, not {wanted}");
            Ok(())
        };
        of("hostwright_logs_lines_total", &["output=\"archive\"", "source=\"app\""], 100.0)?;
        of("hostwright_logs_lag_bytes", &["output=\"away\"", "source=\"app\""], 800.0)?;
        of("hostwright_logs_unread_bytes", &["source=\"app\""], 800.0)?;
        of("hostwright_logs_output_up", &["output=\"away\""], 0.0)?;
        of("hostwright_logs_output_up", &["output=\"archive\""], 1.0)?;
        ensure!(value(&text, "hostwright_logs_errors_total", &["output=\"away\"", "kind=\"connection\""])? >= 1.0);
        ensure!(value(&text, "hostwright_logs_lag_seconds", &["output=\"away\""])? >= 1.0);
        of("hostwright_products_uploaded_total", &["product=\"images\""], 1.0)?;
        of("hostwright_products_failed", &["product=\"images\""], 0.0)
    })
}

/// A container that ends with this value.
struct Container<'a> {
    docker: &'a Docker,
    name: String,
    image: String,
}

impl<'a> Container<'a> {
    fn run(docker: &'a Docker, network: &str) -> Result<Self> {
        let (name, image) = (unique("metered"), unique("hostwright-busybox"));
        docker.busybox_image(&image)?;
        let label = "com.docker.compose.service=web";
        let limits = ["--memory", "64m", "--cpus", "0.5", "--network", network];
        let options = [&["run", "-d", "--name", &name, "--label", label], &limits[..]].concat();
        docker.docker(&[&options[..], &[&image, "sh", "-c", "while :; do :; done"]].concat())?;
        Ok(Self { docker, name, image })
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.docker.docker(&["rm", "--force", "--volumes", &self.name]);
        let _ = self.docker.docker(&["rmi", "--force", &self.image]);
    }
}

#[test]
fn containers_of_a_real_engine_are_told_while_they_exist() -> Result<()> {
    let docker = Docker::start()?;
    let root = docker.docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    ensure!(Path::new(&root).is_dir(), "{root}");
    let host = Host::start(&format!(", containers: {root}"), "")?;
    let container = Container::run(&docker, "bridge")?;
    let name = format!("name=\"{}\"", container.name);
    let labels = [name.as_str(), "container_label_com_docker_compose_service=\"web\""];
    let cpu = eventually("it is told with what it uses", SOON, || {
        let text = host.scrape()?;
        let cpu = value(&text, "container_cpu_usage_seconds_total", &labels)?;
        ensure!(cpu > 0.05, "{cpu} s");
        ensure!(value(&text, "container_memory_usage_bytes", &labels)? > 4096.0);
        ensure!(value(&text, "container_memory_working_set_bytes", &labels)? > 0.0);
        ensure!(value(&text, "container_spec_memory_limit_bytes", &labels)? == f64::from(64 << 20));
        ensure!(value(&text, "container_spec_cpu_quota", &labels)? == 50_000.0);
        ensure!(value(&text, "container_processes", &labels)? == 1.0);
        let eth0 = [labels[0], "interface=\"eth0\""];
        ensure!(value(&text, "container_network_receive_bytes_total", &eth0)? >= 0.0);
        ensure!(text.contains(&format!("image=\"{}\"", container.image)), "{text}");
        Ok(cpu)
    })?;
    eventually("it goes on", SOON, || {
        let later = value(&host.scrape()?, "container_cpu_usage_seconds_total", &labels)?;
        ensure!(later > cpu, "{later} after {cpu}");
        ensure!(value(&host.scrape()?, "container_cpu_cfs_throttled_periods_total", &labels)? >= 1.0);
        Ok(())
    })?;
    docker.docker(&["kill", &container.name])?;
    eventually("one that has ended is not told", SOON, || {
        ensure!(!host.scrape()?.contains(&name), "it is");
        Ok(())
    })?;
    docker.docker(&["start", &container.name])?;
    eventually("one that runs again is", SOON, || value(&host.scrape()?, "container_processes", &labels).map(drop))
}

#[test]
fn containers_of_podman_are_told_with_name_image_and_labels_while_they_run() -> Result<()> {
    let podman = Podman::start()?;
    let docker = Docker::at(&podman.socket());
    let service = format!("unix://{}", podman.socket().display());
    let containers = format!(", containers: [/nowhere, {}]", podman.storage().display());
    let host = Host::start_with_env(&containers, "", &[("CONTAINER_HOST", &service)])?;
    let container = Container::run(&docker, "none")?;
    let name = format!("name=\"{}\"", container.name);
    let told = || {
        let text = host.scrape()?;
        let cpu = value(&text, "container_cpu_usage_seconds_total", &[&name])?;
        ensure!(cpu > 0.05, "{cpu} s");
        ensure!(value(&text, "container_memory_usage_bytes", &[&name])? > 4096.0);
        ensure!(value(&text, "container_spec_memory_limit_bytes", &[&name])? == f64::from(64 << 20));
        ensure!(value(&text, "container_processes", &[&name])? == 1.0);
        ensure!(text.contains(&format!("{}:latest\"", container.image)), "{text}");
        value(&text, "container_start_time_seconds", &[&name])
    };
    let started = eventually("it is told with what it uses", SOON, told)?;
    eventually("its labels come", SOON, || {
        let service = "container_label_com_docker_compose_service=\"web\"";
        value(&host.scrape()?, "container_last_seen", &[&name, service]).map(drop)
    })?;
    docker.docker(&["kill", &container.name])?;
    eventually("one that has ended is not told", SOON, || {
        ensure!(!host.scrape()?.contains(&name), "it is");
        Ok(())
    })?;
    docker.docker(&["start", &container.name])?;
    let again = eventually("one that runs again is", SOON, told)?;
    ensure!(again > started, "{again} after {started}");
    Ok(())
}
