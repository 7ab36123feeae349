use super::Stage;
use hostwright_core::atomic_file;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Beyond so many lines the journal is written anew with what counts of it.
const MAX_LINES: usize = 2000;

/// What is on record of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The step's name.
    pub step: String,
    /// Its stage.
    pub stage: Stage,
    /// The digest of what it was told to do.
    pub input: String,
    /// The number of the instance's boot in which this was.
    pub boot: u64,
    /// When it began.
    pub started: Timestamp,
    /// Seconds since the machine started until then: what NTP does to the clock in the middle of a boot is no part of it.
    #[serde(default)]
    pub uptime: Option<f64>,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub state: State,
    /// How often in a row it was begun before and cut off.
    #[serde(default, skip_serializing_if = "is_never")]
    pub cuts: u32,
    /// Why it did not simply succeed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

fn is_never(cuts: &u32) -> bool {
    *cuts == 0
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Begun; nobody wrote how it ended.
    #[serde(rename = "running")]
    Running,
    /// It is as it should be.
    #[serde(rename = "done")]
    Done,
    /// There was nothing to do, or it cannot be done here.
    #[serde(rename = "skipped")]
    Skipped,
    /// It failed.
    #[serde(rename = "failed")]
    Failed,
    /// Something that it needs has failed.
    #[serde(rename = "not run")]
    NotRun,
}

impl State {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::NotRun => "not run",
        }
    }

    /// Whether steps that need this one can go on.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Step(Record),
    Boot { boot: u64, boot_id: String, at: Timestamp },
}

/// What has been done for an instance: lines that are appended and fsynced, the last one of a step counts.
pub struct Journal {
    path: PathBuf,
    file: File,
    records: BTreeMap<String, Record>,
    boot: u64,
}

impl Journal {
    /// Opens or begins the journal, and counts this boot if it is a new one.
    ///
    /// A last line that a power cut tore is dropped: what it would have said has not happened.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: PathBuf, boot_id: &str) -> io::Result<Self> {
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let Read { records, boot, boot_id: last_boot_id, lines, whole } = read(&text, &path);
        let file = File::options().create(true).append(true).mode(0o600).open(&path)?;
        file.set_len(whole as u64)?;
        atomic_file::sync_parent(&path)?;
        let mut journal = Self { path, file, records, boot };
        if last_boot_id.as_deref() != Some(boot_id) {
            journal.boot += 1;
            let at = Timestamp::now();
            journal.append(&[Line::Boot { boot: journal.boot, boot_id: boot_id.to_owned(), at }])?;
        }
        if lines > MAX_LINES {
            journal.shorten(boot_id)?;
        }
        Ok(journal)
    }

    /// What is on record of a step.
    pub fn record(&self, step: &str) -> Option<&Record> {
        self.records.get(step)
    }

    /// The number of this boot among the instance's, from 1.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Whether a stage was at work in this boot before.
    pub fn was_begun_in_this_boot(&self) -> bool {
        self.records.values().any(|record| record.boot == self.boot)
    }

    /// What is on record, to look at: nothing is written, and this boot counts as the one after the last.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn look(path: PathBuf, boot_id: &str) -> io::Result<Self> {
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let Read { records, boot, boot_id: last, .. } = read(&text, &path);
        let is_new = last.as_deref() != Some(boot_id);
        let file = File::open("/dev/null")?;
        Ok(Self { path, file, records, boot: boot + u64::from(is_new) })
    }

    /// Records how far a step came; it is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&mut self, record: Record) -> io::Result<()> {
        self.note_all(vec![record])
    }

    /// The same for several at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_all(&mut self, records: Vec<Record>) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.append(&records.iter().cloned().map(Line::Step).collect::<Vec<_>>())?;
        self.records.extend(records.into_iter().map(|record| (record.step.clone(), record)));
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes)?;
        self.file.sync_data()
    }

    fn shorten(&mut self, boot_id: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        let boot = Line::Boot { boot: self.boot, boot_id: boot_id.to_owned(), at: Timestamp::now() };
        for line in self.records.values().cloned().map(Line::Step).chain([boot]) {
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
        }
        atomic_file::replace(&self.path, &bytes, 0o600)?;
        self.file = File::options().append(true).open(&self.path)?;
        Ok(())
    }
}

/// What a journal's text says.
struct Read {
    records: BTreeMap<String, Record>,
    boot: u64,
    boot_id: Option<String>,
    lines: usize,
    /// Bytes up to the end of the last whole line.
    whole: usize,
}

fn read(text: &[u8], path: &Path) -> Read {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut found = Read { records: BTreeMap::new(), boot: 0, boot_id: None, lines: 0, whole };
    for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        found.lines += 1;
        match serde_json::from_slice(line) {
            Ok(Line::Step(record)) => drop(found.records.insert(record.step.clone(), record)),
            Ok(Line::Boot { boot, boot_id, .. }) => (found.boot, found.boot_id) = (boot, Some(boot_id)),
            Err(error) => log::warn!("a line of {} is damaged and left out: {error}", path.display()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Journal, MAX_LINES, Record, State};
    use crate::boot::steps::Stage;
    use jiff::Timestamp;
    use std::io::Write as _;

    fn record(step: &str, state: State, boot: u64) -> Record {
        let (why, remedy) = (String::new(), String::new());
        Record {
            step: step.into(),
            stage: Stage::Early,
            input: "x".into(),
            boot,
            started: Timestamp::UNIX_EPOCH,
            uptime: None,
            seconds: 0.5,
            state,
            cuts: 0,
            why,
            remedy,
        }
    }

    #[test]
    fn the_last_line_of_a_step_counts_and_a_torn_one_does_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(path.clone(), "a").expect("begun");
        journal.note(record("users", State::Running, 1)).expect("noted");
        journal.note(record("users", State::Done, 1)).expect("noted");
        journal.note(record("files", State::Running, 1)).expect("noted");
        std::fs::File::options().append(true).open(&path).expect("opened").write_all(b"{\"step\":\"fi").expect("torn");
        let journal = Journal::open(path, "a").expect("opened");
        assert_eq!(journal.boot(), 1);
        assert_eq!(journal.record("users").expect("record").state, State::Done);
        assert_eq!(journal.record("files").expect("record").state, State::Running);
    }

    #[test]
    fn boots_are_counted_by_their_id() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (id, number) in [("a", 1), ("a", 1), ("b", 2)] {
            assert_eq!(Journal::open(folder.path().join("journal"), id).expect("opened").boot(), number);
        }
    }

    #[test]
    fn a_long_journal_is_shortened_to_what_counts() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("journal");
        let line = serde_json::to_string(&record("users", State::Done, 7)).expect("written");
        let boot = format!("{{\"boot\":7,\"boot_id\":\"a\",\"at\":\"{}\"}}\n", Timestamp::UNIX_EPOCH);
        std::fs::write(&path, boot + &format!("{line}\n").repeat(MAX_LINES + 1)).expect("written");
        assert_eq!(Journal::open(path.clone(), "b").expect("opened").boot(), 8);
        assert_eq!(std::fs::read_to_string(&path).expect("read").lines().count(), 2);
        let mut journal = Journal::open(path.clone(), "b").expect("opened");
        assert_eq!((journal.boot(), journal.record("users").expect("record").state), (8, State::Done));
        journal.note(record("files", State::Done, 8)).expect("still writable");
        assert!(Journal::open(path, "b").expect("opened").record("files").is_some());
    }
}
