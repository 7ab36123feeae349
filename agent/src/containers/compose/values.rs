//! What single values of a Compose file are made of, where they differ from the agent's own file.

use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};
use std::collections::BTreeMap;
use std::time::Duration;

/// A duration as Go writes it: `1m30s`, `1.5s`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromNode for Span {
    const EXPECTED: &'static str = "a duration such as 10s, 1m30s or 500ms";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(span).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

fn span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    // The engine counts nanoseconds in a signed 64-bit number.
    (!text.is_empty() && i64::try_from(total.as_nanos()).is_ok()).then_some(total)
}

/// A size in Docker's units, where `k`, `kb` and `KiB` are all 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub i64);

impl FromNode for Bytes {
    const EXPECTED: &'static str = "a size such as 512m or 2g";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(bytes).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

fn bytes(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let product = number * f64::from(1_u32 << (shift / 2)) * f64::from(1_u32 << (shift - shift / 2));
    // Below 2^53 every whole number is exact; nothing real is above.
    (product < 9e15).then_some(product as i64)
}

/// A number of processors, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NanoCpus(pub i64);

impl FromNode for NanoCpus {
    const EXPECTED: &'static str = "a number of processors such as 0.5 or 2";

    fn from_node(node: &Node) -> Result<Self, String> {
        let number = node.text().and_then(|text| text.parse::<f64>().ok());
        match number {
            Some(number) if (0.0..=1e6).contains(&number) => Ok(Self((number * 1e9).round() as i64)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// A whole number that may be negative: `-1` is "no limit" in several places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer(pub i64);

impl FromNode for Integer {
    const EXPECTED: &'static str = "a whole number";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// Names with values, as a mapping or as a list of `NAME=value`; `None` where only the name stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub BTreeMap<String, Option<String>>);

impl FromNode for Pairs {
    const EXPECTED: &'static str = "a mapping, or a list of NAME=value";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mut pairs = BTreeMap::new();
        // Messages name keys alone: values may be secrets.
        let wrong = || format!("expected {}, found {}", Self::EXPECTED, node.kind());
        if let Some(items) = node.sequence() {
            for item in items {
                let text = item.text().ok_or_else(wrong)?;
                match text.split_once('=') {
                    Some((name, value)) => pairs.insert(name.to_owned(), Some(value.to_owned())),
                    None => pairs.insert(text.to_owned(), None),
                };
            }
        } else {
            for entry in &node.mapping().ok_or_else(wrong)?.entries {
                let value = match entry.value.scalar() {
                    None => return Err(format!("{:?} takes a single value, found {}", entry.key, entry.value.kind())),
                    Some(Scalar::Null) => None,
                    Some(_) => entry.value.text().map(str::to_owned),
                };
                pairs.insert(entry.key.clone(), value);
            }
        }
        if pairs.keys().any(String::is_empty) {
            return Err("an entry has an empty name".into());
        }
        Ok(Self(pairs))
    }
}

impl Pairs {
    /// With empty values where only the name stands.
    pub fn or_empty(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, span};
    use std::time::Duration;

    #[test]
    fn durations_are_go_s() {
        for (text, milliseconds) in [("1m30s", 90_000), ("1.5s", 1500), ("500ms", 500), ("0", 0), ("2h", 7_200_000)] {
            assert_eq!(span(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "10", "s", "-1s", "1d", "1e9h", "99999999h", "1..5s", "nans"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_docker_s() {
        for (text, size) in [("512m", 512 << 20), ("1.5g", 3 << 29), ("10", 10), ("2KiB", 2048), ("3 MB", 3 << 20)] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for wrong in ["", "m", "-1", "1x", "1e20", "999999999t"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
