use super::position::Position;
use crate::logs::source::followed::FollowedFile;
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
        let mut same: Vec<_> = names.filter_map(|name| Some((*name, self.positions.get(name)?))).collect();
        same.retain(|(_, p)| p.may_be(&file.source.name, file.key.inode, file.born));
        // Device numbers may change with a reboot.
        same.sort_by_key(|(_, p)| p.device != file.key.device);
        same.into_iter().find(|(_, p)| p.is_in(&file.file)).map(|(name, _)| name)
    }

    /// The positions of files that were written under this path.
    pub fn at(&self, path: &Path) -> impl Iterator<Item = &Position> {
        self.by_path.get(path).into_iter().flatten().filter_map(|name| self.positions.get(name))
    }
}
