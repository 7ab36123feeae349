use super::run::SOCKET_NAME;
use super::table::{Answer, Request};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// Where the process is that systemd runs.
const SERVICE: &str = "/run/hostwright-ports";
/// The process answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a process that was just started may take to be there.
const START: Duration = Duration::from_secs(5);

/// The folder and socket of the process for an agent with this runtime folder.
pub fn socket(runtime: &Path) -> PathBuf {
    let service = Path::new(SERVICE);
    if runtime == Path::new(crate::runtime_folder::RUNTIME_DIRECTORY) && service.is_dir() {
        return service.join(SOCKET_NAME);
    }
    runtime.join(SOCKET_NAME)
}

/// Talks to the process that holds the ports, and starts it where systemd does not.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Client {
    pub fn new(path: PathBuf) -> Self {
        Self { path, stream: None }
    }

    /// Whether there was one.
    pub fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Asks it.
    ///
    /// # Errors
    /// It does not answer, and cannot be started.
    pub async fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        // A connection that was kept may be of a process that is gone.
        if self.stream.is_some()
            && let Ok(answer) = self.exchange(request).await
        {
            return Ok(answer);
        }
        self.stream = None;
        self.connect().await?;
        self.exchange(request).await.inspect_err(|_| self.stream = None)
    }

    async fn exchange(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let Some(stream) = &mut self.stream else { bail!("not connected") };
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        let exchange = async {
            stream.get_mut().write_all(text.as_bytes()).await?;
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            Ok::<_, std::io::Error>(line)
        };
        let line = tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")??;
        serde_json::from_str(&line).context("its answer cannot be understood")
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        if let Ok(stream) = UnixStream::connect(&self.path).await {
            self.stream = Some(BufReader::new(stream));
            return Ok(());
        }
        if self.path.starts_with(SERVICE) {
            bail!("hostwright-ports does not answer; see systemctl status hostwright-ports");
        }
        self.start()?;
        let deadline = tokio::time::Instant::now() + START;
        loop {
            match UnixStream::connect(&self.path).await {
                Ok(stream) => {
                    self.stream = Some(BufReader::new(stream));
                    return Ok(());
                }
                Err(error) if tokio::time::Instant::now() > deadline => {
                    return Err(error).context("the process that holds ports was started and does not answer");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Outside systemd: a process group of its own, so that it outlives whatever ends this one.
    fn start(&self) -> anyhow::Result<()> {
        let folder = self.path.parent().context("the socket has no folder")?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = tokio::process::Command::new(program);
        command.arg("ports").arg("--folder").arg(folder).stdin(Stdio::null()).process_group(0);
        command.env_remove("NOTIFY_SOCKET");
        command.spawn().context("cannot start the process that holds ports")?;
        Ok(())
    }
}
