use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, Labels, mismatch};
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The output of containers as a source: what the engine's json-file driver writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// Patterns of container names; all unless given.
    pub names: Vec<String>,
    /// Labels that a container must have, with these values; an empty value stands for any.
    pub labels: BTreeMap<String, String>,
    /// The engine's data folder.
    pub root: PathBuf,
}

struct NamePattern(String);

impl FromNode for NamePattern {
    const EXPECTED: &'static str = "a container's name or a pattern such as web-*";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        globset::Glob::new(text).map_err(|error| format!("{text:?} is no valid pattern: {}", error.kind()))?;
        Ok(Self(text.to_owned()))
    }
}

/// Labels of containers, whose names have dots and dashes.
struct ContainerLabels(BTreeMap<String, String>);

impl FromNode for ContainerLabels {
    const EXPECTED: &'static str = Labels::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        let mapping = node.mapping().ok_or_else(|| mismatch::<Self>(node))?;
        let label = |entry: &crate::yaml::Entry| {
            let value = if entry.value.is_null() { Some("") } else { entry.value.text() };
            let value = value
                .ok_or_else(|| format!("the label {:?} takes a string, found {}", entry.key, entry.value.kind()))?;
            Ok((entry.key.clone(), value.to_owned()))
        };
        mapping.entries.iter().map(label).collect::<Result<_, String>>().map(Self)
    }
}

impl Containers {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let names = section.list::<NamePattern>("names").unwrap_or_default();
        let labels = section.or("labels", ContainerLabels(BTreeMap::new())).0;
        let root = section.or("root", AbsolutePath("/var/lib/docker".into())).0;
        section.finish();
        Some(Self { names: names.into_iter().map(|name| name.0).collect(), labels, root })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Kind;
    use super::Containers;
    use crate::config::Config;

    fn read(containers: &str) -> Result<Containers, String> {
        let text = format!(
            "logs:\n  sources:\n    a: {{containers: {containers}, outputs: [o]}}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").sources["a"].kind.clone() {
            Kind::Containers(containers) => Ok(containers),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_containers_or_those_of_some_names_and_labels() {
        let all = read("{}").expect("valid");
        assert_eq!((all.names.len(), all.labels.len(), all.root.to_str()), (0, 0, Some("/var/lib/docker")));
        let some = read("{names: 'web-*', labels: {com.docker.compose.project: shop, keep: }}").expect("valid");
        assert_eq!((some.names, some.labels.len()), (vec!["web-*".to_owned()], 2));
        assert!(read("{names: ['a[']}").expect_err("refused").contains("is no valid pattern"));
    }
}
