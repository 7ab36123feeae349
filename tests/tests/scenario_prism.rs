//! Prism's services on real engines: images by the tag rule, an update under load, metrics and API over TLS.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::container_host::Prober;
use hostwright_tests::engines::docker::unique;
use hostwright_tests::engines::{Docker, Registry};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::scenario::render;
use hostwright_tests::wait::eventually;

const LIMIT: Duration = Duration::from_secs(90);

/// Pushes an image whose page says which one it is.
fn push(registry: &Registry, docker: &Docker, name: &str) -> Result<()> {
    let local = unique("hostwright-prism");
    docker.busybox_image(&local)?;
    let container = unique("hostwright-page");
    docker.docker(&["run", "--name", &container, &local, "sh", "-c", &format!("echo {name} >/www/index.html")])?;
    docker.docker(&["commit", &container, &local])?;
    docker.docker(&["rm", &container])?;
    registry.push(docker, &local, name)?;
    Ok(())
}

fn curl(url: &str, more: &[&str]) -> Result<String> {
    let output = Command::new("curl").args(["-sS", "-m", "10", "-w", "\n%{http_code}", url]).args(more).output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn an_environment_runs_its_branch_s_images_and_an_update_fails_no_request_of_the_front() -> Result<()> {
    let (docker, registry, certificates) = (Docker::start()?, Registry::start()?, Certificates::make()?);
    for name in ["front:1.0.0", "connector:develop-12-aaaaaaa", "connector:feature-login-3-aaaaaab"] {
        push(&registry, &docker, &format!("prism/{name}"))?;
    }
    let (project, folder) = (docker.project("prism"), tempfile::tempdir()?);
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let numbers = ports.each_ref().map(|port| port.number().to_string());
    let (host, engine, at) =
        (registry.host(), docker.socket().display().to_string(), folder.path().display().to_string());
    let [certificate, key, authority] = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.path(name));
    let values = |revision: &'static str| {
        [
            ("environment", "feature-login"),
            ("branch", "feature/login"),
            ("registry", host.as_str()),
            ("folder", at.as_str()),
            ("engine", engine.as_str()),
            ("compose_project", project.name()),
            ("front_port", numbers[0].as_str()),
            ("metrics_port", numbers[1].as_str()),
            ("api_port", numbers[2].as_str()),
            ("certificate", certificate.as_str()),
            ("key", key.as_str()),
            ("client_ca", authority.as_str()),
            ("revision", revision),
        ]
    };
    let write = |path: &Path, text: String| {
        let new = path.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(new, path))
    };
    let compose = folder.path().join("compose.yaml");
    write(&compose, render("prism", "compose.yaml", &values("1"))?)?;
    let web = format!("tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n");
    fs::write(folder.path().join("web.yaml"), web)?;
    let mut agent = AgentProcess::start(&render("prism", "agent.yaml", &values("1"))?)?;
    agent.wait_ready(LIMIT)?;

    let front = ports[0].address();
    let connector =
        || -> Result<String> { Ok(http::get(front, "/cgi-bin/connector")?.success()?.text().trim().into()) };
    eventually("the branch's own image answers", LIMIT, || {
        let found = connector()?;
        ensure!(found == "prism/connector:feature-login-3-aaaaaab", "{found}; {}", agent.status()?);
        Ok(())
    })?;

    // The next build of the branch, and a new revision of the front, while clients ask.
    let prober = Prober::start(front);
    push(&registry, &docker, "prism/connector:feature-login-4-aaaaaac")?;
    write(&compose, render("prism", "compose.yaml", &values("2"))?)?;
    let deployed =
        Command::new(binary("hostwright-agent")?).arg("deploy").arg("--socket").arg(agent.socket()).output()?;
    ensure!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    assert_eq!(connector()?, "prism/connector:feature-login-4-aaaaaac");
    let probes = prober.finish()?;
    ensure!(probes.failures.is_empty(), "{} failed: {:?}", probes.failures.len(), probes.failures.first());

    let metrics = curl(&format!("https://127.0.0.1:{}/metrics", numbers[1]), &["--cacert", &authority])?;
    ensure!(metrics.contains("node_memory_MemTotal_bytes") && metrics.ends_with("200"), "no metrics over TLS");
    let status = format!("https://127.0.0.1:{}/v1/status", numbers[2]);
    ensure!(
        curl(&status, &["--cacert", &authority])?.ends_with("403"),
        "the status is for nobody without a certificate"
    );
    let [client, client_key] = ["client.pem", "client.key"].map(|name| certificates.path(name));
    let told = curl(&status, &["--cacert", &authority, "--cert", &client, "--key", &client_key])?;
    let told = told.strip_suffix("200").context("not 200")?;
    ensure!(serde_json::from_str::<serde_json::Value>(told)?["ready"] == true, "{told}");
    Ok(())
}
