use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Every label that a backend can have.
pub const LABELS: [&str; 6] = ["local_address", "local_mark", "local_port", "proto", "remote_address", "remote_port"];

/// Options of the collector `ipvs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipvs {
    /// Which labels backends have; those that are equal in all of them are added up.
    pub backend_labels: Vec<&'static str>,
}

struct Label(&'static str);

impl FromNode for Label {
    const EXPECTED: &'static str = "local_address, local_mark, local_port, proto, remote_address or remote_port";

    fn from_node(node: &Node) -> Result<Self, String> {
        let label = LABELS.into_iter().find(|label| node.text() == Some(label));
        label.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl Default for Ipvs {
    fn default() -> Self {
        Self { backend_labels: LABELS.to_vec() }
    }
}

impl Ipvs {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        if let Some(labels) = section.list::<Label>("backend_labels") {
            self.backend_labels = labels.into_iter().map(|label| label.0).collect();
            self.backend_labels.sort_unstable();
            self.backend_labels.dedup();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn labels(text: &str) -> Result<Vec<&'static str>, String> {
        let text = format!("metrics: {{collectors: {{ipvs: {text}}}}}");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.metrics.expect("present").collectors.options.ipvs.backend_labels)
    }

    #[test]
    fn backends_have_all_labels_or_those_that_are_named() {
        assert_eq!(labels("true").expect("valid").len(), 6);
        assert_eq!(labels("{backend_labels: [remote_port, proto, proto]}"), Ok(vec!["proto", "remote_port"]));
        let error = labels("{backend_labels: [port]}").expect_err("no such label");
        assert!(error.contains("expected local_address") && error.contains("found \"port\""), "{error}");
    }
}
