//! Who may ask the metrics duty, over what, and in which form: the real agent, asked by a real Prometheus and by curl.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::curl::{Answer, curl};
use hostwright_tests::engines::{NodeExporter, Prometheus};
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::server::Server;
use hostwright_tests::wait::eventually;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
/// bcrypt's of `let me in` and `another`, at nearly its lowest cost.
const LET_ME_IN: &str = "$2b$05$/mUD8UrkJfmX0bBSXeOhJe2juWVoR1y8J9HD2jDckND1FZdYBR0Ja";
const ANOTHER: &str = "$2b$05$LA/ZzJX.1pbQ7Nd.R6bZlO81LM5xIhxYUTHlXFbtt1NOY.j7IBA1e";

/// A ready agent behind a `web-config.yml` with certificates beside it.
struct Guarded {
    agent: AgentProcess,
    port: Port,
    folder: TempDir,
}

impl Guarded {
    fn start(web: &str) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let file = folder.path().join("web-config.yml");
        fs::write(&file, web)?;
        install(&folder, &Certificates::make()?)?;
        let config = format!("metrics: {{listen: \"{}\", web_config: {}}}\n", port.address(), file.display());
        let mut agent = AgentProcess::start(&config)?;
        agent.wait_ready(SOON)?;
        Ok(Self { agent, port, folder })
    }

    /// Writes the file anew.
    fn write(&self, web: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("web-config.yml"), web)?)
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// curl to a path, trusting the authority.
    fn ask(&self, path: &str, more: &[&str]) -> Result<Answer> {
        let (url, ca) = (format!("https://{}{path}", self.port.address()), self.file("ca.pem"));
        curl(&[&["--cacert", &ca, &url], more].concat())
    }

    /// The same with a certificate.
    fn ask_as(&self, name: &str, more: &[&str]) -> Result<Answer> {
        let (certificate, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        self.ask("/metrics", &[&["--cert", &certificate, "--key", &key], more].concat())
    }
}

/// Puts authority, server's and client's files beside the configuration.
fn install(folder: &TempDir, certificates: &Certificates) -> Result<()> {
    for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
        fs::copy(certificates.path(name), folder.path().join(name))?;
    }
    Ok(())
}

const SERVER: &str = "cert_file: server.pem, key_file: server.key";

fn demanding(more: &str) -> String {
    format!(
        "tls_server_config: {{{SERVER}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem{more}}}\n"
    )
}

#[test]
fn a_prometheus_with_certificate_and_password_scrapes_over_tls_and_nobody_else_does() -> Result<()> {
    let web = demanding(", client_allowed_sans: [127.0.0.1]")
        + &format!(
            "basic_auth_users: {{prometheus: {LET_ME_IN}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
        );
    let guarded = Guarded::start(&web)?;
    let prometheus = Prometheus::scraping(&format!(
        "- job_name: node\n  scheme: https\n  tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}\n  \
         basic_auth: {{username: prometheus, password: let me in}}\n  static_configs: [{{targets: [\"{}\"]}}]\n",
        guarded.file("ca.pem"),
        guarded.file("client.pem"),
        guarded.file("client.key"),
        guarded.port.address()
    ))?;
    eventually("a scrape with the right password", SOON, || {
        let up = prometheus.query("up{job=\"node\"} == 1 and on(instance) node_memory_MemTotal_bytes > 0")?;
        ensure!(up.len() == 1, "{up:?}");
        Ok(())
    })?;
    assert!(guarded.ask("/metrics", &["--user", "prometheus:let me in"]).is_err(), "without a certificate");
    let answer = guarded.ask_as("client", &[])?;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic")));
    assert_eq!(answer.header("x-frame-options"), Some("deny"), "on every answer");
    assert_eq!(guarded.ask_as("client", &["--user", "prometheus:wrong"])?.status, 401);
    assert_eq!(guarded.ask_as("client", &["--user", "nobody:let me in"])?.status, 401);
    let answer = guarded.ask_as("client", &["--user", "prometheus:let me in"])?;
    assert_eq!((answer.status, answer.version.as_str()), (200, "2"));
    assert_eq!(guarded.ask_as("client", &["--http1.1", "--user", "prometheus:let me in"])?.version, "1.1");
    let output = guarded.agent.output();
    assert!(!output.contains("let me in") && !output.contains("$2b$"), "{output}");
    Ok(())
}

#[test]
fn each_kind_of_client_certificate_is_demanded_as_its_name_says_and_a_change_is_taken_at_once() -> Result<()> {
    let tls = |kind: &str, more: &str| format!("tls_server_config: {{{SERVER}, client_auth_type: {kind}{more}}}\n");
    let guarded = Guarded::start(&tls("NoClientCert", ""))?;
    let other = Certificates::make()?;
    fs::copy(other.path("client.pem"), guarded.file("stranger.pem"))?;
    fs::copy(other.path("client.key"), guarded.file("stranger.key"))?;
    let ca = ", client_ca_file: ca.pem";
    // Who is let in: without a certificate, with a stranger's, with one of the authority.
    for (kind, more, want) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", ca, [true, true, true]),
        ("RequireAnyClientCert", ca, [false, true, true]),
        ("VerifyClientCertIfGiven", ca, [true, false, true]),
        ("RequireAndVerifyClientCert", ca, [false, false, true]),
        ("RequireAnyClientCert", ", client_allowed_sans: [127.0.0.1]", [false, true, true]),
        ("RequireAnyClientCert", ", client_allowed_sans: [127.0.0.2]", [false, false, false]),
    ] {
        guarded.write(&tls(kind, more))?;
        let asked = [guarded.ask("/metrics", &[]), guarded.ask_as("stranger", &[]), guarded.ask_as("client", &[])];
        let asked = asked.map(|asked| asked.map(|answer| answer.status).map_err(|error| error.to_string()));
        assert_eq!(asked.each_ref().map(Result::is_ok), want, "{kind}{more}: {asked:?}");
    }
    Ok(())
}

#[test]
fn clients_with_the_certificates_that_openssl_makes_by_itself_are_known_too() -> Result<()> {
    let guarded = Guarded::start(&demanding(""))?;
    let certificates = Certificates::make()?;
    certificates.add_plain_clients()?;
    install(&guarded.folder, &certificates)?;
    for name in ["bare", "own"] {
        for ending in ["pem", "key"] {
            let file = format!("{name}.{ending}");
            fs::copy(certificates.path(&file), guarded.file(&file))?;
        }
    }
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        guarded.write(&demanding(""))?;
        let asked = [guarded.ask_as("bare", &version), guarded.ask_as("own", &version)];
        assert_eq!(asked.each_ref().map(Result::is_ok), [true, false], "{version:?}");
        guarded.write(&demanding("").replace("ca.pem", "own.pem"))?;
        let asked = [guarded.ask_as("bare", &version), guarded.ask_as("own", &version)];
        assert_eq!(asked.each_ref().map(Result::is_ok), [false, true], "{version:?}");
    }
    Ok(())
}

#[test]
fn a_new_certificate_is_shown_at_once_and_a_broken_file_is_told_and_changes_nothing() -> Result<()> {
    let web =
        |user: &str, hash: &str| format!("tls_server_config: {{{SERVER}}}\nbasic_auth_users: {{{user}: {hash}}}\n");
    let guarded = Guarded::start(&web("ann", LET_ME_IN))?;
    let old = guarded.file("old.pem");
    fs::copy(guarded.file("ca.pem"), &old)?;
    let asked = |ca: &str, user: &str| {
        let url = format!("https://{}/metrics", guarded.port.address());
        curl(&["--cacert", ca, "--user", user, &url]).map(|answer| answer.status)
    };
    assert_eq!(asked(&old, "ann:let me in")?, 200);
    install(&guarded.folder, &Certificates::make()?)?;
    let new = guarded.file("ca.pem");
    assert!(asked(&old, "ann:let me in").is_err(), "the old authority has not signed it");
    assert_eq!(asked(&new, "ann:let me in")?, 200);
    guarded.write(&web("bob", ANOTHER))?;
    assert_eq!((asked(&new, "ann:let me in")?, asked(&new, "bob:another")?), (401, 200));
    for broken in ["tls_server_config: {", "tls_server_config: {cert_file: nowhere.pem, key_file: server.key}\n", ""] {
        guarded.write(broken)?;
        assert_eq!((asked(&new, "ann:let me in")?, asked(&new, "bob:another")?), (401, 200), "{broken:?}");
        let status = guarded.agent.wait_status("the broken file is told", SOON, |status| {
            let why = status["duties"]["metrics"]["why"].as_str().unwrap_or_default();
            why.contains("what was read before goes on") && why.contains("web-config.yml")
        })?;
        assert_eq!(status["duties"]["metrics"]["state"], "degraded");
        guarded.write(&web("bob", ANOTHER))?;
        assert_eq!(asked(&new, "bob:another")?, 200);
        guarded.agent.wait_status("all is well", SOON, |status| status["duties"]["metrics"]["state"] == "ok")?;
    }
    Ok(())
}

#[test]
fn versions_and_cipher_suites_are_those_of_the_file() -> Result<()> {
    let web = |more: &str| format!("tls_server_config: {{{SERVER}{more}}}\n");
    let guarded = Guarded::start(&web(""))?;
    assert!(guarded.ask("/metrics", &["--tls-max", "1.2"]).is_ok() && guarded.ask("/metrics", &["--tlsv1.3"]).is_ok());
    guarded.write(&web(", min_version: TLS13"))?;
    assert!(guarded.ask("/metrics", &["--tls-max", "1.2"]).is_err() && guarded.ask("/metrics", &[]).is_ok());
    guarded.write(&web(", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"))?;
    assert!(guarded.ask("/metrics", &["--tlsv1.3"]).is_err());
    assert!(guarded.ask("/metrics", &["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"]).is_err());
    assert!(guarded.ask("/metrics", &["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"]).is_ok());
    guarded.write(&(web(", curve_preferences: [CurveP384]") + "http_server_config: {http2: false}\n"))?;
    assert!(guarded.ask("/metrics", &["--curves", "X25519"]).is_err());
    assert_eq!(guarded.ask("/metrics", &["--curves", "P-384"])?.version, "1.1");
    let plain = curl(&[&format!("http://{}/metrics", guarded.port.address())]);
    assert!(format!("{plain:?}").contains("status: 400"), "{plain:?}");
    Ok(())
}

#[test]
fn requests_beyond_the_rate_are_refused_until_the_file_says_otherwise() -> Result<()> {
    let guarded = Guarded::start("rate_limit: {interval: 1h, burst: 3}\n")?;
    let status = || Ok::<_, anyhow::Error>(http::get(guarded.port.address(), "/metrics")?.status);
    assert_eq!([status()?, status()?, status()?, status()?], [200, 200, 200, 429]);
    guarded.write("rate_limit: {interval: 0}\n")?;
    assert_eq!(status()?, 200);
    Ok(())
}

#[test]
fn a_web_configuration_that_cannot_be_used_at_the_start_keeps_the_port_closed() -> Result<()> {
    let port = Port::reserve()?;
    let config = format!("metrics: {{listen: \"{}\", web_config: /nowhere/web-config.yml}}\n", port.address());
    let agent = AgentProcess::start(&config)?;
    let status =
        agent.wait_status("metrics failed", SOON, |status| status["duties"]["metrics"]["state"] == "failed")?;
    let why = status["duties"]["metrics"]["why"].as_str().context("no reason")?;
    assert!(why.contains("cannot read /nowhere/web-config.yml"), "{why}");
    assert!(http::get(port.address(), "/metrics").is_err());
    Ok(())
}

#[test]
fn problems_of_the_web_configuration_are_found_before_anything_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, web) = (folder.path().join("agent.yaml"), folder.path().join("web-config.yml"));
    fs::write(&config, format!("metrics: {{web_config: {}}}\n", web.display()))?;
    let check = || Command::new(binary("hostwright-agent")?).arg("check").arg(&config).output().context("check");
    assert!(check()?.status.success(), "it need not be there yet");
    fs::write(&web, "tls_server_config: {cert_file: a.pem, key_file: a.key, client_ca: x}\n")?;
    let output = check()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("web-config.yml:1:") && said.contains("client_ca: this needs client_auth_type"), "{said}");
    Ok(())
}

/// A ready agent with these settings of the metrics duty beside its address.
fn agent(more: &str) -> Result<(AgentProcess, Port)> {
    let port = Port::reserve()?;
    let mut agent = AgentProcess::start(&format!("metrics: {{listen: \"{}\"{more}}}\n", port.address()))?;
    agent.wait_ready(SOON)?;
    Ok((agent, port))
}

/// The names of the families with their types.
fn types(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

#[test]
fn formats_and_codings_are_those_that_the_client_asks_for() -> Result<()> {
    let (_agent, port) = agent("")?;
    let url = format!("http://{}/metrics", port.address());
    let ask = |more: &[&str]| curl(&[&[&url[..]], more].concat());
    let text = ask(&[])?;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.header("content-encoding"), None);
    let open = ask(&["-H", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"])?;
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (open, text) = (open.text(), text.text());
    assert!(open.ends_with("\n# EOF\n"), "{}", &open[open.len() - 100..]);
    let as_open = |(name, kind): (&str, &str)| match kind {
        "counter" => match name.strip_suffix("_total") {
            Some(stem) => (stem.to_owned(), "counter"),
            None => (name.to_owned(), "unknown"),
        },
        "untyped" => (name.to_owned(), "unknown"),
        _ => (name.to_owned(), if kind == "gauge" { "gauge" } else { "summary" }),
    };
    let want: Vec<_> = types(&text).into_iter().map(as_open).collect();
    let have: Vec<_> = types(&open).into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    assert_eq!(have, want);
    for (coding, wanted) in
        [("gzip", "gzip"), ("zstd", "zstd"), ("gzip;q=0.5, zstd;q=0.4", "gzip"), ("gzip, zstd", "zstd")]
    {
        let header = format!("Accept-Encoding: {coding}");
        let packed = ask(&["-H", &header])?;
        assert_eq!(packed.header("content-encoding"), Some(wanted), "{coding}");
        let unpacked = ask(&["-H", &header, "--compressed"])?;
        assert_eq!(types(&unpacked.text()), types(&text), "{coding}");
        assert!(packed.body.len() * 4 < text.len(), "{} of {} bytes by {coding}", packed.body.len(), text.len());
    }
    let head = ask(&["--head"])?;
    assert!(head.status == 200 && head.body.len() < 1000, "{head:?}");
    Ok(())
}

#[test]
fn several_addresses_answer_under_a_path_of_its_own_and_the_landing_page_leads_there() -> Result<()> {
    let second = Port::reserve()?;
    let first = Port::reserve()?;
    let (one, other) = (first.address(), second.address());
    let config = format!("metrics: {{listen: [\"{one}\", \"{other}\"], path: /node/metrics}}\n");
    let mut agent = AgentProcess::start(&config)?;
    agent.wait_ready(SOON)?;
    for address in [one, other] {
        assert!(http::get(address, "/")?.success()?.text().contains("href=\"/node/metrics\""));
        assert!(http::get(address, "/node/metrics")?.success()?.text().contains("\nnode_load1 "));
        assert_eq!(http::get(address, "/metrics")?.status, 404);
    }
    Ok(())
}

#[test]
fn a_part_of_the_collectors_is_answered_as_node_exporter_answers_it() -> Result<()> {
    let (_agent, port) = agent(", collectors: {default: false, loadavg: true, uname: true}")?;
    let original = NodeExporter::start(&["loadavg".to_owned(), "uname".to_owned()])?;
    for query in ["collect[]=nope", "collect[]=loadavg&collect[]=cpu", "collect[]="] {
        let path = format!("/metrics?{query}");
        let (ours, theirs) = (http::get(port.address(), &path)?, http::get(original.address(), &path)?);
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{query}");
    }
    let names = |query: &str| -> Result<Vec<String>> {
        let text = http::get(port.address(), &format!("/metrics?{query}"))?.success()?.text();
        // What the exporter is, it tells with any collectors, as the original does.
        let is_collectors = |name: &&str| name.starts_with("node_") && !name.starts_with("node_exporter_");
        Ok(types(&text).iter().map(|(name, _)| *name).filter(is_collectors).map(str::to_owned).collect())
    };
    let scrape = ["node_scrape_collector_duration_seconds", "node_scrape_collector_success"];
    assert_eq!(names("collect[]=loadavg")?, [&["node_load1", "node_load5", "node_load15"][..], &scrape].concat());
    assert_eq!(names("exclude[]=loadavg")?, [&["node_uname_info"][..], &scrape].concat());
    let combined = http::get(port.address(), "/metrics?collect[]=loadavg&exclude[]=uname")?;
    assert_eq!(combined.text(), "Combined collect and exclude queries are not allowed.");
    Ok(())
}

#[test]
fn filters_take_and_leave_out_what_they_say() -> Result<()> {
    let filters = "{netdev: {device_include: '^lo$'}, filesystem: {mount_points_include: '^/$', fs_types_exclude: '^$'}, \
                   vmstat: {fields: '^pgpgin$'}, netstat: {fields: '^Tcp_InSegs$'}, cpu: {guest: false}}";
    let (_agent, port) = agent(&format!(", collectors: {filters}"))?;
    let text = http::get(port.address(), "/metrics")?.success()?.text();
    let series =
        |start: &str| text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect::<Vec<_>>();
    let devices = series("node_network_receive_bytes_total");
    assert!(devices.len() == 1 && devices[0].contains("device=\"lo\""), "{devices:?}");
    let mounts = series("node_filesystem_readonly");
    assert!(mounts.iter().all(|line| line.contains("mountpoint=\"/\"")) && !mounts.is_empty(), "{mounts:?}");
    assert_eq!(
        (series("node_vmstat_").len(), series("node_netstat_").len(), series("node_cpu_guest").len()),
        (1, 1, 0)
    );
    Ok(())
}

#[test]
fn sockets_that_systemd_hands_over_are_served_and_are_still_there_after_a_reload() -> Result<()> {
    let (one, other, folder) = (Port::reserve()?, Port::reserve()?, tempfile::tempdir()?);
    let config = folder.path().join("agent.yaml");
    fs::write(&config, "metrics: {listen: systemd}\n")?;
    let mut command = Command::new("systemd-socket-activate");
    for address in [one.address(), other.address()] {
        command.arg(format!("--listen={address}"));
    }
    for (name, path) in [("STATE_DIRECTORY", "state"), ("RUNTIME_DIRECTORY", "run")] {
        fs::create_dir(folder.path().join(path))?;
        command.arg(format!("--setenv={name}={}", folder.path().join(path).display()));
    }
    command.arg(binary("hostwright-agent")?).args(["run", "--config"]).arg(&config);
    let mut server = Server::start(&command, &folder.path().join("output"))?;
    // The first connection starts the agent, which finds it waiting.
    server.wait_until("an answer on the first socket", SOON, || http::get(one.address(), "/metrics")?.success())?;
    http::get(other.address(), "/metrics")?.success()?;
    fs::write(&config, "metrics: {listen: systemd, path: /moved}\n")?;
    server.signal(nix::sys::signal::Signal::SIGHUP)?;
    eventually("an answer under the new path", SOON, || match http::get(other.address(), "/moved")?.status {
        200 => Ok(()),
        status => bail!("status {status}"),
    })
}
