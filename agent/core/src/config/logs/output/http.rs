use crate::config::endpoint::{Compress, Endpoint};
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Whatever takes lines with a POST and answers 2xx when it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where they go, path and query included.
    pub endpoint: Endpoint,
    /// How they are written.
    pub format: Format,
}

/// How records are written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON objects, one a line (`application/x-ndjson`).
    Ndjson,
    /// One JSON array of objects (`application/json`).
    Array,
    /// Lines as they are, without anything of ours (`text/plain`).
    Text,
}

impl FromNode for Format {
    const EXPECTED: &'static str = "ndjson, array or text";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("ndjson") => Ok(Self::Ndjson),
            Some("array") => Ok(Self::Array),
            Some("text") => Ok(Self::Text),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Http {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let endpoint = Endpoint::read(&mut section, &[Compress::None, Compress::Gzip, Compress::Zstd]);
        let format = section.or("format", Format::Ndjson);
        section.finish();
        Some(Self { endpoint: endpoint?, format })
    }
}

#[cfg(test)]
mod tests {
    use super::Format;
    use crate::config::Config;
    use crate::config::endpoint::Compress;
    use crate::config::logs::output::Platform;

    #[test]
    fn a_url_and_a_format_are_read() {
        let text = "logs:\n  outputs:\n    o: {http: {url: 'https://x/in?a=b', format: array, compress: zstd}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let Platform::Http(http) = &logs.outputs["o"].platform else { panic!("not http") };
        assert_eq!((http.format, http.endpoint.compress), (Format::Array, Compress::Zstd));
        let text = text.replace("array", "csv");
        let message = Config::parse(&text, "agent.yaml").expect_err("refused").to_string();
        assert!(message.contains("expected ndjson, array or text, found \"csv\""), "{message}");
    }
}
