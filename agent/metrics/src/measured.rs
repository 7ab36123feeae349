use super::encode::{Encoder, Family, Labels};
use hostwright_duty::measures::{Kind, Measures};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What duties measure of themselves, as families: rendered when a duty says something new, copied at each scrape.
#[derive(Debug, Default)]
pub struct Measured {
    duties: BTreeMap<&'static str, Rendered>,
}

#[derive(Debug)]
struct Rendered {
    of: Arc<Measures>,
    families: Vec<(Family, Vec<(Labels, f64)>)>,
}

impl Measured {
    /// Writes what each duty said last.
    pub fn write(&mut self, measures: &BTreeMap<&'static str, Arc<Measures>>, out: &mut Encoder) {
        self.duties.retain(|duty, _| measures.contains_key(duty));
        for (duty, of) in measures {
            if !self.duties.get(duty).is_some_and(|rendered| Arc::ptr_eq(&rendered.of, of)) {
                self.duties.insert(duty, Rendered { of: of.clone(), families: render(duty, of) });
            }
        }
        for (family, rows) in self.duties.values().flat_map(|rendered| &rendered.families) {
            let mut samples = out.family(family);
            rows.iter().for_each(|(labels, value)| samples.with(labels, *value));
        }
    }
}

fn render(duty: &str, measures: &Measures) -> Vec<(Family, Vec<(Labels, f64)>)> {
    let family = |measure: &hostwright_duty::measures::Measure| {
        let name = format!("hostwright_{duty}_{}", measure.name);
        let family = match measure.kind {
            Kind::Counter => Family::counter(&name, measure.help),
            Kind::Gauge => Family::gauge(&name, measure.help),
        };
        let rows = measure.samples.iter().map(|(labels, value)| {
            let pairs: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            (Labels::new(&pairs), *value)
        });
        (family, rows.collect())
    };
    measures.0.iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::Measured;
    use crate::encode::Encoder;
    use hostwright_duty::measures::Measures;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn each_duty_is_told_with_what_it_said_last_and_not_at_all_when_it_is_gone() {
        let (mut measured, mut out) = (Measured::default(), Encoder::default());
        let mut text = |measures: &BTreeMap<&'static str, Arc<Measures>>| {
            measured.write(measures, &mut out);
            String::from_utf8(out.take()).expect("UTF-8")
        };
        let said = |lines| {
            let mut all = Measures::default();
            all.counter(("lines_total", "Lines."), &[("output", "a")], lines);
            all.gauge(("lag_bytes", "Bytes."), &[("output", "a")], 0.5);
            all.counter(("lines_total", "Lines."), &[("output", "b")], 7);
            BTreeMap::from([("logs", Arc::new(all))])
        };
        let want = "# HELP hostwright_logs_lines_total Lines.\n# TYPE hostwright_logs_lines_total counter\n\
                    hostwright_logs_lines_total{output=\"a\"} 1\nhostwright_logs_lines_total{output=\"b\"} 7\n\
                    # HELP hostwright_logs_lag_bytes Bytes.\n# TYPE hostwright_logs_lag_bytes gauge\n\
                    hostwright_logs_lag_bytes{output=\"a\"} 0.5\n";
        assert_eq!(text(&said(1)), want);
        assert!(text(&said(2)).contains("{output=\"a\"} 2\n"));
        assert_eq!(text(&BTreeMap::new()), "");
    }
}
