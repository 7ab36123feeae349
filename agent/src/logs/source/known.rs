use super::Source;
use super::family::log_path;
use super::identity::{Content, TELLING};
use crate::logs::positions::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A position of an earlier run.
#[derive(Debug)]
pub struct Earlier {
    pub output: Arc<str>,
    pub position: Position,
}

/// Positions of earlier runs, of files that were not found yet: by them a file is known again under a new name. There
/// may be some for each of thousands of files, so they are found by binary search.
#[derive(Debug)]
pub struct Known {
    positions: Vec<Earlier>,
    /// By source, the outputs that have any.
    outputs: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Indexes in the order of inodes.
    by_inode: Vec<u32>,
    /// Indexes in the order of paths.
    by_path: Vec<u32>,
    /// Of those that were written under a date or number: the path without it, and their indexes.
    by_log: BTreeMap<PathBuf, Vec<u32>>,
    was_found: Vec<bool>,
}

impl Known {
    pub fn new(positions: Vec<Earlier>) -> Self {
        let mut outputs: BTreeMap<String, BTreeSet<Arc<str>>> = BTreeMap::new();
        for Earlier { output, position } in &positions {
            if !outputs.get(&position.source).is_some_and(|known| known.contains(output)) {
                outputs.entry(position.source.clone()).or_default().insert(output.clone());
            }
        }
        let mut by_inode: Vec<u32> = (0..).take(positions.len()).collect();
        let mut by_path = by_inode.clone();
        by_inode.sort_by_key(|index| positions[*index as usize].position.inode);
        by_path.sort_by(|a, b| positions[*a as usize].position.path.cmp(&positions[*b as usize].position.path));
        let mut by_log: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
        for (index, known) in (0..).zip(&positions) {
            let path = Path::new(&known.position.path);
            let log = log_path(path);
            if log != path {
                by_log.entry(log).or_default().push(index);
            }
        }
        let was_found = vec![false; positions.len()];
        Self { positions, outputs, by_inode, by_path, by_log, was_found }
    }

    /// Whether a source was followed before.
    pub fn has_source(&self, name: &str) -> bool {
        self.outputs.contains_key(name)
    }

    /// Positions in files of a source that were there until the agent ended.
    pub fn there<'a>(&'a self, source: &'a Source) -> impl Iterator<Item = &'a Position> {
        let positions = self.positions.iter().map(|known| &known.position);
        positions.filter(|position| position.source == source.name && position.was_there())
    }

    /// What an output of a source lacked of files that were there until the agent ended.
    pub fn lacking<'a>(&'a self, source: &'a Source) -> impl Iterator<Item = &'a Position> {
        let lacking = self.positions.iter().filter(|known| source.slot(&known.output).is_some());
        let lacking = lacking.map(|known| &known.position);
        lacking.filter(|position| position.source == source.name && position.was_there() && position.pending() > 0)
    }

    /// Whether each output of a source that shipped any of its files before is among `outputs`. One that was added since
    /// is not asked.
    pub fn is_every_output(&self, source: &Source, outputs: &BTreeSet<&str>) -> bool {
        let shipped = self.outputs.get(&source.name).into_iter().flatten();
        let mut asked = shipped.filter(|output| source.slot(output).is_some());
        asked.all(|output| outputs.contains(&**output))
    }

    /// Whether a file of this inode was followed.
    pub fn has_inode(&self, inode: u64) -> bool {
        self.of_inode(inode).next().is_some()
    }

    /// The position in this very file, whatever the file was called then.
    pub fn recognise(&self, source: &Source, file: &Identified<'_>) -> Option<&Position> {
        self.of_inode(file.inode)
            .map(|index| &self.positions[index].position)
            .find(|known| known.may_be(&source.name, file.inode, file.born) && known.is_in(file.content))
    }

    /// Positions in files that were written under this path.
    pub fn at<'a>(&'a self, source: &'a Source, path: &'a Path) -> impl Iterator<Item = &'a Earlier> {
        self.of_path(path).filter(|known| known.position.source == source.name)
    }

    /// Positions in files that were written under a date or number, and are of the same log as one of this path would be.
    pub fn dated<'a>(&'a self, source: &'a Source, path: &Path) -> impl Iterator<Item = &'a Earlier> {
        let indexes = self.by_log.get(&log_path(path)).into_iter().flatten();
        let known = indexes.map(|index| &self.positions[*index as usize]);
        known.filter(|known| known.position.source == source.name)
    }

    /// Whether a file that was written under this path was another source's, and not this one's.
    pub fn is_anothers(&self, source: &Source, path: &Path) -> bool {
        self.of_path(path).next().is_some() && self.at(source, path).next().is_none()
    }

    /// Positions in files that were written under this path and whose content a file has as a copy, as far as it was
    /// read.
    pub fn copied<'a>(
        &'a self,
        source: &'a Source,
        path: &'a Path,
        content: &'a impl Content,
    ) -> impl Iterator<Item = &'a Position> {
        let positions = self.at(source, path).map(|earlier| &earlier.position);
        positions.filter(move |known| known.head.length() >= TELLING && known.is_in(content))
    }

    /// The file of this inode is followed: should it be let go later, it is not to be recognised once more.
    pub fn found(&mut self, source: &Source, inode: u64) {
        let indexes: Vec<usize> = self.of_inode(inode).collect();
        for index in indexes {
            self.was_found[index] |= self.positions[index].position.source == source.name;
        }
    }

    /// Gives back the memory of those that were found.
    pub fn forget_found(&mut self) {
        let was_found = std::mem::take(&mut self.was_found);
        let positions = std::mem::take(&mut self.positions);
        let left: Vec<_> =
            positions.into_iter().zip(was_found).filter(|(_, found)| !found).map(|(position, _)| position).collect();
        *self = Self::new(left);
    }

    fn of_path<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Earlier> {
        let path_of = |index: &u32| Path::new(&self.positions[*index as usize].position.path);
        let start = self.by_path.partition_point(|index| path_of(index).as_os_str() < path.as_os_str());
        self.by_path[start..]
            .iter()
            .take_while(move |index| path_of(index) == path)
            .map(|index| &self.positions[*index as usize])
    }

    fn of_inode(&self, inode: u64) -> impl Iterator<Item = usize> {
        let inode_of = |index: u32| self.positions[index as usize].position.inode;
        let start = self.by_inode.partition_point(|index| inode_of(*index) < inode);
        self.by_inode[start..]
            .iter()
            .take_while(move |index| inode_of(**index) == inode)
            .map(|index| *index as usize)
            .filter(|index| !self.was_found[*index])
    }
}

/// What a file is known by.
#[derive(Debug)]
pub struct Identified<'a> {
    pub inode: u64,
    pub born: Option<i64>,
    pub content: &'a super::followed::Opened,
}

#[cfg(test)]
mod tests {
    use super::{Earlier, Known};
    use crate::logs::positions::Position;
    use crate::logs::source::Source;
    use hostwright_core::config::Config;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn source() -> Source {
        let text = "logs:\n  sources:\n    s: {files: [/var/log/a], outputs: [a, b, new]}\n  outputs:\n    a: {file: {path: /a}}\n    b: {file: {path: /b}}\n    new: {file: {path: /c}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("a config").logs.expect("logs");
        Source::new("s", &logs.sources["s"], Path::new("/var/lib/x")).expect("a source")
    }

    #[test]
    fn a_content_is_read_when_each_output_that_shipped_the_source_before_has_read_it() {
        let position = Position::at_end_of(b"one\ntwo\n");
        let earlier = |output: &str| Earlier { output: output.into(), position: position.clone() };
        let known = Known::new(vec![earlier("a"), earlier("b"), earlier("gone")]);
        let every = |outputs: &[&'static str]| known.is_every_output(&source(), &BTreeSet::from_iter(outputs.to_vec()));
        assert!(!every(&["a"]), "b had not even seen it");
        assert!(every(&["a", "b"]), "an output that came since is not asked, nor one that went");
    }
}
