use crate::config::endpoint::{Compress, Endpoint};
use crate::config::section::Section;
use crate::config::values::{FromNode, MaybeSecret, mismatch};
use crate::yaml::Node;

/// Grafana Loki, or what takes its push requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loki {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whose streams they are, where it serves several tenants (X-Scope-OrgID).
    pub tenant: Option<MaybeSecret>,
    /// What tells streams apart, beside the host's labels. Each combination is a stream: few are good.
    pub labels: Vec<Label>,
    /// Whether what is no label goes along with each line (Loki 3.0 and later).
    pub structured_metadata: bool,
}

/// What can be a stream's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The host's name.
    Host,
    /// The source's name.
    Source,
    /// The file's path: a label where files are few.
    File,
    /// The line's level.
    Level,
}

impl FromNode for Label {
    const EXPECTED: &'static str = "host, source, file or level";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("host") => Ok(Self::Host),
            Some("source") => Ok(Self::Source),
            Some("file") => Ok(Self::File),
            Some("level") => Ok(Self::Level),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Loki {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        // The body has its own compression: the protocol's.
        let endpoint = Endpoint::read(&mut section, &[Compress::None]);
        let tenant = section.optional("tenant");
        let labels = section.list("labels").unwrap_or_else(|| vec![Label::Host, Label::Source]);
        if labels.is_empty() {
            section.problem_with("labels", "expected at least one label: Loki takes no stream without");
        }
        let structured_metadata = section.or("structured_metadata", true);
        section.finish();
        Some(Self { endpoint: endpoint?, tenant, labels, structured_metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::Label;
    use crate::config::Config;
    use crate::config::logs::output::Platform;

    #[test]
    fn labels_are_few_unless_asked_for() {
        let text = "logs:\n  outputs:\n    a: {loki: {url: 'http://x:3100'}}\n    b: {loki: {url: 'http://x', labels: [source, level], tenant: {env: T}, structured_metadata: false}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let labels = |name: &str| match &logs.outputs[name].platform {
            Platform::Loki(loki) => loki.labels.clone(),
            _ => panic!("not loki"),
        };
        assert_eq!(labels("a"), [Label::Host, Label::Source]);
        assert_eq!(labels("b"), [Label::Source, Label::Level]);
        let wrong = text.replace("[source, level]", "[]");
        let message = Config::parse(&wrong, "agent.yaml").expect_err("refused").to_string();
        assert!(message.contains("expected at least one label"), "{message}");
    }
}
