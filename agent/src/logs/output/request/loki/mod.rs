/// What Loki says of entries that it does not take.
pub mod answer;
/// Push requests.
mod push;
/// Which streams entries belong to.
mod streams;

use super::batch::{Item, Selection};
use super::http::{Answer, Client, Request, again};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use answer::TooOld;
use hostwright_core::config::logs::output::loki::Loki as Settings;
use jiff::Timestamp;
use push::push_request;
use reqwest::header::HeaderMap;
use streams::{Placed, Streams};

/// No Loki refuses an entry of this length for it.
const SHORT: usize = 64 << 10;
/// No Loki refuses an entry for being so little ahead of its clock (creation_grace_period is 10 minutes), in nanoseconds.
const GRACE: i64 = 5 * 60 * SECOND;
const SECOND: i64 = 1_000_000_000;
/// A push request of this length may be more than a second's share, or than a message between Loki's parts.
const LARGE: usize = 2 << 20;
/// limits_config: block_ingestion_status_code. It is no success, whatever it looks like.
const BLOCKED: u16 = 260;

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
    /// Structured metadata goes along; otherwise it is left out here.
    takes_metadata: bool,
    /// How it was found to differ from what is usual.
    remark: Option<String>,
}

impl Loki {
    pub fn new(settings: &Settings, origin: &Origin) -> Self {
        let mut endpoint = settings.endpoint.clone();
        if let Some(tenant) = &settings.tenant {
            endpoint.headers.insert("X-Scope-OrgID".into(), tenant.clone());
        }
        let client = Client::new(&endpoint, "/loki/api/v1/push".into());
        Self { client, streams: Streams::new(&settings.labels, origin), takes_metadata: true, remark: None }
    }

    /// What an operator should know of it, once.
    pub fn remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let placed = self.streams.place(items.batch);
        let push = push_request(items, &placed, self.takes_metadata);
        let length = push.len();
        let body = snap::raw::Encoder::new().compress_vec(&push);
        let body = body.map_err(|_| Undelivered::TooLarge("a push request has at most 4 GiB".into()))?;
        // Without a Content-Encoding, as Loki's own clients send it: the content's type implies snappy.
        let (content_type, headers) = ("application/x-protobuf", HeaderMap::new());
        let request = Request { content_type, headers, body: body.into() };
        let answer = self.client.post(request).await?;
        match answer.status.as_u16() {
            BLOCKED => {
                let said = self.client.said(&answer);
                Err(again(format!("{said}; Loki's operator has blocked it (lines wait in their files)"), answer.after))
            }
            200..=299 => {
                self.streams.took(items, &placed);
                Ok(Vec::new())
            }
            400 => self.not_taken(items, &placed, &answer),
            401 => {
                let said = self.client.said(&answer);
                let what = "see that the credentials are right, and that tenant names whose streams they are";
                Err(again(format!("{said}; {what} (lines wait in their files)"), answer.after))
            }
            429 | 500 if items.len() > 1 && length > LARGE && answer::wants_less(&self.client.said(&answer)) => {
                Err(Undelivered::TooLarge(self.client.said(&answer)))
            }
            _ => Err(self.client.undelivered(&answer)),
        }
    }

    /// Whether it is set up otherwise than was thought: the same is to come again in another way.
    fn adapts(&mut self, text: &str) -> bool {
        let remark = if self.takes_metadata && answer::wants_no_metadata(text) {
            self.takes_metadata = false;
            self.streams.label_all();
            "it takes no structured metadata: the file and what is known of it are labels instead".to_owned()
        } else if let Some(most) = answer::most_labels(text).filter(|most| self.streams.limit(*most)) {
            format!("it takes {most} labels at most: further labels of the host are left out")
        } else if text.contains("label value too long") && self.streams.shorten() {
            "it takes no labels as long as some are: they are cut".to_owned()
        } else {
            return false;
        };
        self.remark = Some(remark);
        true
    }

    /// What it says with these words in it.
    fn reason(&self, text: &str, words: &str) -> String {
        format!("{}: {}", self.client.address(), self.client.shown(answer::reason(text, words)))
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
        let text = String::from_utf8_lossy(&answer.body);
        if self.adapts(&text) {
            return Err(again(format!("{said}; it gets them in another way"), None));
        }
        if answer::is_of_the_operator(&text) {
            return Err(again(format!("{said}; see its limits_config (lines wait in their files)"), None));
        }
        let Some(too_old) = TooOld::of(&text) else {
            return match (items.len(), answer::too_new(&text)) {
                (1, _) if answer::is_of_an_entry(&said) => {
                    Ok(vec![NotTaken { index: 0, refused: true, why: with_remedy(said) }])
                }
                (_, Some(first)) if items.items().any(|(item, _)| item.time > first) => {
                    Ok(too_new(items, first, &with_remedy(self.reason(&text, "timestamp too new"))))
                }
                _ => Err(self.client.undelivered(answer)),
            };
        };
        let mut fates = fates(items, placed, too_old);
        let is_of_streams = answer::is_of_streams(&text);
        let newest = answer::too_new(&text).map_or(i64::MAX, |first| first.saturating_sub(SECOND));
        for (fate, (item, _)) in fates.iter_mut().zip(items.items()) {
            if *fate == Fate::Taken && (is_of_streams || item.time >= newest) {
                *fate = Fate::Again;
            }
        }
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
        let why = self.reason(&text, "oldest acceptable");
        let one = |(index, fate)| NotTaken { index, refused: fate == Fate::Refused, why: why.clone() };
        Ok(not_taken.map(one).collect())
    }
}

/// Those after this time are refused; of the others some may be there, and are known when they come again.
fn too_new(items: Selection<'_>, first: i64, why: &str) -> Vec<NotTaken> {
    let one = |(index, (item, _)): (usize, (&Item, &[u8]))| NotTaken {
        index,
        refused: item.time > first,
        why: why.to_owned(),
    };
    items.items().enumerate().map(one).collect()
}

fn with_remedy(said: String) -> String {
    let remedy = if said.contains("Max entry size") {
        "set line_limit of the source to what Loki's max_line_size is"
    } else if said.contains("timestamp too new") {
        "see this host's clock, and time.timezone of the source"
    } else {
        return said;
    };
    format!("{said}; {remedy}")
}

fn fates(items: Selection<'_>, placed: &Placed, too_old: TooOld<'_>) -> Vec<Fate> {
    let is_meant: Vec<_> = placed.streams.iter().map(|stream| too_old.is_about(&stream.labels)).collect();
    let newest = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX).saturating_add(GRACE);
    let fate = |((item, entry), index): ((&Item, &[u8]), &usize)| match is_meant[placed.of[*index]] {
        true if item.time < too_old.oldest => Fate::Refused,
        true if entry.len() <= SHORT && item.time < newest => Fate::Taken,
        _ => Fate::Again,
    };
    items.items().zip(items.indices).map(fate).collect()
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
        push_request(all(batch), &streams.place(batch), true)
    }

    #[test]
    fn a_stream_has_no_more_labels_than_loki_takes_and_ours_come_first() {
        let many = (0..30).map(|number| (format!("l{number:02}"), "v".repeat(5000))).collect();
        let mut streams = Streams::new(&[Label::Source], &Origin { host: "h".into(), labels: many });
        let facts = Facts { source: "zz".into(), file: "/f".into(), fields: [("m".into(), "n".into())].into() }.into();
        let mut batch = batch([0; 4]);
        batch.groups = vec![Group { facts, items: 0..4 }];
        let labels = streams.place(&batch).streams[0].labels.clone();
        assert!(labels.contains("l13=\"") && !labels.contains("l14") && labels.contains("source=\"zz\""), "{labels}");
        assert!(labels.len() < 15 * 2100, "{}", labels.len());
        assert!(streams.limit(4) && !streams.limit(4));
        streams.label_all();
        streams.shorten();
        let labels = streams.place(&batch).streams[0].labels.clone();
        assert!(
            labels.starts_with(r#"{file="/f", l00="v"#) && labels.ends_with(r#"v", m="n", source="zz"}"#),
            "{labels}"
        );
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
