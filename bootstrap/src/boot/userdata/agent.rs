use super::Findings;
use super::boot_section::{self, Fetched};
use hostwright_core::config::Config;
use hostwright_core::config::buckets::Bucket;
use hostwright_core::config::section::{Problems, Section};
use hostwright_core::yaml::{self, Node, Value};
use serde::Serialize;
use std::collections::BTreeMap;

/// `hostwright:`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The text of `agent.yaml`.
    pub config: String,
    /// Where its program comes from, if not from the image.
    pub from: Option<Fetched>,
    /// The buckets that the section names.
    #[serde(skip)]
    pub buckets: BTreeMap<String, Bucket>,
}

/// Reads the section: ours is taken out, the rest is the agent's configuration and checked as such.
pub fn read(node: &Node, findings: &mut Findings) -> Option<Agent> {
    let problems = Problems::default();
    let mut rest = node.clone();
    let mut from = None;
    // It was read before; beside it alone there is no agent.
    let has_boot = taken(&mut rest, "boot").is_some();
    if has_boot && rest.mapping().is_some_and(|mapping| mapping.entries.is_empty()) {
        return None;
    }
    if let Value::Mapping(mapping) = &mut rest.value {
        mapping.entries.retain(|entry| !super::rest::KEYS.contains(&entry.key.as_str()));
    }
    if let Some(own) = taken(&mut rest, "agent") {
        from = Section::open(&own, "hostwright.agent", &problems).and_then(program);
        // The places live as long as the node: they are noted before it goes.
        let usable = findings.take(problems);
        return config(&rest, findings).filter(|_| usable).map(|agent| Agent { from, ..agent });
    }
    config(&rest, findings).map(|agent| Agent { from, ..agent })
}

/// Takes a key with its value out of a mapping.
pub fn taken(node: &mut Node, key: &str) -> Option<Node> {
    let Value::Mapping(mapping) = &mut node.value else { return None };
    let at = mapping.entries.iter().position(|entry| entry.key == key)?;
    Some(mapping.entries.remove(at).value)
}

fn program(mut section: Section<'_>) -> Option<Fetched> {
    let fetched = boot_section::verified(&mut section, "from");
    section.finish();
    fetched
}

fn config(node: &Node, findings: &mut Findings) -> Option<Agent> {
    match Config::from_node(node) {
        Ok(config) => {
            let text = if node.is_null() { String::new() } else { yaml::emit(node) };
            Some(Agent { config: text, from: None, buckets: config.buckets })
        }
        Err(problems) => {
            for mut problem in problems {
                problem.path = format!("hostwright.{}", problem.path);
                // The agent takes its file as a whole or not at all, so an unknown key is an error here too.
                findings.errors.push(problem);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn the_section_is_the_agents_configuration_without_our_own_key() {
        let user_data = read(
            b"#cloud-config\nhostwright:\n  agent: {from: file:///opt/agent, sha256: 0000000000000000000000000000000000000000000000000000000000000000}\n  host: {labels: {environment: prod}}\n  metrics: {listen: '0.0.0.0:9100'}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let agent = user_data.config.agent.expect("agent");
        assert_eq!(agent.from.expect("program").from, "file:///opt/agent");
        assert!(agent.config.contains("metrics:") && !agent.config.contains("from"), "{}", agent.config);
        hostwright_core::config::Config::parse(&agent.config, "agent.yaml").expect("valid");
    }

    #[test]
    fn its_problems_have_the_user_datas_places() {
        let user_data = read(b"#cloud-config\nhostwright:\n  metrics: {lisen: 1}\n  agent: {form: /x}\n");
        let told: Vec<_> = user_data.findings.errors.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "3:13: hostwright.metrics.lisen: unknown key; did you mean \"listen\"?");
        assert!(told[1].starts_with("4:10: hostwright.agent: the key \"from\" is missing"), "{told:?}");
        assert!(user_data.config.agent.is_none());
    }
}
