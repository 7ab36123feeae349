use super::containers::Containers;
use super::journal::Journal;
use super::listener::Listener;
use super::rotate::Rotate;
pub use super::spooled::Spooled;
use super::{Encoding, Filter, Multiline, Parse, When};
use crate::config::section::Section;
use crate::config::values::{ByteSize, FromNode, Names, mismatch};
use crate::yaml::Node;
use std::time::Duration;

/// Lines that belong together, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where they come from.
    pub kind: Kind,
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

/// Where to begin in files that are there when a source is followed for the first time. All that come later are read
/// from their beginnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first line.
    #[default]
    Beginning,
    /// With the next line.
    End,
}

impl FromNode for Start {
    const EXPECTED: &'static str = "beginning or end";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("beginning") => Ok(Self::Beginning),
            Some("end") => Ok(Self::End),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// Where the lines of a source come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files that applications write.
    Files(Files),
    /// The systemd journal.
    Journal(Journal),
    /// Messages that are sent to us.
    Syslog(Listener),
    /// The output of containers.
    Containers(Containers),
}

/// Files that applications write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Absolute paths, with `*`, `?` and `[…]` in names, and `**` for any number of folders.
    pub patterns: Vec<String>,
    /// Names of files, or absolute paths, with the same patterns: these are not followed.
    pub exclude: Vec<String>,
    /// Where to begin in files that are there when the source is followed for the first time.
    pub start: Start,
    /// The most of deleted files that is kept because an output lacks it.
    pub pin: ByteSize,
    /// How we rotate them, if nobody else does.
    pub rotate: Option<Rotate>,
}

struct FilePattern(String);

impl FromNode for FilePattern {
    const EXPECTED: &'static str = "a list of file patterns such as [/var/log/app/*.json]";

    fn from_node(node: &Node) -> Result<Self, String> {
        file_pattern(node).map(Self)
    }
}

fn file_patterns(section: &mut Section<'_>) -> Option<Vec<String>> {
    let node = section.node("files")?;
    match node.sequence() {
        Some(items) if !items.is_empty() => {
            Some(items.iter().filter_map(|item| section.value::<FilePattern>("files", item)).map(|one| one.0).collect())
        }
        _ => {
            section.problem_with("files", &mismatch::<FilePattern>(node));
            None
        }
    }
}

fn file_pattern(node: &Node) -> Result<String, String> {
    let text = node.text().filter(|text| text.starts_with('/') && !text.ends_with('/'));
    let text = text.ok_or_else(|| mismatch::<FilePattern>(node))?;
    let names: Vec<&str> = text.split('/').skip(1).collect();
    if let Some(odd) = names.iter().find(|name| matches!(**name, "" | "." | "..")) {
        return Err(format!("{text:?} has {odd:?} where the name of a file or folder should be"));
    }
    if names[0] == "**" {
        return Err(format!("{text:?} would search the whole host; name the folder in which ** begins"));
    }
    names.iter().try_for_each(|name| valid_pattern(name))?;
    Ok(text.to_owned())
}

struct ExcludedPatterns(Vec<String>);

impl FromNode for ExcludedPatterns {
    const EXPECTED: &'static str = "a list of names or paths such as ['debug*.log', /var/log/app/old/*]";

    fn from_node(node: &Node) -> Result<Self, String> {
        let items = node.sequence().ok_or_else(|| mismatch::<Self>(node))?;
        let pattern = |item: &Node| {
            let text = item.text().filter(|text| text.starts_with('/') || (!text.is_empty() && !text.contains('/')));
            let text = text.ok_or_else(|| mismatch::<Self>(item))?;
            valid_pattern(text).map(|()| text.to_owned())
        };
        items.iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }
}

fn valid_pattern(text: &str) -> Result<(), String> {
    if text.contains(['*', '?', '[']) {
        globset::Glob::new(text).map_err(|error| format!("{text:?} is no valid pattern: {}", error.kind()))?;
    }
    Ok(())
}

/// Of each kind of source its key.
const KINDS: [&str; 4] = ["files", "journal", "syslog", "containers"];

impl Source {
    pub(super) fn read(mut section: Section<'_>, output_names: &[String]) -> Option<Self> {
        let kind = Kind::read(&mut section);
        let parse = Kind::parse(kind.as_ref(), section.or("parse", Parse::Plain));
        let multiline = Multiline::read(&mut section);
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
        if let Some(Kind::Journal(Journal { spooled, .. }) | Kind::Syslog(Listener { spooled, .. })) = &kind
            && !(4096..=spooled.limit.0 / 4).contains(&line_limit.0)
        {
            let why = "between 4KiB, because a message is shipped with its fields, and a quarter of the spool";
            section.problem_with("line_limit", why);
        }
        section.finish();
        Some(Self { kind: kind?, parse, multiline, time, encoding, filters, retain, line_limit, outputs: outputs?.0 })
    }
}

impl Kind {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        section.exactly_one(&KINDS);
        let spooled = Spooled::read(section);
        let rotate = section.section("rotate", Rotate::read);
        let files = file_patterns(section);
        let journal = section.section("journal", |section| Journal::read(section, spooled));
        let syslog = section.section("syslog", |section| Listener::read(section, spooled));
        let containers = section.section("containers", Containers::read);
        if section.node("files").is_none() {
            not_here(section, "rotate", "only files are rotated by us");
            for key in ["exclude", "start", "pin"] {
                not_here(section, key, "this is about files");
            }
            not_here(section, "retain", "only files are retained; the engine, or the spool, has its own limits");
        }
        if section.node("journal").is_some() || section.node("syslog").is_some() {
            for key in ["parse", "multiline", "time", "encoding"] {
                not_here(section, key, "here it is known what a line is, when it was written, and how");
            }
        } else {
            not_here(section, "spool", "only what comes from no file is spooled");
        }
        let exclude = section.or("exclude", ExcludedPatterns(Vec::new())).0;
        let start = section.or("start", Start::Beginning);
        let pin = section.or("pin", ByteSize(1 << 30));
        let files = files.map(|patterns| Self::Files(Files { patterns, exclude, start, pin, rotate }));
        files.or(journal.map(Self::Journal)).or(syslog.map(Self::Syslog)).or(containers.map(Self::Containers))
    }
}

impl Kind {
    /// What a line is: for some kinds that is known, whatever its text is.
    fn parse(kind: Option<&Self>, parse: Parse) -> Parse {
        match kind {
            Some(Self::Journal(_) | Self::Syslog(_)) => Parse::Json,
            Some(Self::Containers(_)) if !matches!(parse, Parse::Docker(_)) => Parse::Docker(Box::new(parse)),
            _ => parse,
        }
    }
}

fn not_here(section: &mut Section<'_>, key: &'static str, why: &str) {
    if section.node(key).is_some() {
        section.problem_with(key, why);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::config::Config;
    use crate::config::logs::Source;

    /// A source with one file, one output and these settings.
    pub fn source(settings: &str) -> Result<Source, String> {
        let text = format!(
            "logs:\n  sources:\n    s:\n      files: [/x]\n      outputs: [o]\n      {settings}\n  outputs:\n    o: {{file: {{path: /y}}}}\n"
        );
        let logs = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?.logs;
        Ok(logs.expect("present").sources["s"].clone())
    }

    #[test]
    fn a_source_is_of_one_kind_and_takes_its_keys_alone() {
        for (source, complaint) in [
            ("{}", "one of the keys files, journal, syslog, containers is needed"),
            ("{journal: {}, containers: {}}", "only one of the keys"),
            ("{journal: {}, rotate: {every: day}}", "only files are rotated by us"),
            ("{syslog: {unix: /s}, retain: 7d}", "only files are retained"),
            ("{files: [/a], spool: 8MiB}", "only what comes from no file is spooled"),
            ("{journal: {}, parse: json}", "here it is known what a line is"),
            ("{journal: {}, spool: 1MiB}", "at least 4MiB"),
            ("{journal: {}, line_limit: 1KiB}", "between 4KiB, because"),
        ] {
            let source = source.replacen('{', "{outputs: [o], ", 1);
            let text = format!("logs:\n  sources: {{a: {source}}}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n");
            let message = Config::parse(&text, "agent.yaml").expect_err("refused").to_string();
            assert!(message.contains(complaint), "{message}");
        }
    }
}
