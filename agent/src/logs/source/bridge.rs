use super::followed::FollowedFile;
use super::identity::Content as _;
use super::joining::{Joining, Open};
use super::lines::{self, Borrowed, Following, Line, Piece, Split, physical};
use super::wide::Order;
use std::sync::Arc;

// A rotation may part an event: a container's long line is written in parts, each of which may come into another file, and
// the lines of a stack trace are several. The generation in which it begins gives all of it, and borrows the lines from
// those behind it that go on with it; there they are skipped. What is borrowed is kept in memory alone: after a crash
// between the two such lines come once more, as events of their own.

/// So much of a generation is looked at at first: what goes on with an event stands at the beginning.
const FIRST: usize = 16 << 10;

/// A generation behind another.
#[derive(Debug)]
pub struct Next {
    pub file: Arc<FollowedFile>,
    /// In order of their places.
    pub borrowed: Vec<Borrowed>,
    /// Nothing of it was read, so that anything may be borrowed.
    pub is_unread: bool,
}

/// The way from a generation to those behind it.
#[derive(Debug)]
pub struct Bridge {
    /// By its sequence number.
    pub from: u64,
    pub nexts: Vec<Next>,
    /// What was borrowed, and where in the generation the events begin that it belongs to.
    pub text: Option<(u64, Vec<u8>)>,
}

impl Bridge {
    /// Gives the last lines of a generation as [`lines::split`] does.
    pub fn split(
        &mut self,
        piece: Piece<'_>,
        joining: &Joining,
        inside_cut_line: &mut bool,
        mut each: impl FnMut(Line<'_>),
    ) -> Split {
        let whole = lines::split(Piece { following: Following::Perhaps, ..piece }, joining, inside_cut_line, &mut each);
        let rest = Piece { bytes: &piece.bytes[whole.bytes..], offset: piece.offset + whole.bytes as u64, ..piece };
        let may_go_on = whole.holds_event && rest.bytes.ends_with(b"\n");
        let (mut left, text) = if may_go_on { self.borrow(rest, joining) } else { (0, Vec::new()) };
        if text.is_empty() {
            let last = lines::split(rest, joining, inside_cut_line, each);
            return Split { bytes: whole.bytes + last.bytes, ..last };
        }
        let bytes = [rest.bytes, &text].concat();
        self.text = Some((rest.offset, text));
        let joined = Piece { bytes: &bytes, following: Following::NotSoon, ..rest };
        lines::split(joined, joining, inside_cut_line, |line| {
            // What is borrowed takes nothing of this file.
            let length = line.length.min(left);
            left -= length;
            each(Line { length, ..line });
        });
        Split { bytes: piece.bytes.len(), holds_event: false }
    }

    /// How long the lines in `rest` are, and what the generations behind have of their events.
    fn borrow(&mut self, rest: Piece<'_>, joining: &Joining) -> (usize, Vec<u8>) {
        let (mut open, length) = Open::behind(rest, joining);
        let mut text = Vec::new();
        for next in &mut self.nexts {
            let room = rest.limit.saturating_sub(rest.bytes.len() + text.len());
            let is_looked_through = next.lend(self.from, (&mut open, joining), (rest.limit, room), &mut text);
            if open.is_empty() || !is_looked_through {
                break;
            }
        }
        (length, text)
    }
}

impl Next {
    /// Appends the lines that go on with open events, in `room` bytes; whether more of them may be in the generation
    /// behind this one.
    fn lend(
        &mut self,
        by: u64,
        (open, joining): (&mut Open<'_>, &Joining),
        (limit, room): (usize, usize),
        text: &mut Vec<u8>,
    ) -> bool {
        let most = joining.longest_piece(limit);
        let mut want = FIRST.min(most);
        loop {
            let mut bytes = vec![0; want];
            // What cannot be read now has nothing that goes on.
            let length = self.file.file.fill_at(&mut bytes, 0).unwrap_or(0);
            bytes.truncate(length);
            let mut found = Found { open: open.clone(), text: Vec::new(), places: Vec::new() };
            let done = self.look(by, &bytes, (limit, room), &mut found);
            let is_end = length < want;
            if found.open.is_empty() || is_end || want == most {
                *open = found.open;
                text.append(&mut found.text);
                self.borrowed.retain(|one| one.by != by);
                self.borrowed.extend(found.places.into_iter().map(|at| Borrowed { by, at }));
                self.borrowed.sort_by_key(|one| one.at);
                return is_end && done == length && self.file.is_rotated();
            }
            want = (4 * want).min(most);
        }
    }

    /// Looks through the beginning of the file; how much of it is whole lines.
    fn look(&self, by: u64, bytes: &[u8], (limit, room): (usize, usize), found: &mut Found<'_>) -> usize {
        if Order::of(self.file.source.recipe.encoding, bytes).is_some() {
            found.open.close();
        }
        let piece = Piece { bytes, offset: 0, limit, following: Following::Perhaps, borrowed: &[] };
        physical(piece, &mut false, |raw, at| {
            let at = at as u64;
            let before = self.borrowed.iter().find(|one| one.at == at).map(|one| one.by);
            // It may be another's.
            if found.open.is_empty() || before.is_some_and(|before| before != by) {
                return;
            }
            let line = Line::new(raw, at, limit);
            if line.cut || found.text.len() + line.bytes.len() >= room || !(self.is_unread || before.is_some()) {
                return found.open.close();
            }
            if found.open.goes_on_with(line.bytes) {
                found.text.extend_from_slice(line.bytes);
                found.text.push(b'\n');
                found.places.push(at);
            }
        })
    }
}

/// What goes on with open events.
struct Found<'a> {
    open: Open<'a>,
    text: Vec<u8>,
    places: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::{Bridge, Next};
    use crate::logs::source::Source;
    use crate::logs::source::cursor::Cursor;
    use crate::logs::source::discover::Discovery;
    use crate::logs::source::identity::{Digest, Point};
    use crate::logs::source::lines::{Following, Piece, split};
    use hostwright_core::config::Config;
    use std::collections::HashSet;
    use std::fs::{self, File};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn source(folder: &Path, settings: &str) -> Arc<Source> {
        let text = format!(
            "logs:\n  sources:\n    s: {{files: ['{}/log*'], outputs: [o], {settings}}}\n  outputs:\n    o: {{file: {{path: /o}}}}\n",
            folder.display()
        );
        let logs = Config::parse(&text, "agent.yaml").expect("a config").logs.expect("logs");
        Arc::new(Source::new("s", &logs.sources["s"], folder).expect("a source"))
    }

    /// The events of a text that was rotated after so many lines, generation by generation, and what they take of them.
    fn rotated(text: &str, lines: &[usize], settings: &str) -> (Vec<String>, usize) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut rest: Vec<&str> = text.split_inclusive('\n').collect();
        for (index, count) in lines.iter().enumerate() {
            let now = rest.drain(..*count.min(&rest.len())).collect::<String>();
            write(folder.path(), lines.len() - index, &now);
        }
        write(folder.path(), 0, &rest.concat());
        let search = [source(folder.path(), settings)];
        let mut discovery = Discovery::new(&search, Vec::new(), HashSet::new(), folder.path()).expect("a search");
        discovery.scan();
        let files = discovery.files().borrow().clone();
        let cursor = |file: &Arc<_>| Cursor::new(Arc::clone(file), 0, Point::default(), Digest::default(), 1);
        let mut cursors: Vec<_> = files.iter().map(cursor).collect();
        let last = cursors.len() - 1;
        cursors[..last].iter_mut().for_each(Cursor::drain_again);
        let (mut found, mut taken, mut buffer) = (Vec::new(), 0, Vec::new());
        for index in 0..cursors.len() {
            let (before, behind) = cursors.split_at_mut(index + 1);
            let nexts = behind.iter().map(|cursor| Next {
                file: cursor.file.clone(),
                borrowed: cursor.borrowed.clone(),
                is_unread: true,
            });
            let mut bridge = Bridge { from: files[index].sequence, nexts: nexts.collect(), text: None };
            let is_parted = before[index].may_be_parted();
            assert_eq!(is_parted, index < last, "all but the last one have a next one");
            let each = |line: super::Line<'_>| {
                found.push(String::from_utf8_lossy(line.bytes).into_owned());
                taken += line.length;
            };
            before[index].read(&mut buffer, is_parted.then_some(&mut bridge), each).expect("read");
            for (cursor, next) in behind.iter_mut().zip(bridge.nexts) {
                cursor.borrowed = next.borrowed;
            }
        }
        let borrowed: usize = cursors.iter().map(borrowed_bytes).sum();
        (found, taken + borrowed)
    }

    fn borrowed_bytes(cursor: &Cursor) -> usize {
        let text = fs::read_to_string(cursor.file.path().expect("there")).expect("read");
        let length =
            |at: u64| text[usize::try_from(at).expect("small")..].split_inclusive('\n').next().map_or(0, str::len);
        cursor.borrowed.iter().map(|one| length(one.at)).sum()
    }

    /// Long ago, so that nothing is waited for.
    fn write(folder: &Path, generation: usize, text: &str) {
        let name = if generation == 0 { "log".to_owned() } else { format!("log.{generation}") };
        fs::write(folder.join(&name), text).expect("written");
        let ago = Duration::from_secs(3600 + 60 * u64::try_from(generation).expect("small"));
        let file = File::options().append(true).open(folder.join(name)).expect("opened");
        file.set_modified(SystemTime::now() - ago).expect("set");
    }

    fn at_once(text: &str, settings: &str) -> Vec<String> {
        let source = source(Path::new("/x"), settings);
        let bytes = text.as_bytes();
        let limit = source.line_limit;
        let piece = Piece { bytes, offset: 0, limit, following: Following::Nothing, borrowed: &[] };
        let mut found = Vec::new();
        split(piece, &source.joining, &mut false, |line| found.push(String::from_utf8_lossy(line.bytes).into_owned()));
        found
    }

    const CRI: &str = "parse: cri";
    const DOCKER: &str = "parse: docker";
    const STACKS: &str = "multiline: {continuation: '^ '}";
    const BOTH: &str = "parse: cri, multiline: {continuation: '^ '}";

    #[test]
    fn an_event_that_rotations_part_is_the_same_as_if_there_had_been_none() {
        let mut random = fastrand::Rng::with_seed(12);
        let cri = [
            "2016-10-06T00:17:09Z stdout P one-\n",
            "2016-10-06T00:17:09Z stdout F  two\n",
            "2016-10-06T00:17:09Z stderr P three-\n",
            "2016-10-06T00:17:09Z stderr F four\n",
            "foreign\n",
        ];
        let docker = [
            "{\"log\":\"one-\",\"stream\":\"stdout\"}\n",
            "{\"log\":\"two\\n\",\"stream\":\"stdout\"}\n",
            "{\"log\":\"three-\",\"stream\":\"stderr\"}\n",
            "{\"log\":\"four\\n\",\"stream\":\"stderr\"}\n",
            "foreign\n",
        ];
        let stacks = ["A\n", " at a\n", " at b\r\n", "\n", "B\n"];
        for round in 0..160 {
            let (settings, parts) = [(CRI, cri), (DOCKER, docker), (STACKS, stacks), (BOTH, cri)][round % 4];
            let count = random.usize(1..14);
            let text: String = (0..count).map(|_| parts[random.usize(..parts.len())]).collect();
            let lines: Vec<usize> = (0..random.usize(1..4)).map(|_| random.usize(1..=count)).collect();
            let (mut found, taken) = rotated(&text, &lines, settings);
            let mut expected = at_once(&text, settings);
            // Events of two streams that are parted at once come generation by generation.
            found.sort();
            expected.sort();
            assert_eq!(
                found.concat().replace('\r', ""),
                expected.concat().replace('\r', ""),
                "{settings} {lines:?} {text}"
            );
            assert_eq!(taken, text.len(), "{settings} {lines:?} {text}");
        }
    }
}
