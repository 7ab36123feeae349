//! The logs duty towards receivers of streams, over TLS and UDP, and towards those that acknowledge windows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::{GzDecoder, ZlibDecoder};
use hostwright_tests::certificates::Certificates;
use hostwright_tests::engines::flowgger::{Flowgger, Input};
use hostwright_tests::engines::rsyslog::Rsyslog;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::LumberjackServer;
use hostwright_tests::receivers::lumberjack::Fault;
use hostwright_tests::wait::eventually;
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);

/// A log with numbered JSON lines, and the agent that ships it to one output.
struct Host {
    folder: TempDir,
    agent: AgentProcess,
}

impl Host {
    /// `output` is the output's settings in one line.
    fn start(output: &str) -> Result<Self> {
        Self::start_with(output, &[])
    }

    fn start_with(output: &str, env: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log.json");
        let config = format!(
            "host: {{name: testhost, labels: {{environment: prod}}}}\n\
             buckets: {{archive: 'file://{}'}}\n\
             logs:\n  sources:\n    backend: {{files: ['{}'], parse: json, outputs: [platform]}}\n  \
             outputs:\n    platform: {output}\n",
            folder.path().join("bucket").display(),
            log.display()
        );
        let agent = AgentProcess::start_with_env(&config, env)?;
        Ok(Self { folder, agent })
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log.json")
    }

    fn write(&self, text: &str) -> Result<()> {
        use std::io::Write;
        let mut file = fs::File::options().create(true).append(true).open(self.log())?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// Appends lines with these numbers.
    fn write_numbered(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        let line = |number| format!("{{\"seq\":{number},\"level\":\"warn\",\"message\":\"number {number}\"}}\n");
        self.write(&numbers.map(line).collect::<String>())
    }

    fn wait_why(&self, part: &str) -> Result<()> {
        let told = |status: &Value| status["duties"]["logs"]["why"].as_str().unwrap_or_default().contains(part);
        self.agent.wait_status(&format!("the status tells {part:?}"), SOON, told).map(drop)
    }
}

fn sequence(lines: &[String]) -> Result<Vec<u64>> {
    let number = |line: &String| {
        let value: Value = serde_json::from_str(line.trim()).with_context(|| format!("no JSON: {line}"))?;
        value["seq"].as_u64().context("no number")
    };
    lines.iter().filter(|line| line.contains("\"seq\"")).map(number).collect()
}

#[test]
fn syslog_over_tls_reaches_rsyslog_complete_and_in_order() -> Result<()> {
    let certificates = Certificates::make()?;
    let rsyslog = Rsyslog::start_tls(&certificates, true)?;
    for framing in ["octet-counting", "newline"] {
        let before = rsyslog.messages()?.iter().filter(|line| line.contains("\"seq\"")).count();
        let host = Host::start(&format!(
            "{{syslog: {{address: '{}', framing: {framing}, tls: {{ca: '{}', certificate: '{}', key: '{}'}}}}}}",
            rsyslog.address(),
            certificates.path("ca.pem"),
            certificates.path("client.pem"),
            certificates.path("client.key"),
        ))?;
        host.write_numbered(0..20_000)?;
        rsyslog.wait_for_messages(before + 20_000, SOON)?;
        let numbers = sequence(&rsyslog.messages()?)?.split_off(before);
        ensure!(numbers == (0..20_000).collect::<Vec<u64>>(), "{framing}: not complete and in order");
    }
    Ok(())
}

#[test]
fn a_receiver_that_is_not_trusted_gets_nothing_and_the_status_says_why() -> Result<()> {
    let certificates = Certificates::make()?;
    let rsyslog = Rsyslog::start_tls(&certificates, false)?;
    let other = Certificates::make()?;
    let host = Host::start(&format!(
        "{{syslog: {{address: '{}', tls: {{ca: '{}'}}}}}}",
        rsyslog.address(),
        other.path("ca.pem")
    ))?;
    host.write_numbered(0..10)?;
    host.wait_why("tls: {ca: …}")?;
    ensure!(!rsyslog.messages()?.iter().any(|line| line.contains("\"seq\"")), "it got lines");
    Ok(())
}

fn gelf_over_tls(flowgger: &Flowgger, certificates: &Certificates) -> String {
    format!("{{gelf: {{address: '{}', tls: {{ca: '{}'}}}}}}", flowgger.address(), certificates.path("ca.pem"))
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().filter_map(|record| record["_seq"].as_u64()).collect()
}

#[test]
fn gelf_over_tls_reaches_flowgger_complete_and_in_order_and_nothing_is_dropped() -> Result<()> {
    let certificates = Certificates::make()?;
    let flowgger = Flowgger::start(&certificates, Input::Gelf)?;
    let host = Host::start(&gelf_over_tls(&flowgger, &certificates))?;
    // What flowgger drops when it comes as it is.
    let odd = [
        r#"{"a":{"b":[1,{"c":2}],"d":{}},"seq":0,"message":"nested"}"#,
        r#"{"level":99,"timestamp":"yesterday","host":{"x":1},"version":[],"seq":1}"#,
        "no JSON at all \u{1} \"x\"",
        r#"{"message":"","id":7,"x":null,"y":true,"z":18446744073709551616,"seq":2}"#,
        r#"{"short_message":[],"full_message":{},"seq":3,"level":"error","nul":"\u0000\n"}"#,
    ];
    host.write(&(odd.join("\n") + "\n"))?;
    let records = flowgger.wait_for_records(odd.len(), SOON)?;
    ensure!(numbers(&records) == [0, 1, 2, 3], "{records:#?} {}", flowgger.complaints());
    ensure!(
        records[0]["_a_b"] == r#"[1,{"c":2}]"# && records[0]["short_message"] == "nested" && records[0]["level"] == 6,
        "{:#}",
        records[0]
    );
    ensure!(records[2]["short_message"] == odd[2] && records[2]["host"] == "testhost", "{:#}", records[2]);
    ensure!(records[3]["_id_"] == 7 && records[4]["_nul"] == "\u{0}\n", "{:#}{:#}", records[3], records[4]);
    host.write_numbered(4..20_004)?;
    let records = flowgger.wait_for_records(20_005, SOON)?;
    ensure!(numbers(&records) == (0..20_004).collect::<Vec<u64>>(), "not complete and in order");
    Ok(())
}

/// GELF knows no acknowledgement: what the dead receiver's kernel had taken is sent again.
#[test]
fn a_gelf_receiver_that_is_killed_under_load_loses_nothing() -> Result<()> {
    let certificates = Certificates::make()?;
    let mut flowgger = Flowgger::start(&certificates, Input::Gelf)?;
    let host = Host::start(&gelf_over_tls(&flowgger, &certificates))?;
    for round in 1..=3 {
        host.write_numbered((round - 1) * 30_000..round * 30_000)?;
        flowgger.wait_for_records(1 + (round - 1) * 30_000, SOON)?;
        flowgger.kill()?;
        flowgger.start_again()?;
    }
    eventually("every line", SOON, || {
        let there: BTreeSet<u64> = numbers(&flowgger.records()?).into_iter().collect();
        ensure!(there.len() == 90_000, "{} of 90000 have arrived", there.len());
        Ok(())
    })?;
    eprintln!("{} duplicates", numbers(&flowgger.records()?).len() - 90_000);
    Ok(())
}

/// Takes GELF datagrams apart as Graylog does: chunks gathered by their id, then zlib, gzip or plain text.
fn receive_gelf(socket: &UdpSocket) -> Result<Value> {
    let mut chunks: HashMap<[u8; 8], BTreeMap<u8, Vec<u8>>> = HashMap::new();
    let mut buffer = vec![0; 70_000];
    loop {
        let length = socket.recv(&mut buffer).context("no datagram")?;
        let datagram = &buffer[..length];
        let message = match datagram {
            [0x1e, 0x0f, rest @ ..] => {
                let (id, rest) = rest.split_first_chunk::<8>().context("a chunk without an id")?;
                let [number, count, rest @ ..] = rest else { bail!("a chunk without a number") };
                ensure!(number < count && *count <= 128, "chunk {number} of {count}");
                let parts = chunks.entry(*id).or_default();
                parts.insert(*number, rest.to_vec());
                if parts.len() < usize::from(*count) {
                    continue;
                }
                parts.values().flatten().copied().collect()
            }
            whole => whole.to_vec(),
        };
        return Ok(serde_json::from_slice(&inflated(message)?)?);
    }
}

fn inflated(message: Vec<u8>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    match message[..] {
        [0x1f, 0x8b, ..] => GzDecoder::new(&message[..]).read_to_end(&mut text)?,
        [0x78, ..] => ZlibDecoder::new(&message[..]).read_to_end(&mut text)?,
        _ => return Ok(message),
    };
    Ok(text)
}

/// Hexadecimal digits that no compression makes fewer than half as many bytes of.
fn random_digits(count: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit((state >> 32) as u32 & 15, 16)
    };
    (0..count).filter_map(|_| digit()).collect()
}

#[test]
fn gelf_datagrams_are_compressed_and_chunked_and_what_is_too_long_becomes_a_dead_letter() -> Result<()> {
    for compress in ["zlib", "gzip", "none"] {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(SOON))?;
        let address = socket.local_addr()?;
        let host = Host::start(&format!("{{gelf: {{address: '{address}', protocol: udp, compress: {compress}}}}}"))?;
        let random = random_digits(60_000);
        host.write(&format!("{{\"seq\":0}}\n{{\"seq\":1,\"x\":\"{random}\"}}\n"))?;
        let (first, second) = (receive_gelf(&socket)?, receive_gelf(&socket)?);
        ensure!(first["_seq"] == 0 && second["_seq"] == 1 && second["_x"] == random, "{compress}: {first}");
        let too_long = random_digits(900_000);
        host.write(&format!("{{\"seq\":2,\"x\":\"{too_long}\"}}\n{{\"seq\":3}}\n"))?;
        ensure!(receive_gelf(&socket)?["_seq"] == 3, "{compress}: it was sent all the same");
        eventually("a dead letter", SOON, || {
            let letters = fs::read_to_string(host.agent.state_folder().join("logs/dead-letters-platform.ndjson"))?;
            ensure!(letters.contains("too much for GELF over UDP"), "{}", &letters[..letters.len().min(500)]);
            Ok(())
        })?;
    }
    Ok(())
}

fn event_numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["seq"].as_u64()).collect()
}

#[test]
fn lumberjack_over_tls_delivers_every_line_once_and_in_order_whatever_the_receiver_does() -> Result<()> {
    let certificates = Certificates::make()?;
    for compression_level in [0, 3] {
        let mut server = LumberjackServer::start_tls(&certificates)?;
        server.order([
            Fault::CutAfter(0),
            Fault::CutAfter(7),
            Fault::StallAfter(0),
            Fault::StallAfter(3),
            // Longer than the timeout, but with signs of life.
            Fault::Busy(Duration::from_secs(3)),
        ]);
        let host = Host::start(&format!(
            "{{lumberjack: {{address: '{}', compression_level: {compression_level}, timeout: 2s, tls: {{ca: '{}'}}}}}}",
            server.address(),
            certificates.path("ca.pem")
        ))?;
        host.write_numbered(0..100)?;
        eventually("all that goes wrong has gone wrong", SOON, || {
            ensure!(server.outstanding_faults() == 0, "{} faults are outstanding", server.outstanding_faults());
            Ok(())
        })?;
        host.write("no JSON\n")?;
        server.wait_for_events(101, SOON)?;
        // Idle connections are closed by receivers.
        server.close_connections();
        server.order([Fault::OneByOne]);
        host.write_numbered(100..20_000)?;
        server.wait_for_events(15_000, SOON)?;
        server.stop();
        host.write_numbered(20_000..21_000)?;
        host.wait_why("cannot connect to 127.0.0.1")?;
        server.start_again()?;
        let all: BTreeSet<u64> = (0..21_000).collect();
        let events = eventually("every event has arrived", SOON, || {
            let events = server.events()?;
            let numbers: BTreeSet<_> = event_numbers(&events).into_iter().collect();
            ensure!(numbers == all, "{} of {}", numbers.len(), all.len());
            Ok(events)
        })?;
        // An outage may cost a window that was acknowledged on its way.
        let repeated = events.len() - 21_001;
        ensure!(repeated <= 4096, "{repeated} repeated");
        if repeated == 0 {
            ensure!(event_numbers(&events).is_sorted(), "compression {compression_level}: not in order");
        }
        let text = events.iter().find(|event| event["message"] == "no JSON").context("the text line")?;
        ensure!(text["host"]["name"] == "testhost" && text["labels"]["environment"] == "prod", "{text}");
        let ids: BTreeSet<_> = events.iter().filter_map(|event| event["record_id"].as_str()).collect();
        ensure!(ids.len() == 21_001, "{} ids of 21001 records", ids.len());
    }
    Ok(())
}

#[test]
fn an_agent_that_is_killed_repeats_at_most_a_batch_towards_lumberjack() -> Result<()> {
    let server = LumberjackServer::start()?;
    let mut host = Host::start(&format!("{{lumberjack: {{address: '{}'}}}}", server.address()))?;
    for round in 0..3 {
        host.write_numbered(round * 50_000..(round + 1) * 50_000)?;
        server.wait_for_events(round * 50_000 + 1, SOON)?;
        host.agent.kill9()?;
        host.agent.start_again()?;
    }
    server.wait_for_events(150_000, SOON)?;
    eventually("every line", SOON, || {
        let there: BTreeSet<u64> = event_numbers(&server.events()?).into_iter().collect();
        ensure!(there.len() == 150_000, "{} of 150000 have arrived", there.len());
        Ok(())
    })?;
    let repeated = server.events()?.len() - 150_000;
    eprintln!("{repeated} repeated");
    // A line of write_numbered has at least 46 bytes.
    ensure!(repeated <= 3 * ((1 << 20) / 46), "{repeated} repeated");
    Ok(())
}

/// A line of JSON that is as odd as the number makes it: what a platform drops without a word is in many of them.
fn odd_line(number: u64) -> String {
    const VALUES: [&str; 18] = [
        "\"\\ud800 \\udc00\\ud83d\"",
        "\"a\\tb:c\\r\\nd\"",
        "1",
        "-2.5",
        "1e999",
        "18446744073709551616",
        "true",
        "null",
        "\"x\"",
        "\"\\u0000\\n\"",
        "[1,{\"a\":2}]",
        "{\"b\":{\"c.d\":false}}",
        "{}",
        "\"2026-11-20T10:11:12Z\"",
        "\"10.0.0.1\"",
        "\"twelve\"",
        "[]",
        "\"\"",
    ];
    const NAMES: [&str; 18] = [
        "message",
        "\\ud800",
        "a",
        "level",
        "timestamp",
        "host",
        "short_message",
        "version",
        "id",
        "x_int",
        "x_num",
        "x_bool",
        "x_date",
        "x_ip",
        "x_geolocation",
        "source",
        "10.0.0.1",
        "X-OVH-TOKEN",
    ];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut fields = vec![format!("\"seq\":{number}")];
    for name in NAMES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 {
            fields.push(format!("\"{name}\":{}", VALUES[(state >> 40) as usize % VALUES.len()]));
        }
    }
    format!("{{{}}}\n", fields.join(","))
}

const TOKEN: &str = "0f3a6c1e-7f1b-4a51-9c41-3b8f6b0f2d11";

/// The preset with its token in a variable, by this protocol.
fn ovh(address: std::net::SocketAddr, certificates: &Certificates, protocol: &str) -> Result<Host> {
    let ca = certificates.path("ca.pem");
    let output = format!(
        "{{ovh: {{address: '{address}', protocol: {protocol}, tokens: {{prod: {{env: LDP}}, dev: {{env: NONE}}}}, tls: {{ca: '{ca}'}}}}}}"
    );
    Host::start_with(&output, &[("LDP", TOKEN)])
}

/// The secret is in records and nowhere else.
fn not_shown(host: &Host) -> Result<()> {
    ensure!(!host.agent.output().contains(TOKEN), "the token is in the log");
    ensure!(!host.agent.status()?.to_string().contains(TOKEN), "the token is in the status");
    let status = fs::read_to_string(format!("/proc/{}/cmdline", host.agent.pid()))?;
    ensure!(!status.contains(TOKEN), "the token is in the list of processes");
    Ok(())
}

#[test]
fn no_line_is_so_odd_that_ovhs_platform_drops_it_over_gelf() -> Result<()> {
    let certificates = Certificates::make()?;
    let flowgger = Flowgger::start(&certificates, Input::Gelf)?;
    let host = ovh(flowgger.address(), &certificates, "gelf")?;
    host.write(&(0..5000).map(odd_line).collect::<String>())?;
    host.write(&format!("{}\n\u{1}\u{7f}no JSON\n", "ä".repeat(50_000)))?;
    let records = flowgger.wait_for_records(5002, SOON).with_context(|| flowgger.complaints())?;
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["_seq_long"].as_u64()).collect();
    ensure!(numbers == (0..5000).collect::<Vec<u64>>(), "not complete and in order");
    for record in &records {
        ensure!(record["_X-OVH-TOKEN"] == TOKEN && record["host"] == "testhost", "{record:#}");
        for (name, value) in record.as_object().context("no object")? {
            ensure!(value.is_string() || value.is_number(), "{name} is no text and no number: {record:#}");
            ensure!(!name.trim_start_matches('_').contains('.'), "{name} has a dot");
            let typed = name.ends_with("_int") || name.ends_with("_long");
            let whole = value.is_i64() || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok());
            ensure!(!typed || whole, "{name} is no whole number: {value}");
            ensure!(!name.ends_with("_bool") || value == "true" || value == "false", "{name} is no boolean: {value}");
        }
    }
    let clipped = &records[5000];
    let length = clipped["short_message"].as_str().unwrap_or_default().chars().count();
    ensure!(length == 32_768 && clipped["_cut_bool"] == "true", "{length} characters");
    not_shown(&host)
}

#[test]
fn ovhs_platform_takes_every_line_over_syslog_too() -> Result<()> {
    let certificates = Certificates::make()?;
    let flowgger = Flowgger::start(&certificates, Input::Syslog)?;
    let host = ovh(flowgger.address(), &certificates, "syslog")?;
    host.write(&(0..2000).map(odd_line).collect::<String>())?;
    host.write("no \"JSON\" ]\\ \u{feff}\n")?;
    let records = flowgger.wait_for_records(2001, SOON).with_context(|| flowgger.complaints())?;
    for (number, record) in (0..2000).zip(&records) {
        ensure!(record["_X-OVH-TOKEN"] == TOKEN && record["host"] == "testhost", "{record:#}");
        ensure!(record["short_message"] == odd_line(number).trim_end(), "{record:#}");
    }
    not_shown(&host)
}

#[test]
fn ovhs_platform_takes_every_line_over_ltsv_too() -> Result<()> {
    let certificates = Certificates::make()?;
    let flowgger = Flowgger::start(&certificates, Input::Ltsv)?;
    let host = ovh(flowgger.address(), &certificates, "ltsv")?;
    host.write(&(0..2000).map(odd_line).collect::<String>())?;
    host.write("no\tJSON: x\n")?;
    let records = flowgger.wait_for_records(2001, SOON).with_context(|| flowgger.complaints())?;
    let numbers: Vec<&str> = records.iter().filter_map(|record| record["_seq_long"].as_str()).collect();
    ensure!(numbers == (0..2000).map(|number| number.to_string()).collect::<Vec<_>>(), "not complete and in order");
    for record in &records {
        ensure!(record["_X-OVH-TOKEN"] == TOKEN && record["host"] == "testhost", "{record:#}");
    }
    ensure!(records[2000]["short_message"] == "no\\tJSON: x", "{:#}", records[2000]);
    not_shown(&host)
}

#[test]
fn ovhs_platform_gets_flat_events_with_the_token_over_lumberjack_and_a_missing_token_is_named() -> Result<()> {
    let certificates = Certificates::make()?;
    let server = LumberjackServer::start_tls(&certificates)?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("token");
    let host = Host::start(&format!(
        "{{ovh: {{address: '{}', token: {{file: '{}'}}, tls: {{ca: '{}'}}}}}}",
        server.address(),
        secret.display(),
        certificates.path("ca.pem")
    ))?;
    host.write(&(0..1000).map(odd_line).collect::<String>())?;
    host.wait_why(&format!("cannot read the secret in {}", secret.display()))?;
    fs::write(&secret, format!("{TOKEN}\n"))?;
    let events = server.wait_for_events(1000, SOON)?;
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq_long"].as_u64()).collect();
    ensure!(numbers == (0..1000).collect::<Vec<u64>>(), "not complete and in order");
    for event in &events {
        ensure!(event["X-OVH-TOKEN"] == TOKEN && event["host"] == "testhost", "{event:#}");
        let flat = event.as_object().context("no object")?.iter().filter(|(name, _)| *name != "@metadata");
        for (name, value) in flat {
            ensure!(value.is_string() || value.is_number(), "{name} is no text and no number: {event:#}");
        }
    }
    not_shown(&host)
}
