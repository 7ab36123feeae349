use super::values::{Integer, Span};
use hostwright_core::config::section::{Section, did_you_mean};
use std::time::Duration;

/// How many containers a service has, and how they are exchanged. When and how is no property of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub replicas: u32,
    /// `update_config.order`, where the file gives one.
    pub order: Option<Order>,
    /// How long a new container is watched before it counts as good: `update_config.monitor`.
    pub monitor: Option<Duration>,
}

/// Which of the two comes first when a container is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The new one is started, and the old one stopped when the new one is healthy.
    StartFirst,
    /// The old one is stopped, then the new one started: the service never runs twice.
    StopFirst,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { replicas: 1, order: None, monitor: None }
    }
}

impl Order {
    const ALL: [(&str, Self); 2] = [("start-first", Self::StartFirst), ("stop-first", Self::StopFirst)];

    /// As the file names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}

impl Rollout {
    /// Reads what `deploy` says of it.
    pub fn read(section: &mut Section<'_>) -> Self {
        let replicas = section.optional::<u64>("replicas").map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let (order, monitor) = section.section("update_config", update_config).unwrap_or_default();
        Self { replicas: replicas.unwrap_or(1), order, monitor }
    }
}

fn update_config(mut section: Section<'_>) -> Option<(Option<Order>, Option<Duration>)> {
    let order = section.optional::<String>("order").and_then(|text| {
        let found = Order::ALL.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = Order::ALL.map(|(name, _)| name);
            let hint = did_you_mean(&text, names.into_iter());
            section.problem_with("order", &format!("expected {}, found {text:?}{hint}", names.join(" or ")));
        }
        found.map(|(_, order)| *order)
    });
    let monitor = section.optional::<Span>("monitor").map(|span| span.0);
    // One container after the other, back to the last good one at the first failure: what a single host can do.
    let _ = (section.optional::<Integer>("parallelism"), section.optional::<Span>("delay"));
    let _ = (section.optional::<String>("failure_action"), section.optional::<String>("max_failure_ratio"));
    section.finish();
    Some((order, monitor))
}
