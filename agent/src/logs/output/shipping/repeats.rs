use crate::logs::output::flight::Mark;
use std::time::{Duration, Instant};

/// So many connections may break with the same lines on their way before that is told: more than a receiver's restart takes.
const MOST: u32 = 4;
/// A connection that holds for so long after it was sent something takes it. Longer than the moment in which whoever dislikes a
/// line breaks it.
const HOLDS: Duration = Duration::from_secs(10);

/// Connections that broke one after the other with the same lines on their way. Somebody on the way (a firewall, the receiver
/// itself) may not stand one of them; a platform without acknowledgement does not tell which, and gets all again and again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Where those lines begin: what the content is called, and the offset.
    first: Option<(u64, u64)>,
    count: u32,
    opened: Option<Instant>,
}

/// The lines that were on their way each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspects {
    /// The file's sequence number.
    pub file: u64,
    pub from: u64,
    pub to: u64,
    pub count: u32,
}

impl Repeats {
    /// A connection broke, and these are to be sent again, the oldest first; the lines, if that was so too often.
    pub fn broke(&mut self, back: &[(Mark, bool)]) -> Option<Suspects> {
        self.opened = None;
        let back = || back.iter().map(|(mark, _)| mark).filter(|mark| !mark.is_of_letters());
        let begin = |mark: &Mark| (mark.content, mark.from.offset);
        let first = back().next()?;
        // Of several files, another may come first.
        match self.first.filter(|known| back().any(|mark| begin(mark) == *known)) {
            Some(_) => self.count += 1,
            None => (self.first, self.count) = (Some(begin(first)), 1),
        }
        let same = self.first.and_then(|known| back().find(|mark| begin(mark) == known)).unwrap_or(first);
        let of_file = back().filter(|mark| mark.content == same.content);
        let to = of_file.map(|mark| mark.to.offset).max().unwrap_or(same.to.offset);
        let suspects = Suspects { file: same.file, from: same.from.offset, to, count: self.count };
        (self.count >= MOST).then_some(suspects)
    }

    pub fn opened(&mut self) {
        self.opened = Some(Instant::now());
    }

    /// When it is certain that it goes on, if it was told that it does not.
    pub fn remaining(&self) -> Option<Duration> {
        self.opened.filter(|_| self.is_told()).map(|opened| HOLDS.saturating_sub(opened.elapsed()))
    }

    /// Whether it goes on now.
    pub fn went_on(&mut self) -> bool {
        let went_on = self.remaining() == Some(Duration::ZERO);
        if went_on {
            *self = Self::default();
        }
        went_on
    }

    /// Whether connections break with the same lines on their way: an acknowledgement does not mean that it goes on.
    pub fn is_told(&self) -> bool {
        self.count >= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Repeats, Suspects};
    use crate::logs::output::flight::Mark;
    use crate::logs::record::Tally;
    use crate::logs::source::identity::Point;

    fn mark(content: u64, from: u64, to: u64) -> (Mark, bool) {
        let point = |offset| Point { offset, ..Point::default() };
        let mark = Mark {
            file: content + 10,
            epoch: 0,
            content,
            from: point(from),
            to: point(to),
            tally: Tally::default(),
            encoded: to - from,
        };
        (mark, true)
    }

    #[test]
    fn the_same_lines_are_told_after_some_breaks_and_others_begin_anew() {
        let mut repeats = Repeats::default();
        let (same, others) = ([mark(1, 5, 9), mark(2, 0, 7), mark(1, 9, 20)], [mark(1, 9, 20)]);
        for _ in 1..MOST {
            assert_eq!(repeats.broke(&same), None);
        }
        assert_eq!(repeats.broke(&others), None, "those before were taken");
        let mixed = [same[1], same[0], same[2]];
        for _ in 2..MOST {
            assert_eq!(repeats.broke(&mixed), None);
        }
        let expected = Suspects { file: 11, from: 9, to: 20, count: MOST };
        assert_eq!(repeats.broke(&mixed), Some(expected));
        assert_eq!(repeats.broke(&[]), None, "nothing was on its way");
        repeats.opened();
        assert!(repeats.is_told() && !repeats.went_on(), "that it goes on, time tells");
    }
}
