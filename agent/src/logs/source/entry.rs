use super::followed::FollowedFile;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A rotated file to which nothing was written for this long has ended. The writer still has the old descriptor for a
/// moment after a rename.
pub const QUIET: Duration = Duration::from_secs(2);
/// A deleted file stays open this long after it was read, for what an output may have to send again.
pub const LINGER: Duration = Duration::from_secs(60);
/// ... and only so long where there are many: what rotates all the time would have too many open.
pub const LINGER_OF_MANY: Duration = Duration::from_secs(15);
/// A rotated file that is asked for no more and was read is followed this much longer, for late writes.
const LATE: Duration = Duration::from_secs(600);

/// A followed file in its folders.
#[derive(Debug)]
pub struct Entry {
    pub file: Arc<FollowedFile>,
    pub gone_since: Option<Instant>,
    pub rotated_since: Option<Instant>,
    /// Its name is asked for.
    pub wanted: bool,
    /// A later generation came up.
    pub superseded: bool,
    /// How many names it has in folders that are looked at.
    pub names: u32,
    /// Since when a rotated file has its present time and size: most of thousands of files are not rotated.
    pub still: Option<Box<Still>>,
}

/// A file's time and size, and since when they were seen.
#[derive(Clone, Copy, Debug)]
pub struct Still {
    modified: i64,
    size: u64,
    since: Instant,
}

impl Entry {
    /// Notes that it is at another place, or at none any more.
    pub fn move_to(&mut self, place: Option<(Arc<Path>, bool)>) {
        let source = &self.file.source.name;
        match place {
            Some((path, wanted)) => {
                let from = self.file.path().unwrap_or_else(|| self.file.origin.clone());
                if from != path {
                    log::info!(source; "logs: {} is now {}", from.display(), path.display());
                }
                self.file.set_path(Some(path));
                (self.gone_since, self.wanted) = (None, wanted);
            }
            None => {
                log::info!(source; "logs: {} is gone; what is unread of it is still read", self.file.origin.display());
                self.file.set_path(None);
                (self.gone_since, self.wanted) = (Some(Instant::now()), false);
            }
        }
        self.file.touch();
    }

    /// Whether outputs should look.
    pub fn settle(&mut self, now: SystemTime) -> bool {
        let file = &self.file;
        let mut changed = file.try_decoder();
        if self.gone_since.is_some() {
            // No folder tells of what is still written to it.
            changed |= file.look().unwrap_or(false);
        }
        file.set_rotated(self.superseded || !file.is_at(&file.origin));
        if !file.is_compressed() {
            // Quiet since then: one that was quiet before may be written late all the same.
            self.rotated_since = file.is_rotated().then(|| self.rotated_since.unwrap_or_else(Instant::now));
            let has_waited = self.rotated_since.is_some_and(|since| since.elapsed() >= QUIET);
            // A time that is yet to come (the clock was set back, or somebody gave it to the file) tells nothing.
            self.still = file.is_rotated().then(|| Box::new(Still::of(file, self.still.as_deref())));
            let is_still =
                file.is_ahead_of(now) && self.still.as_ref().is_some_and(|still| still.since.elapsed() >= QUIET);
            let ended = has_waited && (is_still || file.quiet(now) >= QUIET);
            changed |= file.has_ended() != ended;
            file.set_ended(ended);
        }
        changed
    }

    /// `linger` is how long a deleted file is kept that was read.
    pub fn is_done_with(&self, (linger, is_retained): (Duration, bool), now: SystemTime) -> bool {
        let lingered = match self.gone_since {
            Some(since) => since.elapsed() >= linger,
            None => !self.wanted && !is_retained && self.file.quiet(now) >= LATE,
        };
        lingered && self.file.is_rotated() && (self.file.is_done() || self.file.is_replaced())
    }
}

impl Still {
    /// As it is now, since it was so before.
    fn of(file: &FollowedFile, before: Option<&Self>) -> Self {
        let now = Self { modified: file.modified(), size: file.size(), since: Instant::now() };
        before.filter(|before| (before.modified, before.size) == (now.modified, now.size)).copied().unwrap_or(now)
    }
}
