use hostwright_core::config::products::Product;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
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
    /// Whether every product at a path of the host, or in it, is confirmed; if not, what is open.
    Clear { path: PathBuf, answer: oneshot::Sender<Result<(), String>> },
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
        /// For what, where that is not its turn alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        held: Option<String>,
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
pub(super) struct Desk(Arc<BTreeMap<String, Window>>);

/// The way to one.
#[derive(Debug)]
struct Window {
    watch: PathBuf,
    asks: mpsc::Sender<Ask>,
}

impl Desk {
    /// Of all pipelines.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// One for these, with each one's box.
    pub(super) fn open(products: &BTreeMap<String, Product>) -> (Self, BTreeMap<String, mpsc::Receiver<Ask>>) {
        let (mut windows, mut receivers) = (BTreeMap::new(), BTreeMap::new());
        for (name, product) in products {
            let (asks, receiver) = mpsc::channel(WAITING);
            windows.insert(name.clone(), Window { watch: product.watch.clone(), asks });
            receivers.insert(name.clone(), receiver);
        }
        (Self(Arc::new(windows)), receivers)
    }

    /// A path as it is said of a pipeline's folder, where it leads into that: operators reach folders by other ways,
    /// over links or `..`.
    pub(super) async fn as_watched(&self, name: &str, path: &Path) -> PathBuf {
        let Some(Window { watch, .. }) = self.0.get(name) else { return path.to_owned() };
        if path.starts_with(watch) && !path.components().any(|part| part == Component::ParentDir) {
            return path.to_owned();
        }
        let (Ok(real), Ok(watched)) = (real(path).await, tokio::fs::canonicalize(watch).await) else {
            return path.to_owned();
        };
        match real.strip_prefix(&watched) {
            Ok(inner) if inner.as_os_str().is_empty() => watch.clone(),
            Ok(inner) => watch.join(inner),
            Err(_) if watched.starts_with(&real) => watch.clone(),
            Err(_) => real,
        }
    }

    /// Asks a pipeline; nothing if it does not answer.
    pub(super) async fn ask<T>(&self, name: &str, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.get(name)?.asks.try_send(ask(answer)).ok()?;
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }

    /// Why a product in `folder`, or that is it, has to wait for products of others there, if it has.
    pub(super) async fn in_front(&self, names: &[String], folder: &Path) -> Option<String> {
        for name in names {
            match self.ask(name, |answer| Ask::Clear { path: folder.to_owned(), answer }).await {
                Some(Ok(())) => {}
                Some(Err(why)) => return Some(format!("it waits for {name}: {why}")),
                None => return Some(format!("it waits for {name}, which does not answer")),
            }
        }
        None
    }

    /// Whether another product folder than `done` watches a path that it has not uploaded.
    pub(super) async fn is_wanted(&self, done: &str, path: &Path) -> bool {
        let meets = |window: &Window| path.starts_with(&window.watch) || window.watch.starts_with(path);
        for (name, _) in self.0.iter().filter(|(name, window)| *name != done && meets(window)) {
            match self.ask(name, |answer| Ask::Clear { path: path.to_owned(), answer }).await {
                Some(Ok(())) => {}
                Some(Err(why)) => {
                    log::debug!("{} is uploaded, and stays for {name}: {why}", path.display());
                    return true;
                }
                None => return true,
            }
        }
        false
    }
}

/// A path without links in its folders; a link at its end is what it is.
async fn real(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(tokio::fs::canonicalize(folder).await?.join(name)),
        _ => tokio::fs::canonicalize(path).await,
    }
}
