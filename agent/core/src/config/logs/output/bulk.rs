use super::Fields;
use crate::config::endpoint::{Compress, Endpoint};
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Elasticsearch or OpenSearch, by its `_bulk` API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What takes the documents.
    pub target: Target,
    /// The ingest pipeline that they go through.
    pub pipeline: Option<String>,
    /// Whether documents get ids of ours, so that one that is sent again is there once. Costs the platform a look-up for
    /// each; data streams in time series mode take none.
    pub ids: bool,
    /// What our fields are called.
    pub fields: Fields,
}

/// What takes the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An index or its alias, with `%Y`, `%m`, `%d`, `%H`, `%G`, `%V` of the record's time in UTC (strftime(3)).
    Index(String),
    /// A data stream.
    DataStream(String),
}

/// The name of an index, an alias or a data stream.
struct IndexName(String);

impl FromNode for IndexName {
    const EXPECTED: &'static str =
        "an index's name such as logs-%Y.%m.%d: lower case, no spaces, none of \\/*?\"<>|,#:";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let mut plain = text.to_owned();
        for part in ["%Y", "%m", "%d", "%H", "%G", "%V"] {
            plain = plain.replace(part, "0000");
        }
        if let Some((_, rest)) = plain.split_once('%') {
            let wrong: String = rest.chars().take(1).collect();
            return Err(format!("\"%{wrong}\" is not known here; known are %Y, %m, %d, %H, %G and %V"));
        }
        let fits = !plain.is_empty()
            && plain.len() <= 255
            && !plain.starts_with(['-', '_', '+'])
            && plain != "."
            && plain != ".."
            && !plain.contains(|c: char| {
                c.is_uppercase() || c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:&".contains(c)
            });
        if fits { Ok(Self(text.to_owned())) } else { Err(mismatch::<Self>(node)) }
    }
}

impl Bulk {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let endpoint = Endpoint::read(&mut section, &[Compress::None, Compress::Gzip]);
        let index = section.optional::<IndexName>("index");
        let data_stream = section.optional::<IndexName>("data_stream");
        section.exactly_one(&["index", "data_stream"]);
        if data_stream.as_ref().is_some_and(|name| name.0.contains('%')) {
            section.problem_with("data_stream", "a data stream makes its indices by date itself: no % in its name");
        }
        let pipeline = section.optional::<String>("pipeline");
        let ids = section.or("ids", true);
        let fields = section.or("fields", Fields::default());
        section.finish();
        let target = index.map(|name| Target::Index(name.0)).or(data_stream.map(|name| Target::DataStream(name.0)))?;
        Some(Self { endpoint: endpoint?, target, pipeline, ids, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::config::Config;
    use crate::config::logs::output::Platform;

    fn problems(settings: &str) -> String {
        let text = format!("logs:\n  outputs:\n    o: {{bulk: {{url: 'https://es:9200', {settings}}}}}\n");
        Config::parse(&text, "agent.yaml").expect_err(settings).to_string()
    }

    #[test]
    fn an_index_by_day_with_ids_is_read() {
        let text = "logs:\n  outputs:\n    o: {bulk: {url: 'https://es:9200', index: logs-%Y.%m.%d, pipeline: p}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let Platform::Bulk(bulk) = &logs.outputs["o"].platform else { panic!("not bulk") };
        assert_eq!(bulk.target, Target::Index("logs-%Y.%m.%d".into()));
        assert_eq!((bulk.pipeline.as_deref(), bulk.ids), (Some("p"), true));
    }

    #[test]
    fn names_that_the_platform_would_refuse_are_refused() {
        assert!(problems("index: Logs").contains("lower case"));
        assert!(problems("index: logs-%s").contains("\"%s\" is not known here"));
        assert!(problems("data_stream: logs-%Y").contains("makes its indices by date itself"));
        assert!(problems("index: a, data_stream: b").contains("only one of the keys"));
        assert!(problems("pipeline: p").contains("one of the keys index, data_stream is needed"));
    }
}
