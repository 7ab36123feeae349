//! What operators ask of a running duty: an order goes in, its answer comes back.
//!
//! The supervisor knows who takes orders, the API hands them in, and a duty takes them out of its [`Orders`]. One that
//! is restarted meanwhile takes them after the restart.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

/// So many orders may wait for a duty.
const WAITING: usize = 8;
/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that an operator asks a duty for.
#[derive(Debug)]
pub struct Order {
    /// What is to be done, such as `resend`.
    pub verb: String,
    /// With what.
    pub arguments: Value,
    answer: oneshot::Sender<Result<Value, String>>,
}

impl Order {
    /// Answers it: with what came of it, or with a sentence that says why nothing did.
    pub fn answer(self, answer: Result<Value, String>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(answer);
    }
}

/// The orders of one duty.
#[derive(Clone, Debug)]
pub struct Orders(Arc<Mutex<mpsc::Receiver<Order>>>);

impl Orders {
    /// The next order; waits for ever when there is none. Cancel-safe.
    pub async fn next(&self) -> Order {
        let next = self.0.lock().await.recv().await;
        match next {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}

/// Where orders are handed in.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<RwLock<BTreeMap<&'static str, mpsc::Sender<Order>>>>);

/// Why an order came to nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// No such duty runs.
    #[error("there is no duty {0:?} here")]
    NoDuty(String),
    /// It takes no orders, or is busy with others.
    #[error("the duty {0} does not answer; see `hostwright-agent status`")]
    Silent(String),
    /// It says no.
    #[error("{0}")]
    Refused(String),
}

impl Desk {
    /// Opens a duty's box, in place of an earlier one of its name.
    pub fn open(&self, duty: &'static str) -> Orders {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(duty, sender);
        Orders(Arc::new(Mutex::new(receiver)))
    }

    /// Closes it: the duty runs no more.
    pub fn close(&self, duty: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(duty);
    }

    /// Hands an order in and waits for its answer.
    ///
    /// # Errors
    /// There is no such duty, it does not answer, or says why not.
    pub async fn order(&self, duty: &str, verb: &str, arguments: Value) -> Result<Value, Unanswered> {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner).get(duty).cloned();
        let sender = sender.ok_or_else(|| Unanswered::NoDuty(duty.to_owned()))?;
        let (answer, answered) = oneshot::channel();
        let silent = || Unanswered::Silent(duty.to_owned());
        sender.try_send(Order { verb: verb.to_owned(), arguments, answer }).map_err(|_| silent())?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer.map_err(Unanswered::Refused),
            _ => Err(silent()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Desk, Unanswered};
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn an_order_is_answered_refused_or_reported_as_unanswered() {
        let desk = Desk::default();
        let orders = desk.open("logs");
        let duty = tokio::spawn(async move {
            loop {
                let order = orders.next().await;
                match order.verb.as_str() {
                    "add" => {
                        let sum = order.arguments["a"].as_u64().map(|a| json!(a + 1));
                        order.answer(sum.ok_or_else(|| "a is missing".to_owned()));
                    }
                    _ => std::future::pending().await,
                }
            }
        });
        assert_eq!(desk.order("logs", "add", json!({"a": 1})).await, Ok(json!(2)));
        assert_eq!(desk.order("logs", "add", json!({})).await, Err(Unanswered::Refused("a is missing".into())));
        assert_eq!(desk.order("nobody", "add", json!({})).await, Err(Unanswered::NoDuty("nobody".into())));
        assert_eq!(desk.order("logs", "hang", json!({})).await, Err(Unanswered::Silent("logs".into())));
        duty.abort();
        desk.close("logs");
        assert_eq!(desk.order("logs", "add", json!({})).await, Err(Unanswered::NoDuty("logs".into())));
    }
}
