//! Sources that are no files of an application, on the real agent: the systemd journal as the real journalctl reads it,
//! and syslog as the real logger sends it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::docker::Docker;
use hostwright_tests::engines::journal::Journal;
use hostwright_tests::engines::rsyslog::Rsyslog;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);
const IMAGE: &str = "hostwright-logs-test:1";
/// Of containers, for their names.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// An agent with one source, whose output is a file.
struct Host {
    folder: TempDir,
    agent: AgentProcess,
}

impl Host {
    fn new(source: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "host: {{name: testhost}}\nlogs:\n  sources:\n    s: {{{source}, outputs: [archive]}}\n  outputs:\n    archive: {{file: {{path: '{}'}}}}\n",
            folder.path().join("archive.ndjson").display(),
        );
        let agent = AgentProcess::start(&config)?;
        Ok(Self { folder, agent })
    }

    /// The records that have arrived.
    fn records(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.folder.path().join("archive.ndjson")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    fn wait_records(&self, count: usize) -> Result<Vec<Value>> {
        eventually(&format!("{count} records"), SOON, || {
            let records = self.records()?;
            ensure!(records.len() >= count, "{} have arrived: {:?}", records.len(), records.last());
            Ok(records)
        })
        .with_context(|| format!("the agent's output:\n{}", self.agent.output()))
    }

    fn wait_intake(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let status = self.agent.wait_status(what, SOON, |status| wanted(intake(status)))?;
        Ok(intake(&status).clone())
    }
}

fn intake(status: &Value) -> &Value {
    &status["duties"]["logs"]["details"]["sources"]["s"]["intake"]
}

fn numbered(range: std::ops::Range<usize>) -> Vec<Vec<(&'static str, Vec<u8>)>> {
    range
        .map(|number| vec![("MESSAGE", format!("number {number}").into_bytes()), ("PRIORITY", b"5".to_vec())])
        .collect()
}

fn write(journal: &mut Journal, range: std::ops::Range<usize>) -> Result<()> {
    let owned = numbered(range);
    let entries: Vec<Vec<(&str, &[u8])>> =
        owned.iter().map(|fields| fields.iter().map(|(name, value)| (*name, value.as_slice())).collect()).collect();
    journal.write(&entries)
}

/// The numbers of messages such as `number 7`, in the order of arrival.
fn numbers(records: &[Value]) -> Result<Vec<usize>> {
    let number = |record: &Value| record["message"].as_str()?.rsplit(' ').next()?.parse().ok();
    records.iter().map(|record| number(record).with_context(|| format!("no number: {record}"))).collect()
}

fn each_once_in_order(records: &[Value], count: usize) -> Result<()> {
    let numbers = numbers(records)?;
    let misplaced = numbers.iter().enumerate().find(|(place, number)| place != *number);
    ensure!(misplaced.is_none() && numbers.len() == count, "{} records; {misplaced:?}", numbers.len());
    Ok(())
}

fn journal_source(journal: &Journal, more: &str) -> String {
    format!("journal: {{directory: '{}'{more}}}", journal.folder().display())
}

#[test]
fn a_journal_entry_becomes_a_record_with_the_fields_that_operators_know() -> Result<()> {
    let mut journal = Journal::new()?;
    let long = "x".repeat(100_000);
    journal.write(&[
        vec![
            ("MESSAGE", b"Started ssh."),
            ("PRIORITY", b"4"),
            ("SYSLOG_FACILITY", b"3"),
            ("SYSLOG_IDENTIFIER", b"sshd"),
            ("_SYSTEMD_UNIT", b"ssh.service"),
            ("_PID", b"42"),
            ("REQUEST_ID", b"abc"),
        ],
        vec![("MESSAGE", b"\x1b[1mred\xff\nsecond"), ("_TRANSPORT", b"kernel")],
        vec![("MESSAGE", long.as_bytes())],
    ])?;
    let host = Host::new(&journal_source(&journal, ""))?;
    let records = host.wait_records(3)?;
    let mut first = records[0].clone();
    let cursor = first.as_object_mut().and_then(|fields| fields.remove("cursor")).unwrap_or_default();
    ensure!(cursor.as_str().is_some_and(|cursor| cursor.contains("x=")), "{cursor}");
    let expected = json!({
        "host": "testhost", "labels": {}, "source": "s", "file": "journal",
        "time": "2026-11-20T10:00:01.000000Z", "level": 4, "facility": 3, "unit": "ssh.service", "identifier": "sshd",
        "pid": 42, "boot_id": "0123456789abcdef0123456789abcdef", "request_id": "abc", "message": "Started ssh.",
    });
    ensure!(first == expected, "{first}");
    ensure!(records[1]["message"] == "\u{1b}[1mred\u{fffd}\nsecond", "{}", records[1]);
    ensure!(records[1]["transport"] == "kernel", "{}", records[1]);
    ensure!(records[2]["message"].as_str().map(str::len) == Some(100_000), "the long message is whole");
    Ok(())
}

#[test]
fn units_matches_and_priority_choose_entries() -> Result<()> {
    let mut journal = Journal::new()?;
    let entry = |unit: &'static str, priority: &'static str, message: &'static str| {
        vec![
            ("_SYSTEMD_UNIT", unit.as_bytes()),
            ("PRIORITY", priority.as_bytes()),
            ("MESSAGE", message.as_bytes()),
            ("_TRANSPORT", &b"stdout"[..]),
        ]
    };
    journal.write(&[
        entry("a.service", "3", "wanted"),
        entry("a.service", "7", "not severe enough"),
        entry("b.service", "3", "another unit"),
        entry("a.service", "0", "wanted too"),
    ])?;
    let more = ", units: [a.service], matches: _TRANSPORT=stdout, priority: warning";
    let host = Host::new(&journal_source(&journal, more))?;
    let records = host.wait_records(2)?;
    let messages: Vec<_> = records.iter().map(|record| record["message"].clone()).collect();
    ensure!(messages == ["wanted", "wanted too"], "{messages:?}");
    Ok(())
}

#[test]
fn kills_and_a_rotation_of_the_journal_neither_lose_nor_repeat_an_entry() -> Result<()> {
    let mut journal = Journal::new()?;
    write(&mut journal, 0..2000)?;
    let mut host = Host::new(&journal_source(&journal, ""))?;
    for round in 1..=4 {
        eventually("some of it has come in", SOON, || {
            Ok::<_, anyhow::Error>(host.records()?.len() > 1500 * (round - 1))
        })?;
        write(&mut journal, 2000 * round..2000 * round + 1000)?;
        host.agent.kill9()?;
        if round % 2 == 0 {
            journal.rotate();
        }
        write(&mut journal, 2000 * round + 1000..2000 * (round + 1))?;
        host.agent.start_again()?;
    }
    let cursors = eventually("every entry has arrived", SOON, || {
        // An output may repeat a batch after a kill; that the spool has every entry once is asked below.
        let cursors: BTreeSet<_> = host.records()?.iter().map(|record| record["cursor"].to_string()).collect();
        ensure!(cursors.len() >= 10_000, "{} different entries", cursors.len());
        Ok(cursors)
    })?;
    let spooled = host.wait_intake("all is in the spool", |intake| intake["spool_bytes"].as_u64() > Some(0))?;
    ensure!(spooled["gaps"] == 0, "{spooled}");
    let spool = host.agent.state_folder().join("logs/spool/s/0000000001.ndjson");
    let lines = fs::read_to_string(&spool).with_context(|| format!("reading {}", spool.display()))?;
    let in_spool: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    each_once_in_order(&in_spool, 10_000)?;
    ensure!(cursors.len() == 10_000, "{} different entries", cursors.len());
    Ok(())
}

#[test]
fn entries_that_were_vacuumed_before_they_were_read_are_told_of() -> Result<()> {
    let mut journal = Journal::new()?;
    write(&mut journal, 0..10)?;
    let mut host = Host::new(&journal_source(&journal, ""))?;
    host.wait_records(10)?;
    host.agent.terminate()?;
    write(&mut journal, 10..20)?;
    journal.rotate();
    write(&mut journal, 20..30)?;
    journal.vacuum()?;
    host.agent.start_again()?;
    let records = host.wait_records(20)?;
    let expected: Vec<usize> = (0..10).chain(20..30).collect();
    ensure!(numbers(&records)? == expected, "{:?}", numbers(&records)?);
    host.wait_intake("the gap is counted", |intake| intake["gaps"] == 1)?;
    ensure!(host.agent.output().contains("entries between them may be missing"), "{}", host.agent.output());
    // A start at which the entry is still there is no gap.
    host.agent.terminate()?;
    host.agent.start_again()?;
    write(&mut journal, 30..31)?;
    host.wait_records(21)?;
    host.wait_intake("no gap more", |intake| intake["messages"] == 1 && intake["gaps"] == 0)?;
    Ok(())
}

/// Runs a command in a container of its own, and ends the container with the value.
struct Container<'a> {
    docker: &'a Docker,
    name: String,
}

impl<'a> Container<'a> {
    fn run(docker: &'a Docker, options: &[&str], script: &str) -> Result<Self> {
        let name = format!("hostwright-logs-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let begin = ["run", "--detach", "--network=none", "--name", &name];
        docker.docker(&[&begin, options, &[IMAGE, "sh", "-c", script]].concat())?;
        Ok(Self { docker, name })
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.docker.docker(&["rm", "--force", &self.name]);
    }
}

#[test]
fn the_output_of_containers_is_read_through_their_rotation_and_removal() -> Result<()> {
    let docker = Docker::start()?;
    docker.busybox_image(IMAGE)?;
    let root = docker.docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    let host = Host::new(&format!(
        "containers: {{root: '{root}', labels: {{hostwright.test: here}}, names: 'hostwright-logs-*'}}"
    ))?;
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"number $i\"; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.05; done; sleep 1000";
    let label = ["--label", "hostwright.test=here"];
    let compose = ["--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web"];
    let small = ["--log-driver=json-file", "--log-opt", "max-size=40k", "--log-opt", "max-file=3"];
    let meant = Container::run(&docker, &[&label[..], &compose, &small].concat(), script)?;
    let _other = Container::run(&docker, &["--log-driver=json-file"], "echo not meant; sleep 1000")?;
    let unreadable =
        Container::run(&docker, &[&label[..], &["--log-driver=local"]].concat(), "echo unreadable; sleep 1000")?;
    let records = host.wait_records(3000)?;
    each_once_in_order(&records, 3000)?;
    let id = docker.docker(&["inspect", "--format", "{{.Id}}", &meant.name])?;
    for (field, value) in [
        ("container_name", meant.name.as_str()),
        ("container_id", &id),
        ("image_name", IMAGE),
        ("compose_project", "shop"),
        ("compose_service", "web"),
        ("stream", "stdout"),
    ] {
        ensure!(records[0][field] == value, "{field}: {}", records[0]);
    }
    host.agent.wait_status("what cannot be read is told", SOON, |status| {
        let told = format!("container {} logs through the local driver", unreadable.name);
        status["duties"]["logs"]["details"]["sources"]["s"]["problems"].to_string().contains(&told)
    })?;
    let last =
        Container::run(&docker, &[&label[..], &["--log-driver=json-file"]].concat(), "echo number 3000; sleep 1000")?;
    host.wait_records(3001)?;
    drop(last);
    each_once_in_order(&host.records()?, 3001)
}

#[test]
fn a_long_line_of_a_container_that_its_engine_writes_into_several_files_is_one_record() -> Result<()> {
    let docker = Docker::start()?;
    docker.busybox_image(IMAGE)?;
    let root = docker.docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    let host = Host::new(&format!("containers: {{root: '{root}', names: 'hostwright-logs-*'}}"))?;
    // The engine writes parts of 16 KiB, and three of them into a file.
    let script = "x=$(head -c 100000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 40 ]; do echo \"number $i\" >&2; echo \"$i$x\"; i=$((i+1)); sleep 0.1; done; sleep 1000";
    let small = ["--log-driver=json-file", "--log-opt", "max-size=40k", "--log-opt", "max-file=20"];
    let _container = Container::run(&docker, &small, script)?;
    let records = host.wait_records(80)?;
    let of = |stream: &str| -> Vec<_> {
        let records = records.iter().filter(|record| record["stream"] == stream);
        records.filter_map(|record| record["message"].as_str()).map(str::to_owned).collect()
    };
    let long = "x".repeat(100_000);
    let expected: Vec<_> = (0..40).map(|number| format!("{number}{long}")).collect();
    let lengths: Vec<_> = of("stdout").iter().map(String::len).collect();
    ensure!(of("stdout") == expected, "{lengths:?}");
    ensure!(of("stderr") == (0..40).map(|number| format!("number {number}")).collect::<Vec<_>>(), "{:?}", of("stderr"));
    Ok(())
}

/// A connection to the listener, once it is there.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    eventually("it listens", SOON, || Ok::<_, anyhow::Error>(TcpStream::connect(address)?))
}

fn logger(arguments: &[&str]) -> Result<()> {
    let status = Command::new("logger").args(arguments).status().context("starting logger")?;
    ensure!(status.success(), "logger {arguments:?}: {status}");
    Ok(())
}

#[test]
fn what_logger_sends_over_each_transport_and_in_each_form_is_taken_in() -> Result<()> {
    let (port, sockets) = (Port::reserve()?, tempfile::tempdir()?);
    let address = port.address();
    let (datagram, stream) = (sockets.path().join("log"), sockets.path().join("stream"));
    let host = Host::new(&format!(
        "syslog: {{listen: '{address}', unix: '{}', unix_stream: '{}'}}",
        datagram.display(),
        stream.display()
    ))?;
    connect(address)?;
    let (ip, number) = (address.ip().to_string(), address.port().to_string());
    let remote = |more: &[&str]| logger(&[&["-n", &ip, "-P", &number, "-t", "app", "-p", "daemon.err"], more].concat());
    remote(&["-d", "--rfc5424", "udp 5424"])?;
    remote(&["-d", "--rfc3164", "udp 3164"])?;
    remote(&["-T", "--rfc5424", "tcp 5424"])?;
    remote(&["-T", "--rfc3164", "tcp 3164"])?;
    remote(&["-T", "--octet-count", "--rfc5424", "--sd-id", "a@1", "--sd-param", "b=\"c\"", "tcp octets"])?;
    logger(&["-u", &datagram.to_string_lossy(), "-t", "app", "-p", "daemon.err", "--id=42", "unix datagram"])?;
    UnixStream::connect(&stream)?.write_all(b"<27>Nov 20 11:00:00 h app: unix stream")?;
    let records = host.wait_records(7)?;
    let by_message: BTreeMap<_, _> = records.iter().map(|record| (record["message"].as_str(), record)).collect();
    for text in ["udp 5424", "udp 3164", "tcp 5424", "tcp 3164", "tcp octets", "unix datagram", "unix stream"] {
        let record = by_message.get(&Some(text)).with_context(|| format!("no {text} in {records:?}"))?;
        ensure!((record["level"] == 3) & (record["facility"] == 3) & (record["app_name"] == "app"), "{record}");
        ensure!(record["file"] == "syslog" && record["host"] == "testhost", "{record}");
    }
    ensure!(by_message[&Some("tcp octets")]["structured_data"]["a@1"]["b"] == "c", "{records:?}");
    ensure!(by_message[&Some("unix datagram")]["procid"] == "42", "{records:?}");
    let malformed = host.wait_intake("all are counted", |intake| intake["messages"] == 7)?;
    ensure!(malformed["malformed_messages"] == 0, "{malformed}");
    Ok(())
}

#[test]
fn messages_that_were_taken_in_survive_a_kill_of_the_agent() -> Result<()> {
    let port = Port::reserve()?;
    let mut host = Host::new(&format!("syslog: {{listen: '{}', protocols: tcp}}", port.address()))?;
    for round in 0..3 {
        let mut sender = connect(port.address())?;
        let text: String =
            (1000 * round..1000 * (round + 1)).map(|n| format!("<13>1 - - app - - - number {n}\n")).collect();
        sender.write_all(text.as_bytes())?;
        host.wait_intake("they have come in", |intake| intake["messages"] == 1000)?;
        host.agent.kill9()?;
        host.agent.start_again()?;
    }
    let records = eventually("all have arrived", SOON, || {
        let records = host.records()?;
        let different: BTreeSet<_> = numbers(&records)?.into_iter().collect();
        ensure!(different.len() == 3000, "{} of 3000", different.len());
        Ok(records)
    })?;
    eprintln!("{} duplicates", records.len() - 3000);
    Ok(())
}

/// A sender of TCP is held back; one of UDP is not, and what is dropped is counted.
#[test]
fn a_full_spool_holds_streams_back_and_counts_the_datagrams_that_it_drops() -> Result<()> {
    let (port, mut receiver) = (Port::reserve()?, Rsyslog::start()?);
    receiver.stop()?;
    let config = format!(
        "logs:\n  sources:\n    s: {{syslog: {{listen: '{}'}}, spool: 4MiB, line_limit: 8KiB, outputs: [o]}}\n  outputs:\n    o: {{syslog: {{address: '{}'}}}}\n",
        port.address(),
        receiver.address(),
    );
    let agent = AgentProcess::start(&config)?;
    let mut sender = connect(port.address())?;
    let count = 20_000;
    let sending = thread::spawn(move || {
        (0..count).try_for_each(|n| writeln!(sender, "<13>1 - - app - - - {} number {n}", "x".repeat(1000)))
    });
    agent.wait_status("the spool is full, and it is said", SOON, |status| {
        status["duties"]["logs"]["why"].as_str().is_some_and(|_| {
            let used = intake(status)["spool_bytes"].as_u64().unwrap_or(0);
            used > 3 << 20 && status["duties"]["logs"].to_string().contains("source s: the spool is full")
        })
    })?;
    ensure!(!sending.is_finished(), "the sender is not held back");
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let datagram = format!("<13>1 - - app - - - {}", "dropped ".repeat(900));
    // What the stream brought last may leave room for some of them.
    for _ in 0..20 {
        udp.send_to(datagram.as_bytes(), port.address())?;
    }
    agent.wait_status("they are counted", SOON, |status| intake(status)["dropped_messages"].as_u64() >= Some(10))?;
    let used: u64 = fs::read_dir(agent.state_folder().join("logs/spool/s"))?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum::<Result<u64>>()?;
    ensure!(used <= 4 << 20, "{used} bytes");
    receiver.start_again()?;
    sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    let all = eventually("all have arrived", Duration::from_secs(90), || {
        let all: BTreeSet<usize> = receiver.messages()?.iter().filter_map(|text| number_in(text)).collect();
        ensure!(all.len() == count, "{} of {count}", all.len());
        Ok(all)
    })?;
    ensure!(all.last() == Some(&(count - 1)), "{:?}", all.last());
    agent.wait_status("what was shipped is deleted, and nothing hinders it", SOON, |status| {
        intake(status)["spool_bytes"].as_u64() < Some(3 << 20) && status["duties"]["logs"]["state"] == "ok"
    })?;
    Ok(())
}

#[test]
fn datagrams_that_the_kernel_drops_are_counted_too() -> Result<()> {
    let port = Port::reserve()?;
    let host = Host::new(&format!("syslog: {{listen: '{}', protocols: udp}}", port.address()))?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    eventually("it listens", SOON, || {
        sender.send_to(b"<13>hello", port.address())?;
        ensure!(!host.records()?.is_empty(), "nothing has arrived");
        Ok(())
    })?;
    let before = intake(&host.agent.status()?)["messages"].as_u64().context("no count")?;
    let pid = Pid::from_raw(host.agent.pid());
    kill(pid, Signal::SIGSTOP)?;
    let sent: Result<()> = (0..20_000).try_for_each(|n| {
        sender.send_to(format!("<13>{} number {n}", "x".repeat(1000)).as_bytes(), port.address())?;
        Ok(())
    });
    kill(pid, Signal::SIGCONT)?;
    sent?;
    let counted = host.wait_intake("what came and what did not are all", |intake| {
        let (came, dropped) = (intake["messages"].as_u64(), intake["dropped_messages"].as_u64());
        came.zip(dropped).is_some_and(|(came, dropped)| came + dropped >= before + 20_000)
    })?;
    ensure!(counted["dropped_messages"].as_u64() > Some(0), "{counted}");
    Ok(())
}

/// The number at the end of the message in a line that an output made.
fn number_in(line: &str) -> Option<usize> {
    let (_, rest) = line.rsplit_once(" number ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn the_agent_says_when_it_cannot_listen_and_listens_when_it_can() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address: SocketAddr = taken.local_addr()?;
    let host = Host::new(&format!("syslog: {{listen: '{address}', protocols: tcp}}"))?;
    host.agent.wait_status("it says so", SOON, |status| {
        status["duties"]["logs"]["why"]
            .as_str()
            .is_some_and(|why| why.contains(&format!("cannot listen on TCP {address}")))
    })?;
    drop(taken);
    connect(address)?.write_all(b"<13>hello\n")?;
    ensure!(host.wait_records(1)?[0]["message"] == "hello");
    Ok(())
}
