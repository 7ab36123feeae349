use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// So many questions may wait for a pipeline.
const WAITING: usize = 64;
/// How long a pipeline may take to answer another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that a pipeline is asked for.
#[derive(Debug)]
pub(super) enum Ask {
    /// To upload what is at a path of the host, or in it, now.
    Push { path: PathBuf, answer: oneshot::Sender<Vec<Pushed>> },
    /// Whether every product in a folder of the host is confirmed; if not, what is open.
    Clear { folder: PathBuf, answer: oneshot::Sender<Result<(), String>> },
    /// How a product is.
    State { path: String, answer: oneshot::Sender<State> },
}

/// What came of asking for one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pushed {
    /// The name of the product folder.
    pub(super) product: String,
    /// In that folder.
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) state: State,
}

/// How a product is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum State {
    Waiting {
        key: String,
    },
    Uploading {
        key: String,
    },
    Uploaded {
        key: String,
    },
    Failed {
        why: String,
    },
    /// It cannot be taken as it is.
    Refused {
        why: String,
    },
}

/// The way to all pipelines.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<BTreeMap<String, mpsc::Sender<Ask>>>);

impl Desk {
    /// Of all pipelines.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// One for these, with each one's box.
    pub(super) fn open<'n>(names: impl Iterator<Item = &'n String>) -> (Self, BTreeMap<String, mpsc::Receiver<Ask>>) {
        let (mut senders, mut receivers) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let (sender, receiver) = mpsc::channel(WAITING);
            senders.insert(name.clone(), sender);
            receivers.insert(name.clone(), receiver);
        }
        (Self(Arc::new(senders)), receivers)
    }

    /// Asks a pipeline; nothing if it does not answer.
    pub(super) async fn ask<T>(&self, name: &str, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.get(name)?.try_send(ask(answer)).ok()?;
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }

    /// Why a product of `folder` has to wait for products of others, if it has.
    pub(super) async fn in_front(&self, names: &[String], folder: &Path) -> Option<String> {
        for name in names {
            match self.ask(name, |answer| Ask::Clear { folder: folder.to_owned(), answer }).await {
                Some(Ok(())) => {}
                Some(Err(why)) => return Some(format!("it waits for {name}: {why}")),
                None => return Some(format!("it waits for {name}, which does not answer")),
            }
        }
        None
    }
}
