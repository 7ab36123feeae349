//! The systemd journal, as `journalctl` gives it: the libraries that read it need libsystemd.
//!
//! In: the output of `journalctl --follow --output=json`. Out: JSON lines in the source's spool. What survives a
//! restart: the newest line of the spool, whose cursor says where to go on. While the spool is full nothing is read,
//! and the journal itself is the buffer.

/// A journal entry made a line of ours.
mod entry;
/// How journalctl is asked.
mod query;

use super::intake::Intake;
use super::spool::feed::Feed;
use anyhow::Context as _;
use entry::Position;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::logs::journal::Journal;
use query::Query;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::{Instant, sleep};

/// The first and the longest wait before journalctl is started again.
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// journalctl ran well when it ran so long.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// So many bytes of lines are written into the spool at once, if as many are there to be read.
const BATCH: usize = 256 << 10;
/// Of what journalctl complains of, the last so many bytes are kept.
const COMPLAINT: usize = 512;

/// Takes in entries for ever. Cancel-safe: what is not in the spool yet is read again.
pub async fn run(settings: Journal, feed: Arc<Feed>) {
    let mut backoff = Backoff::new(RESTART.0, RESTART.1);
    loop {
        let started = Instant::now();
        let Err(error) = take_in(&settings, &feed).await;
        if started.elapsed() > WELL_AFTER {
            backoff.reset();
        }
        feed.intake.hindered("journal", &feed.source.name, format!("{error:#}"));
        sleep(backoff.next_delay()).await;
    }
}

async fn take_in(settings: &Journal, feed: &Feed) -> anyhow::Result<Infallible> {
    let newest = feed.last_line().context("cannot read the spool")?;
    let newest = newest.as_deref().and_then(Position::of_line);
    let query = Query { settings, cursor: newest.as_ref().map(|position| position.cursor.as_str()) };
    let mut child = query.command().spawn().context(
        "cannot start journalctl, which reads the journal; install systemd, or see that the agent may run it",
    )?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else { anyhow::bail!("journalctl has no output") };
    let mut entries = Entries { reader: BufReader::with_capacity(64 << 10, stdout), resume: newest, feed };
    // Nothing else ends it but the end of its output.
    let (read, complaint) = tokio::join!(entries.take_in(), complaint(stderr));
    let status = child.wait().await;
    read?;
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    anyhow::bail!("journalctl ended ({status}){complaint}; it is started again")
}

/// The output of one journalctl.
struct Entries<'a, R> {
    reader: BufReader<R>,
    /// The entry that was taken in last, until it has come up again.
    resume: Option<Position>,
    feed: &'a Feed,
}

impl<R: AsyncRead + Unpin> Entries<'_, R> {
    async fn take_in(&mut self) -> std::io::Result<()> {
        let limit = self.feed.source.line_limit;
        // Binary fields are lists of numbers: up to four bytes for each, and more than one field may be long.
        let most = (8 * limit).max(1 << 20);
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        while read_line(&mut self.reader, &mut text, most).await? {
            self.feed.intake.cleared("journal", &self.feed.source.name);
            if self.is_new(&text) {
                let made = entry::push_line(&text, limit, &mut lines);
                Intake::count(&self.feed.intake.messages, 1);
                Intake::count(&self.feed.intake.cut, u64::from(made.is_cut));
                Intake::count(&self.feed.intake.malformed, u64::from(made.is_malformed));
            }
            let more_is_there = memchr::memchr(b'\n', self.reader.buffer()).is_some();
            if lines.len() >= BATCH || !more_is_there {
                self.feed.append_all(&mut lines).await;
            }
        }
        self.feed.append_all(&mut lines).await;
        Ok(())
    }

    /// journalctl begins with the entry that was taken in last, if it is still there; else with the next one.
    fn is_new(&mut self, text: &[u8]) -> bool {
        let Some(resume) = self.resume.take() else { return true };
        let first = Position::of_entry(text);
        if first.as_ref().is_some_and(|first| first.is_same_entry(&resume)) {
            return false;
        }
        let source = self.feed.source.name.as_str();
        log::warn!(
            source;
            "logs: source {source}: the journal no longer has the entry of {} that was read last (or it is no longer \
             asked for), and goes on with {}; entries between them may be missing; raise SystemMaxUse= in \
             journald.conf if the journal is kept for too short a time",
            resume.time,
            first.map_or_else(|| "an entry without a time".into(), |first| first.time),
        );
        Intake::count(&self.feed.intake.gaps, 1);
        true
    }
}

/// Reads a line without its end, as far as it is not longer than `most`; whether there was one.
async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R, line: &mut Vec<u8>, most: usize) -> std::io::Result<bool> {
    line.clear();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            // journalctl was ended in the middle of a line: it comes again.
            return Ok(false);
        }
        let newline = memchr::memchr(b'\n', available);
        let length = newline.unwrap_or(available.len());
        line.extend_from_slice(&available[..length.min(most - line.len().min(most))]);
        reader.consume(newline.map_or(length, |newline| newline + 1));
        if newline.is_some() {
            return Ok(true);
        }
    }
}

/// The end of what a process says on its way out, to stand behind a statement.
async fn complaint(mut stderr: impl AsyncRead + Unpin) -> String {
    let (mut end, mut buffer) = (Vec::new(), [0; COMPLAINT]);
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        end.extend_from_slice(&buffer[..length]);
        end.drain(..end.len().saturating_sub(COMPLAINT));
    }
    let text = String::from_utf8_lossy(&end);
    text.trim().lines().last().map_or_else(String::new, |line| format!(": {line}"))
}

#[cfg(test)]
mod tests {
    use super::{complaint, read_line};
    use tokio::io::BufReader;

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_read_to_its_end_and_kept_no_longer_than_it() {
        let mut reader = BufReader::with_capacity(4, &b"1234567\n12\n\nunfinished"[..]);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while read_line(&mut reader, &mut line, 5).await.expect("read") {
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        assert_eq!(lines, ["12345", "12", ""]);
    }

    #[tokio::test]
    async fn the_last_complaint_is_told() {
        assert_eq!(complaint(&b"a\nNo such file\n"[..]).await, ": No such file");
        assert_eq!(complaint(&b""[..]).await, "");
    }
}
