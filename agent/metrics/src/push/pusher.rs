use super::batch::{Batch, Batches};
use super::courier::{Courier, Settled, Told};
use super::identity::Identity;
use super::queue::{Lost, Queue, Record};
use super::report::Report;
use crate::scraper::{Refusal, Scraper, Wanted, hung};
use anyhow::Context as _;
use hostwright_core::config::metrics::remote_write::{MetricNames, RemoteWrite};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, block_in_place};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How long what is on the way has when the duty is to end. What is not settled then is sent again.
const GRACE: Duration = Duration::from_secs(2);
/// What a courier has to tell while its pusher samples.
const TOLD: usize = 16;

/// Samples at an interval, keeps what it sampled, and hands it to the courier in order.
pub struct Pusher {
    settings: RemoteWrite,
    scraper: Arc<Scraper>,
    queue: Queue,
    batches: Batches,
    to_courier: mpsc::Sender<Batch>,
    told: mpsc::Receiver<Told>,
    courier: AbortHandle,
    /// What is on the way: samples, and the time of the newest.
    flight: Option<(usize, i64)>,
    /// The most samples in a request, as far as the receiver has said.
    most: usize,
    report: Report,
    reports: watch::Sender<Report>,
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.courier.abort();
    }
}

impl Pusher {
    /// Sets off the courier.
    pub fn new(
        settings: RemoteWrite,
        host_name: &str,
        queue: Queue,
        (scraper, reports): (Arc<Scraper>, watch::Sender<Report>),
    ) -> Self {
        let (to_courier, batches) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(TOLD);
        let courier = tokio::spawn(Courier::new(&settings).run(batches, tell)).abort_handle();
        let report = reports.borrow().clone();
        let batches = Batches::new(Identity::new(&settings, host_name));
        let most = settings.max_samples_per_send;
        Self { settings, scraper, queue, batches, to_courier, told, courier, flight: None, most, report, reports }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The sampling thread or the courier ended.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.hand_over().await?;
            self.publish();
            // All are cancel-safe: a tick or a message that is not taken is there for the next call.
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.sample().await?,
                told = self.told.recv() => self.heed(told.context("a task of remote_write ended, which is a defect of this program")?),
            }
        }
        // What is not settled then is sent again after the next start.
        if self.report.hindered.is_none() {
            let _ = timeout(GRACE, self.settle()).await;
        }
        if let Err(error) = block_in_place(|| self.queue.sync()) {
            log::warn!(
                "metrics: the buffer of remote_write {} may not outlive a power cut: {error}",
                self.settings.name
            );
        }
        Ok(())
    }

    /// Waits for what is on the way.
    async fn settle(&mut self) {
        while self.flight.is_some() {
            let Some(told) = self.told.recv().await else { return };
            self.heed(told);
        }
    }

    /// Takes a sample and keeps it.
    async fn sample(&mut self) -> anyhow::Result<()> {
        let (time, began) = (Timestamp::now().as_millisecond(), Instant::now());
        let text = match self.scraper.scrape(Wanted::default()).await {
            Ok(text) => text,
            Err(Refusal::Busy) => {
                log::warn!(
                    "metrics: no sample for remote_write {}: too many scrapes are under way",
                    self.settings.name
                );
                return Ok(());
            }
            Err(Refusal::Hung(stage)) => {
                log::warn!("metrics: no sample for remote_write {}: {}", self.settings.name, hung(stage));
                return Ok(());
            }
            Err(Refusal::Gone) => anyhow::bail!("the thread that samples ended, which is a defect of this program"),
        };
        let took = began.elapsed();
        self.report.scrapes += 1;
        let is_behind = self.flight.is_some() || !self.queue.is_empty();
        block_in_place(|| {
            let text = taken(&String::from_utf8_lossy(&text), &self.settings.names, took);
            let (lost, error) = self.queue.append(&Record::new(time, text));
            self.lost(lost, "the buffer is full; raise buffer: or see why the receiver takes nothing");
            // What goes out at once needs no disk; what waits does.
            let error = error.or_else(|| if is_behind { self.queue.sync().err() } else { None });
            self.report.disk = error.map(|error| {
                format!("its buffer's disk takes nothing, the newest samples are in memory alone: {error}")
            });
        });
        Ok(())
    }

    /// Gives the courier the next batch if it has none.
    async fn hand_over(&mut self) -> anyhow::Result<()> {
        if self.flight.is_some() {
            return Ok(());
        }
        let (taken, lost) = block_in_place(|| self.queue.take(self.most));
        self.lost(lost, "the disk gave them back damaged");
        let Some(taken) = taken else { return Ok(()) };
        let newest = taken.records.last().map_or(0, |record| record.time);
        let batch = block_in_place(|| self.batches.make(taken.records, taken.part));
        self.flight = Some((batch.samples, newest));
        let sent = self.to_courier.send(batch).await;
        sent.ok().context("a task of remote_write ended, which is a defect of this program")
    }

    fn heed(&mut self, told: Told) {
        match told {
            Told::Hindered(why) => {
                self.report.retries += 1;
                if self.report.hindered.is_none() {
                    log::warn!("metrics: remote_write {}: {why}; samples wait on the disk", self.settings.name);
                }
                self.report.hindered = Some(why);
            }
            Told::Settled(settled) => self.settled(settled),
        }
    }

    fn settled(&mut self, settled: Settled) {
        let Settled { written, refused, why, most, version } = settled;
        let (_, newest) = self.flight.take().unwrap_or_default();
        if let Err(error) = block_in_place(|| self.queue.acknowledge()) {
            let name = &self.settings.name;
            log::warn!("metrics: cannot note what remote_write {name} has; after a restart it gets it again: {error}");
        }
        if self.report.hindered.take().is_some() {
            log::info!("metrics: remote_write {}: the receiver takes samples again", self.settings.name);
        }
        self.most = most.map_or(self.most, |most| self.most.min(most));
        self.report.written += written as u64;
        self.report.refused += refused as u64;
        self.report.version = version.or(self.report.version);
        if written > 0 {
            self.report.newest = Some(newest);
        }
        if let Some(why) = why {
            let name = &self.settings.name;
            if self.report.refusal.as_ref() != Some(&why) {
                log::warn!("metrics: remote_write {name} refused {refused} samples, which are given up: {why}");
            }
            self.report.refusal = Some(why);
        }
    }

    fn lost(&mut self, lost: Lost, why: &str) {
        if lost.samples > 0 {
            self.report.lost += lost.samples as u64;
            log::warn!("metrics: remote_write {}: {} samples are given up: {why}", self.settings.name, lost.samples);
        }
    }

    fn publish(&mut self) {
        let on_the_way = self.flight.map_or(0, |(samples, _)| samples);
        self.report.pending = (self.queue.samples() + on_the_way) as u64;
        self.report.buffered = self.queue.bytes();
        self.reports.send_if_modified(|report| {
            let changed = *report != self.report;
            report.clone_from(&self.report);
            changed
        });
    }
}

/// What the receiver is to have of a text, with what a Prometheus adds to a scrape.
fn taken(text: &str, names: &MetricNames, took: Duration) -> String {
    let mut out = String::with_capacity(text.len() + 200);
    if names.takes_all() {
        out.push_str(text);
    } else {
        copy_taken(text, names, &mut out);
    }
    for (name, value) in [("up", 1.0), ("scrape_duration_seconds", took.as_secs_f64())] {
        if names.take(name) {
            out.push_str(&format!("# TYPE {name} gauge\n{name} {value}\n"));
        }
    }
    out
}

/// Families stand together, so a name is looked at once.
fn copy_taken(text: &str, names: &MetricNames, out: &mut String) {
    let (mut last, mut is_taken) = ("", false);
    for line in text.split_inclusive('\n') {
        let name = name_of(line);
        if name != last {
            (last, is_taken) = (name, names.take(name));
        }
        if is_taken {
            out.push_str(line);
        }
    }
}

fn name_of(line: &str) -> &str {
    let rest = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    rest.split(['{', ' ', '\n']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::taken;
    use hostwright_core::config::Config;
    use std::time::Duration;

    fn of(filter: &str, text: &str) -> String {
        let config = format!("metrics: {{remote_write: {{url: 'http://x', {filter}}}}}");
        let config = Config::parse(&config, "agent.yaml").expect("valid");
        taken(text, &config.metrics.expect("present").remote_write[0].names, Duration::from_millis(500))
    }

    #[test]
    fn names_that_are_not_asked_for_are_left_out_with_what_stands_above_them() {
        let text = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\n# HELP ab B.\n# TYPE ab gauge\nab 1\n";
        assert_eq!(of("keep: [a]", text), text[..text.find("# HELP ab").expect("there")]);
        assert_eq!(
            of("drop: ['a.*', up]", text),
            "# TYPE scrape_duration_seconds gauge\nscrape_duration_seconds 0.5\n"
        );
        assert!(of("keep: []", text).starts_with(text) && of("keep: []", text).contains("\nup 1\n"));
    }
}
