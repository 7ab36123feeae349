use super::letter::{Letter, sign};
use bytes::Bytes;
use hostwright_core::config::products::Notice;
use hostwright_core::secret::SecretRef;
use hostwright_duty::http::{Client, Request};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// What a command may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// So much of what a command complains is shown.
const SHOWN: usize = 300;
/// And so much is read, in bytes.
const LISTENED_TO: u64 = 64 << 10;

/// Tells products to whom they are to be told.
#[derive(Debug)]
pub(super) struct Notifier {
    webhook: Option<(Client, SecretRef)>,
    log: Option<PathBuf>,
    command: Option<Vec<String>>,
}

/// The names of those who are told.
pub(super) fn names(notice: &Notice) -> Vec<String> {
    let names =
        [("webhook", notice.webhook.is_some()), ("log", notice.log.is_some()), ("command", notice.command.is_some())];
    names.into_iter().filter(|(_, is_told)| *is_told).map(|(name, _)| name.to_owned()).collect()
}

impl Notifier {
    pub(super) fn new(notice: &Notice) -> Self {
        let webhook = notice.webhook.as_ref();
        Self {
            webhook: webhook.map(|webhook| (Client::new(&webhook.endpoint, String::new()), webhook.secret.clone())),
            log: notice.log.clone(),
            command: notice.command.clone(),
        }
    }

    /// Tells one of them.
    ///
    /// # Errors
    /// A sentence: it was not taken.
    pub(super) async fn tell(&mut self, name: &str, letter: &Letter) -> Result<(), String> {
        match (name, &mut self.webhook, &self.log, &self.command) {
            ("webhook", Some((client, secret)), ..) => post(client, secret, letter).await,
            ("log", _, Some(path), _) => write_line(path, letter).await,
            ("command", .., Some(command)) => run(command, letter).await,
            // It was to be told before the configuration changed.
            _ => Ok(()),
        }
    }
}

/// Signed as <https://www.standardwebhooks.com> has it: libraries in many languages check that.
async fn post(client: &mut Client, secret: &SecretRef, letter: &Letter) -> Result<(), String> {
    let body = serde_json::to_string(&letter.manifest).map_err(|error| error.to_string())?;
    let secret = secret.resolve().map_err(|error| format!("the webhook's secret: {error}"))?;
    let timestamp = Timestamp::now().as_second().to_string();
    let signature = sign(secret.expose(), [&letter.id, &timestamp, &body])?;
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("webhook-id", &letter.id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
    {
        let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let request = Request { content_type: "application/json", headers, body: Bytes::from(body) };
    let answer = client.post(request).await.map_err(|none| none.why)?;
    if answer.status.is_success() {
        return Ok(());
    }
    client.read_again();
    Err(client.said(&answer))
}

/// One line of JSON at the end of a file.
async fn write_line(path: &Path, letter: &Letter) -> Result<(), String> {
    let mut line = serde_json::to_vec(&letter.manifest).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let owned = path.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(owned)?;
        file.write_all(&line)?;
        file.sync_data()
    });
    let written = written.await.map_err(|error| error.to_string())?;
    written.map_err(|error| format!("a line cannot be written to {}: {error}", path.display()))
}

async fn run(command: &[String], letter: &Letter) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let failed = |why: String| format!("the command {program} {why}");
    let manifest = serde_json::to_vec(&letter.manifest).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("HOSTWRIGHT_NOTICE_ID", &letter.id)
        .env("HOSTWRIGHT_KEY", &letter.manifest.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut complaint = Vec::new();
    let whole = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // One that does not read it ends well all the same.
                let _ = stdin.write_all(&manifest).await;
            }
        };
        let listen = async {
            if let Some(stderr) = stderr {
                let _ = stderr.take(LISTENED_TO).read_to_end(&mut complaint).await;
            }
        };
        tokio::join!(feed, listen, child.wait()).2
    };
    match tokio::time::timeout(PATIENCE, whole).await {
        Err(_) => Err(failed(format!("did not end within {} s and was killed", PATIENCE.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("cannot be waited for: {error}"))),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let text: String = String::from_utf8_lossy(&complaint).trim().chars().take(SHOWN).collect();
            Err(failed(format!("ended with {status}: {text}")))
        }
    }
}
