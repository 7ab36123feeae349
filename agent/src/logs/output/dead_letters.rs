use super::outgoing::Refused;
use crate::logs::record::Facts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file of dead letters is put aside at this size, and the one that was put aside before it goes.
const GENERATION: u64 = 128 << 20;

/// The lines of one output that its platform does not take: JSON lines in a file, each with the reason. A line counts
/// as dealt with when it is durable here.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    /// Not durable yet.
    waiting: Vec<u8>,
}

/// A line with the reason why it is here.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    pub time: Timestamp,
    #[serde(flatten)]
    pub facts: Facts,
    pub content: u64,
    pub offset: u64,
    pub length: u64,
    pub why: String,
    /// As it stands in its file; none if that was gone already.
    pub line: Option<String>,
}

impl DeadLetters {
    pub fn new(folder: &Path, output: &str) -> Self {
        Self { path: folder.join(format!("dead-letters-{output}.ndjson")), file: None, size: 0, waiting: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a line in; it is durable after the next [`Self::flush`].
    pub fn add(&mut self, refused: &Refused) {
        let letter = Letter {
            time: Timestamp::now(),
            facts: Facts::clone(&refused.facts),
            content: refused.content,
            offset: refused.offset,
            length: refused.length,
            why: refused.why.clone(),
            line: refused.text.clone(),
        };
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.waiting, &letter);
        self.waiting.push(b'\n');
    }

    /// Whether all that was taken in is durable.
    pub fn is_flushed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes durable what was taken in.
    ///
    /// # Errors
    /// The disk does not take it. It is kept, for the next attempt.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let result = self.append(&waiting);
        if result.is_err() {
            self.waiting = waiting;
            // Opened anew, what was written of it in part is cut off.
            self.file = None;
        }
        result
    }

    /// Where letters are put aside that are to be sent again.
    pub fn replay_path(&self) -> PathBuf {
        self.path.with_extension("replay.ndjson")
    }

    /// Puts all letters aside to be sent again; whether there are any.
    ///
    /// # Errors
    /// The file cannot be renamed, or an earlier one is still being sent.
    pub fn put_aside(&mut self) -> io::Result<bool> {
        let aside = self.replay_path();
        if aside.exists() {
            return Err(io::Error::other("dead letters are being sent again already; see `hostwright-agent logs`"));
        }
        self.flush()?;
        self.file = None;
        let put = match std::fs::rename(&self.path, &aside) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        self.size = 0;
        hostwright_core::atomic_file::sync_parent(&self.path)?;
        Ok(put)
    }

    fn append(&mut self, letters: &[u8]) -> io::Result<()> {
        if self.file.is_some() && self.size >= GENERATION {
            log::warn!("logs: {} is full; it is put aside as .1, and an older .1 is deleted", self.path.display());
            std::fs::rename(&self.path, self.path.with_extension("ndjson.1"))?;
            self.file = None;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            if self.size > 0 && file.metadata()?.len() > self.size {
                file.set_len(self.size)?;
            }
            self.size = file.metadata()?.len();
            hostwright_core::atomic_file::sync_parent(&self.path)?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(letters)?;
        file.sync_data()?;
        self.size += letters.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::DeadLetters;
    use crate::logs::output::outgoing::Refused;
    use crate::logs::record::Facts;
    use std::sync::Arc;

    #[test]
    fn a_letter_has_its_place_its_line_and_the_reason() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut letters = DeadLetters::new(folder.path(), "es");
        let facts = Arc::new(Facts { source: "s".into(), file: "/f".into(), ..Facts::default() });
        let (why, text) = ("mapper_parsing_exception".to_owned(), Some("{\"a\":1}".to_owned()));
        let refused = Refused { facts, content: 1, offset: 10, length: 8, why, text };
        letters.add(&refused);
        assert!(!letters.is_flushed() && !letters.path().exists());
        letters.flush().expect("written");
        letters.add(&refused);
        letters.flush().expect("written");
        let text = std::fs::read_to_string(letters.path()).expect("read");
        let letter: serde_json::Value = serde_json::from_str(text.lines().nth(1).expect("two")).expect("JSON");
        assert_eq!((&letter["offset"], &letter["line"]), (&10.into(), &"{\"a\":1}".into()));
        assert_eq!(letter["why"], "mapper_parsing_exception");
    }

    #[test]
    fn what_a_disk_does_not_take_waits() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut letters = DeadLetters::new(&folder.path().join("missing"), "es");
        let facts = Arc::new(Facts::default());
        letters.add(&Refused { facts, content: 1, offset: 0, length: 1, why: "no".into(), text: None });
        letters.flush().expect_err("no folder");
        assert!(!letters.is_flushed());
        std::fs::create_dir(folder.path().join("missing")).expect("made");
        letters.flush().expect("written");
        assert!(letters.is_flushed());
    }
}
