use crate::logs::output::Origin;
use crate::logs::output::request::batch::Selection;
use crate::logs::record::Facts;
use hostwright_core::config::logs::output::cloudwatch::{CloudWatch, Template};
use std::io::Write;
use std::ops::Range;

/// The most bytes of one request: those of the messages, and so many more for each event.
const MOST_BYTES: usize = 1 << 20;
const EVENT: usize = 26;
const MOST_EVENTS: usize = 10_000;
/// The events of a request are of one day.
const LONGEST_SPAN: i64 = 24 * 3600 * 1000;

/// Consecutive items of a selection that go into one request.
#[derive(Debug)]
pub struct Portion {
    pub group: String,
    pub stream: String,
    /// Their indices in the selection.
    pub events: Range<usize>,
    /// The same in the order of their times.
    pub sorted: Vec<usize>,
}

/// Items parted by their log streams and the limits of a request, in their order.
pub fn portions(items: Selection<'_>, settings: &CloudWatch, origin: &Origin) -> Vec<Portion> {
    let mut all: Vec<Portion> = Vec::new();
    let mut first = 0;
    for (facts, share) in items.groups() {
        let (group, stream) = (filled(&settings.group, facts, origin), filled(&settings.stream, facts, origin));
        let mut room = Room::default();
        let mut start = first;
        for (at, (item, message)) in share.items().enumerate() {
            let index = first + at;
            if !room.takes(milliseconds(item.time), message.len()) {
                all.push(Portion::new(&group, &stream, start..index));
                (room, start) = (Room::default(), index);
                room.takes(milliseconds(item.time), message.len());
            }
        }
        first += share.len();
        all.push(Portion::new(&group, &stream, start..first));
    }
    for portion in &mut all {
        let time = |index: &usize| items.batch.items[items.indices[*index]].time;
        portion.sorted.sort_by_key(|index| milliseconds(time(index)));
    }
    all
}

/// What a request has room for.
#[derive(Default)]
struct Room {
    events: usize,
    bytes: usize,
    span: Option<(i64, i64)>,
}

impl Room {
    /// Takes an event in, unless it is one too many.
    fn takes(&mut self, time: i64, length: usize) -> bool {
        let (first, last) = self.span.map_or((time, time), |(first, last)| (first.min(time), last.max(time)));
        let bytes = self.bytes + length + EVENT;
        let fits = bytes <= MOST_BYTES && self.events < MOST_EVENTS && last - first < LONGEST_SPAN;
        if fits {
            *self = Self { events: self.events + 1, bytes, span: Some((first, last)) };
        }
        fits
    }
}

impl Portion {
    fn new(group: &str, stream: &str, events: Range<usize>) -> Self {
        Self { group: group.to_owned(), stream: stream.to_owned(), sorted: events.clone().collect(), events }
    }

    /// The request's JSON.
    pub fn body(&self, items: Selection<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let name = serde_json::Value::from;
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "{{\"logGroupName\":{},\"logStreamName\":{},\"logEvents\":[",
            name(self.group.as_str()),
            name(self.stream.as_str())
        );
        for (at, &index) in self.sorted.iter().enumerate() {
            let item = items.indices[index];
            let message = String::from_utf8_lossy(&items.batch.bytes[items.batch.range(item)]);
            let comma = if at > 0 { "," } else { "" };
            let time = milliseconds(items.batch.items[item].time);
            let _ = write!(out, "{comma}{{\"timestamp\":{time},\"message\":");
            let _ = serde_json::to_writer(&mut out, &message);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    }
}

/// The platform knows no time before 1970.
fn milliseconds(nanoseconds: i64) -> i64 {
    nanoseconds.div_euclid(1_000_000).max(0)
}

/// A name with its parts filled in, without what names may not have.
fn filled(template: &Template, facts: &Facts, origin: &Origin) -> String {
    let parts = [("{host}", &origin.host), ("{source}", &facts.source), ("{file}", &facts.file)];
    let text = parts.iter().fold(template.0.clone(), |text, (part, value)| text.replace(part, value));
    let clean = text.chars().map(|c| if c.is_ascii_alphanumeric() || "_-./#".contains(c) { c } else { '_' });
    clean.take(512).collect()
}

#[cfg(test)]
mod tests {
    use super::Room;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_request_has_room_for_a_mebibyte_ten_thousand_events_and_a_day() {
        let mut room = Room::default();
        assert!(room.takes(0, (1 << 20) - 26) && !room.takes(0, 1));
        let mut room = Room::default();
        assert!((0..10_000).all(|_| room.takes(0, 1)) && !room.takes(0, 1));
        let mut room = Room::default();
        assert!(room.takes(10 * HOUR, 1) && room.takes(0, 1) && room.takes(23 * HOUR, 1) && !room.takes(24 * HOUR, 1));
        let mut room = Room::default();
        assert!((0..19).all(|_| room.takes(0, 50_000)), "26 bytes more for each count");
        assert!(room.takes(0, (1 << 20) - 19 * 50_026 - 26) && !room.takes(0, 0));
    }
}
