use super::Joining;
use crate::logs::source::lines::{Following, Line, Piece, physical};

/// The events that may go on behind some lines: at most one of each stream.
#[derive(Clone, Debug)]
pub struct Open<'a> {
    joining: &'a Joining,
    streams: Vec<Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    name: Vec<u8>,
    /// The rest of its last line is yet to come, not only further lines of its event.
    is_inside_line: bool,
}

impl<'a> Open<'a> {
    /// Behind lines that were left unread because one of their events may go on; and how long these lines are.
    pub fn behind(rest: Piece<'_>, joining: &'a Joining) -> (Self, usize) {
        let (mut open, mut length) = (Self { joining, streams: Vec::new() }, 0);
        physical(Piece { following: Following::Perhaps, ..rest }, &mut false, |raw, at| {
            let line = Line::new(raw, rest.offset + at as u64, rest.limit);
            open.note(line.bytes);
            length += line.length;
        });
        (open, length)
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Nothing goes on.
    pub fn close(&mut self) {
        self.streams.clear();
    }

    /// Whether the next line goes on with one of them.
    pub fn goes_on_with(&mut self, line: &[u8]) -> bool {
        match self.joining {
            Joining::Lines => false,
            Joining::Multiline(multiline) => {
                let goes_on = !self.is_empty() && !multiline.begins(line);
                if !goes_on {
                    self.close();
                }
                goes_on
            }
            Joining::Engine(engine) => {
                let Some(part) = engine.part(line) else { return false };
                let goes_on = self.streams.iter().any(|stream| stream.name == part.stream);
                if goes_on && !part.is_open {
                    self.remove(part.stream);
                }
                goes_on
            }
            Joining::Inside(inside) => {
                let Some(part) = inside.engine.part(line) else { return false };
                let Some(stream) = self.streams.iter_mut().find(|stream| stream.name == part.stream) else {
                    return false;
                };
                if !stream.is_inside_line && inside.multiline.begins(&inside.text(&part)) {
                    self.remove(part.stream);
                    return false;
                }
                stream.is_inside_line = part.is_open;
                true
            }
        }
    }

    /// A line of those that they are behind.
    fn note(&mut self, line: &[u8]) {
        let (engine, is_always_open) = match self.joining {
            Joining::Lines => return,
            Joining::Multiline(_) => return self.set(&[], false),
            Joining::Engine(engine) => (engine, false),
            Joining::Inside(inside) => (&inside.engine, true),
        };
        let Some(part) = engine.part(line) else { return };
        if part.is_open || is_always_open {
            self.set(part.stream, part.is_open);
        } else {
            self.remove(part.stream);
        }
    }

    fn set(&mut self, name: &[u8], is_inside_line: bool) {
        match self.streams.iter_mut().find(|stream| stream.name == name) {
            Some(stream) => stream.is_inside_line = is_inside_line,
            None => self.streams.push(Stream { name: name.to_vec(), is_inside_line }),
        }
    }

    fn remove(&mut self, name: &[u8]) {
        self.streams.retain(|stream| stream.name != name);
    }
}
