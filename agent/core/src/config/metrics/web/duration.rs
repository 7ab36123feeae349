use crate::config::values::{FromNode, mismatch};
use crate::yaml::{Node, Scalar};
use std::time::Duration;

/// A duration as Go's `time.ParseDuration` takes it: `1m30s`, `1.5s`, `0`. A bare number counts nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl FromNode for GoDuration {
    const EXPECTED: &'static str = "a duration such as 1s, 500ms or 1m30s";

    fn from_node(node: &Node) -> Result<Self, String> {
        let parsed = match node.scalar() {
            Some(Scalar::Int(nanoseconds)) => u64::try_from(nanoseconds).ok().map(Duration::from_nanos),
            _ => node.text().and_then(parse),
        };
        parsed.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn durations_are_gos() {
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!((parse("0"), parse(".5h")), (Some(Duration::ZERO), Some(Duration::from_secs(1800))));
        for wrong in ["", "5", "s", "-1s", "1d", "1.2.3s", "1e400s", "99999999999999999999h"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
