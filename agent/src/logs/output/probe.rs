use super::Origin;
use super::encode::encoder;
use super::request::batch::{Batch, Group, Item, Selection};
use super::request::courier::Deliver;
use super::request::{self, Undelivered};
use super::stream::Transport;
use crate::logs::record::{Facts, Id, Record, Time};
use bytes::Bytes;
use hostwright_core::config::logs::output::Platform;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long a platform has for its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at the send queue of a stream.
const LOOK: Duration = Duration::from_millis(20);

/// Sends one line to a platform over a connection of its own, and tells what the platform says.
///
/// # Errors
/// It was not taken; the reason is a sentence.
pub async fn probe(platform: &Platform, origin: &Origin, text: &str) -> Result<String, String> {
    let facts = Facts { source: "hostwright".into(), file: "hostwright-agent logs test".into(), ..Facts::default() };
    let now = format!("{:.6}", Timestamp::now());
    let time = Time::Text(&now);
    let id = Id { content: fastrand::u64(1..), offset: 0, check: 0 };
    let record = Record { text, cut: false, object: None, time, severity: None, id };
    let mut platform = platform.clone();
    platform.resolve().map_err(|error| error.to_string())?;
    let platform = &platform;
    let mut bytes = Vec::new();
    encoder(platform, origin, &facts).encode(&record, &mut bytes)?;
    let sent = async {
        if request::answers_each_batch(platform) {
            let (end, time, length) = (bytes.len(), time.nanoseconds(), bytes.len() as u64);
            let item = Item { end, time, is_dated: true, content: 0, offset: 0, length };
            let open = request::Platform::open(platform, (origin, None)).await.map_err(|error| format!("{error:#}"))?;
            deliver(open, bytes, item, facts).await
        } else {
            stream(platform, &bytes).await
        }
    };
    tokio::time::timeout(PATIENCE, sent)
        .await
        .unwrap_or_else(|_| Err(format!("no acknowledgement within {} s", PATIENCE.as_secs())))
}

async fn deliver(mut open: request::Platform, bytes: Vec<u8>, item: Item, facts: Facts) -> Result<String, String> {
    let group = Group { facts: Arc::new(facts), items: 0..1 };
    let batch = Batch { bytes: Bytes::from(bytes), items: vec![item], groups: vec![group] };
    match open.deliver(Selection { batch: &batch, indices: &[0] }).await {
        Ok(not_taken) => match not_taken.into_iter().next() {
            None => Ok("the platform took it".into()),
            Some(one) if one.refused => Err(format!("the platform refuses it: {}", one.why)),
            Some(one) => Err(format!("the platform does not take it now: {}", one.why)),
        },
        Err(
            Undelivered::Again { why, .. }
            | Undelivered::Unanswered { why, .. }
            | Undelivered::TooLarge(why)
            | Undelivered::Refused(why),
        ) => Err(why),
        Err(Undelivered::Forbidden { why, remedy, .. }) => Err(format!("{why}; {remedy}")),
    }
}

async fn stream(platform: &Platform, bytes: &[u8]) -> Result<String, String> {
    let mut transport = Transport::open(platform).await.map_err(|failure| failure.why)?;
    transport.send(bytes).await.map_err(|failure| failure.why)?;
    while transport.settle().map_err(|failure| failure.why)? > 0 {
        tokio::time::sleep(LOOK).await;
    }
    Ok(match transport.acknowledges_unread() {
        true => "the receiver's host has it (this protocol has no answer: whether the platform keeps it, only the platform shows)".into(),
        false => "it is written".into(),
    })
}
