//! `logs:`: sources whose lines reach outputs.

/// The output of containers.
pub mod containers;
/// How characters are written.
pub mod encoding;
/// What is done to records before they are shipped.
pub mod filter;
/// The systemd journal.
pub mod journal;
/// Messages that are sent to us.
pub mod listener;
/// Which lines belong together.
pub mod multiline;
/// Where lines go.
pub mod output;
/// What a line is.
pub mod parse;
/// A regular expression.
pub mod pattern;
/// Rotation by us.
pub mod rotate;
/// Where lines come from.
pub mod source;
/// Lines of no file, until outputs have them.
mod spooled;
/// Where a line says when it happened.
pub mod time;

pub use encoding::Encoding;
pub use filter::Filter;
pub use multiline::Multiline;
pub use output::Output;
pub use parse::Parse;
pub use pattern::Pattern;
pub use source::Source;
pub use time::When;

use super::Known;
use super::section::Section;
use std::collections::BTreeMap;

/// The logs duty: sources whose lines reach outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Where lines come from.
    pub sources: BTreeMap<String, Source>,
    /// Where lines go.
    pub outputs: BTreeMap<String, Output>,
}

impl Logs {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let output_names = section.names("outputs");
        let outputs = section.named("outputs", |output| Output::read(output, known)).unwrap_or_default();
        let sources = section.named("sources", |source| Source::read(source, &output_names)).unwrap_or_default();
        section.finish();
        Some(Self { sources, outputs })
    }
}

#[cfg(test)]
mod tests {
    use super::Parse;
    use super::output::{Framing, Platform};
    use crate::config::Config;
    use std::time::Duration;

    #[test]
    fn a_source_names_its_files_and_outputs_and_the_rest_has_defaults() {
        let text = "logs:\n  sources:\n    backend: {files: ['/var/log/b/log.json*'], parse: json, retain: 7d, outputs: [ldp]}\n  outputs:\n    ldp: {syslog: {address: 'logs.example.org:514'}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let source = &logs.sources["backend"];
        assert_eq!(
            (&source.parse, source.retain, source.line_limit.0),
            (&Parse::Json, Some(Duration::from_secs(7 * 86400)), 1 << 20)
        );
        let Platform::Syslog(syslog) = &logs.outputs["ldp"].platform else { panic!("not syslog") };
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
        assert!(message.contains("logs.outputs.a: one of the keys syslog, file"), "{message}");
        assert!(message.contains("logs.outputs.b: only one of the keys"), "{message}");
    }
}
