use super::discovery::Discovery;
use super::push::watch::Watch;
use super::scraper::Report;
use super::serve::Web;
use anyhow::bail;
use hostwright_duty::supervisor::Reporter;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The status follows the scrapes, but no faster than anyone reads it.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// What the duty's status is made of.
pub struct Told {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Who may ask, and over what.
    pub web: Arc<Web>,
    /// How the scrapes go.
    pub reports: watch::Receiver<Option<Report>>,
    /// How it goes with those that samples are sent to.
    pub receivers: Watch,
    /// How a Prometheus finds this host.
    pub discovery: Arc<Discovery>,
}

impl Told {
    /// Keeps the status up to date until told to stop.
    ///
    /// # Errors
    /// Sampling ended.
    pub async fn tell(mut self, status: &Reporter, stop: &CancellationToken) -> anyhow::Result<()> {
        let (mut web, mut discovery) = (self.web.trouble(), self.discovery.trouble());
        let mut troubled = String::new();
        loop {
            let report = self.reports.borrow_and_update().clone();
            if let Some(report) = report {
                let collectors = troubles_of(&report);
                let web = web.borrow_and_update().clone();
                let others = discovery.borrow_and_update().iter().cloned().chain(self.receivers.troubles()).collect();
                let all = all_troubles(&collectors, web, others);
                match all.is_empty() {
                    true => status.ok(self.summary()),
                    false => status.degraded(format!("{}, but {all}", self.summary())),
                }
                if collectors != troubled && !collectors.is_empty() {
                    log::warn!("metrics: these collectors have trouble: {collectors}");
                }
                troubled = collectors;
                status.details(self.details(&report));
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // All are cancel-safe: a change that is not taken is seen by the next call.
                changed = self.reports.changed() => if changed.is_err() {
                    bail!("the thread that samples ended, which is a defect of this program");
                },
                Ok(()) = web.changed() => {}
                Ok(()) = discovery.changed() => {}
                () = self.receivers.changed() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(STATUS_PAUSE) => {}
            }
        }
    }

    fn summary(&self) -> String {
        let addresses = self.listen().join(", ");
        if self.web.has_tls() { format!("listens on {addresses} (TLS)") } else { format!("listens on {addresses}") }
    }

    fn listen(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// Where it listens, and how the last scrape went; the one at the start is not counted.
    fn details(&self, report: &Report) -> serde_json::Value {
        let scrapes = report.scrapes - 1;
        let mut details = json!({"listen": self.listen(), "tls": self.web.has_tls(), "scrapes": scrapes});
        if scrapes > 0 {
            details["last_scrape"] = report.at.to_string().into();
            details["last_scrape_seconds"] = report.took.as_secs_f64().into();
            details["last_scrape_bytes"] = report.bytes.into();
        }
        if let Some(receivers) = self.receivers.details() {
            details["remote_write"] = receivers;
        }
        details["snippets"] = self.discovery.snippets();
        details
    }
}

fn troubles_of(report: &Report) -> String {
    report.troubles.iter().map(|(collector, why)| format!("{collector} ({why})")).collect::<Vec<_>>().join(", ")
}

fn all_troubles(collectors: &str, web: Option<String>, others: Vec<String>) -> String {
    let collectors = (!collectors.is_empty()).then(|| format!("these collectors have trouble: {collectors}"));
    let web = web.map(|why| format!("what was read before goes on: {why}"));
    collectors.into_iter().chain(web).chain(others).collect::<Vec<_>>().join("; ")
}
