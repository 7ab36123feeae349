/// What a platform says of each item.
mod answer;
/// What can be done about what it refuses.
mod remedy;

use super::batch::Selection;
use super::http::{Answer, Client, LONGEST_ANSWER, Request, again};
use super::{NotTaken, Undelivered};
use hostwright_core::config::logs::output::bulk;
use reqwest::header::HeaderMap;

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
            .post(Request { content_type: "application/x-ndjson", headers: HeaderMap::new(), body: items.bytes() })
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
        let Some(mut all) = answer::not_taken(&answer.body, count, self.ids) else {
            let said = self.client.said(answer);
            let why = format!("{said}, which is no answer to a bulk request of {count} items; see that url is right");
            return Err(again(why, None));
        };
        for one in &mut all {
            one.why = self.client.shown(&one.why);
            if let Some(remedy) = remedy::remedy(&one.why).filter(|_| one.refused) {
                one.why.push_str(&format!("; {remedy}"));
            }
        }
        Ok(all)
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
    use super::{Bulk, NotTaken, Undelivered};
    use hostwright_core::config::logs::output::Fields;
    use hostwright_core::config::logs::output::bulk::{self, Target};
    use hostwright_testing::canned::{Canned, endpoint};

    fn bulk(url: &str, ids: bool) -> Bulk {
        let endpoint = endpoint(url);
        let pipeline = Some("a b".to_owned());
        Bulk::new(&bulk::Bulk {
            endpoint,
            target: Target::DataStream("logs".into()),
            pipeline,
            ids,
            fields: Fields::Plain,
        })
    }

    async fn delivered(answer: &str, ids: bool) -> Result<Vec<NotTaken>, Undelivered> {
        let item = |end| Item { is_dated: true, end, time: 0, content: 0, offset: 0, length: 1 };
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
            "status 400, document_parsing_exception: [1:9] failed to parse field [n] of type [long] (For input string: \"a\"); lines disagree about the field's type: rename it with a filter, or map it as keyword"
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
            assert!(
                matches!(
                    delivered(answer, true).await,
                    Err(Undelivered::Again { .. } | Undelivered::Unanswered { .. })
                ),
                "{answer}"
            );
        }
    }
}
