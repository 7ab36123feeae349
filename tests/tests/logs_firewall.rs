//! A firewall for the web before a platform: what it dislikes in one line holds back no other, and who may not write at
//! all loses nothing.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::cases::all_hold;
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::http_server::{HttpServer, Reply, Request};
use hostwright_tests::wait::eventually;
use memchr::memmem;

const SOON: Duration = Duration::from_secs(40);
const ATTACK: &str = "union select password";
/// No status: all may write.
const OPEN: u16 = u16::MAX;

/// A platform behind a firewall.
struct Guarded {
    server: HttpServer,
    /// What it answers to everybody.
    closed: Arc<AtomicU16>,
    /// The numbers of the lines that came through, in order.
    lines: Arc<Mutex<Vec<u64>>>,
    requests: Arc<AtomicUsize>,
}

impl Guarded {
    /// It answers with `status` to what it dislikes.
    fn start(status: u16) -> Result<Self> {
        let (lines, closed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(OPEN)));
        let (taken, is_closed) = (lines.clone(), closed.clone());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let server = HttpServer::start(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let body = content(request);
            match is_closed.load(Ordering::Relaxed) {
                OPEN if memmem::find(&body, ATTACK.as_bytes()).is_none() => {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers(&body));
                    answer(request)
                }
                OPEN => Reply::new(status, "<html>Access denied</html>"),
                closed => Reply::new(closed, "<!DOCTYPE html><html>Access denied</html>"),
            }
        })?;
        Ok(Self { server, closed, lines, requests })
    }

    fn lines(&self) -> Vec<u64> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn content(request: &Request) -> Vec<u8> {
    let is_loki = request.path.ends_with("/push");
    if is_loki {
        snap::raw::Decoder::new().decompress_vec(&request.body).unwrap_or_default()
    } else {
        request.body.clone()
    }
}

/// What a platform answers that has taken all.
fn answer(request: &Request) -> Reply {
    match request.path.as_str() {
        "/_bulk" => Reply::new(200, r#"{"took":1,"errors":false,"items":[]}"#),
        path if path.ends_with("/push") => Reply::new(204, ""),
        _ => Reply::new(200, ""),
    }
}

fn numbers(body: &[u8]) -> impl Iterator<Item = u64> {
    let digits =
        |at: usize| body[at + 5..].iter().take_while(|byte| byte.is_ascii_digit()).map(|d| u64::from(d - b'0'));
    memmem::find_iter(body, b"line-").map(move |at| digits(at).fold(0, |sum, digit| sum * 10 + digit))
}

fn write(app: &NumberedLog, lines: std::ops::Range<u64>, attacks: std::ops::Range<u64>) -> Result<()> {
    let line = |number| {
        let what = if attacks.contains(&number) { ATTACK } else { "all is well" };
        format!("{{\"message\":\"line-{number}- {what}\"}}\n")
    };
    app.append(&lines.map(line).collect::<String>())
}

fn letters(agent: &AgentProcess) -> Result<Vec<String>> {
    let path = agent.state_folder().join("logs/dead-letters-platform.ndjson");
    Ok(if path.exists() { fs::read_to_string(path)?.lines().map(str::to_owned).collect() } else { Vec::new() })
}

fn guarded(output: &str, status: u16) -> Result<()> {
    let platform = Guarded::start(status)?;
    let app = NumberedLog::new()?;
    write(&app, 0..1000, 500..501)?;
    let agent = app.agent(&output.replace("URL", &platform.server.url()))?;
    let complete = |to: u64, attacks: usize| -> Result<()> {
        eventually("every other line", SOON, || {
            let there: BTreeSet<_> = platform.lines().into_iter().collect();
            let letters = letters(&agent)?;
            ensure!(letters.len() == attacks, "{} letters: {:?}", letters.len(), letters.first());
            ensure!(there.len() + attacks == to as usize, "{} lines, {}", there.len(), agent.output());
            Ok(())
        })
    };
    complete(1000, 1)?;
    ensure!(platform.lines().is_sorted() && platform.lines().len() == 999, "not once and in order: {}", agent.output());
    ensure!(letters(&agent)?[0].contains("firewall"), "{:?}", letters(&agent)?);
    // One alone, and then the many of a real attack.
    write(&app, 1000..1001, 1000..1001)?;
    complete(1001, 2)?;
    write(&app, 1001..1003, 1001..1003)?;
    complete(1003, 4)?;
    write(&app, 1003..1200, 1003..1100)?;
    complete(1200, 101)?;
    wait_well(&agent)?;
    // Nobody may write any more: nothing is given up.
    platform.closed.store(403, Ordering::Relaxed);
    write(&app, 1200..1300, 1250..1251)?;
    wait_hindered(&agent, "credentials")?;
    ensure!(letters(&agent)?.len() == 101, "lines were given up");
    platform.closed.store(OPEN, Ordering::Relaxed);
    complete(1300, 102)?;
    wait_well(&agent)
}

/// For one line there is no answer of the platform; then for all of them.
fn unanswered(output: &str, status: u16) -> Result<()> {
    let platform = Guarded::start(status)?;
    let app = NumberedLog::new()?;
    write(&app, 0..1000, 500..501)?;
    let agent = app.agent(&output.replace("URL", &platform.server.url()))?;
    let complete = |to: u64, attacks: usize| -> Result<()> {
        eventually("every other line", 2 * SOON, || {
            let there: BTreeSet<_> = platform.lines().into_iter().collect();
            let letters = letters(&agent)?;
            ensure!(letters.len() == attacks, "{} letters: {:?}", letters.len(), letters.first());
            ensure!(there.len() + attacks == to as usize, "{} lines, {}", there.len(), agent.output());
            Ok(())
        })
    };
    complete(1000, 1)?;
    ensure!(platform.lines().is_sorted() && platform.lines().len() == 999, "not once and in order: {}", agent.output());
    let letter = &letters(&agent)?[0];
    ensure!(letter.contains("line-500-") && letter.contains("another line was taken"), "{letter}");
    write(&app, 1000..1001, 1000..1001)?;
    complete(1001, 2)?;
    write(&app, 1001..1100, 1050..1052)?;
    complete(1100, 4)?;
    wait_well(&agent)?;
    // Nothing comes through any more, for longer than it took to give up a line.
    platform.closed.store(status, Ordering::Relaxed);
    write(&app, 1100..1200, 1150..1151)?;
    let until = platform.requests.load(Ordering::Relaxed) + 17;
    eventually("so many requests in vain", 2 * SOON, || platform.requests.load(Ordering::Relaxed) >= until)?;
    wait_hindered(&agent, &platform.server.address().to_string())?;
    ensure!(letters(&agent)?.len() == 4, "lines were given up");
    platform.closed.store(OPEN, Ordering::Relaxed);
    complete(1200, 5)?;
    wait_well(&agent)
}

#[test]
fn a_line_for_which_connections_are_reset_holds_back_no_other_and_an_outage_costs_none() -> Result<()> {
    all_hold(
        [
            ("bulk", "{bulk: {url: 'URL', index: logs}}", Reply::RESET),
            ("http", "{http: {url: 'URL/in'}}", Reply::RESET),
            ("loki", "{loki: {url: 'URL'}}", Reply::RESET),
            ("http, a page", "{http: {url: 'URL/in'}}", 200),
            ("otlp, a page", "{otlp: {url: 'URL', compress: none}}", 200),
        ]
        .map(|(name, output, status)| (name, move || unanswered(output, status))),
    )
}

#[test]
fn a_line_that_is_too_large_for_somebody_on_the_way_becomes_a_dead_letter() -> Result<()> {
    let platform = Guarded::start(413)?;
    let app = NumberedLog::new()?;
    write(&app, 0..1000, 700..701)?;
    let agent = app.agent(&format!("{{bulk: {{url: '{}', index: logs}}}}", platform.server.url()))?;
    eventually("every other line", SOON, || {
        let letters = letters(&agent)?;
        ensure!(letters.len() == 1 && letters[0].contains("413"), "{letters:?}");
        ensure!(platform.lines().len() == 999 && platform.lines().is_sorted(), "{}", agent.output());
        Ok(())
    })?;
    wait_well(&agent)
}

#[test]
fn a_line_that_a_firewall_dislikes_becomes_a_dead_letter_and_holds_back_no_other() -> Result<()> {
    all_hold(
        [
            ("bulk", "{bulk: {url: 'URL', index: logs}}", 403),
            ("http", "{http: {url: 'URL/in'}}", 406),
            ("loki", "{loki: {url: 'URL'}}", 403),
            ("otlp", "{otlp: {url: 'URL', compress: none}}", 403),
        ]
        .map(|(name, output, status)| (name, move || guarded(output, status))),
    )
}
