//! Where lines come from: files found by pattern, known by identity, read in order, split into lines.
//!
//! In: folders and their files. Out: [`discover::Files`], the open files, and [`cursor::Cursor`], an output's way
//! through one of them. Nothing here survives a restart: positions do, and files are found again by them.

/// Whether a file that was found is to be followed.
mod admission;
/// Folders into which logs are rotated.
mod archives;
/// How new files are taken over, in which order.
mod arrival;
/// Events that a rotation parts.
pub mod bridge;
/// The content of gzip and zstd files.
mod compressed;
/// What is known of containers whose output is followed.
mod containers;
/// An output's way through a file: read, check, advance.
pub mod cursor;
/// How many compressed files are read at once.
mod decoders;
/// Finds files by pattern, notices rotation, wakes the outputs.
pub mod discover;
/// A followed file in its folders.
mod entry;
/// What the name of a rotated file tells.
pub mod family;
/// A folder, and what its names are about.
mod folder;
/// An open file that outputs share.
pub mod followed;
/// The folders and files of one source.
mod following;
/// Unread files that nothing keeps on disk.
mod held;
/// What a new file has of the one whose place it took.
pub mod heritage;
/// What hinders a source.
pub mod hindrances;
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
/// Deleted files that are read on after the configuration was loaded anew.
mod kept;
/// Positions of earlier runs, by which files are known again.
pub mod known;
/// What became of a file's bytes.
pub mod ledger;
/// Bytes to lines.
pub mod lines;
/// Whose links are followed.
mod links;
/// Messages that are sent to us.
mod listener;
/// Files are opened when they get their names.
pub mod names;
/// Folders into which a folder's files may be rotated.
mod nearby;
/// Files that were overwritten before a look at their folder.
mod overwritten;
/// Patterns of names of folders and files.
mod pattern;
/// Links that keep unread files on disk.
mod pins;
/// What is found on a way through folders.
mod round;
/// What the searches for the files of all sources share.
mod search;
/// What becomes of followed files: where they are, whether they have ended, when they are let go.
mod settling;
/// What comes from no file, in files.
pub mod spool;
/// Files that a link led to between two looks.
mod switched;
/// Files whose content was replaced, and copies of what was in them.
mod truncation;
/// Logs that are nowhere after a restart.
mod vanished;
/// inotify, as a hint where to look.
mod watcher;
/// Lines of UTF-16.
mod wide;

use crate::logs::record::Recipe;
use crate::logs::rotate::report::Rotation;
use crate::logs::status::counters::Counters;
use containers::Containers;
use family::UNFINISHED;
use hindrances::Hindrances;
use hostwright_core::config::logs as config;
use hostwright_core::config::logs::Parse;
use hostwright_core::config::logs::multiline::Rule;
use hostwright_core::config::logs::rotate::Compression;
use hostwright_core::config::logs::source::{Files, Kind, Start};
use intake::Intake;
use joining::{Engine, Inside, Joining, Multiline};
use pattern::Patterns;
use regex::bytes::Regex;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source as the duty needs it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    patterns: Patterns,
    /// Whether files are begun at their ends when the source is followed for the first time.
    from_end: bool,
    /// The most bytes of deleted files that are kept on disk for outputs that lack them.
    pin: u64,
    /// More unread than this cannot be kept: the oldest is deleted, or lost when somebody deletes it.
    pub most_unread: Option<u64>,
    /// Which of its lines belong together.
    pub joining: Joining,
    /// How its lines become records.
    pub recipe: Recipe,
    pub line_limit: usize,
    pub retain: Option<Duration>,
    /// What came in, if its lines come from no file.
    pub intake: Option<Arc<Intake>>,
    /// What we rotated, if that is asked of us.
    pub rotation: Option<Arc<Rotation>>,
    /// Which containers are meant, if its lines are their output.
    containers: Option<Containers>,
    /// Names of outputs; the index of one is its slot.
    pub outputs: Vec<String>,
    /// What was shipped and what was odd, for each output.
    pub counters: Box<[Counters]>,
    lost: AtomicU64,
    /// Files that are or were gone before every output had them.
    gone: Hindrances,
}

impl Source {
    /// `state` is the duty's folder, where spools are.
    ///
    /// # Errors
    /// A pattern or a regular expression is not valid.
    pub fn new(name: &str, settings: &config::Source, state: &Path) -> anyhow::Result<Self> {
        let containers = match &settings.kind {
            Kind::Containers(settings) => Some(Containers::new(settings)?),
            _ => None,
        };
        let intake = match &settings.kind {
            Kind::Journal(_) => Some("journal"),
            Kind::Syslog(_) => Some("syslog"),
            Kind::Files(_) | Kind::Containers(_) => None,
        };
        let patterns = match (&settings.kind, &containers) {
            (Kind::Files(files), _) => Patterns::new(&files.patterns, &left_out(files))?,
            (_, Some(containers)) => Patterns::new(&[containers.pattern()], &[])?,
            _ => Patterns::new(&[format!("{}/*.ndjson", spool::folder(state, name).display())], &[])?,
        };
        let (from_end, pin) = match &settings.kind {
            Kind::Files(files) => (files.start == Start::End, files.pin.0),
            // The engine deletes a container's log with it.
            Kind::Containers(_) => (false, 1 << 30),
            Kind::Journal(_) | Kind::Syslog(_) => (false, 0),
        };
        let most_unread = match &settings.kind {
            // Nobody else deletes what we rotate.
            Kind::Files(Files { rotate: Some(rotate), .. }) => rotate.keep.force_bytes.map(|most| most.0),
            Kind::Files(_) | Kind::Containers(_) => Some(pin),
            Kind::Journal(_) | Kind::Syslog(_) => None,
        };
        let rotates = matches!(&settings.kind, Kind::Files(files) if files.rotate.is_some());
        Ok(Self {
            name: name.to_owned(),
            patterns,
            from_end,
            pin,
            most_unread,
            lost: AtomicU64::new(0),
            gone: Hindrances::default(),
            joining: joining(settings)?,
            recipe: Recipe::new(settings)?,
            line_limit: usize::try_from(settings.line_limit.0).unwrap_or(usize::MAX / 8),
            // What is rotated by us is followed until it is deleted or compressed, and that is decided there.
            retain: settings.retain.or(rotates.then_some(Duration::MAX)),
            rotation: rotates.then(Arc::default),
            containers,
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

    /// What hinders it beside its outputs, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let intake = self.intake.iter().flat_map(|intake| intake.problems(&self.name));
        let rotation = self.rotation.iter().flat_map(|rotation| rotation.problems(&self.name));
        let containers = self.containers.iter().flat_map(|containers| containers.problems(&self.name));
        self.gone.problems(&self.name).into_iter().chain(intake).chain(rotation).chain(containers).collect()
    }

    /// Whether a file is asked for, of a name that is.
    fn takes(&self, path: &Path, name: &str) -> bool {
        !self.patterns.exclude(path, name)
            && self.containers.as_ref().is_none_or(|containers| !containers.leave_out(path))
    }

    /// Whether a file of this path is asked for.
    pub fn asks_for(&self, path: &Path) -> bool {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        self.patterns.ask_for_path(path) && self.takes(path, &name)
    }

    /// Whether a file of this path is asked for, or is a generation of a log that is.
    pub fn may_ask_for(&self, path: &Path) -> bool {
        self.asks_for(path) || self.asks_for(&family::family_path(path))
    }

    /// What is known of a file beside its name: further fields of its records.
    pub fn fields_of(&self, path: &Path) -> BTreeMap<String, String> {
        self.containers.as_ref().map(|containers| containers.fields(path)).unwrap_or_default()
    }

    /// The slot of an output, if lines of this source go there.
    pub fn slot(&self, output: &str) -> Option<usize> {
        self.outputs.iter().position(|name| name == output)
    }
}

fn joining(settings: &config::Source) -> Result<Joining, regex::Error> {
    let engine = match settings.parse {
        Parse::Cri(_) => Some(Engine::Cri),
        Parse::Docker(_) => Some(Engine::Docker),
        _ => None,
    };
    let Some(multiline) = &settings.multiline else { return Ok(engine.map_or(Joining::Lines, Joining::Engine)) };
    let (pattern, is_start) = match &multiline.rule {
        Rule::Start(pattern) => (pattern, true),
        Rule::Continuation(pattern) => (pattern, false),
    };
    let multiline = Multiline { regex: Regex::new(pattern.as_str())?, is_start, timeout: multiline.timeout };
    Ok(match engine {
        Some(engine) => Joining::Inside(Inside { engine, multiline }),
        None => Joining::Multiline(multiline),
    })
}

/// Names that are not asked for. Where we rotate, that is also what we are writing, and what we compressed: every output
/// had it before.
fn left_out(files: &Files) -> Vec<String> {
    let mut names = files.exclude.clone();
    if let Some(rotate) = &files.rotate {
        names.push(format!("*{UNFINISHED}"));
        names.extend(rotate.compress.map(|method| match method {
            Compression::Gzip => "*.gz".to_owned(),
            Compression::Zstd => "*.zst".to_owned(),
        }));
    }
    names
}
