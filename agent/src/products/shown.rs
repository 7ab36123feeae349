use super::pipeline::Pipeline;
use std::io;
use std::time::{Duration, Instant};

const REPORT_EVERY: Duration = Duration::from_millis(100);
/// What uploads under way are given to end when the agent stops.
const GRACE: Duration = Duration::from_secs(10);

/// What a pipeline says of itself, and how it ends.
impl Pipeline {
    /// Not at each of thousands of products.
    pub(super) fn report(&mut self, now: bool) {
        if !now && self.next_report > Instant::now() {
            return;
        }
        self.next_report = Instant::now() + REPORT_EVERY;
        if self.queue.len() == 0 && self.uploading.is_empty() && self.gate.bucket().is_some() {
            self.gate.well();
        }
        let (notices, notice_trouble) = self.outbox.state();
        let pairs = |(path, why): (&std::sync::Arc<str>, &String)| (path.to_string(), why.clone());
        self.row.update(|row| {
            row.folder = self.setting.product.watch.display().to_string();
            row.bucket = self.setting.place.to_string();
            row.answered |= self.gate.bucket().is_some();
            row.waiting = self.queue.len();
            row.unfinished = self.intake.waiting.len() - self.intake.waiting.in_use().count();
            row.uploading = self.uploading.iter().map(|(path, under_way)| under_way.shown(path)).collect();
            row.uploading.sort_by(|a, b| a.path.cmp(&b.path));
            row.uploaded = self.uploader.ledger.uploaded();
            row.bytes = self.bytes;
            row.failed = self.queue.failed().map(|(path, failure)| (path.to_string(), failure.sentence())).collect();
            row.held = self.queue.held().map(pairs).collect();
            row.in_use = self.intake.waiting.in_use().map(pairs).collect();
            row.refused = self.intake.refused.iter().map(|(path, why)| (path.clone(), why.clone())).collect();
            row.bucket_trouble = self.gate.trouble().map(str::to_owned);
            row.profile.clone_from(&self.profile);
            row.last = self.uploader.ledger.last();
            row.notices = notices;
            row.notice_trouble = notice_trouble;
        });
    }

    /// When there is something to report that was left out for now.
    pub(super) fn shown_until(&self) -> Option<Instant> {
        (self.next_report > Instant::now() || !self.uploading.is_empty()).then_some(self.next_report)
    }

    /// Lets uploads that are under way end, for a while. What is cut off is settled at the next start.
    pub(super) async fn drain(&mut self) {
        let deadline = tokio::time::Instant::now() + GRACE;
        while !self.uploading.is_empty()
            && let Ok(Some(Ok(done))) = tokio::time::timeout_at(deadline, self.running.join_next()).await
        {
            self.ended(done);
        }
        self.running.shutdown().await;
        if let Err(error) = self.uploader.ledger.save().await {
            log::error!("{}: {:#}", self.setting.name, anyhow::Error::from(error));
        }
    }

    pub(super) fn folder_trouble(&self, error: &io::Error) -> String {
        let folder = self.setting.product.watch.display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                format!("the folder {folder} is not there; it is waited for: create it, or correct `watch`")
            }
            _ => format!("the folder {folder} cannot be read: {error}"),
        }
    }
}
