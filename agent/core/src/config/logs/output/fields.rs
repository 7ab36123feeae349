use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// What our fields are called in the documents of Elasticsearch, OpenSearch and Logstash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// As the Elastic Common Schema has them: `host.name`, `log.file.path`, `container.name` and so on. Elasticsearch's own
    /// template for `logs-*-*`, Filebeat and Logstash take `host` for an object: a text there is a mapping error.
    #[default]
    Ecs,
    /// As in files: `host`, `source`, `file` are texts.
    Plain,
}

impl FromNode for Fields {
    const EXPECTED: &'static str =
        "ecs (host.name, log.file.path: what Elasticsearch's templates expect) or plain (host, source, file as texts)";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("ecs") => Ok(Self::Ecs),
            Some("plain") => Ok(Self::Plain),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}
