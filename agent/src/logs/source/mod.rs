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
/// What came in for a source that is no file.
pub mod intake;
/// The tasks that take in what comes from no file.
pub mod intakes;
/// Lines that belong together.
pub mod joining;
/// The systemd journal.
mod journal;
/// What became of a file's bytes.
pub mod ledger;
/// Bytes to lines.
pub mod lines;
/// Messages that are sent to us.
mod listener;
/// Patterns of file names, grouped by folder.
pub mod pattern;
/// What comes from no file, in files.
pub mod spool;
/// inotify, as a hint where to look.
mod watcher;

use crate::logs::record::Recipe;
use crate::logs::status::Counters;
use hostwright_core::config::logs as config;
use hostwright_core::config::logs::source::Kind;
use intake::Intake;
use joining::Joining;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A source as the duty needs it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub folders: Vec<pattern::Folder>,
    /// Which of its lines belong together.
    pub joining: Joining,
    /// How its lines become records.
    pub recipe: Recipe,
    pub line_limit: usize,
    pub retain: Option<Duration>,
    /// What came in, if its lines come from no file.
    pub intake: Option<Arc<Intake>>,
    /// Names of outputs; the index of one is its slot.
    pub outputs: Vec<String>,
    /// What was shipped and what was odd, for each output.
    pub counters: Box<[Counters]>,
}

impl Source {
    /// `state` is the duty's folder, where spools are.
    ///
    /// # Errors
    /// A file pattern or a regular expression is not valid.
    pub fn new(name: &str, settings: &config::Source, state: &Path) -> anyhow::Result<Self> {
        let segments = || vec![format!("{}/*.ndjson", spool::folder(state, name).display())];
        let (files, intake) = match &settings.kind {
            Kind::Files(files) => (files.patterns.clone(), None),
            Kind::Journal(_) => (segments(), Some("journal")),
            Kind::Syslog(_) => (segments(), Some("syslog")),
            Kind::Containers(_) => (Vec::new(), None),
        };
        Ok(Self {
            name: name.to_owned(),
            folders: pattern::by_folder(&files)?,
            joining: Joining::new(settings)?,
            recipe: Recipe::new(settings)?,
            line_limit: usize::try_from(settings.line_limit.0).unwrap_or(usize::MAX / 8),
            retain: settings.retain,
            intake: intake.map(|name| Arc::new(Intake::new(name))),
            counters: settings.outputs.iter().map(|_| Counters::default()).collect(),
            outputs: settings.outputs.clone(),
        })
    }

    /// The slot of an output, if lines of this source go there.
    pub fn slot(&self, output: &str) -> Option<usize> {
        self.outputs.iter().position(|name| name == output)
    }
}
