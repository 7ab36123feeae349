use super::values::{Integer, Span};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::time::Duration;

/// How the engine finds out whether a container is well. What is not given comes from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Healthcheck {
    /// As the engine takes it: `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Duration>,
}

impl Healthcheck {
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let test = section.node("test").and_then(|node| test(&section, node));
        let disable = section.or("disable", false);
        let mut span = |key| section.optional::<Span>(key).map(|span| span.0);
        let (interval, timeout) = (span("interval"), span("timeout"));
        let (start_period, start_interval) = (span("start_period"), span("start_interval"));
        let retries = section.optional::<Integer>("retries").map(|retries| retries.0);
        for (key, value) in [("interval", interval), ("timeout", timeout), ("start_interval", start_interval)] {
            if value.is_some_and(|value| !value.is_zero() && value < Duration::from_millis(1)) {
                section.problem_with(key, "at least 1ms, which is the engine's limit");
            }
        }
        if disable && test.as_ref().is_some_and(|test| test != &["NONE"]) {
            section.problem_with("disable", "stands beside a test; leave one of them out");
        }
        section.allow_extensions();
        section.finish();
        let test = if disable { Some(vec!["NONE".into()]) } else { test };
        Some(Self { test, interval, timeout, retries, start_period, start_interval })
    }
}

fn test(section: &Section<'_>, node: &Node) -> Option<Vec<String>> {
    const EXPECTED: &str = "expected a command string, or a list that begins with NONE, CMD or CMD-SHELL";
    let Some(items) = node.sequence() else {
        return match node.text() {
            Some(text) if !text.is_empty() => Some(vec!["CMD-SHELL".into(), text.to_owned()]),
            _ => {
                section.problem_with("test", EXPECTED);
                None
            }
        };
    };
    let words: Option<Vec<String>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
    let fits = words.filter(|words| match words.first().map(String::as_str) {
        Some("NONE") => words.len() == 1,
        Some("CMD") => words.len() > 1,
        Some("CMD-SHELL") => words.len() == 2,
        _ => false,
    });
    if fits.is_none() {
        section.problem_with("test", EXPECTED);
    }
    fits
}
