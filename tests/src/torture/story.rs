use super::lock;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// What happened when, in a file: to be read when something was lost.
#[derive(Debug)]
pub struct Story {
    path: PathBuf,
    file: Mutex<File>,
    began: Instant,
}

impl Story {
    pub fn begin(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Mutex::new(File::create(path)?), began: Instant::now() })
    }

    pub fn tell(&self, what: &str) {
        // A story that cannot be written is missed when it is read.
        let _ = writeln!(lock(&self.file), "{:8.3} {what}", self.began.elapsed().as_secs_f64());
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last of what was told with these words in it.
    pub fn about(&self, words: &str, most: usize) -> String {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(words)).collect();
        lines[lines.len().saturating_sub(most)..].join("\n")
    }
}
