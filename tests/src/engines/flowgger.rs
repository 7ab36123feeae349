//! Flowgger, the receiver behind OVH's Log Data Platform: GELF, syslog and LTSV over TLS.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::port::Port;
use crate::server::Server;
use crate::wait::eventually;

const VERSION: &str = "0.3.3";
const FEATURES: &str = "tls,gelf,ltsv,syslog,file";
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What Flowgger takes, and how it finds where a message ends.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// GELF messages with a NUL byte after each.
    Gelf,
    /// RFC 5424 messages with a newline after each.
    Syslog,
    /// LTSV lines.
    Ltsv,
}

/// A receiver that drops what it does not like, with no more than a line in its own log.
#[derive(Debug)]
pub struct Flowgger {
    server: Option<Server>,
    port: Port,
    folder: TempDir,
}

impl Flowgger {
    pub fn start(certificates: &Certificates, input: Input) -> Result<Self> {
        let mut flowgger = Self { server: None, port: Port::reserve()?, folder: tempfile::tempdir()? };
        let pem = ["server.pem", "server.key"].map(|name| fs::read_to_string(certificates.path(name)));
        let [certificate, key] = pem;
        fs::write(flowgger.path("flowgger.pem"), certificate? + &key?)?;
        fs::write(flowgger.path("flowgger.toml"), config(flowgger.address(), flowgger.folder.path(), input))?;
        flowgger.start_again()?;
        Ok(flowgger)
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Ends the outage that `stop` began: same port, same files.
    pub fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut command = Command::new(binary()?);
        command.arg(self.path("flowgger.toml"));
        let mut server = Server::start(&command, &self.path("flowgger.log"))?;
        let address = self.address();
        let listening = || TcpStream::connect(address).with_context(|| format!("connecting to {address}"));
        server.wait_until("flowgger listens", START_TIMEOUT, listening)?;
        self.server = Some(server);
        Ok(())
    }

    /// Begins an outage: the process dies as it is, with what it had not read.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.kill_group())
    }

    /// The records that it took, in the order in which they arrived, as GELF objects.
    pub fn records(&self) -> Result<Vec<Value>> {
        let text = match fs::read_to_string(self.path("records")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    pub fn wait_for_records(&self, count: usize, timeout: Duration) -> Result<Vec<Value>> {
        eventually(&format!("{count} records at flowgger"), timeout, || {
            let records = self.records()?;
            if records.len() >= count {
                Ok(records)
            } else {
                bail!("{} have arrived; {}", records.len(), self.complaints())
            }
        })
    }

    /// What it says of records that it dropped.
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.path("flowgger.log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn config(address: SocketAddr, folder: &Path, input: Input) -> String {
    let (format, framing) = match input {
        Input::Gelf => ("gelf", "nul"),
        Input::Syslog => ("rfc5424", "line"),
        Input::Ltsv => ("ltsv", "line"),
    };
    let folder = folder.display();
    format!(
        "[input]\ntype = \"tls\"\nlisten = \"{address}\"\nformat = \"{format}\"\nframing = \"{framing}\"\ntimeout = 3600\n\
         tls_cert = \"{folder}/flowgger.pem\"\ntls_key = \"{folder}/flowgger.pem\"\ntls_ca_file = \"{folder}/flowgger.pem\"\n\
         tls_verify_peer = false\n\
         [output]\ntype = \"file\"\nfile_path = \"{folder}/records\"\nformat = \"gelf\"\nframing = \"line\"\n"
    )
}

/// Flowgger's program, built once beside the tests' own programs.
fn binary() -> Result<PathBuf> {
    let own = env::current_exe()?;
    // The executable of a test is in `target/release/deps`.
    let target = own.ancestors().nth(3).context("the tests' own folder has no target folder above it")?;
    let root = target.join("engines");
    fs::create_dir_all(&root)?;
    let program = root.join("bin/flowgger");
    // Whoever comes second waits for the first.
    let lock = File::options().create(true).append(true).open(root.join("lock"))?;
    lock.lock()?;
    if !program.exists() {
        let mut install = Command::new("cargo");
        install.args(["install", "flowgger", "--version", VERSION, "--no-default-features", "--features", FEATURES]);
        install.arg("--root").arg(&root).arg("--target-dir").arg(root.join("build"));
        let output = install.output().context("running cargo")?;
        ensure!(output.status.success(), "cargo install flowgger: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(program)
}
