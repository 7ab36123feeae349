use super::report::Report;
use super::watch::Watch;
use crate::encode::{Encoder, Family, Labels};

/// How it goes with the receivers, as metrics.
#[derive(Debug)]
pub struct RemoteWrite {
    watch: Watch,
    /// For each receiver.
    labels: Vec<Labels>,
    families: [(Family, Value); 9],
}

/// What a family has of a receiver, if there is something yet.
type Value = fn(&Report) -> Option<f64>;

impl RemoteWrite {
    pub fn new(watch: Watch) -> Self {
        let labels = watch.reports().map(|report| Labels::new(&[("receiver", report.name.as_bytes())])).collect();
        let counter = |name: &str, help: &str| Family::counter(&format!("hostwright_remote_write_{name}"), help);
        let gauge = |name: &str, help: &str| Family::gauge(&format!("hostwright_remote_write_{name}"), help);
        Self {
            watch,
            labels,
            families: [
                (counter("scrapes_total", "How often the host was sampled for each receiver."), |r| {
                    Some(r.scrapes as f64)
                }),
                (counter("samples_total", "Samples that each receiver of remote_write took."), |r| {
                    Some(r.written as f64)
                }),
                (counter("samples_refused_total", "Samples that each receiver will never take, given up."), |r| {
                    Some(r.refused as f64)
                }),
                (counter("samples_lost_total", "Samples given up because the buffer was full or damaged."), |r| {
                    Some(r.lost as f64)
                }),
                (counter("retries_total", "Requests that had to be made again."), |r| Some(r.retries as f64)),
                (gauge("samples_pending", "Samples that wait for each receiver."), |r| Some(r.pending as f64)),
                (gauge("buffer_bytes", "Bytes of each receiver's buffer on the disk."), |r| Some(r.buffered as f64)),
                (
                    gauge("newest_sample_timestamp_seconds", "The time of the newest sample that each receiver has."),
                    |r| r.newest.map(|newest| newest as f64 / 1000.0),
                ),
                (gauge("hindered", "Whether samples wait because a receiver does not take them, 1 is true."), |r| {
                    Some(f64::from(u8::from(r.hindered.is_some())))
                }),
            ],
        }
    }

    /// Writes all of them.
    pub fn write(&self, out: &mut Encoder) {
        for (family, value) in &self.families {
            let mut samples = out.family(family);
            for (report, labels) in self.watch.reports().zip(&self.labels) {
                if let Some(value) = value(&report) {
                    samples.with(labels, value);
                }
            }
        }
    }
}
