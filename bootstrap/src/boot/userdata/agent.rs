use super::Findings;
use hostwright_core::config::Config;
use hostwright_core::config::section::{Problems, Section};
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{self, Node, Value};
use serde::Serialize;
use std::path::PathBuf;

/// `hostwright:`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The text of `agent.yaml`.
    pub config: String,
    /// Where its program comes from, if not from the image.
    pub from: Option<Program>,
}

/// `agent: {from: …, sha256: …}`: the one key of the section that is bootstrap's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// A file of the host.
    pub path: PathBuf,
    /// What its content must be, in hexadecimal digits.
    pub sha256: Option<String>,
}

struct Place(PathBuf);

impl FromNode for Place {
    const EXPECTED: &'static str = "a file of the host: /path or file:///path";

    fn from_node(node: &Node) -> Result<Self, String> {
        let path = node.text().map(|text| text.strip_prefix("file://").unwrap_or(text));
        path.filter(|path| path.starts_with('/')).map(|path| Self(path.into())).ok_or_else(|| mismatch::<Self>(node))
    }
}

struct Sha256(String);

impl FromNode for Sha256 {
    const EXPECTED: &'static str = "64 hexadecimal digits as sha256sum prints them";

    fn from_node(node: &Node) -> Result<Self, String> {
        let fits = |text: &&str| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        let text = node.text().filter(fits).ok_or_else(|| mismatch::<Self>(node))?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Reads the section: ours is taken out, the rest is the agent's configuration and checked as such.
pub fn read(node: &Node, findings: &mut Findings) -> Option<Agent> {
    let problems = Problems::default();
    let mut rest = node.clone();
    let mut from = None;
    if let Value::Mapping(mapping) = &mut rest.value {
        mapping.entries.retain(|entry| !super::rest::KEYS.contains(&entry.key.as_str()));
    }
    if let Value::Mapping(mapping) = &mut rest.value
        && let Some(at) = mapping.entries.iter().position(|entry| entry.key == "agent")
    {
        let own = mapping.entries.remove(at).value;
        from = Section::open(&own, "hostwright.agent", &problems).and_then(program);
        // The places live as long as the node: they are noted before it goes.
        let usable = findings.take(problems);
        return config(&rest, findings).filter(|_| usable).map(|config| Agent { config, from });
    }
    config(&rest, findings).map(|config| Agent { config, from })
}

fn program(mut section: Section<'_>) -> Option<Program> {
    let path = section.required::<Place>("from");
    let sha256 = section.optional::<Sha256>("sha256").map(|digest| digest.0);
    section.finish();
    Some(Program { path: path?.0, sha256 })
}

fn config(node: &Node, findings: &mut Findings) -> Option<String> {
    match Config::from_node(node) {
        Ok(_) => Some(if node.is_null() { String::new() } else { yaml::emit(node) }),
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
        assert_eq!(agent.from.expect("program").path.to_str(), Some("/opt/agent"));
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
