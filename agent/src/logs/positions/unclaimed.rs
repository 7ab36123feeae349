use super::position::Position;
use crate::logs::source::followed::FollowedFile;
use crate::logs::source::identity::{WELL, differs};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Positions without a cursor, found by what a file may be known by.
#[derive(Debug, Default)]
pub struct Unclaimed {
    pub positions: BTreeMap<u32, Position>,
    by_inode: HashMap<u64, Vec<u32>>,
    by_path: HashMap<PathBuf, Vec<u32>>,
    /// Not in the journal as they are now.
    pub fresh: Vec<u32>,
}

impl Unclaimed {
    pub fn insert(&mut self, name: u32, position: Position) {
        self.by_inode.entry(position.inode).or_default().push(name);
        self.by_path.entry(PathBuf::from(&position.path)).or_default().push(name);
        self.positions.insert(name, position);
    }

    pub fn remove(&mut self, name: u32) -> Option<Position> {
        let position = self.positions.remove(&name)?;
        if let Some(names) = self.by_inode.get_mut(&position.inode) {
            names.retain(|other| *other != name);
        }
        if let Some(names) = self.by_path.get_mut(Path::new(&position.path)) {
            names.retain(|other| *other != name);
        }
        Some(position)
    }

    /// Changes the positions in a content, as long as `change` says that it did.
    pub fn change(&mut self, content: u64, change: impl Fn(&mut Position) -> bool) {
        for (name, position) in &mut self.positions {
            if position.content == content && change(position) {
                self.fresh.push(*name);
            }
        }
    }

    /// The position in this very file.
    pub fn same(&self, file: &FollowedFile) -> Option<u32> {
        let names = self.by_inode.get(&file.key.inode)?.iter();
        let same = names.filter_map(|name| Some((*name, self.positions.get(name)?)));
        let is_in = |p: &Position| p.may_be(&file.source.name, file.key.inode, file.born) && p.is_in(&file.file);
        own(same.filter(|(_, p)| is_in(p)).collect(), file.key.device)
    }

    /// The position in a file whose place this one took while the agent was away, and which it goes on as: a program wrote
    /// it anew and renamed it.
    pub fn replaced(&self, file: &FollowedFile, carried: &[u64]) -> Option<u32> {
        let names = self.by_path.get(&*file.origin)?.iter();
        let named = names.filter_map(|name| Some((*name, self.positions.get(name)?)));
        let may_be = |p: &Position| {
            // One that was gone before the agent ended was not replaced meanwhile.
            p.source == file.source.name && p.point.offset >= WELL && p.was_there() && !carried.contains(&p.content)
        };
        let is_in = |p: &Position| p.is_in(&file.file) && differs(&file.file, &p.point).unwrap_or(false);
        let replaced = named.filter(|(_, p)| may_be(p) && is_in(p));
        replaced.max_by_key(|(_, p)| p.point.offset).map(|(name, _)| name)
    }

    /// The positions of files that were written under this path.
    pub fn at(&self, path: &Path) -> impl Iterator<Item = &Position> {
        self.by_path.get(path).into_iter().flatten().filter_map(|name| self.positions.get(name))
    }
}

/// Of positions that a file continues, its own. Of several contents that begin alike (as empty ones do) it is the one
/// that the file continues furthest; of several positions in that, the first loses nothing.
fn own(mut continued: Vec<(u32, &Position)>, device: u64) -> Option<u32> {
    // Device numbers may change with a reboot.
    let further = |(_, p): &&(u32, &Position)| (p.device == device, p.point.offset, p.head.length());
    let content = continued.iter().max_by_key(further)?.1.content;
    continued.retain(|(_, p)| p.content == content);
    continued.iter().min_by_key(|(_, p)| p.point.offset).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::{Position, own};

    #[test]
    fn of_what_an_inode_had_the_content_that_goes_on_furthest_is_its_own_from_its_first_position() {
        let at = |content, bytes: &[u8]| Position { content, ..Position::at_end_of(bytes) };
        let (empty, stale, true_one) = (at(1, b""), at(2, b"one\ntwo\n"), at(2, b"one\n"));
        let of_another_device = Position { device: 9, ..at(3, b"one\ntwo\nthree\n") };
        let all = vec![(1, &empty), (2, &stale), (3, &true_one), (4, &of_another_device)];
        assert_eq!(own(all, 1), Some(3));
        assert_eq!(own(vec![(1, &empty)], 1), Some(1));
        assert_eq!(own(Vec::new(), 1), None);
    }
}
