use super::forwarder::Forwarder;
use super::table::Request;
use hostwright_core::atomic_file;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// Far more than the table of a host takes.
const LONGEST: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the requests of one connection, each a line.
pub async fn answer(stream: UnixStream, forwarder: Arc<Mutex<Forwarder>>, table: Arc<Path>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        match (&mut read).take(LONGEST).read_line(&mut line).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
        let answer = match serde_json::from_str(&line) {
            Ok(Request::Set { owner, routes }) => {
                let mut forwarder = forwarder.lock().await;
                forwarder.set(owner, routes);
                keep(&forwarder, &table);
                forwarder.answer()
            }
            Ok(Request::Look) => forwarder.lock().await.answer(),
            Err(error) => {
                log::warn!("a request that is none was ignored: {error}");
                return;
            }
        };
        let Ok(mut text) = serde_json::to_string(&answer) else { return };
        text.push('\n');
        if !matches!(tokio::time::timeout(PATIENCE, write.write_all(text.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next process begins with it.
fn keep(forwarder: &Forwarder, table: &Path) {
    let Ok(text) = serde_json::to_vec(forwarder.wanted()) else { return };
    if std::fs::read(table).is_ok_and(|kept| kept == text) {
        return;
    }
    if let Err(error) = atomic_file::replace(table, &text, 0o600) {
        log::warn!("cannot keep the table in {}: {error}", table.display());
    }
}
