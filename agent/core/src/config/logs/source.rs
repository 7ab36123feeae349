use super::{Encoding, Filter, Multiline, Parse, When};
use crate::config::section::Section;
use crate::config::values::{ByteSize, FromNode, Names, mismatch};
use crate::yaml::Node;
use std::time::Duration;

/// Files whose lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Absolute paths, with `*`, `?` and `[…]` in file names.
    pub files: Vec<String>,
    /// What a line is.
    pub parse: Parse,
    /// Which lines belong together; each stands alone unless given.
    pub multiline: Option<Multiline>,
    /// Where a line says when it happened.
    pub time: Option<When>,
    /// How characters are written.
    pub encoding: Encoding,
    /// What is done to records before they are shipped, in order.
    pub filters: Vec<Filter>,
    /// How long a rotated file is kept after every output has acknowledged it; for ever unless given.
    pub retain: Option<Duration>,
    /// The longest line; what is beyond is cut and marked.
    pub line_limit: ByteSize,
    /// Names of outputs, each of which gets every line.
    pub outputs: Vec<String>,
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

impl Source {
    pub(super) fn read(mut section: Section<'_>, output_names: &[String]) -> Option<Self> {
        let files = section.required::<FilePatterns>("files");
        let parse = section.or("parse", Parse::Plain);
        let multiline = Multiline::read(&mut section);
        if multiline.is_some() && matches!(parse, Parse::Cri(_) | Parse::Docker(_)) {
            section.problem_with(
                "multiline",
                "lines of containers are joined where the engine split them, and not otherwise",
            );
        }
        let time = section.section("time", When::read);
        let encoding = section.or("encoding", Encoding::Utf8);
        let filters = Filter::read_all(&mut section);
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
        Some(Self {
            files: files?.0,
            parse,
            multiline,
            time,
            encoding,
            filters,
            retain,
            line_limit,
            outputs: outputs?.0,
        })
    }
}
