use super::model::Tree;
use super::read;
use hostwright_core::yaml::Place;
use std::collections::BTreeMap;

/// What a service waits for before it is created or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub condition: Condition,
    /// Whether the file is wrong when the other service is not among those that run.
    pub required: bool,
    /// Whether the service starts again when the other one was exchanged.
    pub restart: bool,
    /// Where it stands.
    pub place: Place,
}

/// When the other service is far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Started,
    Healthy,
    CompletedSuccessfully,
}

impl Condition {
    /// As the file names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::CompletedSuccessfully => "service_completed_successfully",
        }
    }

    const ALL: [Self; 3] = [Self::Started, Self::Healthy, Self::CompletedSuccessfully];
}

/// Reads `depends_on`.
pub fn read(service: &Tree) -> BTreeMap<String, Dependency> {
    let dependency = |tree: &Tree| {
        let name = tree.get_text("condition").unwrap_or_default();
        let condition = Condition::ALL.into_iter().find(|condition| condition.name() == name);
        Dependency {
            condition: condition.unwrap_or(Condition::Started),
            required: read::flag(tree, "required") != Some(false),
            restart: read::is_set(tree, "restart"),
            place: tree.at.place,
        }
    };
    read::members(service, "depends_on").map(|(name, tree)| (name.clone(), dependency(tree))).collect()
}
