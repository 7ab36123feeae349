use super::fault::{Checked, Fault, one};
use super::interpolate::Hidden;
use super::tree::{At, Tree};
use super::variables::Variables;
use hostwright_core::yaml;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Values that services take from those that they extend: a large one times many services is no real project.
const MAX_COPIED: usize = 100_000;
/// Of what all services take from their `env_file`s.
const MAX_ENVIRONMENT: usize = 8 << 20;

/// What one loading reads.
#[derive(Debug, Default)]
pub struct Session {
    pub(super) sources: Vec<PathBuf>,
    pub(super) watched: Vec<PathBuf>,
    pub(super) notes: Vec<Fault>,
    pub(super) faults: Vec<Fault>,
    pub(super) hidden: Vec<Hidden>,
    pub(super) bytes: u64,
    pub(super) copied: usize,
    pub(super) environment: usize,
    pub(super) contents: BTreeMap<(&'static str, String), String>,
    /// A file that was read for the project's name alone, with its length: it is read again as what it is.
    pub(super) parsed: Option<(PathBuf, u64, Vec<yaml::Node>)>,
}

/// What files are loaded with.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub files: &'a [PathBuf],
    pub folder: &'a Path,
    pub variables: &'a Variables,
    /// What asked for them.
    pub asked: At,
}

/// A file whose services are extended.
#[derive(Debug)]
pub struct Base<'a> {
    pub path: &'a Path,
    pub at: At,
    pub variables: &'a Variables,
}

impl Session {
    /// Counts what a service takes from another.
    pub fn copy(&mut self, base: &Tree, at: At) -> Checked<()> {
        self.copied += base.count();
        if self.copied > MAX_COPIED {
            return one(Fault::bare(at, format!("services extend others by more than {MAX_COPIED} values in all")));
        }
        Ok(())
    }

    /// Counts what a service takes from files.
    pub fn take(&mut self, entries: &BTreeMap<String, String>, at: At) -> Checked<()> {
        self.environment += entries.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if self.environment > MAX_ENVIRONMENT {
            let most = MAX_ENVIRONMENT >> 20;
            return one(Fault::bare(at, format!("env_file: all services take more than {most} MiB from files")));
        }
        Ok(())
    }

    pub fn note(&mut self, fault: Fault) {
        self.notes.push(fault);
    }

    /// Notes a file whose change calls for loading again.
    pub fn watch(&mut self, path: PathBuf) {
        if !self.watched.contains(&path) {
            self.watched.push(path);
        }
    }
}
