//! rsyslog, which writes down what it receives over TCP or TLS.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::port::Port;
use crate::server::Server;
use crate::wait::eventually;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A log receiver for RFC 5424 over TCP, in either framing of RFC 6587. Its port and its files outlive `stop`.
#[derive(Debug)]
pub struct Rsyslog {
    server: Option<Server>,
    port: Port,
    folder: TempDir,
}

impl Rsyslog {
    pub fn start() -> Result<Self> {
        Self::launch("", "")
    }

    /// With TLS (RFC 5425). `client` says whether clients have to show a certificate of the same authority.
    pub fn start_tls(certificates: &Certificates, client: bool) -> Result<Self> {
        let files = format!(
            "defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\"",
            certificates.path("ca.pem"),
            certificates.path("server.pem"),
            certificates.path("server.key"),
        );
        let authentication = if client { "x509/certvalid" } else { "anon" };
        let driver =
            format!(r#"streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="{authentication}""#);
        Self::launch(&files, &driver)
    }

    fn launch(files: &str, driver: &str) -> Result<Self> {
        let mut rsyslog = Self { server: None, port: Port::reserve()?, folder: tempfile::tempdir()? };
        let raw = rsyslog.raw_file();
        let messages = rsyslog.path("messages");
        let text = config(rsyslog.address(), rsyslog.folder.path(), &raw, &messages);
        let text = text.replace("@FILES@", files).replace("@DRIVER@", driver);
        fs::write(rsyslog.path("rsyslog.conf"), text)?;
        rsyslog.start_again()?;
        Ok(rsyslog)
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Ends the outage that `stop` began: same port, same files. Nothing happens if it runs.
    pub fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(self.path("rsyslog.conf")).arg("-i").arg(self.path("rsyslogd.pid"));
        let mut server = Server::start(&command, &self.path("rsyslogd.log"))?;
        let address = self.address();
        let listening = || TcpStream::connect(address).with_context(|| format!("connecting to {address}"));
        server.wait_until("rsyslogd listens", START_TIMEOUT, listening)?;
        self.server = Some(server);
        Ok(())
    }

    /// Begins an outage: the process ends, connections break, the port refuses.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.stop())
    }

    /// Each message whole, header included, in the order of arrival.
    pub fn lines(&self) -> Result<Vec<String>> {
        read_lines(&self.raw_file())
    }

    /// The MSG part alone of each message: what the source's line was.
    pub fn messages(&self) -> Result<Vec<String>> {
        read_lines(&self.path("messages"))
    }

    /// Waits until at least `count` messages have arrived; all that have.
    pub fn wait_for_messages(&self, count: usize, timeout: Duration) -> Result<Vec<String>> {
        eventually(&format!("{count} messages at rsyslog"), timeout, || {
            let messages = self.messages()?;
            if messages.len() >= count { Ok(messages) } else { anyhow::bail!("{} have arrived", messages.len()) }
        })
    }

    /// The file behind `lines`.
    pub fn raw_file(&self) -> PathBuf {
        self.path("raw")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Bytes are kept as they came: no escapes, no DNS, one line per message. What it has read it writes before it ends: on
/// a busy machine its defaults throw away what waits in its queue, which nobody but itself could tell of.
fn config(address: SocketAddr, folder: &Path, raw: &Path, messages: &Path) -> String {
    format!(
        r#"global(
  workDirectory="{folder}" maxMessageSize="1m" net.enableDNS="off"
  parser.escapeControlCharactersOnReceive="off"
  processInternalMessages="on" @FILES@
)
main_queue(queue.timeoutShutdown="30000" queue.timeoutActionCompletion="30000" queue.timeoutEnqueue="30000")
module(load="imtcp" @DRIVER@)
template(name="raw" type="string" string="%rawmsg%\n")
template(name="message" type="string" string="%msg%\n")
ruleset(name="received") {{
  action(type="omfile" file="{raw}" template="raw")
  action(type="omfile" file="{messages}" template="message")
}}
input(type="imtcp" address="{ip}" port="{port}" ruleset="received")
"#,
        folder = folder.display(),
        raw = raw.display(),
        messages = messages.display(),
        ip = address.ip(),
        port = address.port(),
    )
}

/// A file that does not exist yet has no lines.
fn read_lines(file: &Path) -> Result<Vec<String>> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.with_context(|| format!("reading {}", file.display()))?,
    };
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
