use super::Source;
use super::intake::Intake;
use super::journal;
use super::listener;
use super::spool::feed::Feed;
use hostwright_core::config::logs::Logs;
use hostwright_core::config::logs::source::{Kind, Spooled};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between attempts to open a spool.
const REOPEN: Duration = Duration::from_secs(5);
/// What is on its way in at the end has so long.
const FINISH: Duration = Duration::from_secs(1);

/// The tasks that take in what comes from no file: one for each such source.
#[derive(Debug)]
pub struct Intakes {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Intakes {
    pub fn start(settings: &Logs, sources: &[Arc<Source>], state: &Path, stop: CancellationToken) -> Self {
        let mut tasks = JoinSet::new();
        for source in sources {
            let Some((settings, intake)) = settings.sources.get(&source.name).zip(source.intake.clone()) else {
                continue;
            };
            let taking = Taking { source: source.clone(), intake, state: state.to_owned(), stop: stop.clone() };
            tasks.spawn(taking.run(settings.kind.clone()));
        }
        Self { tasks, stop }
    }

    /// Waits until one ends that was not asked to, which is a defect. Cancel-safe.
    pub async fn failed(&mut self) -> anyhow::Error {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(()) if self.stop.is_cancelled() => {}
                Ok(()) => return anyhow::anyhow!("a source ended without being asked to"),
                Err(error) => return error.into(),
            }
        }
        std::future::pending().await
    }

    /// Waits for their end, which was asked for, and no longer than a moment.
    pub async fn finish(mut self) {
        let _ = timeout(FINISH, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

/// One source on its way in.
struct Taking {
    source: Arc<Source>,
    intake: Arc<Intake>,
    state: PathBuf,
    stop: CancellationToken,
}

impl Taking {
    async fn run(self, kind: Kind) {
        let stop = self.stop.clone();
        match kind {
            Kind::Journal(journal) => {
                let Some(feed) = stop.run_until_cancelled(self.open(journal.spooled)).await else { return };
                let taking = async { tokio::join!(journal::run(journal, feed.clone()), feed.keep_synced()) };
                // What is not in the spool yet is still in the journal.
                stop.run_until_cancelled(taking).await;
                feed.sync();
            }
            Kind::Syslog(settings) => {
                let Some(feed) = stop.run_until_cancelled(self.open(settings.spooled)).await else { return };
                tokio::select! {
                    () = listener::run(settings, feed.clone(), stop) => {}
                    () = feed.keep_synced() => {}
                }
                feed.sync();
            }
            Kind::Files(_) | Kind::Containers(_) => stop.cancelled().await,
        }
    }

    async fn open(&self, spooled: Spooled) -> Arc<Feed> {
        loop {
            match Feed::open(&self.state, self.source.clone(), self.intake.clone(), spooled) {
                Ok(feed) => {
                    self.intake.cleared("spool", &self.source.name);
                    return Arc::new(feed);
                }
                Err(error) => {
                    let why = format!("cannot open its spool in {}: {error}", self.state.display());
                    self.intake.hindered("spool", &self.source.name, why);
                }
            }
            sleep(REOPEN).await;
        }
    }
}
