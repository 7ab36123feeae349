use super::folder::Folder;
use super::following::Following;
use super::known::Known;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// So many folders are looked into for the files of one log.
const MOST: usize = 200;

impl Following {
    /// Before the first look: where files are that were moved to a folder nearby while the agent was away (as logrotate
    /// does with `olddir`), so that what is unread of them is read, and first.
    pub fn look_elsewhere(&mut self, known: &Known) {
        let mut missing: BTreeMap<&Path, BTreeSet<u64>> = BTreeMap::new();
        for position in known.of(&self.source) {
            if let Some(folder) = Path::new(&position.path).parent() {
                missing.entry(folder).or_default().insert(position.inode);
            }
        }
        for (folder, inodes) in missing {
            let there = inodes_in(folder);
            let mut gone: BTreeSet<u64> = inodes.difference(&there).copied().collect();
            for near in if gone.is_empty() { Vec::new() } else { near(folder) } {
                let found: Vec<_> = inodes_in(&near).intersection(&gone).copied().collect();
                if !found.is_empty() && !self.folders.contains_key(&*near) {
                    log::info!(source = self.source.name; "logs: files of {} are in {} now", folder.display(), near.display());
                    let folder = Folder::new(near.into(), Vec::new(), false);
                    self.folders.insert(folder.path.clone(), folder);
                }
                gone.retain(|inode| !found.contains(inode));
            }
        }
    }
}

/// The folders in a folder, and those beside it.
fn near(folder: &Path) -> Vec<PathBuf> {
    let beside = folder.parent().filter(|parent| parent.parent().is_some());
    let mut found: Vec<_> = [Some(folder), beside].into_iter().flatten().flat_map(folders_in).collect();
    found.retain(|near| near != folder);
    found
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).take(MOST).collect()
}

fn inodes_in(folder: &Path) -> BTreeSet<u64> {
    folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.ino()).collect()
}
