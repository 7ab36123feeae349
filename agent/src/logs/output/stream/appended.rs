use super::Failure;
use crate::logs::source::identity::{Content, Key};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that records are appended to. What fsync confirmed is acknowledged.
#[derive(Debug)]
pub struct AppendedFile {
    path: PathBuf,
    file: File,
    key: Key,
    unconfirmed: u64,
}

impl AppendedFile {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path).and_then(|file| {
            end_last_record(&file)?;
            hostwright_core::atomic_file::sync_parent(path)?;
            let key = Key::of(&file.metadata()?);
            Ok(Self { path: path.to_owned(), file, key, unconfirmed: 0 })
        });
        opened.map_err(|error| {
            Failure::closed(format!(
                "cannot write {}: {error}; see that its folder exists and is writable",
                path.display()
            ))
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.unconfirmed += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| self.failed(&error))
    }

    /// Makes it durable. Fails when the file was renamed or deleted: the next one is opened then.
    pub fn confirm(&mut self) -> Result<(), Failure> {
        if self.unconfirmed > 0 {
            self.file.sync_data().map_err(|error| self.failed(&error))?;
            self.unconfirmed = 0;
        }
        Ok(())
    }

    pub fn check(&self) -> Result<(), Failure> {
        match self.path.metadata() {
            Ok(metadata) if Key::of(&metadata) == self.key => Ok(()),
            _ => Err(Failure::moved(format!("{} was renamed or deleted", self.path.display()))),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::closed(format!("cannot write {}: {error}; lines wait in their own files", self.path.display()))
    }
}

/// Ends a record of which a crash left only the beginning. It was never acknowledged, and comes again as a whole.
fn end_last_record(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    let mut tail = vec![0; 64 << 10];
    let start = length.saturating_sub(tail.len() as u64);
    let filled = file.fill_at(&mut tail, start)?;
    let tail = &tail[..filled];
    if tail.ends_with(b"\n") {
        return Ok(());
    }
    let record = memchr::memrchr(b'\n', tail).map_or(0, |newline| newline + 1);
    let is_ours = tail[record..].starts_with(b"{\"host\":") || b"{\"host\":".starts_with(&tail[record..]);
    match is_ours && (record > 0 || start == 0) {
        true => file.set_len(start + record as u64),
        false => file.write_all_at(b"\n", length),
    }
}

#[cfg(test)]
mod tests {
    use super::AppendedFile;

    #[test]
    fn a_record_of_which_a_crash_left_the_beginning_is_taken_out_and_foreign_text_is_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("out");
        for (before, after) in [
            ("{\"host\":1}\n{\"host\":2", "{\"host\":1}\nnew\n"),
            ("{\"ho", "new\n"),
            ("foreign", "foreign\nnew\n"),
            ("", "new\n"),
        ] {
            std::fs::write(&path, before).expect("written");
            let mut file = AppendedFile::open(&path).expect("opened");
            file.send(b"new\n").and_then(|()| file.confirm()).expect("sent");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), after);
        }
    }

    #[test]
    fn a_file_that_was_renamed_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("out");
        let file = AppendedFile::open(&path).expect("opened");
        file.check().expect("still there");
        std::fs::rename(&path, folder.path().join("out.1")).expect("renamed");
        assert!(file.check().is_err());
    }
}
