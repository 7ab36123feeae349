use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How rotated files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `app.log.1`, and those that there are move on by one.
    Numbered,
    /// `app.log.2026-11-20`.
    Dated,
    /// `app.log-20261120`, in another folder that is followed too.
    Elsewhere,
    /// The log is a symlink to `run-1`, `run-2` and so on.
    Linked,
}

/// The rotated files of a log, the oldest first.
#[derive(Debug)]
pub struct Rotated {
    log: PathBuf,
    naming: Naming,
    pub files: Vec<RotatedFile>,
    count: u32,
}

#[derive(Debug)]
pub struct RotatedFile {
    pub path: PathBuf,
    pub generation: u32,
    /// When it is to be compressed, and by what program.
    pub compression: Option<(Instant, &'static str)>,
}

impl Rotated {
    pub fn new(log: &Path, naming: Naming) -> Self {
        Self { log: log.to_owned(), naming, files: Vec::new(), count: 0 }
    }

    /// Makes room for a rotated file; the path that it is to have.
    pub fn make_room(&mut self) -> io::Result<PathBuf> {
        self.count += 1;
        let suffix = |text: String| PathBuf::from(format!("{}{text}", self.log.display()));
        let day = self.count - 1;
        let (year, month, day) = (2020 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
        match self.naming {
            Naming::Numbered => {
                let count = self.files.len();
                for (index, file) in self.files.iter_mut().enumerate() {
                    let ending = file.path.extension().filter(|ending| *ending == "gz" || *ending == "zst");
                    let ending = ending.map(|ending| format!(".{}", ending.display())).unwrap_or_default();
                    let to = suffix(format!(".{}{ending}", count - index + 1));
                    fs::rename(&file.path, &to)?;
                    file.path = to;
                }
                Ok(suffix(".1".into()))
            }
            Naming::Dated => Ok(suffix(format!(".{year}-{month:02}-{day:02}"))),
            Naming::Elsewhere => {
                let name = self.log.file_name().unwrap_or_default().to_string_lossy();
                Ok(self.log.with_file_name("old").join(format!("{name}-{year}{month:02}{day:02}")))
            }
            Naming::Linked => Ok(self.log.with_file_name(format!("run-{}", self.count))),
        }
    }

    pub fn add(&mut self, file: RotatedFile) {
        self.files.push(file);
    }

    /// Compresses what is due and nobody writes late into; what was done.
    pub fn compress_due(&mut self, busy: impl Fn(u32) -> bool) -> io::Result<Option<String>> {
        let due = |file: &&mut RotatedFile| {
            file.compression.is_some_and(|(at, _)| at <= Instant::now()) && !busy(file.generation)
        };
        let Some(file) = self.files.iter_mut().find(due) else { return Ok(None) };
        let Some((_, program)) = file.compression.take() else { return Ok(None) };
        let mut command = Command::new(program);
        if program == "zstd" {
            command.args(["-q", "--rm"]);
        }
        let status = command.arg(&file.path).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{program} {}: {status}", file.path.display())));
        }
        let ending = if program == "zstd" { "zst" } else { "gz" };
        file.path = PathBuf::from(format!("{}.{ending}", file.path.display()));
        Ok(Some(format!("is now {}", file.path.display())))
    }
}

/// Copies as slow tools do: a piece at a time, so that the copy is seen while it grows.
pub fn copy_slowly(from: &Path, to: &Path, pause: Duration) -> io::Result<()> {
    let mut from = fs::File::open(from)?;
    let mut to = fs::File::create(to)?;
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&piece[..length])?;
        // The tool's own time: nothing is awaited.
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::{Naming, Rotated, RotatedFile};
    use std::fs;
    use std::time::Instant;

    #[test]
    fn numbered_files_move_on_compressed_or_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = folder.path().join("a.log");
        let mut rotated = Rotated::new(&log, Naming::Numbered);
        for generation in 0..3 {
            let path = rotated.make_room().expect("room");
            assert!(path.ends_with("a.log.1"));
            fs::write(&path, generation.to_string()).expect("written");
            let compression = (generation == 1).then(|| (Instant::now(), "gzip"));
            rotated.add(RotatedFile { path, generation, compression });
            rotated.compress_due(|_| false).expect("compressed");
        }
        for (name, there) in [("a.log.1", true), ("a.log.2.gz", true), ("a.log.3", true), ("a.log.2", false)] {
            assert_eq!(folder.path().join(name).exists(), there, "{name}");
        }
    }
}
