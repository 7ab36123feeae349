//! Where lines come from: files found by pattern, known by identity, read in order, split into lines.
//!
//! In: folders and their files. Out: [`discover::Files`], the open files, and [`cursor::Cursor`], an output's way
//! through one of them. Nothing here survives a restart: positions do, and files are found again by them.

/// Whether a file that was found is to be followed.
mod admission;
/// The content of gzip and zstd files.
mod compressed;
/// An output's way through a file: read, check, advance.
pub mod cursor;
/// Finds files by pattern, notices rotation, wakes the outputs.
pub mod discover;
/// What the name of a rotated file tells.
pub mod family;
/// A folder, and what its names are about.
mod folder;
/// An open file that outputs share.
pub mod followed;
/// The folders and files of one source.
mod following;
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
/// Positions of earlier runs, by which files are known again.
mod known;
/// What became of a file's bytes.
pub mod ledger;
/// Bytes to lines.
pub mod lines;
/// Messages that are sent to us.
mod listener;
/// Patterns of names of folders and files.
mod pattern;
/// Links that keep unread files on disk.
mod pins;
/// What the searches for the files of all sources share.
mod search;
/// What comes from no file, in files.
pub mod spool;
/// Files whose content was replaced, and copies of what was in them.
mod truncation;
/// inotify, as a hint where to look.
mod watcher;

use crate::logs::record::Recipe;
use crate::logs::status::Counters;
use hostwright_core::config::logs as config;
use hostwright_core::config::logs::Parse;
use hostwright_core::config::logs::multiline::Rule;
use hostwright_core::config::logs::source::{Kind, Start};
use intake::Intake;
use joining::{Engine, Joining, Multiline};
use regex::bytes::Regex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source as the duty needs it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    patterns: pattern::Patterns,
    /// Whether files are begun at their ends when the source is followed for the first time.
    from_end: bool,
    /// The most bytes of deleted files that are kept on disk for outputs that lack them.
    pin: u64,
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
    lost: AtomicU64,
}

impl Source {
    /// `state` is the duty's folder, where spools are.
    ///
    /// # Errors
    /// A file pattern or a regular expression is not valid.
    pub fn new(name: &str, settings: &config::Source, state: &Path) -> anyhow::Result<Self> {
        let segments = [format!("{}/*.ndjson", spool::folder(state, name).display())];
        let (files, intake): (&[String], _) = match &settings.kind {
            Kind::Files(files) => (&files.patterns, None),
            Kind::Journal(_) => (&segments, Some("journal")),
            Kind::Syslog(_) => (&segments, Some("syslog")),
            Kind::Containers(_) => (&[], None),
        };
        let (exclude, from_end, pin) = match &settings.kind {
            Kind::Files(files) => (files.exclude.as_slice(), files.start == Start::End, files.pin.0),
            _ => (&[][..], false, 0),
        };
        Ok(Self {
            name: name.to_owned(),
            patterns: pattern::Patterns::new(files, exclude)?,
            from_end,
            pin,
            lost: AtomicU64::new(0),
            joining: joining(settings)?,
            recipe: Recipe::new(settings)?,
            line_limit: usize::try_from(settings.line_limit.0).unwrap_or(usize::MAX / 8),
            retain: settings.retain,
            intake: intake.map(|name| Arc::new(Intake::new(name))),
            counters: settings.outputs.iter().map(|_| Counters::default()).collect(),
            outputs: settings.outputs.clone(),
        })
    }

    /// So many bytes are gone that an output lacked.
    fn lost(&self, bytes: u64) {
        self.lost.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were gone before an output had them: truncated without a copy, or let go because of a limit.
    pub fn lost_bytes(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The slot of an output, if lines of this source go there.
    pub fn slot(&self, output: &str) -> Option<usize> {
        self.outputs.iter().position(|name| name == output)
    }
}

fn joining(settings: &config::Source) -> Result<Joining, regex::Error> {
    let Some(multiline) = &settings.multiline else {
        return Ok(match settings.parse {
            Parse::Cri(_) => Joining::Engine(Engine::Cri),
            Parse::Docker(_) => Joining::Engine(Engine::Docker),
            _ => Joining::Lines,
        });
    };
    let (pattern, is_start) = match &multiline.rule {
        Rule::Start(pattern) => (pattern, true),
        Rule::Continuation(pattern) => (pattern, false),
    };
    Ok(Joining::Multiline(Multiline { regex: Regex::new(pattern.as_str())?, is_start, timeout: multiline.timeout }))
}
