use super::admission::{end_of, is_same};
use super::followed::{FollowedFile, Found, Opened};
use super::identity::{Content, Point, WELL, WINDOW, point_at};
use memchr::memmem::Finder;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

// A program that writes a log anew beside it and renames that over it (rsync, sed -i, editors, `tail > new && mv new
// log`) leaves lines in the new file that were in the former one. What tells this from a new log that begins alike: the
// new file was there before the former one was gone, and one of them has the whole of the other, not the beginning alone.
// Of less than two kilobytes that is little proof: they rather come twice.

/// So far into a new file the end of the former one is looked for.
const MOST: u64 = 64 << 20;
/// ... so much at once.
const PIECE: usize = 256 << 10;

/// What a new file has of the one whose place it took.
#[derive(Clone, Copy, Debug)]
pub struct Heritage {
    /// The file that was there before.
    pub of: u64,
    /// So many bytes of the former one were cut away.
    cut: u64,
    /// Up to here in the new one, in whole lines, both have the same.
    pub shared: Point,
    /// What follows in the former one, it has alone.
    pub rest: Point,
}

/// Where an output goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// Where it was: what it lacks is in the new file, at the same place.
    All,
    /// Behind what both have, which it has.
    Behind(Point),
    /// At the beginning: what it lacks was cut away.
    Nothing,
}

impl Heritage {
    /// What both have: all of one of them from its beginning on, or the end of the former one.
    pub fn of(former: &FollowedFile, found: &Found) -> Option<Self> {
        let (before, now) = plain(former, found)?;
        let (was, is) = (before.metadata().ok()?.len(), now.metadata().ok()?.len());
        if was.min(is) < WELL {
            return None;
        }
        let (common, cut) = match is_same((before, was.min(is)), (now, was.min(is)), was.min(is)).ok()? {
            true => (was.min(is), 0),
            false => end_in((before, was), now).map(|end| (end, was - end))?,
        };
        let shared = behind_last_line(former, found, common)?;
        let rest = if was == common + cut { was } else { shared.offset };
        Some(Self { of: former.sequence, cut, shared, rest: point_at(before, rest).ok()? })
    }

    /// ... of an output that has the former file up to there.
    pub fn inherited(&self, acknowledged: u64) -> Inherited {
        let behind = self.cut + self.shared.offset;
        match () {
            () if self.cut == 0 && acknowledged <= behind => Inherited::All,
            () if acknowledged >= behind => Inherited::Behind(self.shared),
            () => Inherited::Nothing,
        }
    }
}

/// Behind the end of a content, in a file that begins somewhere in it.
fn end_in((before, was): (&File, u64), now: &File) -> Option<u64> {
    let mut last = [0; WINDOW];
    if before.fill_at(&mut last, was - WINDOW as u64).ok()? < WINDOW {
        return None;
    }
    let finder = Finder::new(&last);
    let mut piece = vec![0; PIECE + WINDOW];
    for offset in (0..was.min(MOST)).step_by(PIECE) {
        let length = now.fill_at(&mut piece, offset).ok()?;
        let ends = finder.find_iter(&piece[..length]).map(|at| offset + (at + WINDOW) as u64);
        let mut ends = ends.filter(|end| (WELL..=was).contains(end));
        if let Some(end) = ends.find(|end| is_same((before, was), (now, *end), *end).unwrap_or(false)) {
            return Some(end);
        }
        if length < piece.len() {
            break;
        }
    }
    None
}

fn plain<'f>(former: &'f FollowedFile, found: &'f Found) -> Option<(&'f File, &'f File)> {
    let (Opened::Plain(before), Opened::Plain(now)) = (&former.file, &found.opened) else { return None };
    let last = before.metadata().ok()?;
    // The last change of a file that has no name any more is that it lost it.
    let gone_at = last.ctime().saturating_mul(1_000_000_000).saturating_add(last.ctime_nsec());
    let was_prepared = found.attributes.born.is_none_or(|born| born <= gone_at);
    (was_prepared && last.nlink() == 0).then_some((before, now))
}

fn behind_last_line(former: &FollowedFile, found: &Found, size: u64) -> Option<Point> {
    end_of(&found.opened, size, former.source.recipe.encoding).filter(|point| !point.inside_cut_line)
}

#[cfg(test)]
mod tests {
    use super::{Heritage, Inherited};
    use crate::logs::source::identity::Point;

    #[test]
    fn an_output_goes_on_where_it_was_unless_what_it_lacks_was_cut_away() {
        let at = |offset| Point { offset, ..Point::default() };
        let whole = Heritage { of: 1, cut: 0, shared: at(5000), rest: at(5010) };
        assert_eq!(whole.inherited(0), Inherited::All);
        assert_eq!(whole.inherited(5000), Inherited::All);
        assert_eq!(whole.inherited(5010), Inherited::Behind(at(5000)), "it has half of a line, which comes whole");
        let cut = Heritage { cut: 1000, rest: at(6000), ..whole };
        assert_eq!(cut.inherited(5999), Inherited::Nothing);
        assert_eq!(cut.inherited(6000), Inherited::Behind(at(5000)));
    }
}
