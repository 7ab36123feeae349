//! Journal files, made by systemd-journal-remote.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const WRITER: &str = "/lib/systemd/systemd-journal-remote";
/// 2026-11-20T10:00:00Z, in microseconds since 1970.
const BEGIN: u64 = 1_795_168_800_000_000;

/// A folder with a journal that grows as it is told to.
#[derive(Debug)]
pub struct Journal {
    folder: TempDir,
    entries: u64,
    files: usize,
}

impl Journal {
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, entries: 0, files: 1 })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Appends entries with these fields, each a second after the one before.
    pub fn write(&mut self, entries: &[Vec<(&str, &[u8])>]) -> Result<()> {
        let mut export = Vec::new();
        for fields in entries {
            self.entries += 1;
            let time = BEGIN + self.entries * 1_000_000;
            writeln!(export, "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}", self.entries * 1_000_000)?;
            writeln!(export, "_BOOT_ID=0123456789abcdef0123456789abcdef")?;
            for (name, value) in fields {
                // The form for values of any bytes (Journal Export Format).
                writeln!(export, "{name}")?;
                export.extend_from_slice(&(value.len() as u64).to_le_bytes());
                export.extend_from_slice(value);
                export.push(b'\n');
            }
            export.push(b'\n');
        }
        self.import(&export)
    }

    /// What follows goes into another file, as after a rotation of the journal.
    pub fn rotate(&mut self) {
        self.files += 1;
    }

    /// Removes all files but the newest, as a vacuum does.
    pub fn vacuum(&self) -> Result<()> {
        (1..self.files).try_for_each(|number| Ok(fs::remove_file(self.file(number))?))
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("part{number}.journal"))
    }

    fn import(&self, export: &[u8]) -> Result<()> {
        let mut writer = Command::new(WRITER)
            .arg(format!("--output={}", self.file(self.files).display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {WRITER} (tests/setup.sh installs it)"))?;
        writer.stdin.take().context("no stdin")?.write_all(export)?;
        let output = writer.wait_with_output()?;
        if !output.status.success() {
            bail!("{WRITER}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
