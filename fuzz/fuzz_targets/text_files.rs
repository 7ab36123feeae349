//! A text file of metrics is taken or its line told; what is taken says the same when it is written out and read again.
#![no_main]

use hostwright_fuzz::metrics::text_format::{Family, Metric, Reading, parse};
use libfuzzer_sys::fuzz_target;
use std::fmt::Write as _;

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Err(fault) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&fault.line) && !fault.what.is_empty());
        }
        Ok(families) => {
            let text = written(&families);
            let again = parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?} in {text}"));
            assert_eq!(format!("{again:?}"), format!("{families:?}"), "{text}");
        }
    }
});

fn written(families: &[Family]) -> String {
    let mut text = String::new();
    // All names first, in their order, and types after them: a name may be that of a part of a histogram.
    for family in families {
        let help = family.help.as_deref().unwrap_or_default().replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(text, "# HELP {} {help}", family.name);
    }
    for family in families {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let _ = writeln!(text, "# TYPE {} {kind}", family.name);
    }
    families
        .iter()
        .for_each(|family| family.metrics.iter().for_each(|metric| samples(&mut text, &family.name, metric)));
    text
}

fn samples(text: &mut String, name: &str, metric: &Metric) {
    let labels: Vec<_> = metric
        .labels
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    let mut line = |suffix: &str, bound: Option<String>, value: &dyn std::fmt::Display| {
        let all: Vec<_> = labels.iter().cloned().chain(bound).collect();
        let _ = writeln!(text, "{name}{suffix}{{{}}} {value}", all.join(","));
    };
    match &metric.reading {
        Reading::Value(value) => line("", None, value),
        Reading::Summary { count, sum, quantiles } => {
            line("_count", None, count);
            line("_sum", None, sum);
            quantiles.iter().for_each(|(bound, value)| line("", Some(format!("quantile=\"{bound}\"")), value));
        }
        Reading::Histogram { count, sum, buckets } => {
            line("_count", None, count);
            line("_sum", None, sum);
            buckets.iter().for_each(|(bound, value)| line("_bucket", Some(format!("le=\"{bound}\"")), value));
        }
    }
}
