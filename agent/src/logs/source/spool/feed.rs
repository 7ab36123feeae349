use super::{Refusal, Spool, folder};
use crate::logs::source::Source;
use crate::logs::source::intake::Intake;
use hostwright_core::config::logs::source::Spooled;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::sleep;

/// What was appended is on the disk at most so much later.
const SYNC: Duration = Duration::from_secs(1);
/// Between attempts while the spool is full or cannot be written.
const PATIENCE: Duration = Duration::from_millis(100);

/// The spool of one source, into which several tasks may write.
#[derive(Debug)]
pub struct Feed {
    spool: Mutex<Spool>,
    pub source: Arc<Source>,
    pub intake: Arc<Intake>,
}

impl Feed {
    /// # Errors
    /// The spool cannot be opened.
    pub fn open(state: &Path, source: Arc<Source>, intake: Arc<Intake>, spooled: Spooled) -> io::Result<Self> {
        let spool = Spool::open(folder(state, &source.name), spooled.limit.0)?;
        Ok(Self { spool: Mutex::new(spool), source, intake })
    }

    /// Appends whole lines and takes from `lines` what was written. What is left waits for room.
    pub fn append(&self, lines: &mut Vec<u8>) {
        let refusal = block_in_place(|| {
            let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
            let (taken, refusal) = spool.append(lines);
            self.intake.spooled.store(spool.bytes(), Ordering::Relaxed);
            lines.drain(..taken);
            refusal
        });
        match refusal {
            None => self.intake.cleared("spool", &self.source.name),
            Some(Refusal::Full) => self.hindered(
                "the spool is full, so nothing more is taken in until outputs have acknowledged some of it; see what \
                 hinders the outputs, or raise spool:"
                    .into(),
            ),
            Some(Refusal::Failed(error)) => self.hindered(format!("cannot write the spool: {error}")),
        }
    }

    /// Appends all lines, however long it takes. Cancel-safe: what is left of `lines` was not written.
    pub async fn append_all(&self, lines: &mut Vec<u8>) {
        while !lines.is_empty() {
            self.append(lines);
            if !lines.is_empty() {
                sleep(PATIENCE).await;
            }
        }
    }

    /// From now on the spool is never full: for what is to be kept in any case.
    pub fn lift_limit(&self) {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner).lift_limit();
    }

    /// The newest line, without its end.
    pub fn last_line(&self) -> io::Result<Option<Vec<u8>>> {
        block_in_place(|| self.spool.lock().unwrap_or_else(PoisonError::into_inner).last_line())
    }

    /// Brings to the disk what was appended, again and again, for ever.
    pub async fn keep_synced(&self) {
        loop {
            sleep(SYNC).await;
            let Some(file) = self.refresh() else { continue };
            match spawn_blocking(move || file.sync_data()).await {
                Ok(Ok(())) => self.intake.cleared("sync", &self.source.name),
                Ok(Err(error)) => self.not_synced(&error),
                // The runtime is on its way out.
                Err(_) => {}
            }
        }
    }

    /// Notes how full the spool is; its newest segment, if something in it is not on the disk yet.
    fn refresh(&self) -> Option<Arc<File>> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        spool.refresh();
        self.intake.spooled.store(spool.bytes(), Ordering::Relaxed);
        spool.unsynced()
    }

    /// Brings to the disk what was appended.
    pub fn sync(&self) {
        let unsynced = self.spool.lock().unwrap_or_else(PoisonError::into_inner).unsynced();
        if let Some(Err(error)) = unsynced.map(|file| block_in_place(|| file.sync_data())) {
            self.not_synced(&error);
        }
    }

    fn not_synced(&self, error: &io::Error) {
        self.intake.hindered("sync", &self.source.name, format!("cannot bring the spool to the disk: {error}"));
    }

    fn hindered(&self, why: String) {
        self.intake.hindered("spool", &self.source.name, why);
    }
}
