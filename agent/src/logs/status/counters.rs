use crate::logs::record::Tally;
use hostwright_duty::measures::Measures;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What one output has shipped of one source, since the duty started.
#[derive(Debug, Default)]
pub struct Counters {
    lines: AtomicU64,
    bytes: AtomicU64,
    cut: AtomicU64,
    invalid_utf8: AtomicU64,
    unparsed: AtomicU64,
    filtered: AtomicU64,
    skipped_bytes: AtomicU64,
    dead: AtomicU64,
    resent: AtomicU64,
    replaced: AtomicU64,
}

impl Counters {
    /// Acknowledged lines.
    pub fn shipped(&self, tally: &Tally, bytes: u64) {
        for (counter, number) in self.of(tally, bytes) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Lines that are sent again because a connection broke before it was certain that they were read; those that had
    /// been acknowledged will be so a second time.
    pub fn taken_back(&self, acknowledged: Option<(&Tally, u64)>, lines: u64) {
        self.resent.fetch_add(lines, Ordering::Relaxed);
        if let Some((tally, bytes)) = acknowledged {
            for (counter, number) in self.of(tally, bytes) {
                counter.fetch_sub(number, Ordering::Relaxed);
            }
        }
    }

    fn of(&self, tally: &Tally, bytes: u64) -> [(&AtomicU64, u64); 8] {
        [
            (&self.lines, tally.lines),
            (&self.bytes, bytes),
            (&self.cut, tally.cut),
            (&self.invalid_utf8, tally.invalid_utf8),
            (&self.unparsed, tally.unparsed),
            (&self.filtered, tally.filtered),
            (&self.skipped_bytes, tally.skipped_bytes),
            (&self.dead, tally.dead),
        ]
    }

    /// A file whose content was replaced while it was followed.
    pub fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// The line and byte counts so far.
    pub(super) fn shipped_so_far(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Lines that were sent again.
    pub(super) fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    /// For metrics.
    pub(super) fn measure(&self, labels: &[(&'static str, &str)], all: &mut Measures) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        all.counter(("lines_total", "Lines that the output acknowledged."), labels, of(&self.lines));
        all.counter(("bytes_total", "Bytes of lines that the output acknowledged."), labels, of(&self.bytes));
        all.counter(("cut_lines_total", "Lines that were longer than the limit, and cut."), labels, of(&self.cut));
        all.counter(
            ("invalid_utf8_lines_total", "Lines with bytes that are not UTF-8, and were replaced."),
            labels,
            of(&self.invalid_utf8),
        );
        all.counter(("unparsed_lines_total", "Lines that are not as `parse` says."), labels, of(&self.unparsed));
        all.counter(("filtered_lines_total", "Lines that filters dropped."), labels, of(&self.filtered));
        all.counter(("skipped_bytes_total", "Bytes that were not to be shipped."), labels, of(&self.skipped_bytes));
        all.counter(("dead_letters_total", "Records that the platform refused for good."), labels, of(&self.dead));
        all.counter(("resent_lines_total", "Lines that were sent again."), labels, of(&self.resent));
        all.counter(
            ("truncations_total", "Files whose content was replaced while it was followed."),
            labels,
            of(&self.replaced),
        );
    }

    pub(super) fn to_json(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "lines": of(&self.lines),
            "bytes": of(&self.bytes),
            "cut_lines": of(&self.cut),
            "invalid_utf8_lines": of(&self.invalid_utf8),
            "unparsed_lines": of(&self.unparsed),
            "filtered_lines": of(&self.filtered),
            "skipped_bytes": of(&self.skipped_bytes),
            "dead_letters": of(&self.dead),
            "duplicates_resent": of(&self.resent),
            "truncations": of(&self.replaced),
        })
    }
}

/// How fast something goes, smoothed over some seconds.
#[derive(Debug)]
pub(super) struct Rate {
    at: Instant,
    seen: (u64, u64),
    lines: f64,
    pub(super) bytes: f64,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), seen: (0, 0), lines: 0.0, bytes: 0.0 }
    }

    /// Lines and bytes per second.
    pub(super) fn update(&mut self, counters: &Counters) -> (f64, f64) {
        const SMOOTH: f64 = 5.0;
        let now = counters.shipped_so_far();
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds > 0.2 {
            let share = 1.0 - (-seconds / SMOOTH).exp();
            self.lines += share * (now.0.saturating_sub(self.seen.0) as f64 / seconds - self.lines);
            self.bytes += share * (now.1.saturating_sub(self.seen.1) as f64 / seconds - self.bytes);
            (self.at, self.seen) = (Instant::now(), now);
        }
        (self.lines, self.bytes)
    }
}
