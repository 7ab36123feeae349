//! QEMU's control socket (QMP). QEMU serves one client at a time, so every connection is short.

use super::file;
use super::forward::{Forward, parse_usernet};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// QEMU answers at once, unless its main loop hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// No answer that is used here comes near this.
const ANSWER_LIMIT: u64 = 1 << 20;

/// A connection.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to the QEMU of the instance whose folder this is.
    ///
    /// # Errors
    /// It does not run or does not answer.
    pub fn connect(folder: &Path) -> anyhow::Result<Self> {
        let socket = folder.join(file::QMP);
        // A socket's address holds 107 bytes; through the open folder every path is short enough.
        let open = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        let address = format!("/proc/self/fd/{}/{}", open.as_raw_fd(), file::QMP);
        let connect = || {
            let stream = UnixStream::connect(address)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connect().with_context(|| format!("QEMU does not answer at {}", socket.display()))?;
        let mut qmp = Self { stream: BufReader::new(stream) };
        qmp.read()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// What the VM does: `running`, `paused`, `internal-error`, …
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn status(&mut self) -> anyhow::Result<String> {
        let answer = self.execute("query-status", &json!({}))?;
        Ok(answer["status"].as_str().unwrap_or("unknown").to_owned())
    }

    /// Presses the VM's power button.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn power_down(&mut self) -> anyhow::Result<()> {
        self.execute("system_powerdown", &json!({})).map(drop)
    }

    /// The ports that lead into the VM, those that QEMU chose among them.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn forwards(&mut self) -> anyhow::Result<Vec<Forward>> {
        let answer = self.execute("human-monitor-command", &json!({"command-line": "info usernet"}))?;
        Ok(parse_usernet(answer.as_str().unwrap_or_default()))
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> anyhow::Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).context("QEMU does not listen")?;
        loop {
            // Events come in between whenever they happen.
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {}", error["desc"].as_str().unwrap_or("without a reason"));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn read(&mut self) -> anyhow::Result<Value> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(ANSWER_LIMIT).read_until(b'\n', &mut line);
        if read.context("QEMU does not answer")? == 0 {
            bail!("QEMU closed its control socket");
        }
        serde_json::from_slice(&line).context("QEMU's answer is no JSON")
    }
}
