use super::encode::{Encoder, Family, Labels};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests for metrics, counted as the library of node_exporter counts its own.
#[derive(Debug, Default)]
pub struct Handled {
    in_flight: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// A request that is being answered; one whose client hung up was not.
#[derive(Debug)]
pub struct UnderWay<'h>(&'h Handled);

impl Handled {
    /// A request has come.
    pub fn begin(&self) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }
}

impl UnderWay<'_> {
    /// It was answered with this status.
    pub fn end(self, status: u16) {
        let Handled { answered, failed, refused, .. } = self.0;
        let counter = match status {
            503 => refused,
            500.. => failed,
            _ => answered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Their families, which dashboards of node_exporter itself show.
pub struct Requests {
    handled: Arc<Handled>,
    in_flight: Family,
    total: Family,
    codes: [Labels; 3],
    errors: Family,
    causes: [Labels; 2],
}

impl Requests {
    /// Those of what is counted here.
    pub fn new(handled: Arc<Handled>) -> Self {
        Self {
            handled,
            in_flight: Family::gauge(
                "promhttp_metric_handler_requests_in_flight",
                "Current number of scrapes being served.",
            ),
            total: Family::counter(
                "promhttp_metric_handler_requests_total",
                "Total number of scrapes by HTTP status code.",
            ),
            codes: ["200", "500", "503"].map(|code| Labels::new(&[("code", code.as_bytes())])),
            errors: Family::counter(
                "promhttp_metric_handler_errors_total",
                "Total number of internal errors encountered by the promhttp metric handler.",
            ),
            causes: ["encoding", "gathering"].map(|cause| Labels::new(&[("cause", cause.as_bytes())])),
        }
    }

    /// Writes them.
    pub fn write(&self, out: &mut Encoder) {
        let Handled { in_flight, answered, failed, refused } = &*self.handled;
        out.family(&self.in_flight).put(in_flight.load(Ordering::Relaxed));
        let mut samples = out.family(&self.total);
        for (labels, counter) in self.codes.iter().zip([answered, failed, refused]) {
            samples.with(labels, counter.load(Ordering::Relaxed));
        }
        // A collector's trouble is told by the collector; nothing fails while the text is written.
        let mut samples = out.family(&self.errors);
        self.causes.iter().for_each(|labels| samples.with(labels, 0_u64));
    }
}

#[cfg(test)]
mod tests {
    use super::{Handled, Requests};
    use crate::encode::Encoder;
    use std::sync::Arc;

    #[test]
    fn requests_are_told_by_how_they_ended_and_those_under_way_too() {
        let handled = Arc::new(Handled::default());
        for status in [200, 200, 503, 500] {
            handled.begin().end(status);
        }
        drop(handled.begin());
        let under_way = handled.begin();
        let mut out = Encoder::default();
        Requests::new(handled.clone()).write(&mut out);
        let text = String::from_utf8(out.take()).expect("UTF-8");
        for line in [
            "promhttp_metric_handler_requests_in_flight 1",
            "promhttp_metric_handler_requests_total{code=\"200\"} 2",
            "promhttp_metric_handler_requests_total{code=\"500\"} 1",
            "promhttp_metric_handler_requests_total{code=\"503\"} 1",
            "promhttp_metric_handler_errors_total{cause=\"gathering\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        drop(under_way);
    }
}
