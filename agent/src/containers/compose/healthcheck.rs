use super::model::Tree;
use super::read;
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

/// The engine takes no shorter time.
const SHORTEST: Duration = Duration::from_millis(1);

impl Healthcheck {
    pub fn read(tree: &Tree) -> Self {
        if read::is_set(tree, "disable") {
            return Self { test: Some(vec!["NONE".into()]), ..Self::default() };
        }
        Self {
            test: read::words(tree, "test"),
            interval: read::span(tree, "interval"),
            timeout: read::span(tree, "timeout"),
            retries: read::integer(tree, "retries"),
            start_period: read::span(tree, "start_period"),
            start_interval: read::span(tree, "start_interval"),
        }
    }

    /// What the engine would refuse.
    pub fn problem(&self) -> Option<&'static str> {
        let spans = [self.interval, self.timeout, self.start_period, self.start_interval];
        let short = |span: &Duration| !span.is_zero() && *span < SHORTEST;
        spans.iter().flatten().any(short).then_some("times are at least 1ms, which is the engine's limit")
    }
}
