/// What Loki says of entries that it does not take.
pub mod answer;

use super::batch::Selection;
use super::http::{Answer, Client, Request, again};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use crate::logs::output::encode::SEVERITIES;
use crate::logs::output::encode::loki::NO_LEVEL;
use crate::logs::record::Facts;
use crate::protobuf::{push_bytes, push_head, varint_length};
use answer::TooOld;
use hostwright_core::config::logs::output::loki::{Label, Loki as Settings};
use reqwest::header::HeaderMap;
use std::collections::BTreeMap;

/// No Loki refuses an entry of this length for it.
const SHORT: usize = 64 << 10;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Again,
    Refused,
}

/// Grafana Loki, by its push API with protobuf: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>.
#[derive(Debug)]
pub struct Loki {
    client: Client,
    labels: Vec<Label>,
    origin: Origin,
}

impl Loki {
    pub fn new(settings: &Settings, origin: &Origin) -> Self {
        let mut endpoint = settings.endpoint.clone();
        if let Some(tenant) = &settings.tenant {
            endpoint.headers.insert("X-Scope-OrgID".into(), tenant.clone());
        }
        let client = Client::new(&endpoint, "/loki/api/v1/push".into());
        Self { client, labels: settings.labels.clone(), origin: origin.clone() }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let push = self.push_request(items);
        let body = snap::raw::Encoder::new().compress_vec(&push);
        let body = body.map_err(|_| Undelivered::TooLarge("a push request has at most 4 GiB".into()))?;
        // Without a Content-Encoding, as Loki's own clients send it: the content's type implies snappy.
        let (content_type, headers) = ("application/x-protobuf", HeaderMap::new());
        let request = Request { content_type, headers, body: body.into(), items: items.len() };
        let answer = self.client.post(request).await?;
        if answer.status.is_success() {
            return Ok(Vec::new());
        }
        if answer.status.as_u16() == 400 {
            return self.not_taken(items, &answer);
        }
        Err(self.client.undelivered(&answer))
    }

    /// Of a request with entries that are too old it took the others. It names one reason: of what is long enough to be
    /// refused for its length too, it is asked again.
    fn not_taken(&mut self, items: Selection<'_>, answer: &Answer) -> Result<Vec<NotTaken>, Undelivered> {
        let said = self.client.said(answer);
        if answer::wants_no_metadata(&said) {
            return Err(again(format!("{said}; set structured_metadata: false for it, or allow it there"), None));
        }
        let one = |index, refused| NotTaken { index, refused, why: said.clone() };
        if items.len() == 1 && answer::is_of_an_entry(&said) {
            return Ok(vec![one(0, true)]);
        }
        let text = String::from_utf8_lossy(&answer.body);
        let too_old = TooOld::of(&text);
        let fates = too_old.map(|too_old| self.fates(items, too_old)).unwrap_or_default();
        let refused = fates.iter().filter(|fate| **fate == Fate::Refused).count();
        // A stream's limit rises with the entries of the request itself: which of them came before that is not told.
        let is_clear = too_old.and_then(|too_old| too_old.stream).is_none_or(|(_, count)| count == refused);
        if refused == 0 || !is_clear {
            return Err(self.client.undelivered(answer));
        }
        let not_taken = fates.into_iter().enumerate().filter(|(_, fate)| *fate != Fate::Taken);
        Ok(not_taken.map(|(index, fate)| one(index, fate == Fate::Refused)).collect())
    }

    fn fates(&self, items: Selection<'_>, too_old: TooOld<'_>) -> Vec<Fate> {
        let level_is_label = self.labels.contains(&Label::Level);
        let mut all = Vec::with_capacity(items.len());
        for (facts, share) in items.groups() {
            let levels = if level_is_label { 0..=NO_LEVEL } else { 0..=0 };
            let streams = levels.map(|level| self.stream(facts, level_is_label.then_some(level)));
            let is_meant: Vec<_> = streams.map(|labels| too_old.is_about(&labels)).collect();
            all.extend(share.items().map(|(item, entry)| {
                let stream = entry.first().filter(|_| level_is_label).map_or(0, |level| usize::from(*level));
                match is_meant.get(stream) {
                    Some(true) if item.time < too_old.oldest => Fate::Refused,
                    Some(true) if entry.len() <= SHORT => Fate::Taken,
                    _ => Fate::Again,
                }
            }));
        }
        all
    }

    /// logproto.PushRequest
    fn push_request(&self, items: Selection<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (facts, share) in items.groups() {
            if self.labels.contains(&Label::Level) {
                for level in 0..=NO_LEVEL {
                    let of_level = share.items().map(|(_, entry)| entry).filter(|entry| entry.first() == Some(&level));
                    let entries: Vec<_> = of_level.map(|entry| &entry[1..]).collect();
                    push_stream(&mut out, &self.stream(facts, Some(level)), &entries);
                }
            } else {
                let entries: Vec<_> = share.items().map(|(_, entry)| &entry[1..]).collect();
                push_stream(&mut out, &self.stream(facts, None), &entries);
            }
        }
        out
    }

    /// The labels of a stream, as LogQL writes them. The host's own labels give way to ours.
    fn stream(&self, facts: &Facts, level: Option<u8>) -> String {
        let mut labels: BTreeMap<&str, &str> =
            self.origin.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for label in &self.labels {
            let (name, value) = match label {
                Label::Host => ("host", self.origin.host.as_str()),
                Label::Source => ("source", facts.source.as_str()),
                Label::File => ("file", facts.file.as_str()),
                Label::Level => {
                    let level = level.and_then(|level| SEVERITIES.get(usize::from(level)));
                    ("level", level.copied().unwrap_or("unknown"))
                }
            };
            labels.insert(name, value);
        }
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        format!("{{{}}}", labels.join(", "))
    }
}

/// logproto.StreamAdapter
fn push_stream(out: &mut Vec<u8>, labels: &str, entries: &[&[u8]]) {
    if entries.is_empty() {
        return;
    }
    let labels_length = 1 + varint_length(labels.len() as u64) + labels.len();
    push_head(out, 1, labels_length + entries.iter().map(|entry| entry.len()).sum::<usize>());
    push_bytes(out, 1, labels.as_bytes());
    for entry in entries {
        out.extend_from_slice(entry);
    }
}

/// A string as Go writes it: JSON does for all that labels have.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Fate, Label, Loki, TooOld};
    use crate::http::canned::endpoint;
    use crate::logs::output::Origin;
    use crate::logs::output::request::batch::{Batch, Group, Item, Selection};
    use crate::logs::output::request::http::Client;
    use crate::logs::record::Facts;

    fn loki(labels: Vec<Label>) -> Loki {
        let endpoint = endpoint("http://x");
        let own = [("env".to_owned(), "p".to_owned()), ("source".to_owned(), "theirs".to_owned())];
        let origin = Origin { host: "h\"1".into(), labels: own.into() };
        Loki { client: Client::new(&endpoint, String::new()), labels, origin }
    }

    #[test]
    fn what_loki_takes_no_more_is_refused_and_what_is_not_known_comes_again() {
        let second = 1_794_651_072_000_000_000;
        let item = |end, time| Item { is_dated: true, end, time, content: 0, offset: 0, length: 0 };
        let facts = |source: &str| Facts { source: source.into(), ..Facts::default() }.into();
        let batch = Batch {
            bytes: b"\x03a\x08b\x03c\x03d".as_slice().into(),
            items: vec![item(2, second - 1), item(4, second - 1), item(6, second), item(8, second - 1)],
            groups: vec![Group { facts: facts("s"), items: 0..3 }, Group { facts: facts("t"), items: 3..4 }],
        };
        let all = Selection { batch: &batch, indices: &[0, 1, 2, 3] };
        let fates = |labels: Vec<Label>, stream: Option<_>| {
            loki(labels).fates(all, TooOld { oldest: second, stream: stream.map(|stream| (stream, 1)) })
        };
        let (taken, again, refused) = (Fate::Taken, Fate::Again, Fate::Refused);
        assert_eq!(fates(vec![Label::Source], None), [refused, refused, taken, refused]);
        let stream = "{env=\"p\", source=\"theirs\"}";
        assert_eq!(fates(vec![Label::Host], Some(stream)), [again, again, again, again]);
        assert_eq!(fates(vec![], Some(stream)), [refused, refused, taken, refused]);
        let of_level = "{env=\"p\", level=\"unknown\", source=\"theirs\"}";
        assert_eq!(fates(vec![Label::Level], Some(of_level)), [again, refused, again, again]);
    }

    #[test]
    fn entries_are_told_apart_by_file_and_level_and_stay_in_order() {
        let item = |end| Item { is_dated: true, end, time: 0, content: 0, offset: 0, length: 0 };
        let facts = |source: &str| Facts { source: source.into(), ..Facts::default() }.into();
        let batch = Batch {
            bytes: b"\x03a\x08b\x03c\x03d".as_slice().into(),
            items: vec![item(2), item(4), item(6), item(8)],
            groups: vec![Group { facts: facts("s"), items: 0..3 }, Group { facts: facts("t"), items: 3..4 }],
        };
        let all = Selection { batch: &batch, indices: &[0, 1, 2, 3] };
        let stream = |labels: &str, entries: &str| {
            let content = [&[0x0a, labels.len() as u8], labels.as_bytes(), entries.as_bytes()].concat();
            [&[0x0a, content.len() as u8], &content[..]].concat()
        };
        let by_level = loki(vec![Label::Level]).push_request(all);
        let expected = [
            stream("{env=\"p\", level=\"error\", source=\"theirs\"}", "ac"),
            stream("{env=\"p\", level=\"unknown\", source=\"theirs\"}", "b"),
            stream("{env=\"p\", level=\"error\", source=\"theirs\"}", "d"),
        ];
        assert_eq!(by_level, expected.concat());
        let by_source = loki(vec![Label::Host, Label::Source]).push_request(all);
        let expected = [
            stream("{env=\"p\", host=\"h\\\"1\", source=\"s\"}", "abc"),
            stream("{env=\"p\", host=\"h\\\"1\", source=\"t\"}", "d"),
        ];
        assert_eq!(by_source, expected.concat());
    }
}
