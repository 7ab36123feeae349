//! The API on the real agent: who may ask what, readiness, and the status command.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::port::Port;
use hostwright_tests::process::{AgentProcess, binary};

const SOON: Duration = Duration::from_secs(20);

/// The HTTP code and body that curl gets.
fn curl(arguments: &[&str]) -> Result<(String, String)> {
    let output = Command::new("curl").args(["-sS", "-m", "10", "-w", "\n%{http_code}"]).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (body, code) = text.rsplit_once('\n').with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((code.to_owned(), body.to_owned()))
}

#[test]
fn health_is_for_everyone_and_the_status_for_those_with_a_certificate() -> Result<()> {
    let certificates = Certificates::make()?;
    let port = Port::reserve()?;
    let (server, key, ca) =
        (certificates.path("server.pem"), certificates.path("server.key"), certificates.path("ca.pem"));
    let mut agent = AgentProcess::start(&format!(
        "api: {{listen: \"{}\", tls: {{certificate: {server}, key: {key}, client_ca: {ca}}}}}\n",
        port.address()
    ))?;
    agent.wait_ready(SOON)?;
    let url = format!("https://{}", port.address());
    let trust = ["--cacert", &ca];
    let get = |path: &str, more: &[&str]| {
        let url = format!("{url}{path}");
        curl(&[&trust[..], more, &[&url]].concat())
    };
    assert_eq!(get("/livez", &[])?, ("200".into(), "ok\n".into()));
    assert_eq!(get("/readyz?verbose", &[])?, ("200".into(), "[+]api ok\nok\n".into()));
    let (code, body) = get("/v1/status", &[])?;
    assert_eq!(code, "403");
    assert!(body.contains("api.tls.client_ca"), "{body}");
    let (client, client_key) = (certificates.path("client.pem"), certificates.path("client.key"));
    let with_certificate = ["--cert", client.as_str(), "--key", client_key.as_str()];
    let (code, body) = get("/v1/status", &with_certificate)?;
    assert_eq!(code, "200", "{body}");
    assert!(body.contains("\"ready\":true"), "{body}");
    let stranger = Certificates::make()?;
    let (client, client_key) = (stranger.path("client.pem"), stranger.path("client.key"));
    let answer = get("/v1/status", &["--cert", client.as_str(), "--key", client_key.as_str()]);
    assert!(answer.is_err() || answer.as_ref().is_ok_and(|(code, _)| code == "000"), "{answer:?}");
    assert!(
        curl(&[&format!("http://{}/livez", port.address())]).map_or(true, |(code, _)| code == "000"),
        "plain HTTP is not answered"
    );
    Ok(())
}

#[test]
fn silent_connections_hold_back_nobody() -> Result<()> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("api: {{listen: \"{}\"}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    let _silent: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(port.address())).collect::<Result<_, _>>()?;
    let (code, _) = curl(&["-k", &format!("https://{}/livez", port.address())])?;
    assert_eq!(code, "200");
    Ok(())
}

/// More than the network may have at once, which leaves the host's own socket alone.
#[test]
fn whoever_is_on_the_host_is_answered_when_the_network_has_every_connection() -> Result<()> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("api: {{listen: \"{}\"}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    let _silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(port.address())).collect::<Result<_, _>>()?;
    let socket = agent.socket();
    let own = ["--unix-socket", socket.to_str().context("text")?, "http://localhost/livez"];
    for _ in 0..5 {
        assert_eq!(curl(&own)?, ("200".into(), "ok\n".into()));
    }
    Ok(())
}

/// Whoever asks for metrics has used up what the agent may open.
#[test]
fn the_status_is_answered_when_no_file_descriptor_is_left() -> Result<()> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("metrics: {{listen: \"{}\"}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    let descriptors = format!("/proc/{}/fd", agent.pid());
    let open = || fs::read_dir(&descriptors).map(Iterator::count);
    let (pid, limit) = (agent.pid().to_string(), open()? + 10);
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:{limit}")]).status()?;
    anyhow::ensure!(limited.success(), "prlimit failed");
    let _silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(port.address())).collect::<Result<_, _>>()?;
    let refused = || agent.output().matches("cannot accept a connection").count();
    hostwright_tests::wait::eventually("a connection is refused", SOON, || refused() > 0)?;
    assert!(agent.output().contains("LimitNOFILE="), "{}", agent.output());
    for _ in 0..20 {
        let status = agent.status()?;
        assert_eq!(status["duties"]["metrics"]["state"], "ok", "{status}");
    }
    // Twenty times a second it is tried again.
    assert!(refused() <= 3, "{}", agent.output());
    assert!(open()? <= limit, "more descriptors than allowed");
    Ok(())
}

#[test]
fn whoever_is_on_the_host_is_answered_while_another_program_holds_the_port() -> Result<()> {
    let other = std::net::TcpListener::bind("127.0.0.1:0")?;
    let agent = AgentProcess::start(&format!("api: {{listen: \"{}\"}}\n", other.local_addr()?))?;
    hostwright_tests::wait::eventually("the socket is there", SOON, || agent.get("/livez").is_ok())?;
    let status = agent.wait_status("it says why", SOON, |status| status["duties"]["api"]["state"] == "degraded")?;
    let why = status["duties"]["api"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("cannot listen on") && why.contains("api.listen"), "{status}");
    assert_eq!(agent.get("/readyz")?.status, 503);
    drop(other);
    agent.wait_status("it has the port", SOON, |status| status["duties"]["api"]["state"] == "ok")?;
    assert_eq!(agent.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart_and_half_a_renewal_changes_nothing() -> Result<()> {
    let (certificates, port) = (Certificates::make()?, Port::reserve()?);
    let (server, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let (ca, client_ca) = (certificates.path("ca.pem"), format!("{}.clients", certificates.path("ca.pem")));
    fs::copy(&ca, &client_ca)?;
    let mut agent = AgentProcess::start(&format!(
        "api: {{listen: \"{}\", tls: {{certificate: {server}, key: {key}, client_ca: {client_ca}}}}}\n",
        port.address()
    ))?;
    agent.wait_ready(SOON)?;
    let get = |by: &Certificates, path: &str| {
        let (ca, client, key) = (by.path("ca.pem"), by.path("client.pem"), by.path("client.key"));
        let url = format!("https://{}{path}", port.address());
        curl(&["--cacert", &ca, "--cert", &client, "--key", &key, &url])
    };
    assert_eq!(get(&certificates, "/v1/status")?.0, "200");
    let renewed = Certificates::make()?;
    fs::copy(renewed.path("server.pem"), &server)?;
    assert_eq!(get(&certificates, "/livez")?.0, "200", "its key has not come yet");
    let degraded = agent.wait_status("it says why", SOON, |status| status["duties"]["api"]["state"] == "degraded")?;
    let why = degraded["duties"]["api"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("what was read before goes on") && why.contains("server.pem"), "{why}");
    fs::copy(renewed.path("server.key"), &key)?;
    assert!(get(&certificates, "/livez").map_or(true, |(code, _)| code == "000"), "the old one is still shown");
    agent.wait_status("all is well", SOON, |status| status["duties"]["api"]["state"] == "ok")?;
    // Who may ask changes in the same way.
    fs::copy(renewed.path("ca.pem"), &client_ca)?;
    assert_eq!(get(&renewed, "/v1/status")?.0, "200");
    Ok(())
}

/// A body is not waited for before it is known who asks.
#[test]
fn an_order_from_the_network_is_refused_before_its_body_has_come() -> Result<()> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("api: {{listen: \"{}\"}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    let url = format!("https://{}/v1/duties/containers/deploy", port.address());
    let announced = ["-k", "-X", "POST", "-H", "Content-Length: 1000", "-H", "Content-Type: application/json", &url];
    let (code, body) = curl(&announced)?;
    assert_eq!(code, "403", "{body}");
    Ok(())
}

#[test]
fn the_status_command_prints_a_table_and_its_exit_code_tells_how_the_host_is() -> Result<()> {
    let mut agent = AgentProcess::start("host: {name: web-1}\n")?;
    agent.wait_ready(SOON)?;
    let status = |socket: &Path| {
        Command::new(binary("hostwright-agent")?)
            .args(["status", "--socket"])
            .arg(socket)
            .output()
            .context("starting it")
    };
    let well = status(&agent.socket())?;
    assert_eq!(well.status.code(), Some(0));
    let table = String::from_utf8(well.stdout)?;
    assert!(table.starts_with("web-1: hostwright-agent") && table.contains("api         ok"), "{table}");
    agent.write_config("containers: {compose: /nonexistent/compose.yaml, engine: /nonexistent/docker.sock}\n")?;
    agent.sighup()?;
    agent.wait_status("the containers duty is degraded", SOON, |status| {
        status["duties"]["containers"]["state"] == "degraded"
    })?;
    assert_eq!(status(&agent.socket())?.status.code(), Some(3));
    assert_eq!(agent.terminate()?, Some(0));
    let gone = status(&agent.socket())?;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr)?.contains("does not run here"));
    Ok(())
}

#[test]
fn a_second_agent_with_the_same_folders_does_not_take_the_first_one_s_socket() -> Result<()> {
    let mut agent = AgentProcess::start("host: {}\n")?;
    agent.wait_ready(SOON)?;
    let runtime = agent.socket().parent().context("a folder")?.to_owned();
    let second = Command::new("timeout")
        .arg("3")
        .arg(binary("hostwright-agent")?)
        .args(["run", "--config"])
        .arg(agent.config_file())
        .env("STATE_DIRECTORY", agent.state_folder())
        .env("RUNTIME_DIRECTORY", runtime)
        .output()?;
    let said = String::from_utf8(second.stderr)?;
    assert!(said.contains("another agent answers on"), "{said}");
    assert_eq!(agent.get("/livez")?.status, 200);
    Ok(())
}

#[test]
fn a_state_folder_that_cannot_be_written_gives_a_sentence_with_its_path() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("agent.yaml"), "host: {}\n")?;
    fs::write(folder.path().join("state"), "a file in the folder's place")?;
    let said = Command::new("timeout")
        .arg("3")
        .arg(binary("hostwright-agent")?)
        .args(["run", "--config"])
        .arg(folder.path().join("agent.yaml"))
        .env("STATE_DIRECTORY", folder.path().join("state"))
        .env("RUNTIME_DIRECTORY", folder.path())
        .output()?;
    let said = String::from_utf8(said.stderr)?;
    assert!(said.contains("cannot create the state folder") && said.contains("see that it can be written"), "{said}");
    Ok(())
}

#[test]
fn a_reload_with_mistakes_changes_nothing_and_a_start_with_them_exits_2() -> Result<()> {
    let mut agent = AgentProcess::start("host: {name: before}\n")?;
    agent.wait_ready(SOON)?;
    agent.write_config("hots: {name: after}\n")?;
    agent.sighup()?;
    hostwright_tests::wait::eventually("the agent says why it did not reload", SOON, || {
        agent.output().contains("not reloaded")
    })?;
    assert!(agent.output().contains("did you mean \"host\"?"), "{}", agent.output());
    assert_eq!(agent.status()?["host"], "before");
    assert_eq!(agent.terminate()?, Some(0));
    agent.start_again()?;
    assert_eq!(agent.wait_exit(SOON)?, Some(2));
    Ok(())
}
