/// What Loki says of entries that it does not take.
pub mod answer;
/// Which streams entries belong to.
mod streams;

use super::batch::{Item, Selection};
use super::http::{Answer, Client, Request, again};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use crate::protobuf::{push_bytes, push_head, varint_length};
use answer::TooOld;
use hostwright_core::config::logs::output::loki::Loki as Settings;
use reqwest::header::HeaderMap;
use streams::{Placed, Streams};

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
    streams: Streams,
}

impl Loki {
    pub fn new(settings: &Settings, origin: &Origin) -> Self {
        let mut endpoint = settings.endpoint.clone();
        if let Some(tenant) = &settings.tenant {
            endpoint.headers.insert("X-Scope-OrgID".into(), tenant.clone());
        }
        let client = Client::new(&endpoint, "/loki/api/v1/push".into());
        Self { client, streams: Streams::new(&settings.labels, origin) }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let placed = self.streams.place(items.batch);
        let push = push_request(items, &placed);
        let body = snap::raw::Encoder::new().compress_vec(&push);
        let body = body.map_err(|_| Undelivered::TooLarge("a push request has at most 4 GiB".into()))?;
        // Without a Content-Encoding, as Loki's own clients send it: the content's type implies snappy.
        let (content_type, headers) = ("application/x-protobuf", HeaderMap::new());
        let request = Request { content_type, headers, body: body.into(), items: items.len() };
        let answer = self.client.post(request).await?;
        if answer.status.is_success() {
            self.streams.took(items, &placed);
            return Ok(Vec::new());
        }
        if answer.status.as_u16() == 400 {
            return self.not_taken(items, &placed, &answer);
        }
        Err(self.client.undelivered(&answer))
    }

    /// Of a request with entries that are too old it took the others. It names one reason: of what is long enough to be
    /// refused for its length too, it is asked again.
    fn not_taken(
        &mut self,
        items: Selection<'_>,
        placed: &Placed,
        answer: &Answer,
    ) -> Result<Vec<NotTaken>, Undelivered> {
        let said = self.client.said(answer);
        if answer::wants_no_metadata(&said) {
            return Err(again(format!("{said}; set structured_metadata: false for it, or allow it there"), None));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let Some(too_old) = TooOld::of(&text) else {
            return match items.len() == 1 && answer::is_of_an_entry(&said) {
                true => Ok(vec![NotTaken { index: 0, refused: true, why: said }]),
                false => Err(self.client.undelivered(answer)),
            };
        };
        let mut fates = fates(items, placed, too_old);
        let old = fates.iter().filter(|fate| **fate == Fate::Refused).count();
        // A stream's limit rises with the entries of the request itself: which of them came before that is not told.
        let is_clear = too_old.stream.is_none_or(|(_, count)| count == old);
        let shared = placed.streams.iter().find(|stream| too_old.stream.is_some() && too_old.is_about(&stream.labels));
        match shared {
            // Next time they go to a stream of their file.
            Some(stream) if !stream.is_of_file => {
                self.streams.takes_from(&stream.labels, too_old.oldest);
                let again =
                    |fate: &mut Fate| *fate = if is_clear && *fate == Fate::Taken { *fate } else { Fate::Again };
                fates.iter_mut().for_each(again);
            }
            _ if old == 0 || !is_clear => return Err(self.client.undelivered(answer)),
            _ => {}
        }
        let not_taken = fates.into_iter().enumerate().filter(|(_, fate)| *fate != Fate::Taken);
        let one = |(index, fate)| NotTaken { index, refused: fate == Fate::Refused, why: said.clone() };
        Ok(not_taken.map(one).collect())
    }
}

fn fates(items: Selection<'_>, placed: &Placed, too_old: TooOld<'_>) -> Vec<Fate> {
    let is_meant: Vec<_> = placed.streams.iter().map(|stream| too_old.is_about(&stream.labels)).collect();
    let fate = |((item, entry), index): ((&Item, &[u8]), &usize)| match is_meant[placed.of[*index]] {
        true if item.time < too_old.oldest => Fate::Refused,
        true if entry.len() <= SHORT => Fate::Taken,
        _ => Fate::Again,
    };
    items.items().zip(items.indices).map(fate).collect()
}

/// logproto.PushRequest
fn push_request(items: Selection<'_>, placed: &Placed) -> Vec<u8> {
    let mut out = Vec::new();
    let mut entries = vec![Vec::new(); placed.streams.len()];
    for ((_, entry), index) in items.items().zip(items.indices) {
        entries[placed.of[*index]].push(&entry[1..]);
    }
    for (stream, entries) in placed.streams.iter().zip(&entries) {
        push_stream(&mut out, &stream.labels, entries);
    }
    out
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

#[cfg(test)]
mod tests {
    use super::streams::Streams;
    use super::{Fate, TooOld, fates, push_request};
    use crate::logs::output::Origin;
    use crate::logs::output::request::batch::{Batch, Group, Item, Selection};
    use crate::logs::record::Facts;
    use hostwright_core::config::logs::output::loki::Label;

    const HOUR: i64 = 3_600_000_000_000;

    fn streams(labels: &[Label]) -> Streams {
        let own = [("env".to_owned(), "p".to_owned()), ("source".to_owned(), "theirs".to_owned())];
        Streams::new(labels, &Origin { host: "h\"1".into(), labels: own.into() })
    }

    /// Entries of these times; the last one is of another file and source.
    fn batch(times: [i64; 4]) -> Batch {
        // Each batch is another one.
        let item = |(end, time)| Item { is_dated: true, end, time, content: 0, offset: fastrand::u64(..), length: 0 };
        let facts =
            |source: &str| Facts { source: source.into(), file: format!("/{source}"), ..Facts::default() }.into();
        Batch {
            bytes: b"\x03a\x08b\x03c\x03d".as_slice().into(),
            items: [2, 4, 6, 8].into_iter().zip(times).map(item).collect(),
            groups: vec![Group { facts: facts("s"), items: 0..3 }, Group { facts: facts("t"), items: 3..4 }],
        }
    }

    fn all(batch: &Batch) -> Selection<'_> {
        Selection { batch, indices: &[0, 1, 2, 3] }
    }

    fn stream(labels: &str, entries: &str) -> Vec<u8> {
        let content = [&[0x0a, labels.len() as u8], labels.as_bytes(), entries.as_bytes()].concat();
        [&[0x0a, content.len() as u8], &content[..]].concat()
    }

    fn push(streams: &mut Streams, batch: &Batch) -> Vec<u8> {
        push_request(all(batch), &streams.place(batch))
    }

    #[test]
    fn what_loki_takes_no_more_is_refused_and_what_is_not_known_comes_again() {
        let second = 1_794_651_072_000_000_000;
        let batch = batch([second - 1, second - 1, second, second - 1]);
        let fates = |labels: &[Label], stream: Option<_>| {
            let too_old = TooOld { oldest: second, stream: stream.map(|stream| (stream, 1)) };
            fates(all(&batch), &streams(labels).place(&batch), too_old)
        };
        let (taken, again, refused) = (Fate::Taken, Fate::Again, Fate::Refused);
        assert_eq!(fates(&[Label::Source], None), [refused, refused, taken, refused]);
        let stream = "{env=\"p\", source=\"theirs\"}";
        assert_eq!(fates(&[Label::Host], Some(stream)), [again, again, again, again]);
        assert_eq!(fates(&[], Some(stream)), [refused, refused, taken, refused]);
        let of_level = "{env=\"p\", level=\"unknown\", source=\"theirs\"}";
        assert_eq!(fates(&[Label::Level], Some(of_level)), [again, refused, again, again]);
    }

    #[test]
    fn what_is_far_behind_its_stream_goes_to_a_stream_of_its_file() {
        let mut streams = streams(&[]);
        let usual = "{env=\"p\", source=\"theirs\"}";
        let of_file =
            |file: &str, entries| stream(&format!("{{env=\"p\", file=\"/{file}\", source=\"theirs\"}}"), entries);
        // In one request, and in the next.
        let batch = batch([5 * HOUR, 4 * HOUR, 5 * HOUR + 1, 3 * HOUR]);
        let expected = [stream(usual, "ac"), of_file("s", "b"), of_file("t", "d")].concat();
        // (The other file's stream of all stands there without entries.)
        assert_eq!(push(&mut streams, &batch), expected);
        let placed = streams.place(&batch);
        streams.took(all(&batch), &placed);
        let later = super::tests::batch([4 * HOUR, 5 * HOUR, 5 * HOUR, 5 * HOUR]);
        assert_eq!(push(&mut streams, &later), [stream(usual, "bc"), of_file("s", "a"), stream(usual, "d")].concat());
        // As Loki says after a restart.
        let mut anew = super::tests::streams(&[]);
        anew.takes_from(usual, 5 * HOUR);
        let behind = super::tests::batch([5 * HOUR - 1, 5 * HOUR, 5 * HOUR, 5 * HOUR]);
        assert_eq!(push(&mut anew, &behind), [stream(usual, "bc"), of_file("s", "a"), stream(usual, "d")].concat());
    }

    #[test]
    fn entries_are_told_apart_by_file_and_level_and_stay_in_order() {
        let batch = batch([0; 4]);
        let expected = [
            stream("{env=\"p\", level=\"error\", source=\"theirs\"}", "ac"),
            stream("{env=\"p\", level=\"unknown\", source=\"theirs\"}", "b"),
            stream("{env=\"p\", level=\"error\", source=\"theirs\"}", "d"),
        ];
        assert_eq!(push(&mut streams(&[Label::Level]), &batch), expected.concat());
        let expected = [
            stream("{env=\"p\", host=\"h\\\"1\", source=\"s\"}", "abc"),
            stream("{env=\"p\", host=\"h\\\"1\", source=\"t\"}", "d"),
        ];
        assert_eq!(push(&mut streams(&[Label::Host, Label::Source]), &batch), expected.concat());
    }
}
