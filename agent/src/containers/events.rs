use super::engine::Engine;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Tells that something happened to a container of the project; what it was, the next look shows.
#[derive(Debug)]
pub struct Events {
    happened: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Events {
    /// Follows the engine's events. Those since `since` count, so that none falls between two looks.
    pub fn follow(engine: &Engine, project: &str, since: Timestamp) -> Self {
        let happened = Arc::new(Notify::new());
        let (tell, stream) = (happened.clone(), engine.events(project, since));
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while stream.next().await.is_some() {
                tell.notify_one();
            }
            // The engine went away: worth a look too.
            tell.notify_one();
        });
        Self { happened, task }
    }

    /// The next one. Several that come together count as one. Cancel-safe, as `Notify` documents.
    pub async fn next(&self) {
        self.happened.notified().await;
    }

    /// Whether the engine has ended the stream, and so probably itself.
    pub fn have_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}
