use super::batch::Selection;
use super::http::{Answer, Client, LONGEST_ANSWER, Request, again};
use super::{NotTaken, Undelivered};
use hostwright_core::config::logs::output::bulk;
use memchr::memmem;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

/// Answers begin with `took` and `errors`; a rough bound for how far that is.
const BEGINNING: usize = 1 << 10;
/// Only what tells how each item fared is asked for: with the whole of it, answers are as long as requests.
const ANSWER: &str = "filter_path=errors,items.*.status,items.*.error";

/// Elasticsearch or OpenSearch, by its `_bulk` API: <https://opensearch.org/docs/latest/api-reference/document-apis/bulk/>.
#[derive(Debug)]
pub struct Bulk {
    client: Client,
    ids: bool,
}

impl Bulk {
    pub fn new(settings: &bulk::Bulk) -> Self {
        let pipeline = settings.pipeline.as_ref().map(|name| format!("pipeline={}&", escaped(name)));
        let suffix = format!("/_bulk?{}{ANSWER}", pipeline.unwrap_or_default());
        Self { client: Client::new(&settings.endpoint, suffix), ids: settings.ids }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let answer = self
            .client
            .post(Request {
                content_type: "application/x-ndjson",
                headers: HeaderMap::new(),
                body: items.bytes(),
                items: items.len(),
            })
            .await?;
        if !answer.status.is_success() {
            return Err(self.client.undelivered(&answer));
        }
        if answer.is_cut {
            // What was taken is known by its id when it comes again in smaller portions.
            let address = self.client.address();
            return Err(Undelivered::TooLarge(format!(
                "the answer of {address} is longer than {LONGEST_ANSWER} bytes"
            )));
        }
        self.not_taken(&answer, items.len())
    }

    fn not_taken(&self, answer: &Answer, count: usize) -> Result<Vec<NotTaken>, Undelivered> {
        if all_taken(&answer.body, count) {
            return Ok(Vec::new());
        }
        let strange = || {
            let said = self.client.said(answer);
            again(format!("{said}, which is no answer to a bulk request of {count} items; see that url is right"), None)
        };
        let outcomes: Outcomes = serde_json::from_slice(&answer.body).map_err(|_| strange())?;
        if outcomes.items.is_empty() && !outcomes.errors {
            return Ok(Vec::new());
        }
        if outcomes.items.len() != count {
            return Err(strange());
        }
        let not_taken = outcomes.items.into_iter().enumerate().filter_map(|(index, item)| {
            let outcome = item.create;
            let refused = outcome.refused(self.ids)?;
            Some(NotTaken { index, refused, why: self.client.shown(&outcome.why()) })
        });
        Ok(not_taken.collect())
    }
}

/// Whether the answer says at its beginning that nothing failed, and speaks of so many items (or of none: some
/// platforms do not repeat them). Anything else is looked at more closely.
fn all_taken(body: &[u8], count: usize) -> bool {
    let beginning = &body[..body.len().min(BEGINNING)];
    if !body.starts_with(b"{") || memmem::find(beginning, b"\"errors\":false").is_none() {
        return false;
    }
    memmem::find_iter(body, b"\"status\":").count() == count
}

#[derive(Deserialize)]
struct Outcomes {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "index")]
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    status: u16,
    error: Option<Value>,
}

impl Outcome {
    /// None if the document is there; otherwise whether it never will be.
    fn refused(&self, ids: bool) -> Option<bool> {
        match self.status {
            200..=299 => None,
            0 if self.error.is_none() => None,
            // An earlier attempt brought it.
            409 if ids => None,
            401 | 403 | 404 | 408 | 429 | 500.. => Some(false),
            _ => Some(!self.is_of_the_cluster()),
        }
    }

    /// Some of what is answered with 400 is for the cluster's operator to mend, and no fault of the document.
    fn is_of_the_cluster(&self) -> bool {
        let kind = self.text("type");
        kind == "validation_exception"
            || kind == "illegal_argument_exception" && self.text("reason").starts_with("pipeline with id")
    }

    fn text(&self, name: &str) -> &str {
        self.error.as_ref().and_then(|error| error[name].as_str()).unwrap_or_default()
    }

    fn why(&self) -> String {
        let mut why = format!("status {}", self.status);
        match &self.error {
            Some(Value::String(text)) => why.push_str(&format!(", {text}")),
            Some(error) => {
                why.push_str(&format!(", {}: {}", self.text("type"), self.text("reason")));
                if let Some(cause) = error["caused_by"]["reason"].as_str() {
                    why.push_str(&format!(" ({cause})"));
                }
            }
            None => {}
        }
        why
    }
}

/// A name inside of a query (RFC 3986, 2.1).
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Batch, Item, Selection};
    use super::{Answer, Bulk, NotTaken, Undelivered};
    use crate::http::canned::{Canned, endpoint};
    use hostwright_core::config::logs::output::bulk::{self, Target};
    use reqwest::StatusCode;

    fn bulk(url: &str, ids: bool) -> Bulk {
        let endpoint = endpoint(url);
        let pipeline = Some("a b".to_owned());
        Bulk::new(&bulk::Bulk { endpoint, target: Target::DataStream("logs".into()), pipeline, ids })
    }

    async fn delivered(answer: &str, ids: bool) -> Result<Vec<NotTaken>, Undelivered> {
        let item = |end| Item { end, time: 0, content: 0, offset: 0, length: 1 };
        let batch = Batch { bytes: "abcd".into(), items: (1..=4).map(item).collect(), groups: Vec::new() };
        let mut server = Canned::start([format!("200 OK\r\n\r\n{answer}").as_str()]).await;
        let result = bulk(&server.url, ids).deliver(Selection { batch: &batch, indices: &[0, 2, 3] }).await;
        let seen = server.request().await;
        assert!(seen.head.starts_with("post /_bulk?pipeline=a%20b&filter_path="), "{}", seen.head);
        assert!(seen.head.contains("content-type: application/x-ndjson\r\n"));
        assert_eq!(seen.body, b"acd");
        result
    }

    fn item(status: u16, kind: &str, reason: &str) -> String {
        format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_is_well_when_no_item_failed() {
        let ok = r#"{"create":{"status":201}}"#;
        for answer in [
            format!(r#"{{"errors":false,"items":[{ok},{ok},{ok}]}}"#),
            format!(r#"{{ "took": 3, "errors" : false, "items": [{ok}, {ok}, {ok}] }}"#),
            r#"{"took":1,"errors":false}"#.to_owned(),
            r#"{"took":1,"errors":false,"items":[]}"#.to_owned(),
        ] {
            assert_eq!(delivered(&answer, true).await, Ok(Vec::new()), "{answer}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_item_is_settled_by_its_own_status() {
        let items = [
            item(429, "es_rejected_execution_exception", "busy"),
            item(409, "version_conflict_engine_exception", "already there"),
            r#"{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"[1:9] failed to parse field [n] of type [long]","caused_by":{"type":"x","reason":"For input string: \"a\""}}}}"#.to_owned(),
        ];
        let answer = format!(r#"{{"errors":true,"items":[{}]}}"#, items.join(","));
        let found = delivered(&answer, true).await.expect("an answer");
        assert_eq!(found.iter().map(|one| (one.index, one.refused)).collect::<Vec<_>>(), [(0, false), (2, true)]);
        assert_eq!(
            found[1].why,
            "status 400, document_parsing_exception: [1:9] failed to parse field [n] of type [long] (For input string: \"a\")"
        );
        let without_ids = delivered(&answer, false).await.expect("an answer");
        assert_eq!(without_ids.len(), 3, "a conflict is none of ours without ids");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_operator_can_mend_is_tried_again() {
        let items = [
            item(404, "index_not_found_exception", "no such index"),
            item(400, "illegal_argument_exception", "pipeline with id [a b] does not exist"),
            item(403, "cluster_block_exception", "read-only"),
        ];
        let answer = format!(r#"{{"errors":true,"items":[{}]}}"#, items.join(","));
        let found = delivered(&answer, true).await.expect("an answer");
        assert!(found.len() == 3 && found.iter().all(|one| !one.refused), "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_is_none_settles_nothing() {
        let ok = r#"{"create":{"status":201}}"#;
        for answer in [
            "<html>all is well</html>",
            "",
            "{}",
            r#"{"errors":false"#,
            &format!(r#"{{"errors":false,"items":[{ok},{ok}]}}"#),
            &format!(r#"{{"errors":true,"items":[{ok},{ok},{ok},{ok}]}}"#),
            r#"{"errors":true}"#,
        ] {
            assert!(matches!(delivered(answer, true).await, Err(Undelivered::Again { .. })), "{answer}");
        }
    }

    #[test]
    fn whatever_a_platform_answers_is_an_outcome_for_each_item_or_none_at_all() {
        let good = r#"{"took":1,"errors":true,"items":[{"create":{"status":201}},{"index":{"status":429,"error":{"type":"a","reason":"b"}}},{"create":{"status":400,"error":"c"}}]}"#;
        let platform = bulk("http://127.0.0.1:1", true);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut body = good.as_bytes().to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..body.len());
                match random.u8(..3) {
                    0 => body[at] = random.u8(..),
                    1 => body.truncate(at.max(1)),
                    _ => body.insert(at, *random.choice(b"{}[]\",:0").unwrap_or(&b'0')),
                }
            }
            let answer = Answer::of(StatusCode::OK, body);
            let found = platform.not_taken(&answer, 3).unwrap_or_default();
            assert!(found.iter().all(|one| one.index < 3 && !one.why.contains('\n')), "{found:?}");
        }
    }
}
