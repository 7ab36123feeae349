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

    /// The position in this very file. Of several contents that the file had, it may continue more than one: one of which
    /// nothing was read continues as anything. The furthest says the most.
    pub fn same(&self, file: &FollowedFile) -> Option<u32> {
        let names = self.by_inode.get(&file.key.inode)?.iter();
        let all = names.filter_map(|name| Some((*name, self.positions.get(name)?)));
        let same = all.filter(|(_, p)| p.may_be(&file.source.name, file.key.inode, file.born));
        // Device numbers may change with a reboot.
        let rank = |p: &Position| (p.device == file.key.device, p.point.offset);
        same.filter(|(_, p)| p.is_in(&file.file)).max_by_key(|(_, p)| rank(p)).map(|(name, _)| name)
    }

    /// The positions of files that were written under this path.
    pub fn at(&self, path: &Path) -> impl Iterator<Item = &Position> {
        self.by_path.get(path).into_iter().flatten().filter_map(|name| self.positions.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Unclaimed;
    use crate::logs::positions::Position;
    use crate::logs::source::Source;
    use crate::logs::source::followed::{FollowedFile, Found, Opened};
    use crate::logs::source::identity::{Attributes, Digest, Point};
    use hostwright_core::config::Config;
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    fn followed(path: &Path) -> FollowedFile {
        let text =
            "logs:\n  sources:\n    s: {files: [/var/log/a], outputs: [o]}\n  outputs:\n    o: {file: {path: /o}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("a config").logs.expect("logs");
        let source = Source::new("s", &logs.sources["s"], Path::new("/var/lib/x")).expect("a source");
        let found = Found {
            opened: Opened::of(File::open(path).expect("opened")).expect("read"),
            path: path.into(),
            origin: path.into(),
            family: path.into(),
            attributes: Attributes::of(&path.metadata().expect("there")),
            start: None,
            former: None,
        };
        FollowedFile::new(found, Arc::new(source), Arc::default(), 1)
    }

    #[test]
    fn a_position_of_which_nothing_was_read_does_not_stand_before_one_that_the_file_continues() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "one\ntwo\nthree\n").expect("written");
        let file = followed(&path);
        let read = Position {
            inode: file.key.inode,
            device: file.key.device,
            born: file.born,
            ..Position::at_end_of(b"one\ntwo\n")
        };
        // A content that was truncated before anything was read of it.
        let unread = Position { head: Digest::default(), point: Point::default(), ..read.clone() };
        let other = Position { inode: read.inode, born: read.born, ..Position::at_end_of(b"eins\nzwei\ndrei\nvier\n") };
        let mut unclaimed = Unclaimed::default();
        for (name, position) in [(1, unread), (2, other), (3, read)] {
            unclaimed.insert(name, position);
        }
        assert_eq!(unclaimed.same(&file), Some(3));
        unclaimed.remove(3);
        assert_eq!(unclaimed.same(&file), Some(1));
    }
}
