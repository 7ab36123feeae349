//! How a Prometheus finds this host.
//!
//! In: where the metrics are served, and the host's name and labels. Out: a file for `file_sd_configs` where one is asked
//! for, and for the status the lines of a Prometheus' configuration that find hosts like this one. The file outlives the
//! agent, so that a host whose agent is gone is one that is down, not one that never was.

/// Lines for the configuration of a Prometheus.
mod snippets;
/// Targets in the form of `file_sd_configs`.
mod targets;

use hostwright_core::atomic_file;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::metrics::file_sd::FileSd;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between attempts to write the file.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The port where nothing is listened on: node_exporter's.
const PORT: u16 = 9100;

/// Where the metrics are served, and by whom.
#[derive(Clone, Debug)]
pub struct Place {
    pub addresses: Vec<SocketAddr>,
    pub path: String,
    pub has_tls: bool,
    pub host_name: String,
    /// The host's.
    pub labels: BTreeMap<String, String>,
}

impl Place {
    /// The address that others best reach this host at: one of its own, else all of them, else what it has.
    fn address(&self) -> Option<&SocketAddr> {
        let of = |wanted: fn(IpAddr) -> bool| self.addresses.iter().find(|address| wanted(address.ip()));
        of(|ip| !ip.is_unspecified() && !ip.is_loopback()).or(of(|ip| ip.is_unspecified())).or(self.addresses.first())
    }

    fn port(&self) -> u16 {
        self.address().map_or(PORT, SocketAddr::port)
    }
}

/// Keeps the file, and tells.
#[derive(Debug)]
pub struct Discovery {
    place: Place,
    file: Option<FileSd>,
    trouble: watch::Sender<Option<String>>,
}

impl Discovery {
    pub fn new(place: Place, file: Option<FileSd>) -> Self {
        Self { place, file, trouble: watch::Sender::new(None) }
    }

    /// Why the file is not as it should be.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Lines for the configuration of a Prometheus, by what they are.
    pub fn snippets(&self) -> serde_json::Value {
        snippets::all(&self.place, self.file.as_ref().map(|file| file.path.as_path()))
    }

    /// Writes the file, however often it takes.
    pub async fn write(&self, stop: &CancellationToken) {
        let Some(file) = &self.file else { return };
        let content = targets::of(&self.place, file);
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        while let Err(error) = block_in_place(|| replace(&file.path, content.as_bytes())) {
            let path = file.path.display();
            let why = format!(
                "cannot write file_sd {path}: {error}; see that the agent may write there (its unit can write to /var, and \
                 not to /etc or /usr) and has space"
            );
            if self.trouble.send_replace(Some(why.clone())).is_none() {
                log::warn!("metrics: {why}");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(backoff.next_delay()) => {}
            }
        }
        self.trouble.send_replace(None);
    }
}

/// A file that is right already is left alone: Prometheus reads it again whenever it is touched.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|known| known == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    atomic_file::remove_unfinished(path)?;
    atomic_file::replace(path, content, 0o644)
}

#[cfg(test)]
mod tests {
    use super::{Discovery, FileSd, Place};
    use hostwright_core::config::values::Labels;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use tokio_util::sync::CancellationToken;

    fn place() -> Place {
        Place {
            addresses: vec!["0.0.0.0:9100".parse().expect("address")],
            path: "/metrics".into(),
            has_tls: false,
            host_name: "h1".into(),
            labels: [("role".to_owned(), "web".to_owned())].into(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_file_is_written_for_everybody_to_read_and_left_alone_when_it_is_right() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("sd/node.json");
        let file = FileSd { path: path.clone(), targets: Vec::new(), labels: Labels::default() };
        let discovery = Discovery::new(place(), Some(file));
        discovery.write(&CancellationToken::new()).await;
        let (first, text) = (path.metadata().expect("there"), std::fs::read_to_string(&path).expect("text"));
        assert_eq!(
            text,
            "[\n  {\n    \"targets\": [\n      \"h1:9100\"\n    ],\n    \"labels\": {\n      \"role\": \"web\"\n    }\n  }\n]\n"
        );
        assert_eq!(first.permissions().mode() & 0o777, 0o644);
        discovery.write(&CancellationToken::new()).await;
        assert_eq!(path.metadata().expect("there").ino(), first.ino());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_cannot_be_written_is_told_and_tried_again() {
        let path = "/proc/nowhere/node.json";
        let file = FileSd { path: path.into(), targets: Vec::new(), labels: Labels::default() };
        let discovery = Discovery::new(place(), Some(file));
        let (mut trouble, stop) = (discovery.trouble(), CancellationToken::new());
        let (written, told) = tokio::join!(discovery.write(&stop), async {
            let told = trouble.wait_for(Option::is_some).await.expect("told").clone();
            stop.cancel();
            told
        });
        let ((), why) = (written, told.expect("trouble"));
        assert!(why.starts_with("cannot write file_sd /proc/nowhere/node.json: "), "{why}");
    }
}
