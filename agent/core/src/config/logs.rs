use super::section::Section;
use super::values::{AbsolutePath, ByteSize, FromNode, HostPort, Names, mismatch};
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The logs duty: sources whose lines reach outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Where lines come from.
    pub sources: BTreeMap<String, Source>,
    /// Where lines go.
    pub outputs: BTreeMap<String, Output>,
}

/// Files whose lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Absolute paths, with `*`, `?` and `[…]` in file names.
    pub files: Vec<String>,
    /// What a line is.
    pub parse: Parse,
    /// How long a rotated file is kept after every output has acknowledged it; for ever unless given.
    pub retain: Option<Duration>,
    /// The longest line; what is beyond is cut and marked.
    pub line_limit: ByteSize,
    /// Names of outputs, each of which gets every line.
    pub outputs: Vec<String>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// Text.
    Plain,
    /// A JSON object; a line that is none is shipped as text and counted.
    Json,
}

/// A log platform, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// RFC 5424 messages over TCP.
    Syslog(Syslog),
    /// JSON lines appended to a file.
    File(PathBuf),
}

/// Syslog over TCP (RFC 5424 messages, RFC 6587 framing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The receiver.
    pub address: HostPort,
    /// How messages are told apart in the stream.
    pub framing: Framing,
    /// APP-NAME; the source's name unless given.
    pub app_name: Option<String>,
    /// The facility's number (RFC 5424, table 1): 1 is user, 16 to 23 are local0 to local7.
    pub facility: u8,
}

/// How messages are told apart in a TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The length before each message (RFC 6587, 3.4.1): takes any content.
    OctetCounting,
    /// A newline after each message (RFC 6587, 3.4.2): newlines inside are escaped.
    Newline,
}

impl FromNode for Parse {
    const EXPECTED: &'static str = "plain or json";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("plain") => Ok(Self::Plain),
            Some("json") => Ok(Self::Json),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Framing {
    const EXPECTED: &'static str = "octet-counting or newline";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("octet-counting") => Ok(Self::OctetCounting),
            Some("newline") => Ok(Self::Newline),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

struct FilePatterns(Vec<String>);

impl FromNode for FilePatterns {
    const EXPECTED: &'static str = "a list of file patterns such as [/var/log/app/*.json]";

    fn from_node(node: &Node) -> Result<Self, String> {
        let items = node.sequence().filter(|items| !items.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        items.iter().map(file_pattern).collect::<Result<_, _>>().map(Self)
    }
}

fn file_pattern(node: &Node) -> Result<String, String> {
    let text = node.text().filter(|text| text.starts_with('/') && !text.ends_with('/'));
    let text = text.ok_or_else(|| mismatch::<FilePatterns>(node))?;
    let folder = text.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.contains(['*', '?', '[']) {
        return Err(format!(
            "{text:?} has a pattern in a folder's name; only the last part, the file's name, may have one"
        ));
    }
    let name = &text[folder.len() + 1..];
    if name.contains(['*', '?', '[']) {
        globset::Glob::new(name).map_err(|error| format!("{name:?} is no valid pattern: {}", error.kind()))?;
    }
    Ok(text.to_owned())
}

impl Logs {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let output_names = section.names("outputs");
        let outputs = section.named("outputs", Output::read).unwrap_or_default();
        let sources = section.named("sources", |source| Source::read(source, &output_names)).unwrap_or_default();
        section.finish();
        Some(Self { sources, outputs })
    }
}

impl Source {
    fn read(mut section: Section<'_>, output_names: &[String]) -> Option<Self> {
        let files = section.required::<FilePatterns>("files");
        let parse = section.or("parse", Parse::Plain);
        let retain = section.optional("retain");
        let line_limit = section.or("line_limit", ByteSize(1 << 20));
        if !(64..=16 << 20).contains(&line_limit.0) {
            section.problem_with("line_limit", "between 64B and 16MiB, because a line is held in memory as a whole");
        }
        let outputs = section.required::<Names>("outputs");
        section.references("outputs", "output", output_names);
        if outputs.as_ref().is_some_and(|names| names.0.is_empty()) {
            section.problem_with("outputs", "expected at least one output, or lines would go nowhere");
        }
        section.finish();
        Some(Self { files: files?.0, parse, retain, line_limit, outputs: outputs?.0 })
    }
}

impl Output {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let syslog = section.section("syslog", Syslog::read);
        let file = section.section("file", |mut file| {
            let path = file.required::<AbsolutePath>("path");
            file.finish();
            path
        });
        section.exactly_one(&["syslog", "file"]);
        section.finish();
        syslog.map(Self::Syslog).or(file.map(|path| Self::File(path.0)))
    }
}

impl Syslog {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let address = section.required("address");
        let framing = section.or("framing", Framing::OctetCounting);
        let app_name = section.optional::<String>("app_name");
        if app_name.as_ref().is_some_and(|name| name.len() > 48 || !name.bytes().all(|byte| byte.is_ascii_graphic())) {
            section.problem_with(
                "app_name",
                "expected up to 48 printable ASCII characters without spaces (RFC 5424, 6.2.5)",
            );
        }
        let facility = section.or("facility", 16u64);
        if facility > 23 {
            section.problem_with("facility", "expected a facility number from 0 to 23 (RFC 5424, table 1)");
        }
        section.finish();
        Some(Self { address: address?, framing, app_name, facility: u8::try_from(facility).unwrap_or(16) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Output, Parse};
    use crate::config::Config;
    use std::time::Duration;

    #[test]
    fn a_source_names_its_files_and_outputs_and_the_rest_has_defaults() {
        let text = "logs:\n  sources:\n    backend: {files: ['/var/log/b/log.json*'], parse: json, retain: 7d, outputs: [ldp]}\n  outputs:\n    ldp: {syslog: {address: 'logs.example.org:514'}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let source = &logs.sources["backend"];
        assert_eq!(
            (source.parse, source.retain, source.line_limit.0),
            (Parse::Json, Some(Duration::from_secs(7 * 86400)), 1 << 20)
        );
        let Output::Syslog(syslog) = &logs.outputs["ldp"] else { panic!("not syslog") };
        assert_eq!((syslog.framing, syslog.facility), (Framing::OctetCounting, 16));
    }

    #[test]
    fn a_pattern_that_cannot_match_and_a_source_without_outputs_are_refused() {
        let text = "logs:\n  sources:\n    a: {files: ['/var/log/[a'], outputs: []}\n  outputs: {}\n";
        let message = Config::parse(text, "agent.yaml").expect_err("refused").to_string();
        assert!(message.contains("\"[a\" is no valid pattern: unclosed character class"), "{message}");
        assert!(message.contains("expected at least one output"), "{message}");
    }

    #[test]
    fn an_output_of_two_kinds_or_none_is_refused() {
        let text = "logs:\n  outputs:\n    a: {}\n    b: {file: {path: /x}, syslog: {address: 'h:1'}}\n";
        let message = Config::parse(text, "agent.yaml").expect_err("refused").to_string();
        assert!(message.contains("logs.outputs.a: one of the keys syslog, file is needed"), "{message}");
        assert!(message.contains("logs.outputs.b: only one of the keys"), "{message}");
    }
}
