//! Where lines come from: files found by pattern, known by identity, read in order, split into lines.
//!
//! In: folders and their files. Out: [`discover::Files`], the open files, and [`cursor::Cursor`], an output's way
//! through one of them. Nothing here survives a restart: positions do, and files are found again by them.

/// An output's way through a file: read, check, advance.
pub mod cursor;
/// Finds files by pattern, notices rotation, wakes the outputs.
pub mod discover;
/// What the name of a rotated file tells.
pub mod family;
/// An open file that outputs share.
pub mod followed;
/// How a file is known again: device, inode, head, and the window before a position.
pub mod identity;
/// What became of a file's bytes.
pub mod ledger;
/// Bytes to lines.
pub mod lines;
/// Patterns of file names, grouped by folder.
pub mod pattern;
/// inotify, as a hint where to look.
mod watcher;

use crate::logs::record::Recipe;
use crate::logs::status::Counters;
use hostwright_core::config::logs as config;
use std::time::Duration;

/// A source as the duty needs it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub folders: Vec<pattern::Folder>,
    /// How its lines become records.
    pub recipe: Recipe,
    pub line_limit: usize,
    pub retain: Option<Duration>,
    /// Names of outputs; the index of one is its slot.
    pub outputs: Vec<String>,
    /// What was shipped and what was odd, for each output.
    pub counters: Box<[Counters]>,
}

impl Source {
    /// # Errors
    /// A file pattern or a regular expression is not valid.
    pub fn new(name: &str, settings: &config::Source) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            folders: pattern::by_folder(&settings.files)?,
            recipe: Recipe::new(settings)?,
            line_limit: usize::try_from(settings.line_limit.0).unwrap_or(usize::MAX / 8),
            retain: settings.retain,
            counters: settings.outputs.iter().map(|_| Counters::default()).collect(),
            outputs: settings.outputs.clone(),
        })
    }

    /// The slot of an output, if lines of this source go there.
    pub fn slot(&self, output: &str) -> Option<usize> {
        self.outputs.iter().position(|name| name == output)
    }
}
