//! Amazon CloudWatch Logs: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>.
//!
//! In: items. Out: one request or several, each for one log stream and within the limits; what the platform says of
//! single events. Nothing survives.

/// What the platform says of events, and of why there is an error.
mod answer;
/// Items, parted into requests.
mod portions;
/// Signed requests.
mod signed;

use super::batch::Selection;
use super::http::{Answer, again};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use hostwright_core::config::logs::output::cloudwatch::CloudWatch as Settings;
use portions::{Portion, portions};
use serde_json::json;
use signed::Signed;

/// Amazon CloudWatch Logs.
#[derive(Debug)]
pub struct CloudWatch {
    api: Signed,
    settings: Settings,
    origin: Origin,
}

impl CloudWatch {
    pub fn new(settings: &Settings, origin: &Origin) -> Self {
        Self { api: Signed::new(settings), settings: settings.clone(), origin: origin.clone() }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let mut not_taken = Vec::new();
        for portion in portions(items, &self.settings, &self.origin) {
            let start = portion.events.start;
            match self.put(&portion, items).await {
                Ok(rejected) => not_taken.extend(rejected),
                Err(undelivered) if start == 0 => return Err(undelivered),
                Err(undelivered) => return after_some(undelivered, start, items.len(), not_taken),
            }
        }
        Ok(not_taken)
    }

    async fn put(&mut self, portion: &Portion, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let mut is_created = false;
        loop {
            let answer = self.api.call("PutLogEvents", portion.body(items).into()).await?;
            if answer.status.is_success() {
                return Ok(self.rejected(&answer, portion));
            }
            match answer::kind(&answer.body).as_str() {
                // An earlier attempt, of which no answer arrived.
                "DataAlreadyAcceptedException" => return Ok(Vec::new()),
                "ResourceNotFoundException" if self.settings.create && !is_created => {
                    self.create(portion).await?;
                    is_created = true;
                }
                _ => return Err(self.api.undelivered(&answer)),
            }
        }
    }

    async fn create(&mut self, portion: &Portion) -> Result<(), Undelivered> {
        let (group, stream) = (&portion.group, &portion.stream);
        for (action, body) in [
            ("CreateLogGroup", json!({"logGroupName": group})),
            ("CreateLogStream", json!({"logGroupName": group, "logStreamName": stream})),
        ] {
            let answer = self.api.call(action, body.to_string().into()).await?;
            if !answer.status.is_success() && answer::kind(&answer.body) != "ResourceAlreadyExistsException" {
                let why = format!("{action}: {}", self.api.said(&answer));
                return Err(again(format!("{why}; see that the credentials allow logs:{action}"), None));
            }
        }
        Ok(())
    }

    /// The events that the platform names, by their indices in the selection.
    fn rejected(&self, answer: &Answer, portion: &Portion) -> Vec<NotTaken> {
        let rejected = answer::rejected(&answer.body, portion.sorted.len());
        let mut all: Vec<_> = rejected
            .map(|(at, why)| {
                let why = format!("{} rejected it: its time is {why}", self.api.address());
                NotTaken { index: portion.sorted[at], refused: true, why }
            })
            .collect();
        all.sort_by_key(|one| one.index);
        all
    }
}

/// What is to be said when the first `done` items are settled, some of them by not being taken, and others are not.
fn after_some(
    undelivered: Undelivered,
    done: usize,
    count: usize,
    mut not_taken: Vec<NotTaken>,
) -> Result<Vec<NotTaken>, Undelivered> {
    let why = match undelivered {
        Undelivered::Again { why, after, .. } if not_taken.is_empty() => {
            return Err(Undelivered::Again { why, after, taken: done });
        }
        Undelivered::Unanswered { why, .. } if not_taken.is_empty() => {
            return Err(Undelivered::Unanswered { why, taken: done });
        }
        Undelivered::Again { why, .. }
        | Undelivered::Unanswered { why, .. }
        | Undelivered::Forbidden { why, .. }
        | Undelivered::TooLarge(why)
        | Undelivered::Refused(why) => why,
    };
    // Alone they get the answer that is theirs.
    not_taken.extend((done..count).map(|index| NotTaken { index, refused: false, why: why.clone() }));
    Ok(not_taken)
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Batch, Group, Item, Selection};
    use super::{CloudWatch, NotTaken, Undelivered};
    use crate::logs::output::Origin;
    use crate::logs::record::Facts;
    use hostwright_core::config::Config;
    use hostwright_core::config::logs::output::Platform;
    use hostwright_testing::canned::Canned;
    use serde_json::{Value, json};

    async fn platform(answers: &[&str], create: bool) -> (CloudWatch, Canned, tempfile::TempDir) {
        let server = Canned::start(answers.iter().copied()).await;
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "hunter2").expect("written");
        let key = format!("{{file: '{}'}}", file.display());
        let text = format!(
            "logs: {{outputs: {{o: {{cloudwatch: {{region: r, group: g, create: {create}, url: '{}', credentials: {{access_key: {key}, secret_key: {key}}}}}}}}}}}",
            server.url
        );
        let logs = Config::parse(&text, "agent.yaml").expect("valid").logs.expect("present");
        let Platform::CloudWatch(settings) = &logs.outputs["o"].platform else { panic!("not cloudwatch") };
        let origin = Origin { host: "h".into(), labels: [].into() };
        (CloudWatch::new(settings, &origin), server, folder)
    }

    /// Three events of two sources; the second is older than the first.
    fn batch() -> Batch {
        let item =
            |end, ms: i64| Item { is_dated: true, end, time: ms * 1_000_000 + 7, content: 0, offset: 0, length: 0 };
        let facts = |source: &str| Facts { source: source.into(), ..Facts::default() }.into();
        Batch {
            bytes: "a\"ü".into(),
            items: vec![item(1, 2000), item(2, 1000), item(4, 3000)],
            groups: vec![Group { facts: facts("s"), items: 0..2 }, Group { facts: facts("t"), items: 2..3 }],
        }
    }

    async fn delivered(platform: &mut CloudWatch) -> Result<Vec<NotTaken>, Undelivered> {
        platform.deliver(Selection { batch: &batch(), indices: &[0, 1, 2] }).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_signed_and_sorted_and_each_stream_has_its_own() {
        let (mut platform, mut server, _folder) = platform(&["200 OK\r\n\r\n{}", "200 OK\r\n\r\n{}"], false).await;
        assert_eq!(delivered(&mut platform).await, Ok(Vec::new()));
        let first = server.request().await;
        for part in [
            "x-amz-target: logs_20140328.putlogevents\r\n",
            "content-type: application/x-amz-json-1.1\r\n",
            "authorization: aws4-hmac-sha256 credential=hunter2/",
            "/r/logs/aws4_request, signedheaders=",
        ] {
            assert!(first.head.contains(part), "{part}: {}", first.head);
        }
        let body: Value = serde_json::from_slice(&first.body).expect("JSON");
        let events = json!([{"timestamp": 1000, "message": "\""}, {"timestamp": 2000, "message": "a"}]);
        assert_eq!(body, json!({"logGroupName": "g", "logStreamName": "h/s", "logEvents": events}));
        let second: Value = serde_json::from_slice(&server.request().await.body).expect("JSON");
        assert_eq!(second["logStreamName"], "h/t");
        assert_eq!(second["logEvents"], json!([{"timestamp": 3000, "message": "ü"}]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_that_are_rejected_are_named_by_their_places_before_the_sorting() {
        let info = "200 OK\r\n\r\n{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":1}}";
        let new = "200 OK\r\n\r\n{\"rejectedLogEventsInfo\":{\"tooNewLogEventStartIndex\":0}}";
        let (mut platform, _server, _folder) = platform(&[info, new], false).await;
        let found = delivered(&mut platform).await.expect("an answer");
        assert_eq!(found.iter().map(|one| (one.index, one.refused)).collect::<Vec<_>>(), [(1, true), (2, true)]);
        assert!(found[0].why.contains("14 days old") && found[1].why.contains("future"), "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_done_before_trouble_is_not_done_again() {
        let busy = "400 Bad Request\r\n\r\n{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}";
        let (mut one, _server, _folder) = platform(&["200 OK\r\n\r\n{}", busy], false).await;
        let Err(Undelivered::Again { taken, why, .. }) = delivered(&mut one).await else { panic!("not again") };
        assert!(taken == 2 && why.contains("Rate exceeded"), "{taken} {why}");
        let old = "200 OK\r\n\r\n{\"rejectedLogEventsInfo\":{\"expiredLogEventEndIndex\":1}}";
        let (mut two, _server, _folder) = platform(&[old, busy], false).await;
        let found = delivered(&mut two).await.expect("some are settled");
        assert_eq!(found.iter().map(|one| (one.index, one.refused)).collect::<Vec<_>>(), [(1, true), (2, false)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_group_and_a_stream_are_created_if_they_may_be() {
        let missing = "400 Bad Request\r\n\r\n{\"__type\":\"com.amazonaws#ResourceNotFoundException\"}";
        let exists = "400 Bad Request\r\n\r\n{\"__type\":\"ResourceAlreadyExistsException\"}";
        let ok = "200 OK\r\n\r\n{}";
        let (mut may, mut server, _folder) = platform(&[missing, exists, ok, ok, ok], true).await;
        assert_eq!(delivered(&mut may).await, Ok(Vec::new()));
        for action in ["putlogevents", "createloggroup", "createlogstream", "putlogevents", "putlogevents"] {
            let head = server.request().await.head;
            assert!(head.contains(&format!("logs_20140328.{action}\r\n")), "{action}: {head}");
        }
        let (mut may_not, _server, _folder) = platform(&[missing], false).await;
        let Err(Undelivered::Again { why, taken: 0, .. }) = delivered(&mut may_not).await else { panic!("not again") };
        assert!(why.contains("create: true"), "{why}");
    }
}
