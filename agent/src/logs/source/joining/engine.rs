use crate::logs::record::container::{Cri, Docker};
use crate::logs::source::lines::{Following, Line, Piece, Split, physical};

/// What wrote the lines, each of which is a line of an application or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Cri,
    Docker,
}

/// A line whose parts are gathered, or one that came meanwhile on the other stream.
struct Gathered {
    /// In the form of one line of the engine.
    line: Vec<u8>,
    /// Where the text of the next part goes.
    text_end: usize,
    stream: Vec<u8>,
    /// Of the first part, in the file.
    offset: u64,
    /// Of all parts, in the file.
    length: usize,
    is_open: bool,
}

impl Engine {
    /// Gives each line of the application.
    pub fn split(self, piece: Piece<'_>, inside_cut_line: &mut bool, mut each: impl FnMut(Line<'_>)) -> Split {
        self.split_with_ends(piece, inside_cut_line, |line, _| each(line))
    }

    /// Gives each line of the application, with a place in the file behind its last part. The parts of one may be
    /// interleaved with lines of the other stream: from the first part on, lines are gathered until all are whole, and
    /// given in the order in which they begin.
    pub(super) fn split_with_ends(
        self,
        piece: Piece<'_>,
        inside_cut_line: &mut bool,
        mut each: impl FnMut(Line<'_>, u64),
    ) -> Split {
        let mut gathered: Vec<Gathered> = Vec::new();
        let mut start = 0;
        let done = physical(piece, inside_cut_line, |raw, at| {
            let line = Line::new(raw, piece.offset + at as u64, piece.limit);
            let end = piece.offset + (at + raw.len()) as u64;
            if line.cut || !gathered.is_empty() && at + raw.len() - start > piece.limit {
                // What is gathered is all that fits.
                give(&mut gathered, true, |part| each(part, line.offset));
            }
            if line.cut || gathered.is_empty() && self.is_whole(line.bytes) {
                return each(line, end);
            }
            if gathered.is_empty() {
                start = at;
            }
            self.gather(line, &mut gathered);
            if gathered.iter().all(|one| !one.is_open) {
                give(&mut gathered, false, |line| each(line, end));
            }
        });
        if gathered.is_empty() {
            return Split { bytes: done, holds_event: false };
        }
        if piece.following == Following::Perhaps {
            return Split { bytes: start, holds_event: true };
        }
        give(&mut gathered, false, |line| each(line, piece.offset + done as u64));
        Split { bytes: done, holds_event: false }
    }

    /// What a line adds; none if it is no line of the engine.
    pub(super) fn part(self, line: &[u8]) -> Option<Part<'_>> {
        match self {
            Self::Cri => part_of_cri(line),
            Self::Docker => part_of_docker(line),
        }
    }

    fn is_whole(self, line: &[u8]) -> bool {
        match self {
            Self::Cri => Cri::of(line).is_none_or(|cri| !cri.is_partial),
            Self::Docker => Docker::is_whole(line) || self.part(line).is_none_or(|part| !part.is_open),
        }
    }

    fn gather(self, line: Line<'_>, gathered: &mut Vec<Gathered>) {
        // What is no line of the engine stands for itself.
        let part = self.part(line.bytes).unwrap_or(Part { text_end: line.bytes.len(), ..Part::default() });
        let before = gathered.iter_mut().find(|one| one.is_open && one.stream == part.stream);
        if let Some(before) = before {
            before.line.splice(before.text_end..before.text_end, part.text.iter().copied());
            before.text_end += part.text.len();
            before.length += line.length;
            before.is_open = part.is_open;
            return;
        }
        let mut bytes = line.bytes.to_vec();
        if self == Self::Cri
            && part.is_open
            && let Some(cri) = Cri::of(line.bytes)
        {
            bytes[cri.tag_at] = b'F';
        }
        gathered.push(Gathered {
            line: bytes,
            text_end: part.text_end,
            stream: part.stream.to_vec(),
            offset: line.offset,
            length: line.length,
            is_open: part.is_open,
        });
    }
}

/// What a line of an engine adds to the parts before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Part<'a> {
    pub(super) is_open: bool,
    pub(super) stream: &'a [u8],
    /// When it was written, as the engine says it.
    pub(super) time: &'a [u8],
    /// With its escapes, and that of its line end.
    pub(super) text: &'a [u8],
    /// Where further text goes.
    pub(super) text_end: usize,
}

fn part_of_cri(line: &[u8]) -> Option<Part<'_>> {
    let cri = Cri::of(line)?;
    let Cri { is_partial, stream, time, text, .. } = cri;
    Some(Part { is_open: is_partial, stream, time, text, text_end: line.len() })
}

fn part_of_docker(line: &[u8]) -> Option<Part<'_>> {
    let line = std::str::from_utf8(line).ok()?;
    let mut time = "";
    let docker = Docker::of(line, |name, value| {
        if name == "time" {
            time = value.trim_matches('"');
        }
    })?;
    let text_start = docker.text.as_ptr().addr() - line.as_ptr().addr();
    let text_end = text_start + docker.text.len();
    // With the escape of the line end, if it is the last part.
    let whole_end = if docker.is_partial { text_end } else { text_end + 2 };
    Some(Part {
        is_open: docker.is_partial,
        stream: docker.stream.as_bytes(),
        time: time.as_bytes(),
        text: &line.as_bytes()[text_start..whole_end],
        text_end,
    })
}

/// Gives what is gathered; what is still open is marked if it is `cut`.
fn give(gathered: &mut Vec<Gathered>, cut: bool, mut each: impl FnMut(Line<'_>)) {
    for one in gathered.drain(..) {
        each(Line { bytes: &one.line, cut: cut && one.is_open, offset: one.offset, length: one.length });
    }
}

#[cfg(test)]
mod tests {
    use super::Engine;
    use crate::logs::source::lines::{Following, Piece};

    fn given(engine: Engine, lines: &[&str], limit: usize) -> Vec<String> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let piece = Piece { bytes: text.as_bytes(), offset: 0, limit, following: Following::Nothing, borrowed: &[] };
        let mut found = Vec::new();
        engine.split(piece, &mut false, |line| {
            let mark = if line.cut { "…" } else { "" };
            found.push(format!("{}{mark} {}+{}", String::from_utf8_lossy(line.bytes), line.offset, line.length));
        });
        found
    }

    #[test]
    fn parts_of_containerds_lines_are_joined_by_stream_with_the_time_of_the_first() {
        let lines = [
            "22 stdout F whole",
            "22 stdout P a-",
            "23 stderr F other",
            "24 stdout P b-",
            "25 stdout F c",
            "26 stdout F next",
        ];
        assert_eq!(
            given(Engine::Cri, &lines, 1000),
            ["22 stdout F whole 0+18", "22 stdout F a-b-c 18+44", "23 stderr F other 33+18", "26 stdout F next 80+17"]
        );
    }

    #[test]
    fn parts_of_dockers_lines_are_joined_by_stream_with_the_time_of_the_first() {
        let line =
            |log: &str, stream: &str, time: u8| format!(r#"{{"log":"{log}","stream":"{stream}","time":"{time}"}}"#);
        let lines = [
            line("a\\\\", "stdout", 1),
            line("other\\n", "stderr", 2),
            line("n\\\"b", "stdout", 3),
            line("c\\n", "stdout", 4),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let found = given(Engine::Docker, &lines, 1000);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with(r#"{"log":"a\\n\"bc\n","stream":"stdout","time":"1"} 0+"#), "{found:?}");
        assert!(found[1].starts_with(r#"{"log":"other\n","stream":"stderr","time":"2"} "#), "{found:?}");
    }

    #[test]
    fn parts_without_end_are_given_up_to_the_limit_and_marked() {
        let part = "2Z stdout P 0123456789";
        let found = given(Engine::Cri, &[part; 5], 50);
        assert_eq!(
            found,
            [
                "2Z stdout F 01234567890123456789… 0+46",
                "2Z stdout F 01234567890123456789… 46+46",
                "2Z stdout F 0123456789 92+23"
            ]
        );
    }
}
