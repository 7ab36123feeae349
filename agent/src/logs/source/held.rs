use super::Source;
use super::family::family_path;
use super::followed::FollowedFile;
use super::known::Known;
use hostwright_core::state::{StateError, StateFile};
use hostwright_core::stored_path::StoredPath;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

const NOTE: &str = "held files";
const NOW: &str = "deleted files";
const EARLIER: &str = "lost files";

/// Rotated files of a source that an output lacks and that no link keeps on disk (on another file system, or with
/// `pin: 0B`): a deleted one is read from its open descriptor, which ends with the agent. What is missing after a restart
/// is told by the note that is kept of them.
#[derive(Debug)]
pub struct Held {
    file: StateFile<Note>,
    note: Note,
    /// What an earlier run noted was looked for.
    is_compared: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    files: Vec<NotedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NotedFile {
    /// While it was written.
    path: StoredPath,
    inode: u64,
    size: u64,
}

impl Held {
    /// `state` is the duty's folder.
    ///
    /// # Errors
    /// The note of an earlier run cannot be read.
    pub fn open(state: &Path, source: &str) -> Result<Self, StateError> {
        let mut file = StateFile::new(state.join(format!("held-{source}.json")), 1);
        let note = file.load()?.unwrap_or_default();
        Ok(Self { file, note, is_compared: false })
    }

    /// Tells what was noted before a restart and is nowhere any more, once all folders were looked at. The bytes that an
    /// output lacks of it.
    pub fn compare<'f>(
        &mut self,
        source: &Source,
        files: &(impl Iterator<Item = &'f Arc<FollowedFile>> + Clone),
        known: &Known,
    ) -> u64 {
        self.is_compared = true;
        let (mut lost, mut first) = (0, None);
        for noted in &self.note.files {
            if files.clone().any(|file| file.key.inode == noted.inode && *file.origin == *noted.path) {
                continue;
            }
            let positions = known.at(source, &noted.path).map(|known| &known.position);
            let positions: Vec<_> = positions.filter(|position| position.inode == noted.inode).collect();
            let family = family_path(&noted.path);
            // Compressed meanwhile, or copied.
            let mut relatives = files.clone().filter(|file| *file.family == *family);
            if relatives.any(|file| positions.iter().any(|p| p.head.length() > 0 && p.begins(&file.file))) {
                continue;
            }
            let acknowledged = positions.iter().map(|position| position.point.offset).min().unwrap_or(noted.size);
            let bytes = noted.size.saturating_sub(acknowledged);
            if bytes > 0 {
                first.get_or_insert(&noted.path);
                lost += bytes;
            }
        }
        if let Some(path) = first {
            let why = format!(
                "{} was deleted while the agent was away, before every output had it: {lost} bytes are lost (told until the next restart)",
                path.display()
            );
            source.gone.add(EARLIER, &source.name, why);
        }
        lost
    }

    /// Whether a file was noted before a restart.
    pub fn has(&self, path: &Path, inode: u64) -> bool {
        self.note.files.iter().any(|noted| noted.inode == inode && *noted.path == *path)
    }

    /// Notes which files those are now.
    pub fn note<'f>(&mut self, source: &Source, files: impl Iterator<Item = &'f Arc<FollowedFile>>) {
        if !self.is_compared || source.intake.is_some() {
            return;
        }
        let (mut note, mut deleted) = (Note::default(), Vec::new());
        for file in files.filter(|file| file.has_ended() && !file.is_pinned() && !file.is_replaced()) {
            let unread = file.unread();
            if unread == 0 {
                continue;
            }
            note.files.push(NotedFile {
                path: StoredPath::from(&*file.origin),
                inode: file.key.inode,
                size: file.size(),
            });
            if file.path().is_none() {
                deleted.push((file.origin.clone(), unread));
            }
        }
        let (hindrances, source) = (&source.gone, &source.name);
        match deleted.first() {
            None => hindrances.remove(NOW, source),
            Some((path, _)) => {
                let bytes: u64 = deleted.iter().map(|(_, unread)| unread).sum();
                let why = format!(
                    "{} was deleted before every output had it{}, and {bytes} bytes are only in a file that the agent keeps open: a restart of the agent loses them; see that the outputs keep up, and have the agent's state on the same file system",
                    path.display(),
                    others(deleted.len()),
                );
                hindrances.add(NOW, source, why);
            }
        }
        if note != self.note {
            match self.file.store(&note) {
                Ok(()) => hindrances.remove(NOTE, source),
                Err(error) => hindrances.add(NOTE, source, error.to_string()),
            }
            self.note = note;
        }
    }
}

/// " (and 2 more)".
fn others(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}
