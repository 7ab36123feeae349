//! Connections that break with bytes unread, at the worst moments: what a receiver's kernel took is sent again, wherever
//! its lines are by then.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Arrived, SOON, line};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use tempfile::TempDir;

/// An application with its log, an agent that ships it, and a receiver that reads when it is told to.
struct Host {
    folder: TempDir,
    listener: TcpListener,
    agent: AgentProcess,
    written: usize,
}

impl Host {
    /// `buffer` is how much the receiver's kernel takes.
    fn start(buffer: usize) -> Result<Self> {
        let (folder, listener) = (tempfile::tempdir()?, TcpListener::bind("127.0.0.1:0")?);
        setsockopt(&listener, sockopt::RcvBuf, &buffer)?;
        let agent = AgentProcess::start(&format!(
            "logs:\n  sources:\n    s: {{files: ['{}'], outputs: [o]}}\n  outputs:\n    o: {{syslog: {{address: '{}', framing: newline}}}}\n",
            folder.path().join("log.json").display(),
            listener.local_addr()?,
        ))?;
        Ok(Self { folder, listener, agent, written: 0 })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&mut self, count: usize) -> Result<()> {
        let text: String = (self.written..self.written + count).map(line).collect();
        self.written += count;
        Ok(File::options().create(true).append(true).open(self.log("log.json"))?.write_all(text.as_bytes())?)
    }

    fn copy_and_truncate(&self) -> Result<()> {
        fs::copy(self.log("log.json"), self.log("log.json.1"))?;
        Ok(File::options().write(true).open(self.log("log.json"))?.set_len(0)?)
    }

    /// Waits until so much is in the receiver's kernel: as much as it takes, or all there is.
    fn wait_sent(&self, connection: &TcpStream, least: usize) -> Result<()> {
        let mut seen = vec![0; least];
        eventually("the receiver's kernel has it", SOON, || {
            let length = connection.peek(&mut seen)?;
            ensure!(length == least, "{length} of {least}");
            Ok(())
        })?;
        Ok(())
    }

    /// Reads what comes until every line is there.
    fn receive(&self) -> Result<Arrived> {
        let (connection, _) = self.listener.accept()?;
        connection.set_read_timeout(Some(SOON))?;
        let (mut reader, mut text, mut received) = (BufReader::new(connection), String::new(), Vec::new());
        loop {
            text.clear();
            let length = reader.read_line(&mut text);
            if !matches!(length, Ok(length) if length > 0) {
                break;
            }
            received.push(text.split_once("] ").context("no message")?.1.to_owned());
            if received.len() >= self.written && Arrived::of(&received)?.missing(self.written).is_empty() {
                break;
            }
        }
        Arrived::of(&received)
    }
}

/// Connects, is sent lines and reads none; the log is copied and truncated, and the connection breaks.
fn reset_after_a_truncation(buffer: usize, lines: usize, sent: usize) -> Result<()> {
    let mut host = Host::start(buffer)?;
    host.write(lines)?;
    let (connection, _) = host.listener.accept()?;
    host.wait_sent(&connection, sent)?;
    host.copy_and_truncate()?;
    host.write(10)?;
    // What was truncated, its copy, and what the log has now.
    let files = |status: &Value| status["duties"]["logs"]["details"]["sources"]["s"]["files"].as_u64();
    host.agent.wait_status("the truncation is noticed", SOON, |status| files(status) == Some(3))?;
    // Unread bytes are left: the kernel resets it.
    drop(connection);
    let arrived = host.receive()?;
    let missing = arrived.missing(host.written);
    ensure!(missing.is_empty(), "lost {} of {}, from {:?} on", missing.len(), host.written, missing.first());
    ensure!(arrived.in_order(), "not in order: {:?} came too early", arrived.misplaced());
    Ok(())
}

#[test]
fn what_was_taken_of_a_truncated_file_is_sent_again_from_its_copy_after_a_reset() -> Result<()> {
    reset_after_a_truncation(3 << 20, 5000, 500_000)
}

#[test]
fn what_was_on_its_way_of_a_truncated_file_is_sent_again_from_its_copy_after_a_reset() -> Result<()> {
    reset_after_a_truncation(256 << 10, 30_000, 100_000)
}

#[test]
fn a_kill_right_after_a_reset_loses_nothing_of_what_the_reset_took() -> Result<()> {
    for round in 0..3 {
        let mut host = Host::start(3 << 20)?;
        host.write(1)?;
        let (connection, _) = host.listener.accept()?;
        // Written all the time, so that positions were stored just now, whenever the connection breaks.
        for _ in 0..2 {
            host.write(200)?;
            let acknowledged = |status: &Value| {
                let source = &status["duties"]["logs"]["details"]["sources"]["s"];
                source["outputs"]["o"]["lines"].as_u64() == Some(host.written as u64)
            };
            host.agent.wait_status("the receiver's kernel has them", SOON, acknowledged)?;
        }
        drop(connection);
        // It has noticed, and goes to send again what it went back over.
        let (connection, _) = host.listener.accept()?;
        host.agent.kill9()?;
        drop(connection);
        host.agent.start_again()?;
        let arrived = host.receive()?;
        let missing = arrived.missing(host.written);
        ensure!(
            missing.is_empty(),
            "round {round}: lost {} of {}, from {:?} on",
            missing.len(),
            host.written,
            missing.first()
        );
    }
    Ok(())
}

/// A firewall on the way to a platform without acknowledgement resets each connection in which it sees a line.
#[test]
fn a_line_for_which_each_connection_is_reset_is_told_until_it_is_taken() -> Result<()> {
    let mut host = Host::start(3 << 20)?;
    host.write(100)?;
    let is_told = |status: &Value| {
        let output = &status["duties"]["logs"]["details"]["outputs"]["o"];
        let why = output["why"].as_str().unwrap_or_default();
        why.contains("log.json, bytes 0 to ") && why.contains("does not stand one of these lines")
    };
    for round in 0..5 {
        let (connection, _) = host.listener.accept()?;
        host.wait_sent(&connection, 5000)?;
        let status = host.agent.status()?;
        // As after each restart of a receiver.
        ensure!(round > 2 || !is_told(&status), "told too early: {status}");
        drop(connection);
    }
    host.agent.wait_status("it is told", SOON, is_told)?;
    let (connection, _) = host.listener.accept()?;
    host.wait_sent(&connection, 5000)?;
    ensure!(is_told(&host.agent.status()?), "a connection that is open now says nothing");
    host.agent.wait_status("it goes on", SOON, |status| !is_told(status))?;
    Ok(())
}
