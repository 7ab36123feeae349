use super::scraper::{Scraper, Wanted, hung};
use super::serve::{self, Connections, Service};
use hostwright_core::config::metrics::listen::Listen;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The addresses that are listened on, and who samples.
pub struct Served {
    pub listeners: Vec<std::net::TcpListener>,
    /// Whether they are this program's own.
    pub wanted: Listen,
    pub scraper: Arc<Scraper>,
}

impl Served {
    /// Answers until told to stop. When the thread that does hangs, another one goes on: who waits is told so, and all
    /// connections come anew.
    ///
    /// # Errors
    /// The sampling thread ended, or the system gives no other one.
    pub async fn serve(self, service: Arc<Service>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut given_up = self.sample_first(&stop).await?;
        loop {
            let (all, round) = (Arc::<Connections>::default(), stop.child_token());
            let mut servers = self.start(&service, &all, &round)?;
            let stage = tokio::select! {
                () = ended(&mut servers) => break,
                stage = self.scraper.hung() => stage?,
            };
            given_up = true;
            servers.detach_all();
            if stop.is_cancelled() {
                self.scraper.give_up(stage);
                break;
            }
            self.replace(stage)?;
            round.cancel();
            all.cut_off(&hung(stage));
        }
        if given_up {
            serve::close(&self.wanted, &self.listeners);
        }
        Ok(())
    }

    /// The first sample opens the files; its failures are known before anyone asks. Returns whether its thread hangs.
    async fn sample_first(&self, stop: &CancellationToken) -> anyhow::Result<bool> {
        let stage = tokio::select! {
            // Why there is none is told to those who ask.
            _ = self.scraper.scrape(Wanted::default()) => return Ok(false),
            () = stop.cancelled() => return Ok(false),
            stage = self.scraper.hung() => stage?,
        };
        self.replace(stage)?;
        Ok(true)
    }

    fn replace(&self, stage: &'static str) -> anyhow::Result<()> {
        log::warn!("metrics: {}", hung(stage));
        self.scraper.replace(stage)
    }

    /// Serves on every address.
    fn start(
        &self,
        service: &Arc<Service>,
        all: &Arc<Connections>,
        stop: &CancellationToken,
    ) -> io::Result<JoinSet<()>> {
        let runtime = self.scraper.runtime();
        let mut servers = JoinSet::new();
        for listener in &self.listeners {
            let listener = listener.try_clone()?;
            let (service, all, stop) = (service.clone(), all.clone(), stop.clone());
            let serve = async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve::serve(listener, service, all, stop).await,
                    Err(error) => {
                        log::error!("metrics: cannot wait for connections: {error}; see the limit of open files");
                    }
                }
            };
            servers.spawn_on(serve, &runtime);
        }
        Ok(servers)
    }
}

/// When all of them have.
async fn ended(servers: &mut JoinSet<()>) {
    while servers.join_next().await.is_some() {}
}
