//! The logs duty through proxies, of which nobody knows what they have passed on.

use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::engines::rsyslog::Rsyslog;
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::proxy::ForwardProxy;
use hostwright_tests::receivers::BulkPlatform;
use hostwright_tests::wait::eventually;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);
const ENV: [(&str, &str); 1] = [("PROXY_PASSWORD", "hunter2")];
const LOGIN: Option<(&str, &str)> = Some(("web", "hunter2"));

/// An output's setting.
fn through(proxy: &ForwardProxy, scheme: &str, with_login: bool) -> String {
    let login = if with_login { ", user: web, password: {env: PROXY_PASSWORD}" } else { "" };
    format!("proxy: {{url: '{scheme}://{}'{login}}}", proxy.address())
}

fn numbers(lines: &[String]) -> Vec<Value> {
    let number = |line: &String| serde_json::from_str::<Value>(line.trim()).map(|line| line["seq"].clone());
    lines.iter().filter_map(|line| number(line).ok()).collect()
}

/// Writes while the proxy is killed, again and again; whether all arrives is the caller's to wait for.
fn kill_under_load(
    proxy: &mut ForwardProxy,
    app: &mut NumberedLog,
    agent: &AgentProcess,
    arrived: impl Fn() -> Result<usize>,
) -> Result<()> {
    for _ in 0..3 {
        let before = arrived()?;
        app.write(40_000)?;
        eventually("lines come through the proxy", SOON, || arrived().is_ok_and(|count| count > before + 1000))?;
        proxy.kill()?;
        app.write(100)?;
        wait_hindered(agent, &format!("proxy {}", proxy.address()))?;
        proxy.start_again()?;
    }
    Ok(())
}

#[test]
fn syslog_over_tls_loses_nothing_in_a_proxy_that_is_killed() -> Result<()> {
    let certificates = Certificates::make()?;
    for (scheme, login) in [("http", None), ("http", LOGIN), ("socks5", None), ("socks5", LOGIN)] {
        let rsyslog = Rsyslog::start_tls(&certificates, false)?;
        let mut proxy = ForwardProxy::start(login)?;
        let mut app = NumberedLog::new()?;
        let output = format!(
            "{{syslog: {{address: '{}', tls: {{ca: '{}'}}, {}}}}}",
            rsyslog.address(),
            certificates.path("ca.pem"),
            through(&proxy, scheme, login.is_some())
        );
        let agent = AgentProcess::start_with_env(&app.config("json", &output), &ENV)?;
        kill_under_load(&mut proxy, &mut app, &agent, || Ok(rsyslog.messages()?.len()))?;
        let repeated = app.wait_complete(|| numbers(&rsyslog.messages().unwrap_or_default()))?;
        eprintln!("{scheme} {login:?}: {} lines, {repeated} of them again", app.written);
        wait_well(&agent)?;
        let asked = if scheme == "http" { "CONNECT" } else { "SOCKS" };
        ensure!(proxy.told().contains(&format!("{asked} {}", rsyslog.address())), "{}", proxy.told());
        ensure!(!agent.output().contains("hunter2"), "the password is shown");
    }
    Ok(())
}

#[test]
fn what_a_proxy_had_taken_for_a_receiver_that_ended_is_sent_again() -> Result<()> {
    let certificates = Certificates::make()?;
    let mut rsyslog = Rsyslog::start_tls(&certificates, false)?;
    let proxy = ForwardProxy::start(None)?;
    let mut app = NumberedLog::new()?;
    let ca = certificates.path("ca.pem");
    let through = through(&proxy, "http", false);
    let output = format!("{{syslog: {{address: '{}', tls: {{ca: '{ca}'}}, {through}}}}}", rsyslog.address());
    let agent = AgentProcess::start_with_env(&app.config("json", &output), &ENV)?;
    for _ in 0..3 {
        let before = rsyslog.messages()?.len();
        app.write(40_000)?;
        eventually("lines come", SOON, || rsyslog.messages().is_ok_and(|lines| lines.len() > before + 1000))?;
        rsyslog.stop()?;
        wait_hindered(&agent, "502 Bad Gateway")?;
        rsyslog.start_again()?;
    }
    let repeated = app.wait_complete(|| numbers(&rsyslog.messages().unwrap_or_default()))?;
    eprintln!("{} lines, {repeated} of them again", app.written);
    wait_well(&agent)
}

#[test]
fn bulk_brings_each_line_once_through_a_proxy_that_is_killed() -> Result<()> {
    for (scheme, login) in [("http", None), ("http", LOGIN), ("socks5", LOGIN)] {
        let platform = BulkPlatform::start(Default::default())?;
        let mut proxy = ForwardProxy::start(login)?;
        let mut app = NumberedLog::new()?;
        let through = through(&proxy, scheme, login.is_some());
        let output = format!("{{bulk: {{url: '{}', data_stream: logs-a-b, {through}}}}}", platform.url());
        let agent = AgentProcess::start_with_env(&app.config("json", &output), &ENV)?;
        kill_under_load(&mut proxy, &mut app, &agent, || Ok(platform.counts().documents))?;
        ensure!(app.wait_complete(|| platform.field("seq"))? == 0, "a line is there twice");
        wait_well(&agent)?;
        platform.check()?;
        let address = platform.url().replace("http://", "");
        let asked = if scheme == "http" { format!("POST http://{address}/_bulk?") } else { format!("SOCKS {address}") };
        ensure!(proxy.told().contains(&asked), "{}", proxy.told());
    }
    Ok(())
}

#[test]
fn a_proxy_that_does_not_know_us_gets_no_line_and_the_status_says_what_to_do() -> Result<()> {
    let certificates = Certificates::make()?;
    let rsyslog = Rsyslog::start_tls(&certificates, false)?;
    let platform = BulkPlatform::start(Default::default())?;
    let proxy = ForwardProxy::start(Some(("web", "another")))?;
    for scheme in ["http", "socks5"] {
        let through = through(&proxy, scheme, true);
        let syslog = format!(
            "{{syslog: {{address: '{}', tls: {{ca: '{}'}}, {through}}}}}",
            rsyslog.address(),
            certificates.path("ca.pem")
        );
        let bulk = format!("{{bulk: {{url: '{}', data_stream: logs-a-b, {through}}}}}", platform.url());
        for output in [syslog, bulk] {
            let mut app = NumberedLog::new()?;
            app.write(10)?;
            let agent = AgentProcess::start_with_env(&app.config("json", &output), &ENV)?;
            let why = agent.wait_status("the status says why", SOON, |status| {
                let why = status["duties"]["logs"]["why"].as_str().unwrap_or_default();
                why.contains("user") || why.contains("password") || why.contains("proxy")
            })?;
            eprintln!("{}", why["duties"]["logs"]["why"]);
            ensure!(!agent.output().contains("hunter2") && !why.to_string().contains("hunter2"), "it is shown");
        }
    }
    ensure!(proxy.told().matches("refused").count() >= 4, "{}", proxy.told());
    ensure!(numbers(&rsyslog.messages()?).is_empty() && platform.counts().documents == 0, "lines came through");
    Ok(())
}
