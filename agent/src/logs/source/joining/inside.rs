use super::engine::{Engine, Part};
use super::multiline::Multiline;
use crate::logs::record::{Time, Zone, json};
use crate::logs::source::lines::{Following, Line, Piece, Split};
use std::borrow::Cow;
use std::time::Duration;

/// Lines of an application that belong together by what they look like, inside of what an engine wrote of them. Each
/// stream has its own events, which come in the form of one line of the engine.
#[derive(Debug)]
pub struct Inside {
    pub engine: Engine,
    pub multiline: Multiline,
}

struct Event {
    line: Vec<u8>,
    /// Where further text goes.
    text_end: usize,
    stream: Vec<u8>,
    /// Of its first line, in the file.
    offset: u64,
    /// Where its last line ends, in the file.
    end: u64,
    /// Of all its lines, in the file.
    length: usize,
    /// Nanoseconds since 1970, of its last line.
    time: Option<i64>,
    is_open: bool,
    is_cut: bool,
}

/// Events in the order in which they begin.
#[derive(Default)]
struct Events {
    all: Vec<Event>,
    /// Indices of those that may go on: one of each stream.
    open: Vec<usize>,
}

impl Inside {
    /// Gives each event once no line of it, nor of one that began before, can come any more: what is left is read again
    /// from the first event that is not given.
    pub fn split(&self, piece: Piece<'_>, inside_cut_line: &mut bool, mut each: impl FnMut(Line<'_>)) -> Split {
        let mut events = Events::default();
        let lines = self.engine.split_with_ends(piece, inside_cut_line, |line, end| {
            if events.begin().is_some_and(|begin| end - begin > piece.limit as u64) {
                events.give_all(true, &mut each);
            }
            self.add(line, end, &mut events);
            events.give_complete(&mut each);
        });
        match events.begin() {
            Some(begin) if piece.following == Following::Perhaps => {
                let bytes = usize::try_from(begin - piece.offset).unwrap_or(lines.bytes);
                Split { bytes: bytes.min(lines.bytes), holds_event: true }
            }
            _ => {
                events.give_all(false, &mut each);
                lines
            }
        }
    }

    fn add(&self, line: Line<'_>, end: u64, events: &mut Events) {
        let part = if line.cut { None } else { self.engine.part(line.bytes) };
        let Some(part) = part else { return events.push(event(line, end, Part::default())) };
        let time = std::str::from_utf8(part.time).ok().and_then(|text| Time::of(text, &Zone::Utc));
        let time = time.map(Time::nanoseconds);
        events.close_before(time, self.multiline.timeout, part.stream);
        let begins = self.multiline.begins(&self.text(&part));
        match events.of_stream(part.stream) {
            Some(event) if !begins => {
                self.append(event, &part);
                event.length += line.length;
                (event.end, event.time) = (end, time.or(event.time));
            }
            before => {
                if before.is_some() {
                    events.close(part.stream);
                }
                events.push(Event { time, is_open: true, ..event(line, end, part) });
            }
        }
    }

    /// What the application wrote, without its line end.
    pub(super) fn text<'a>(&self, part: &Part<'a>) -> Cow<'a, [u8]> {
        match self.engine {
            Engine::Cri => part.text.into(),
            Engine::Docker => {
                let mut text = String::new();
                json::unescape(&String::from_utf8_lossy(part.text), &mut text);
                text.trim_end_matches('\n').to_owned().into_bytes().into()
            }
        }
    }

    fn append(&self, event: &mut Event, part: &Part<'_>) {
        let (line_end, text) = match self.engine {
            Engine::Cri => (&b"\n"[..], part.text),
            Engine::Docker => (&b"\\n"[..], part.text.strip_suffix(b"\\n").unwrap_or(part.text)),
        };
        let more = line_end.iter().chain(text).copied();
        event.line.splice(event.text_end..event.text_end, more);
        event.text_end += line_end.len() + text.len();
    }
}

fn event(line: Line<'_>, end: u64, part: Part<'_>) -> Event {
    Event {
        line: line.bytes.to_vec(),
        text_end: part.text_end,
        stream: part.stream.to_vec(),
        offset: line.offset,
        end,
        length: line.length,
        time: None,
        is_open: false,
        is_cut: line.cut,
    }
}

impl Events {
    /// Where the first event begins, in the file.
    fn begin(&self) -> Option<u64> {
        self.all.first().map(|event| event.offset)
    }

    fn push(&mut self, event: Event) {
        if event.is_open {
            self.open.push(self.all.len());
        }
        self.all.push(event);
    }

    /// The event of a stream that may go on.
    fn of_stream(&mut self, stream: &[u8]) -> Option<&mut Event> {
        let index = *self.open.iter().find(|index| self.all[**index].stream == stream)?;
        self.all.get_mut(index)
    }

    fn close(&mut self, stream: &[u8]) {
        self.close_if(|event| event.stream == stream);
    }

    /// Another stream wrote so much later that an event is complete, though its own is quiet.
    fn close_before(&mut self, time: Option<i64>, timeout: Duration, stream: &[u8]) {
        let Some(time) = time else { return };
        let timeout = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        let is_over = |event: &Event| event.time.is_some_and(|last| time.saturating_sub(last) >= timeout);
        self.close_if(|event| event.stream != stream && is_over(event));
    }

    fn close_if(&mut self, is_over: impl Fn(&Event) -> bool) {
        let Self { all, open } = self;
        open.retain(|index| {
            let Some(event) = all.get_mut(*index) else { return false };
            event.is_open = !is_over(event);
            event.is_open
        });
    }

    /// Gives the first events, as many as end before the next one begins.
    fn give_complete(&mut self, each: &mut impl FnMut(Line<'_>)) {
        let (mut count, mut reach) = (0, 0);
        for (index, event) in self.all.iter().enumerate() {
            if event.is_open {
                break;
            }
            reach = reach.max(event.end);
            if self.all.get(index + 1).is_none_or(|next| reach <= next.offset) {
                count = index + 1;
            }
        }
        give(self.all.drain(..count), false, each);
        self.open.iter_mut().for_each(|index| *index -= count);
    }

    /// ... all of them; those that may go on are marked if they are `cut`.
    fn give_all(&mut self, cut: bool, each: &mut impl FnMut(Line<'_>)) {
        give(self.all.drain(..), cut, each);
        self.open.clear();
    }
}

fn give(events: impl Iterator<Item = Event>, cut: bool, each: &mut impl FnMut(Line<'_>)) {
    for event in events {
        let cut = event.is_cut || cut && event.is_open;
        each(Line { bytes: &event.line, cut, offset: event.offset, length: event.length });
    }
}

#[cfg(test)]
mod tests {
    use super::{Engine, Inside, Multiline};
    use crate::logs::source::lines::{Following, Piece};
    use regex::bytes::Regex;
    use std::time::Duration;

    /// The events, and how many bytes are done with.
    fn given(engine: Engine, lines: &[String], following: Following) -> (Vec<String>, usize) {
        let regex = Regex::new(r"^\s|^Caused by").expect("valid");
        let inside =
            Inside { engine, multiline: Multiline { regex, is_start: false, timeout: Duration::from_secs(2) } };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let piece = Piece { bytes: text.as_bytes(), offset: 0, limit: 1000, following, borrowed: &[] };
        let mut found = Vec::new();
        let split = inside.split(piece, &mut false, |line| {
            found.push(String::from_utf8_lossy(line.bytes).into_owned());
        });
        (found, split.bytes)
    }

    fn cri(second: u8, stream: &str, text: &str) -> String {
        format!("2026-11-20T10:11:{second:02}Z {stream} {text}")
    }

    #[test]
    fn lines_of_one_event_are_joined_by_stream_after_their_parts_were() {
        let lines = [
            cri(1, "stderr", "F java.lang.Exception: x"),
            cri(1, "stdout", "F GET /"),
            cri(1, "stderr", "P \tat a"),
            cri(1, "stderr", "F .b(c)"),
            cri(1, "stdout", "F GET /favicon"),
            cri(1, "stderr", "F Caused by: y"),
            cri(1, "stderr", "F next"),
        ];
        let (found, _) = given(Engine::Cri, &lines, Following::Nothing);
        let stderr = "2026-11-20T10:11:01Z stderr F";
        assert_eq!(
            found,
            [
                format!("{stderr} java.lang.Exception: x\n\tat a.b(c)\nCaused by: y"),
                cri(1, "stdout", "F GET /"),
                cri(1, "stdout", "F GET /favicon"),
                format!("{stderr} next"),
            ]
        );
    }

    #[test]
    fn dockers_lines_keep_their_escapes() {
        let line = |log: &str| format!(r#"{{"log":"{log}","stream":"stderr","time":"2026-11-20T10:11:12Z"}}"#);
        let lines = [line("E: \\\"x\\\"\\n"), line("\\tat "), line("a\\n"), line("  b\\\\n\\n"), line("next\\n")];
        let (found, _) = given(Engine::Docker, &lines, Following::Nothing);
        assert_eq!(found, [line("E: \\\"x\\\"\\n\\tat a\\n  b\\\\n\\n"), line("next\\n")]);
    }

    #[test]
    fn an_event_of_a_stream_that_fell_silent_holds_back_the_other_stream_no_longer_than_its_timeout() {
        let mut lines = vec![cri(1, "stderr", "F E: x"), cri(1, "stderr", "F  at y"), cri(2, "stdout", "F one")];
        assert_eq!(given(Engine::Cri, &lines, Following::Perhaps), (Vec::new(), 0));
        lines.push(cri(3, "stdout", "F two"));
        let (found, done) = given(Engine::Cri, &lines, Following::Perhaps);
        assert_eq!(found, ["2026-11-20T10:11:01Z stderr F E: x\n at y", &lines[2]]);
        assert_eq!(done, lines[..3].iter().map(|line| line.len() + 1).sum::<usize>());
    }

    #[test]
    fn what_is_no_line_of_an_engine_stands_for_itself() {
        let lines = ["foreign".to_owned(), " text".to_owned(), cri(1, "stdout", "F a")];
        assert_eq!(given(Engine::Cri, &lines, Following::Nothing).0, lines);
    }
}
