use super::model::Tree;
use super::read;
use std::time::Duration;

/// How many containers a service has, and how they are exchanged. When and how is no property of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub replicas: u32,
    /// For what the file says now: `update_config`.
    pub update: Pace,
    /// For what was good before: `rollback_config`, and `update_config` for what that leaves out.
    pub back: Pace,
}

/// How containers are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Where the file gives one.
    pub order: Option<Order>,
    /// How long a new container is watched before it counts as good, where the file says so.
    pub monitor: Option<Duration>,
    /// How many are exchanged at the same time.
    pub parallelism: usize,
    /// How long after one the next follows.
    pub delay: Duration,
    /// What becomes of the others when a new container is not good.
    pub on_failure: OnFailure,
    /// How many containers out of 1000 may fail before that counts.
    pub tolerance: u32,
}

/// What becomes of an update of which a container is not good: `failure_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// All go back to the last good version.
    GoBack,
    /// No further one is exchanged.
    Pause,
    /// The others are exchanged all the same, and nothing is taken back.
    Continue,
}

/// Which of the two comes first when a container is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The new one is started, and the old one stopped when the new one is healthy.
    StartFirst,
    /// The old one is stopped, then the new one started: the service never runs twice.
    StopFirst,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            order: None,
            monitor: None,
            parallelism: 1,
            delay: Duration::ZERO,
            on_failure: OnFailure::GoBack,
            tolerance: 0,
        }
    }
}

impl Order {
    /// As the file names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}

impl Rollout {
    /// Reads `scale` and what `deploy` says of it.
    pub fn read(service: &Tree) -> Self {
        let deploy = service.get("deploy");
        let replicas = read::integer(service, "scale").or(deploy.and_then(|deploy| read::integer(deploy, "replicas")));
        let pace = |key: &str, or: &Pace| {
            deploy.and_then(|deploy| deploy.get(key)).map_or_else(|| or.clone(), |tree| Pace::read(tree, or))
        };
        let update = pace("update_config", &Pace::default());
        Self {
            replicas: replicas.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            back: pace("rollback_config", &Pace { on_failure: OnFailure::GoBack, ..update.clone() }).of_the_way_back(),
            update,
        }
    }

    /// How many containers may fail on the way before it counts.
    pub fn tolerated(&self, goes_back: bool) -> usize {
        let thousandths = u64::from(self.pace(goes_back).tolerance) * u64::from(self.replicas);
        usize::try_from(thousandths / 1000).unwrap_or(usize::MAX)
    }

    /// On the way to what the file says, or back.
    pub fn pace(&self, goes_back: bool) -> &Pace {
        if goes_back { &self.back } else { &self.update }
    }
}

impl Pace {
    /// The way back has no way back of its own: what stops stays as it is.
    fn of_the_way_back(self) -> Self {
        match self.on_failure {
            OnFailure::Continue => self,
            OnFailure::GoBack | OnFailure::Pause => Self { on_failure: OnFailure::GoBack, ..self },
        }
    }

    fn read(tree: &Tree, or: &Self) -> Self {
        let order = match tree.get_text("order") {
            Some("start-first") => Some(Order::StartFirst),
            Some("stop-first") => Some(Order::StopFirst),
            _ => or.order,
        };
        let parallelism = match read::integer(tree, "parallelism") {
            // All at once, as Swarm has it.
            Some(0) => usize::MAX,
            Some(count) => usize::try_from(count).unwrap_or(1),
            None => or.parallelism,
        };
        Self {
            order,
            monitor: read::span(tree, "monitor").or(or.monitor),
            parallelism,
            delay: read::span(tree, "delay").unwrap_or(or.delay),
            on_failure: match tree.get_text("failure_action") {
                Some("pause") => OnFailure::Pause,
                Some("continue") => OnFailure::Continue,
                _ => or.on_failure,
            },
            tolerance: read::thousandths(tree, "max_failure_ratio").unwrap_or(or.tolerance),
        }
    }
}
