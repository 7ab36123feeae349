use hostwright_core::config::section::{Section, did_you_mean};
use hostwright_core::yaml::Place;
use std::collections::BTreeMap;

/// What a service waits for before it is created or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub condition: Condition,
    /// Whether the file is wrong when the other service is not among those that run.
    pub required: bool,
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

/// Reads `depends_on`; `services` are all that the file names.
pub fn read(section: &mut Section<'_>, services: &[String]) -> BTreeMap<String, Dependency> {
    let Some(node) = section.node("depends_on") else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    if let Some(mapping) = node.mapping() {
        for entry in &mapping.entries {
            check_known(section, &entry.key, entry.place, services);
            if let Some(dependency) = section.item("depends_on", &entry.value).and_then(|item| long(item, entry.place))
            {
                all.insert(entry.key.clone(), dependency);
            }
        }
        return all;
    }
    for item in section.items("depends_on", node).unwrap_or_default() {
        let Some(name) = section.value::<String>("depends_on", item) else { continue };
        check_known(section, &name, item.place, services);
        all.insert(name, Dependency { condition: Condition::Started, required: true, place: item.place });
    }
    all
}

fn long(mut section: Section<'_>, place: Place) -> Option<Dependency> {
    let name = section.optional::<String>("condition").unwrap_or_else(|| Condition::Started.name().into());
    let condition = Condition::ALL.into_iter().find(|condition| condition.name() == name);
    if condition.is_none() {
        let hint = did_you_mean(&name, Condition::ALL.into_iter().map(Condition::name));
        let names = Condition::ALL.map(Condition::name).join(", ");
        section.problem_with("condition", &format!("expected one of {names}, found {name:?}{hint}"));
    }
    let required = section.or("required", true);
    if section.or("restart", false) {
        section.problem_with("restart", "restarting with the other service is not supported yet");
    }
    section.finish();
    Some(Dependency { condition: condition?, required, place })
}

fn check_known(section: &Section<'_>, name: &str, place: Place, services: &[String]) {
    if !services.iter().any(|service| service == name) {
        let hint = did_you_mean(name, services.iter().map(String::as_str));
        section.problem_at(place, "depends_on", &format!("there is no service {name:?}{hint}"));
    }
}

/// A chain of services that ends where it began, if there is one.
pub fn cycle<'s>(dependencies: &BTreeMap<&'s str, Vec<&'s str>>) -> Option<Vec<&'s str>> {
    let mut done = Vec::new();
    dependencies.keys().find_map(|start| follow(start, dependencies, &mut Vec::new(), &mut done))
}

/// The file's limit on entries bounds the depth only loosely, so the chain is a list and not the stack.
fn follow<'s>(
    start: &'s str,
    dependencies: &BTreeMap<&'s str, Vec<&'s str>>,
    chain: &mut Vec<(&'s str, usize)>,
    done: &mut Vec<&'s str>,
) -> Option<Vec<&'s str>> {
    if !done.contains(&start) {
        chain.push((start, 0));
    }
    while let Some((name, next)) = chain.last_mut() {
        let Some(after) = dependencies.get(*name).and_then(|all| all.get(*next)) else {
            done.push(name);
            chain.pop();
            continue;
        };
        *next += 1;
        if let Some(begin) = chain.iter().position(|(earlier, _)| earlier == after) {
            return Some(chain[begin..].iter().map(|(name, _)| *name).chain([*after]).collect());
        }
        if !done.contains(after) {
            chain.push((after, 0));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::cycle;
    use std::collections::BTreeMap;

    #[test]
    fn a_cycle_is_found_and_told_as_a_chain() {
        let chain = BTreeMap::from([("a", vec!["b"]), ("b", vec!["c", "d"]), ("c", vec![]), ("d", vec!["b"])]);
        assert_eq!(cycle(&chain), Some(vec!["b", "d", "b"]));
        let none = BTreeMap::from([("a", vec!["b", "c"]), ("b", vec!["c"]), ("c", vec![])]);
        assert_eq!(cycle(&none), None);
        assert_eq!(cycle(&BTreeMap::from([("a", vec!["a"])])), Some(vec!["a", "a"]));
    }
}
