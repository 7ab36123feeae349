use super::report::Report;
use futures_util::future::{pending, select_all};
use tokio::sync::watch::{Receiver, Ref};

/// How it goes with all receivers, for those who tell others.
#[derive(Clone, Debug, Default)]
pub struct Watch(Vec<Receiver<Report>>);

impl Watch {
    pub fn new(receivers: Vec<Receiver<Report>>) -> Self {
        Self(receivers)
    }

    /// Each in the order of the configuration.
    pub fn reports(&self) -> impl Iterator<Item = Ref<'_, Report>> {
        self.0.iter().map(Receiver::borrow)
    }

    /// Sentences, one for each receiver that does not get on.
    pub fn troubles(&self) -> Vec<String> {
        self.reports().filter_map(|report| report.troubles()).collect()
    }

    /// For the status, where there are receivers.
    pub fn details(&self) -> Option<serde_json::Value> {
        (!self.0.is_empty()).then(|| self.reports().map(|report| report.details()).collect())
    }

    /// Waits until something is new of one of them. Cancel-safe: what is not taken is seen by the next call.
    pub async fn changed(&mut self) {
        // One whose sender is gone has nothing new to tell.
        let changed = self.0.iter_mut().map(|receiver| {
            Box::pin(async {
                if receiver.changed().await.is_err() {
                    pending::<()>().await;
                }
            })
        });
        let changed: Vec<_> = changed.collect();
        match changed.is_empty() {
            true => pending().await,
            false => drop(select_all(changed).await),
        }
    }
}
